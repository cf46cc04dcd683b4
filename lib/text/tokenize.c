/*
 * tokenize.c - text to ids: find the special tokens first, then tokenize the
 * text between them by BPE or SPM.
 */
#include "text/vocab_impl.h"

/* A symbol's index has 32 bits, and U+2581 has three bytes for one blank. */
#define TEXT_MAX ((size_t)1 << 30)

tlp_status tlpi_ids_push(tlpi_ids *ids, int32_t id)
{
    if (ids->n == ids->cap) {
        size_t cap = TLPI_MAX(ids->cap + ids->cap / 2, (size_t)64);
        int32_t *data =
            tlpi_realloc_array(ids->env, ids->data, cap, sizeof *data);
        if (!data)
            return tlpi_fail_nomem();
        ids->data = data;
        ids->cap = cap;
    }
    ids->data[ids->n++] = id;
    return TLP_OK;
}

static tlp_status encode(const tlpi_vocab *v, const char *s, size_t n,
                         tlpi_ids *out)
{
    if (n == 0)
        return TLP_OK;
    return v->kind == TLPI_BPE ? tlpi_bpe_encode(v, s, n, out)
                               : tlpi_spm_encode(v, s, n, out);
}

tlp_status tlpi_vocab_tokenize(const tlpi_vocab *v, const char *text, size_t n,
                               uint32_t flags, tlpi_ids *out)
{
    tlp_status st = TLP_OK;
    bool all = flags & TLP_TOKENIZE_SPECIAL;
    bool ends = flags & TLP_TOKENIZE_BOS;

    if (n > TEXT_MAX)
        return tlpi_fail(TLP_EINVAL, "text of %zu bytes, at most %zu expected",
                         n, TEXT_MAX);
    if (ends && v->special.add_bos)
        TLP_TRY(tlpi_ids_push(out, v->special.bos));
    for (size_t from = 0; from < n;) {
        size_t at;
        int32_t id = tlpi_trie_find(v, text, from, n, all, &at);
        TLP_TRY(encode(v, text + from, at - from, out));
        if (id < 0)
            break;
        TLP_TRY(tlpi_ids_push(out, id));
        from = at + v->text[id].n;
    }
    if (ends && v->special.add_eos)
        TLP_TRY(tlpi_ids_push(out, v->special.eos));
done:
    return st;
}
