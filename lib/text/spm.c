/*
 * spm.c - SentencePiece-style tokenizing: characters joined by token score.
 *
 * Blanks are written U+2581, and one blank may be put before the text.  Two
 * neighbours are joined if their text is a token; the highest score comes
 * first, and of equal scores the leftmost.  A character that is no token
 * becomes bytes.
 */
#include <math.h>
#include <string.h>

#include "text/utf8.h"
#include "text/vocab_impl.h"

static const char blank[] = "\xe2\x96\x81"; /* U+2581 */
#define BLANK_LEN (sizeof blank - 1)

static bool is_blank(const char *s, size_t n)
{
    return n >= BLANK_LEN && memcmp(s, blank, BLANK_LEN) == 0;
}

/* Plain text gives normal and user-defined tokens only.  It does not give
 * control, unknown and byte tokens, even if it spells their names. */
static bool is_text(const tlpi_vocab *v, int32_t id)
{
    return v->type[id] == TLPI_TOKEN_NORMAL ||
           v->type[id] == TLPI_TOKEN_USER_DEFINED;
}

/* ==== loading ============================================================ */

/* A number from the bits of a score: a higher score gives a lower number. */
static uint32_t rank_of_score(float score)
{
    uint32_t bits;

    score += 0.0f; /* -0 and 0 are one score */
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
}

static tlp_status load_scores(tlpi_vocab *v)
{
    const tlpi_gguf_kv *kv;
    tlp_status st = tlpi_vocab_array(v, "tokenizer.ggml.scores", false,
                                     (uint64_t)v->n_token, true, &kv);

    if (st != TLP_OK)
        return st;
    v->rank = tlpi_alloc_array(v->env, (size_t)v->n_token, sizeof *v->rank);
    if (!v->rank)
        return tlpi_fail_nomem_for("a tokenizer");
    for (int32_t id = 0; id < v->n_token; id++) {
        double score = tlpi_gguf_elem_f64(kv, (uint64_t)id);
        if (isnan(score))
            return tlpi_fail(TLP_EFORMAT, "%s: key %s[%d]: not a number",
                             v->g->path, kv->key, id);
        v->rank[id] = rank_of_score((float)score);
    }
    return TLP_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F'   ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* The byte of "<0xXX>"; -1 for another text. */
static int byte_of_text(tlpi_str t)
{
    if (t.n != 6 || memcmp(t.s, "<0x", 3) != 0 || t.s[5] != '>')
        return -1;
    int high = hex_digit(t.s[3]), low = hex_digit(t.s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Tokens with the text of a byte are byte tokens, whatever their type, unless
 * the file has a byte token for that byte. */
static void mend_bytes(tlpi_vocab *v)
{
    bool has[256] = { false };
    int32_t first = -1;
    int n = 0, type = 0;

    for (int32_t id = 0; id < v->n_token; id++)
        if (v->type[id] == TLPI_TOKEN_BYTE && byte_of_text(v->text[id]) >= 0)
            has[byte_of_text(v->text[id])] = true;
    for (int32_t id = 0; id < v->n_token; id++) {
        int b = byte_of_text(v->text[id]);
        if (b < 0 || has[b])
            continue;
        if (n++ == 0) {
            first = id;
            type = v->type[id];
        }
        has[b] = true;
        v->type[id] = TLPI_TOKEN_BYTE;
    }
    if (n > 0 && tlpi_gguf_find(v->g, "tokenizer.ggml.token_type"))
        tlpi_log(v->env, TLP_LOG_WARN,
                 "%s: key tokenizer.ggml.token_type[%d]: %d, but \"%.*s\" is "
                 "the text of a byte and is taken as a byte token; such "
                 "tokens: %d",
                 v->g->path, first, type, TLPI_STR(v->text[first]), n);
}

static size_t unescape(tlpi_str text, char *dst)
{
    size_t len = 0;

    for (size_t i = 0; i < text.n;) {
        bool b = is_blank(text.s + i, text.n - i);
        dst[len++] = b ? ' ' : text.s[i];
        i += b ? BLANK_LEN : 1;
    }
    return len;
}

/* Does a U+2581 stand after another character? */
static bool has_inner_blank(tlpi_str text)
{
    size_t i = 0;

    while (is_blank(text.s + i, text.n - i))
        i += BLANK_LEN;
    for (; i < text.n; i++)
        if (is_blank(text.s + i, text.n - i))
            return true;
    return false;
}

static tlp_status load_piece(tlpi_vocab *v, int32_t id, char **dst)
{
    tlpi_str text = v->text[id];
    size_t len;
    int b;

    switch (v->type[id]) {
    case TLPI_TOKEN_BYTE:
        b = byte_of_text(text);
        if (b < 0)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key tokenizer.ggml.tokens[%d]: \"%.*s\": "
                             "<0xXX> expected of a byte token",
                             v->g->path, id, TLPI_STR(text));
        **dst = (char)b;
        len = 1;
        v->byte_id[b] = id;
        break;
    case TLPI_TOKEN_NORMAL:
    case TLPI_TOKEN_UNUSED:
        len = unescape(text, *dst);
        break;
    default:
        v->piece[id] = text;
        return TLP_OK;
    }
    v->piece[id] = (tlpi_str){ *dst, len };
    *dst += len;
    return TLP_OK;
}

tlp_status tlpi_spm_load(tlpi_vocab *v)
{
    char *dst = v->bytes;
    tlp_status st = TLP_OK;

    mend_bytes(v);
    v->by_words = true;
    for (unsigned b = 0; b < 256; b++)
        v->byte_id[b] = -1;
    for (int32_t id = 0; id < v->n_token && st == TLP_OK; id++) {
        st = load_piece(v, id, &dst);
        if (is_text(v, id) && has_inner_blank(v->text[id]))
            v->by_words = false;
    }
    return st == TLP_OK ? load_scores(v) : st;
}

/* ==== encoding =========================================================== */

typedef struct encoder {
    const tlpi_vocab *v;
    tlpi_ids *out;
    tlpi_text word; /* escaped text that is not encoded yet */
    bool in_blanks; /* the word ends in U+2581, or is empty */
    tlpi_merger m;
} encoder;

/* The token whose text runs from one symbol up to another; -1 if none. */
static int32_t token_between(const encoder *e, const tlpi_symbol *sym,
                             uint32_t from, uint32_t to)
{
    uint32_t at = sym[from].value;
    int32_t id = tlpi_index_find1(e->v, e->word.data + at, sym[to].value - at);

    return id >= 0 && is_text(e->v, id) ? id : -1;
}

static bool join(const void *arg, const tlpi_symbol *sym, uint32_t left,
                 uint32_t right, uint32_t *rank, uint32_t *value)
{
    const encoder *e = arg;
    int32_t id = token_between(e, sym, left, sym[right].next);

    if (id < 0)
        return false;
    *rank = e->v->rank[id];
    *value = sym[left].value;
    return true;
}

/* Text that is no token gives byte tokens.  A byte without a token gives the
 * unknown token, or nothing if there is none. */
static tlp_status push_bytes(const encoder *e, const char *s, size_t n)
{
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < n; i++) {
        int32_t id = e->v->byte_id[(uint8_t)s[i]];
        if (id < 0)
            id = e->v->special.unk;
        if (id >= 0)
            TLP_TRY(tlpi_ids_push(e->out, id));
        else
            e->out->n_lost++;
    }
done:
    return st;
}

/* Encode and empty e->word. */
static tlp_status flush(encoder *e)
{
    tlp_status st = TLP_OK;
    const char *s = e->word.data;
    size_t n = e->word.len, n_symbol = 0;

    if (e->word.failed)
        return tlpi_fail_nomem_for("a tokenizer");
    if (n == 0)
        return TLP_OK;
    tlpi_utf8 what;
    for (size_t i = 0; i < n; i += tlpi_utf8_next(s + i, n - i, &what))
        n_symbol++;
    TLP_TRY(tlpi_merger_begin(&e->m, n_symbol));
    tlpi_symbol *sym = e->m.sym;
    for (size_t i = 0, k = 0; k <= n_symbol; k++) {
        sym[k].value = (uint32_t)i;
        if (i < n)
            i += tlpi_utf8_next(s + i, n - i, &what);
    }
    TLP_TRY(tlpi_merger_run(&e->m, join, e));
    for (uint32_t k = 0; k < n_symbol; k = sym[k].next) {
        int32_t id = token_between(e, sym, k, sym[k].next);
        uint32_t at = sym[k].value;
        TLP_TRY(id >= 0 ? tlpi_ids_push(e->out, id)
                        : push_bytes(e, s + at, sym[sym[k].next].value - at));
    }
    e->word.len = 0;
    e->in_blanks = true;
done:
    return st;
}

static tlp_status add(encoder *e, const char *s, size_t n)
{
    tlp_status st = TLP_OK;
    bool b = s[0] == ' ' || is_blank(s, n);

    if (b && !e->in_blanks && e->v->by_words)
        TLP_TRY(flush(e));
    tlpi_text_add(&e->word, b ? blank : s, b ? BLANK_LEN : n);
    e->in_blanks = b;
done:
    return st;
}

tlp_status tlpi_spm_encode(const tlpi_vocab *v, const char *s, size_t n,
                           bool prefix, tlpi_ids *out)
{
    tlp_status st = TLP_OK;
    encoder e = { .v = v,
                  .out = out,
                  .word = { .env = v->env },
                  .in_blanks = true,
                  .m = { .env = v->env } };

    if (prefix)
        TLP_TRY(add(&e, " ", 1));
    for (size_t i = 0; i < n;) {
        tlpi_utf8 what;
        size_t len = tlpi_utf8_next(s + i, n - i, &what);
        TLP_TRY(add(&e, s + i, len));
        i += len;
    }
    TLP_TRY(flush(&e));
done:
    tlpi_merger_free(&e.m);
    tlpi_text_free(&e.word);
    return st;
}
