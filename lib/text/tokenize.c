/*
 * tokenize.c - text to ids: find the special tokens first, then tokenize the
 * text between them by BPE or SPM.
 */
#include <string.h>

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
            return tlpi_fail_nomem_for("the tokens of a text");
        ids->data = data;
        ids->cap = cap;
    }
    ids->data[ids->n++] = id;
    return TLP_OK;
}

tlp_status tlpi_ids_copy_out(const tlpi_ids *from, int32_t *ids, size_t cap,
                             size_t *count)
{
    *count = from->n;
    if (from->n > cap)
        return tlpi_fail(TLP_EBUFS, "room for %zu ids is needed, %zu given",
                         from->n, cap);
    if (from->n > 0)
        memcpy(ids, from->data, from->n * sizeof *ids);
    return TLP_OK;
}

/* The text from `from` up to `to`, which has no special tokens. */
static tlp_status encode(const tlpi_vocab *v, const char *text, size_t from,
                         size_t to, tlpi_ids *out)
{
    bool prefix = v->space_prefix && (from == 0 || v->legacy);

    if (from == to)
        return TLP_OK;
    return v->kind == TLPI_BPE
               ? tlpi_bpe_encode(v, text + from, to - from, out)
               : tlpi_spm_encode(v, text + from, to - from, prefix, out);
}

/* Merges and byte tokens of an odd file could lead to a control token. */
static tlp_status check_plain(const tlpi_vocab *v, const tlpi_ids *ids,
                              size_t from)
{
    for (size_t i = from; i < ids->n; i++)
        if (ids->data[i] < v->n_token &&
            v->type[ids->data[i]] == TLPI_TOKEN_CONTROL)
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: key tokenizer.ggml.tokens[%d]: a control "
                             "token that plain text gives",
                             v->g->path, ids->data[i]);
    return TLP_OK;
}

tlp_status tlpi_vocab_tokenize_marked(const tlpi_vocab *v, const char *text,
                                      const uint8_t *data, size_t n,
                                      uint32_t flags, tlpi_ids *out)
{
    tlp_status st = TLP_OK;
    bool all = flags & TLP_TOKENIZE_SPECIAL;
    bool add_bos = (flags & TLP_TOKENIZE_BOS) && v->special.add_bos;
    size_t n_lost = out->n_lost;

    if (n > TEXT_MAX)
        return tlpi_fail(TLP_EINVAL, "text of %zu bytes, at most %zu expected",
                         n, TEXT_MAX);
    if (add_bos)
        TLP_TRY(tlpi_ids_push(out, v->special.bos));
    for (size_t from = 0; from < n;) {
        size_t at, n_before = out->n;
        int32_t id = tlpi_trie_find(v, text, data, from, n, all, &at);
        TLP_TRY(encode(v, text, from, at, out));
        if (data)
            TLP_TRY(check_plain(v, out, n_before));
        if (id < 0)
            break;
        /* A text that begins with BOS gets no second BOS. */
        if (at > 0 || !add_bos || id != v->special.bos)
            TLP_TRY(tlpi_ids_push(out, id));
        from = at + v->text[id].n;
    }
    if ((flags & TLP_TOKENIZE_EOS) && v->special.add_eos)
        TLP_TRY(tlpi_ids_push(out, v->special.eos));
    if (out->n_lost > n_lost)
        tlpi_log(v->env, TLP_LOG_WARN,
                 "%s: bytes of a text that have no token and are left out: %zu "
                 "of %zu",
                 v->g->path, out->n_lost - n_lost, n);
done:
    return st;
}

tlp_status tlpi_vocab_tokenize(const tlpi_vocab *v, const char *text, size_t n,
                               uint32_t flags, tlpi_ids *out)
{
    return tlpi_vocab_tokenize_marked(v, text, NULL, n, flags, out);
}
