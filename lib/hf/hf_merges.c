/*
 * hf_merges.c - merges of byte-level BPE, and SentencePiece's scores, which
 * take their place.
 *
 * A merge is a text "left right", or a pair of texts.  SentencePiece joins the
 * neighbours whose joined text is a token, the highest score first.  A list of
 * merges means that if it has, for each token, all pairs of tokens that make
 * it, one behind the other.  Then tokens get scores in the order of their
 * merges, and tokens that no merge makes follow them: so do trainers of
 * SentencePiece number them.
 */
#include <stdio.h>
#include <string.h>

#include "file/gguf_layout.h"
#include "hf/hf_model.h"

/* Bytes of the longest token that merges make, for SentencePiece.  All pairs
 * that could make it are looked up. */
#define MAX_TOKEN 512

typedef struct merge_pair {
    const char *left, *right;
    size_t n_left, n_right;
} merge_pair;

static tlp_status refuse_merge(const tlpi_hf_vocab *v, size_t i,
                               const char *what)
{
    return tlpi_fail(TLP_EFORMAT, "%s: key model.merges[%zu]: %s",
                     v->file.path.data, i, what);
}

static tlp_status read_pair(const tlpi_hf_vocab *v, json_t *merges, size_t i,
                            merge_pair *p)
{
    json_t *merge = json_array_get(merges, i);
    const char *s = json_string_value(merge);

    if (s) {
        const char *blank = s[0] ? strchr(s + 1, ' ') : NULL;
        if (!blank || !blank[1])
            return refuse_merge(v, i, "two tokens expected");
        *p = (merge_pair){ s, blank + 1, (size_t)(blank - s),
                           strlen(blank + 1) };
        return TLP_OK;
    }
    p->left = json_string_value(json_array_get(merge, 0));
    p->right = json_string_value(json_array_get(merge, 1));
    if (json_array_size(merge) != 2 || !p->left || !p->right || !p->left[0] ||
        !p->right[0])
        return refuse_merge(v, i, "two tokens expected");
    p->n_left = strlen(p->left);
    p->n_right = strlen(p->right);
    return TLP_OK;
}

/* ==== byte-level BPE ===================================================== */

/* The reader of the keys checks that the parts are tokens. */
static tlp_status add_merges(const tlpi_hf_vocab *v, json_t *merges)
{
    tlpi_gguf_build *keys = &v->m->keys;
    tlpi_text line = { .env = v->m->env };
    tlp_status st = TLP_OK;

    tlpi_build_array(keys, "tokenizer.ggml.merges", TLPI_GGUF_STRING,
                     json_array_size(merges), "", 0);
    for (size_t i = 0; i < json_array_size(merges); i++) {
        merge_pair p;

        TLP_TRY(read_pair(v, merges, i, &p));
        if (memchr(p.left, ' ', p.n_left) || memchr(p.right, ' ', p.n_right))
            TLP_TRY(refuse_merge(v, i, "a blank in a token is not supported"));
        line.len = 0;
        tlpi_text_add(&line, p.left, p.n_left);
        tlpi_text_add(&line, " ", 1);
        tlpi_text_add(&line, p.right, p.n_right);
        if (line.failed)
            TLP_TRY(tlpi_fail_nomem_for("a vocabulary"));
        tlpi_gguf_put_str(&keys->kv, line.data, line.len);
    }
done:
    tlpi_text_free(&line);
    return st;
}

/* ==== SentencePiece ====================================================== */

/* The merges that make a token. */
typedef struct made_by {
    uint32_t first, n;
} made_by;

typedef struct scorer {
    const tlpi_hf_vocab *v;
    json_t *merges;
    made_by *by;  /* [n_vocab] */
    float *score; /* [n_vocab] scores fall in the order of first merges */
    int n_scored;
} scorer;

static json_int_t find(const tlpi_hf_vocab *v, const char *s, size_t n)
{
    json_t *id = json_object_getn(v->vocab, s, n);

    return id ? json_integer_value(id) : -1;
}

static tlp_status note_merge(scorer *s, size_t i)
{
    char text[MAX_TOKEN];
    merge_pair p;
    tlp_status st = read_pair(s->v, s->merges, i, &p);

    if (st != TLP_OK)
        return st;
    if (p.n_left >= sizeof text || p.n_right >= sizeof text - p.n_left)
        return refuse_merge(s->v, i, "a shorter token expected");
    memcpy(text, p.left, p.n_left);
    memcpy(text + p.n_left, p.right, p.n_right);
    json_int_t id = find(s->v, text, p.n_left + p.n_right);
    if (find(s->v, p.left, p.n_left) < 0)
        return refuse_merge(s->v, i, "the left part is no token");
    if (find(s->v, p.right, p.n_right) < 0)
        return refuse_merge(s->v, i, "the right part is no token");
    if (id < 0)
        return refuse_merge(s->v, i, "the joined text is no token");
    made_by *by = &s->by[id];
    if (by->n > 0 && by->first + by->n != i)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key model.merges[%zu]: makes \"%.64s\", which "
                         "other merges before the one before it make too: no "
                         "scores mean this order",
                         s->v->file.path.data, i, s->v->text[id]);
    if (by->n++ == 0) {
        by->first = (uint32_t)i;
        s->score[id] = -(float)s->n_scored++;
    }
    return TLP_OK;
}

/* Does a character begin at s? */
static bool begins(const char *s)
{
    return ((uint8_t)*s & 0xc0) != 0x80;
}

/* All pairs of tokens that make a plain token must be merges. */
static tlp_status check_pairs(const scorer *s, int id)
{
    const char *text = s->v->text[id];
    size_t n = strlen(text);
    uint32_t n_pair = 0;

    if (s->v->type[id] != 1 /* normal */)
        return TLP_OK;
    if (n >= MAX_TOKEN)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key model.vocab: token %d has %zu bytes, fewer "
                         "than %d expected",
                         s->v->file.path.data, id, n, MAX_TOKEN);
    for (size_t i = 1; i < n; i++)
        n_pair += begins(text + i) && find(s->v, text, i) >= 0 &&
                  find(s->v, text + i, n - i) >= 0;
    if (n_pair == s->by[id].n)
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: key model.merges: %u merges make \"%.64s\", but %u "
                     "pairs of tokens do: no scores mean these merges",
                     s->v->file.path.data, (unsigned)s->by[id].n, text,
                     (unsigned)n_pair);
}

static void score_rest(scorer *s)
{
    for (int id = 0; id < s->v->m->n_vocab; id++)
        if (s->v->text[id] && s->v->type[id] == 1 && s->by[id].n == 0)
            s->score[id] = -(float)s->n_scored++;
}

static tlp_status add_scores(const tlpi_hf_vocab *v, json_t *merges)
{
    const size_t n = (size_t)v->m->n_vocab;
    scorer s = { .v = v, .merges = merges };
    tlp_status st = TLP_OK;

    s.by = tlpi_calloc(v->m->env, n, sizeof *s.by);
    s.score = tlpi_calloc(v->m->env, n, sizeof *s.score);
    if (!s.by || !s.score)
        TLP_TRY(tlpi_fail_nomem_for("a vocabulary"));
    for (size_t i = 0; i < json_array_size(merges); i++)
        TLP_TRY(note_merge(&s, i));
    for (int id = 0; id < v->m->n_vocab; id++)
        if (v->text[id])
            TLP_TRY(check_pairs(&s, id));
    score_rest(&s);
    tlpi_build_array(&v->m->keys, "tokenizer.ggml.scores", TLPI_GGUF_F32, n,
                     s.score, n * sizeof *s.score);
done:
    tlpi_free(v->m->env, s.score);
    tlpi_free(v->m->env, s.by);
    return st;
}

tlp_status tlpi_hf_merges_read(tlpi_hf_vocab *v)
{
    json_t *merges;
    tlp_status st = tlpi_hf_list(&v->model, "merges", &merges);

    if (st == TLP_OK && !merges)
        st = tlpi_hf_refuse(TLP_EFORMAT, &v->model, "merges",
                            "an array expected");
    if (st != TLP_OK)
        return st;
    return v->is_bytes ? add_merges(v, merges) : add_scores(v, merges);
}
