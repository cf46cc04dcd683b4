/*
 * tokens_api.c - tlp_tokenize, tlp_detokenize, tlp_token_is_end.
 */
#include <string.h>

#include "model/model.h"
#include "model/vocab.h"

tlp_status tlp_tokenize(const tlp_model *model, const char *text, size_t n,
                        uint32_t flags, int32_t *ids, size_t cap, size_t *count)
{
    tlp_status st = TLP_OK;
    const uint32_t known = TLP_TOKENIZE_SPECIAL | TLP_TOKENIZE_BOS;

    if (count)
        *count = 0;
    if (!model || (!text && n > 0) || !count || (!ids && cap > 0))
        return tlpi_fail(TLP_EINVAL, "model, text, ids and count are required");
    if (flags & ~known)
        return tlpi_fail(TLP_EINVAL, "flags 0x%x: unknown bits", flags);
    tlpi_ids out = { .env = &model->env };
    TLP_TRY(tlpi_vocab_tokenize(model->vocab, text, n, flags, &out));
    *count = out.n;
    if (out.n > cap)
        TLP_TRY(tlpi_fail(TLP_EBUFS, "room for %zu ids is needed, %zu given",
                          out.n, cap));
    if (out.n > 0)
        memcpy(ids, out.data, out.n * sizeof *ids);
done:
    tlpi_free(out.env, out.data);
    return st;
}

static tlp_status check_ids(const tlpi_vocab *v, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= tlpi_vocab_size(v))
            return tlpi_fail(TLP_EINVAL, "token %d at %zu: 0 to %d expected",
                             ids[i], i, tlpi_vocab_size(v) - 1);
    return TLP_OK;
}

tlp_status tlp_detokenize(const tlp_model *model, const int32_t *ids, size_t n,
                          uint32_t flags, char *buf, size_t cap, size_t *len)
{
    tlp_status st = TLP_OK;

    if (len)
        *len = 0;
    if (!model || (!ids && n > 0) || !len || (!buf && cap > 0))
        return tlpi_fail(TLP_EINVAL, "model, ids, buf and len are required");
    if (flags & ~TLP_DETOKENIZE_SPECIAL)
        return tlpi_fail(TLP_EINVAL, "flags 0x%x: unknown bits", flags);
    const tlpi_vocab *v = model->vocab;
    tlpi_text out = { .env = &model->env };
    TLP_TRY(check_ids(v, ids, n));
    /* Where the tokenizer puts a blank before a text, the first token that is
     * text has one too many. */
    bool at_start = tlpi_vocab_adds_space(v);
    for (size_t i = 0; i < n; i++) {
        tlpi_str piece = tlpi_vocab_piece(v, ids[i], flags);
        size_t skip = at_start && piece.n > 0 && piece.s[0] == ' ';
        if (!tlpi_vocab_is_control(v, ids[i]))
            at_start = false;
        tlpi_text_add(&out, piece.s + skip, piece.n - skip);
    }
    if (out.failed)
        TLP_TRY(tlpi_fail_nomem());
    TLP_TRY(tlpi_copy_out(out.data, out.len, buf, cap, len));
done:
    tlpi_text_free(&out);
    return st;
}

int tlp_token_is_end(const tlp_model *model, int32_t id)
{
    return model && tlpi_vocab_is_end(model->vocab, id);
}
