/*
 * bpe.c - byte-level byte-pair encoding.
 *
 * Token texts spell every byte as one printable character.  A printable byte is
 * its Latin-1 character; the 68 other bytes are U+0100 and up, in order.  A
 * merge "left right" joins two tokens into the token with the text of both. The
 * rank of a merge is its index in the list.
 */
#include <string.h>

#include "text/utf8.h"
#include "text/vocab_impl.h"

/* ==== bytes as characters ================================================ */

static unsigned char_of_byte(unsigned b)
{
    if (b <= 32)
        return 256 + b;
    if (b >= 127 && b <= 160)
        return 256 + 33 + (b - 127);
    return b == 173 ? 256 + 67 : b;
}

/* -1 for a character that stands for no byte. */
static int byte_of_char(unsigned c)
{
    if (c >= 256 + 68)
        return -1;
    if (c < 256)
        return char_of_byte(c) == c ? (int)c : -1;
    c -= 256;
    return (int)(c < 33 ? c : c < 67 ? 127 + (c - 33) : 173);
}

/* These characters have one or two bytes in UTF-8. */
static size_t put_char(char *dst, unsigned c)
{
    if (c < 0x80) {
        dst[0] = (char)c;
        return 1;
    }
    dst[0] = (char)(0xc0 | c >> 6);
    dst[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

/* The byte that is spelt at s (n >= 1 bytes left) and the length of its
 * spelling; -1 if s spells no byte. */
static int spelt_byte(const char *s, size_t n, size_t *len)
{
    tlpi_utf8 what;
    unsigned c = (uint8_t)s[0];

    *len = tlpi_utf8_next(s, n, &what);
    if (what != TLPI_UTF8_CHAR || *len > 2)
        return -1;
    if (*len == 2)
        c = (c & 0x1f) << 6 | ((uint8_t)s[1] & 0x3f);
    return byte_of_char(c);
}

/* Write the bytes that a token text spells to dst; -1 if it spells none. */
static ptrdiff_t decode_text(tlpi_str text, char *dst)
{
    ptrdiff_t len = 0;

    for (size_t i = 0, n; i < text.n;) {
        int b = spelt_byte(text.s + i, text.n - i, &n);
        if (b < 0)
            return -1;
        dst[len++] = (char)b;
        i += n;
    }
    return len;
}

/* ==== merges ============================================================= */

/* The slot of a pair, or the free slot for it. */
static tlpi_pair *pair_slot(const tlpi_vocab *v, uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) ^ v->index.seed;

    h *= UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    for (size_t i = (h >> 32) & v->pair_mask;; i = (i + 1) & v->pair_mask) {
        tlpi_pair *p = &v->pair[i];
        if ((p->left == left && p->right == right) || p->left == UINT32_MAX)
            return p;
    }
}

static tlp_status bad_merge(const tlpi_vocab *v, uint64_t i, tlpi_str merge,
                            const char *what)
{
    return tlpi_fail(TLP_EFORMAT,
                     "%s: key tokenizer.ggml.merges[%llu]: \"%.*s\": %s",
                     v->g->path, (unsigned long long)i, TLPI_STR(merge), what);
}

/* Remember which two bytes this merge brings together.  A token text that
 * spells no bytes never comes from a text. */
static void note_touch(tlpi_vocab *v, tlpi_str left, tlpi_str right)
{
    size_t back = left.n > 1 && ((uint8_t)left.s[left.n - 1] & 0xc0) == 0x80;
    size_t len;
    int a = spelt_byte(left.s + left.n - 1 - back, 1 + back, &len);
    int b = spelt_byte(right.s, right.n, &len);

    if (a >= 0 && b >= 0)
        v->touch[a][b / 32] |= 1u << b % 32;
}

static tlp_status add_merge(tlpi_vocab *v, uint64_t i, tlpi_str merge)
{
    /* A blank in first place belongs to the left token. */
    const char *blank =
        merge.n > 1 ? memchr(merge.s + 1, ' ', merge.n - 1) : NULL;
    if (!blank || blank + 1 == merge.s + merge.n)
        return bad_merge(v, i, merge, "two tokens expected");
    tlpi_str left = { merge.s, (size_t)(blank - merge.s) };
    tlpi_str right = { blank + 1, merge.n - left.n - 1 };
    tlpi_str none = { "", 0 };
    int32_t l = tlpi_index_find(v, left, none);
    int32_t r = tlpi_index_find(v, right, none);
    int32_t id = tlpi_index_find(v, left, right);

    if (l < 0)
        return bad_merge(v, i, merge, "the left part is no token");
    if (r < 0)
        return bad_merge(v, i, merge, "the right part is no token");
    if (id < 0)
        return bad_merge(v, i, merge, "the joined text is no token");
    if (v->type[id] == TLPI_TOKEN_CONTROL) /* never from plain text */
        return bad_merge(v, i, merge, "the joined text is a control token");
    note_touch(v, left, right);
    tlpi_pair *p = pair_slot(v, (uint32_t)l, (uint32_t)r);
    if (p->left == UINT32_MAX) /* of equal pairs the first counts */
        *p = (tlpi_pair){ (uint32_t)l, (uint32_t)r, (uint32_t)i, id };
    v->made[id] = 1;
    return TLP_OK;
}

static tlp_status load_merges(tlpi_vocab *v)
{
    const tlpi_gguf_kv *kv;
    size_t n_slot = 16;
    tlp_status st =
        tlpi_vocab_array(v, "tokenizer.ggml.merges", true, 0, true, &kv);

    if (st != TLP_OK)
        return st;
    if (kv->n >= UINT32_MAX / 4)
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: %llu merges", v->g->path,
                         kv->key, (unsigned long long)kv->n);
    while (n_slot < kv->n * 2)
        n_slot *= 2;
    v->pair = tlpi_alloc_array(v->env, n_slot, sizeof *v->pair);
    v->made = tlpi_calloc(v->env, (size_t)v->n_token, sizeof *v->made);
    if (!v->pair || !v->made)
        return tlpi_fail_nomem_for("a tokenizer");
    memset(v->pair, 0xff, n_slot * sizeof *v->pair);
    v->pair_mask = n_slot - 1;
    const uint8_t *at = kv->data;
    for (uint64_t i = 0; i < kv->n && st == TLP_OK; i++)
        st = add_merge(v, i, tlpi_gguf_next_str(&at));
    return st;
}

tlp_status tlpi_bpe_load(tlpi_vocab *v)
{
    char *dst = v->bytes;

    for (int32_t id = 0; id < v->n_token; id++) {
        v->piece[id] = v->text[id];
        if (v->type[id] != TLPI_TOKEN_NORMAL &&
            v->type[id] != TLPI_TOKEN_UNUSED)
            continue;
        ptrdiff_t n = decode_text(v->text[id], dst);
        if (n < 0) /* it spells no bytes: take the text */
            continue;
        v->piece[id] = (tlpi_str){ dst, (size_t)n };
        dst += n;
    }
    for (unsigned b = 0; b < 256; b++) {
        char c[2];
        v->byte_id[b] = tlpi_index_find1(v, c, put_char(c, char_of_byte(b)));
    }
    return load_merges(v);
}

/* ==== encoding =========================================================== */

/* For words of at most this number of bytes, a search over all pairs after each
 * merge is faster than a heap. */
#define SHORT_WORD 32

static const tlpi_pair *pair_of(const tlpi_vocab *v, int32_t left,
                                int32_t right)
{
    if (left < 0 || right < 0)
        return NULL;
    const tlpi_pair *p = pair_slot(v, (uint32_t)left, (uint32_t)right);
    return p->left == UINT32_MAX ? NULL : p;
}

/* Leave out bytes without a token. */
static tlp_status push_known(tlpi_ids *out, int32_t id)
{
    out->n_lost += id < 0;
    return id < 0 ? TLP_OK : tlpi_ids_push(out, id);
}

static tlp_status encode_short(const tlpi_vocab *v, const char *s, size_t n,
                               tlpi_ids *out)
{
    tlp_status st = TLP_OK;
    int32_t id[SHORT_WORD];
    const tlpi_pair *pair[SHORT_WORD]; /* pair[i] joins id[i] and id[i + 1] */

    for (size_t i = 0; i < n; i++)
        id[i] = v->byte_id[(uint8_t)s[i]];
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = pair_of(v, id[i], id[i + 1]);
    for (;;) {
        size_t best = n;
        uint32_t rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < n; i++)
            if (pair[i] && pair[i]->rank < rank) {
                best = i;
                rank = pair[i]->rank;
            }
        if (best == n)
            break;
        id[best] = pair[best]->id;
        n--;
        for (size_t i = best + 1; i < n; i++) {
            id[i] = id[i + 1];
            if (i + 1 < n)
                pair[i] = pair[i + 1];
        }
        if (best > 0)
            pair[best - 1] = pair_of(v, id[best - 1], id[best]);
        if (best + 1 < n)
            pair[best] = pair_of(v, id[best], id[best + 1]);
    }
    for (size_t i = 0; i < n; i++)
        TLP_TRY(push_known(out, id[i]));
done:
    return st;
}

static bool join(const void *arg, const tlpi_symbol *sym, uint32_t left,
                 uint32_t right, uint32_t *rank, uint32_t *value)
{
    const tlpi_pair *p =
        pair_of(arg, (int32_t)sym[left].value, (int32_t)sym[right].value);

    if (!p)
        return false;
    *rank = p->rank;
    *value = (uint32_t)p->id;
    return true;
}

static tlp_status encode_long(const tlpi_vocab *v, const char *s, size_t n,
                              tlpi_ids *out)
{
    tlp_status st = TLP_OK;
    tlpi_merger m = { .env = v->env };

    TLP_TRY(tlpi_merger_begin(&m, n));
    for (size_t i = 0; i < n; i++)
        m.sym[i].value = (uint32_t)v->byte_id[(uint8_t)s[i]];
    TLP_TRY(tlpi_merger_run(&m, join, v));
    for (size_t i = 0; i < n; i = m.sym[i].next)
        TLP_TRY(push_known(out, (int32_t)m.sym[i].value));
done:
    tlpi_merger_free(&m);
    return st;
}

/* Bytes of the longest word that whole_token looks up as one token. */
#define WHOLE_MAX 512

static int32_t whole_token(const tlpi_vocab *v, const char *s, size_t n)
{
    char spelt[2 * WHOLE_MAX];
    size_t len = 0;

    if (n > WHOLE_MAX)
        return -1;
    for (size_t i = 0; i < n; i++)
        len += put_char(spelt + len, char_of_byte((uint8_t)s[i]));
    int32_t id = tlpi_index_find1(v, spelt, len);
    return id >= 0 && v->type[id] == TLPI_TOKEN_NORMAL ? id : -1;
}

typedef struct sink {
    const tlpi_vocab *v;
    tlpi_ids *out;
} sink;

/* Can any merge join a token that ends in a with a token that begins with b? */
static bool may_touch(const tlpi_vocab *v, char a, char b)
{
    return v->touch[(uint8_t)a][(uint8_t)b / 32] >> (uint8_t)b % 32 & 1;
}

/* A word is cut where no merge can join the bytes on both sides. */
static tlp_status encode_parts(const tlpi_vocab *v, const char *s, size_t n,
                               tlpi_ids *out)
{
    tlp_status st = TLP_OK;

    for (size_t from = 0, to; from < n && st == TLP_OK; from = to) {
        to = from + 1;
        while (to < n && may_touch(v, s[to - 1], s[to]))
            to++;
        st = to - from <= SHORT_WORD ? encode_short(v, s + from, to - from, out)
                                     : encode_long(v, s + from, to - from, out);
    }
    return st;
}

static tlp_status encode_word(void *arg, const char *s, size_t n)
{
    const sink *to = arg;

    if (n == 1)
        return push_known(to->out, to->v->byte_id[(uint8_t)s[0]]);
    if (to->v->rules.ignore_merges) {
        int32_t id = whole_token(to->v, s, n);
        if (id >= 0)
            return tlpi_ids_push(to->out, id);
    }
    return n <= SHORT_WORD ? encode_short(to->v, s, n, to->out)
                           : encode_parts(to->v, s, n, to->out);
}

tlp_status tlpi_bpe_encode(const tlpi_vocab *v, const char *s, size_t n,
                           tlpi_ids *out)
{
    sink to = { v, out };

    return tlpi_pretok_split(v->pretok, s, n, encode_word, &to);
}
