/*
 * text_api.c - the functions of tlp.h that turn text into tokens and tokens
 * into text: they check arguments, and pass the model's vocabulary to text/.
 */
#include <string.h>

#include "model/model.h"
#include "text/stream.h"

tlp_status tlp_tokenize(int32_t *ids, size_t cap, size_t *count,
                        const tlp_model *model, const char *text, size_t n,
                        uint32_t flags)
{
    tlp_status st = TLP_OK;
    const uint32_t known =
        TLP_TOKENIZE_SPECIAL | TLP_TOKENIZE_BOS | TLP_TOKENIZE_EOS;

    if (count)
        *count = 0;
    if (!model || (!text && n > 0) || !count || (!ids && cap > 0))
        return tlpi_fail(TLP_EINVAL, "model, text, ids and count are required");
    if (flags & ~known)
        return tlpi_fail(TLP_EINVAL, "flags 0x%x: unknown bits", flags);
    tlpi_ids out = { .env = &model->env };
    TLP_TRY(tlpi_vocab_tokenize(model->vocab, text, n, flags, &out));
    TLP_TRY(tlpi_ids_copy_out(&out, ids, cap, count));
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

tlp_status tlp_detokenize(char *buf, size_t cap, size_t *len,
                          const tlp_model *model, const int32_t *ids, size_t n,
                          uint32_t flags)
{
    tlp_status st = TLP_OK;

    if (len)
        *len = 0;
    if (!model || (!ids && n > 0) || !len || (!buf && cap > 0))
        return tlpi_fail(TLP_EINVAL, "model, ids, buf and len are required");
    if (flags & ~(uint32_t)TLP_DETOKENIZE_SPECIAL)
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
        TLP_TRY(tlpi_fail_nomem_for("the text of tokens"));
    TLP_TRY(tlpi_copy_out(out.data, out.len, buf, cap, len));
done:
    tlpi_text_free(&out);
    return st;
}

int tlp_token_is_end(const tlp_model *model, int32_t id)
{
    return model && tlpi_vocab_is_end(model->vocab, id);
}

tlp_status tlp_token_get_piece(char *buf, size_t cap, size_t *len,
                               const tlp_model *model, int32_t id)
{
    tlp_status st = TLP_OK;

    if (len)
        *len = 0;
    if (!model || !len || (!buf && cap > 0))
        return tlpi_fail(TLP_EINVAL, "model, buf and len are required");
    TLP_TRY(check_ids(model->vocab, &id, 1));
    tlpi_str piece = tlpi_vocab_piece(model->vocab, id, TLP_DETOKENIZE_SPECIAL);
    st = tlpi_copy_out(piece.s, piece.n, buf, cap, len);
done:
    return st;
}

uint32_t tlp_token_kind(const tlp_model *model, int32_t id)
{
    if (!model || id < 0 || id >= tlpi_vocab_size(model->vocab))
        return 0;
    uint32_t kind = tlpi_vocab_is_end(model->vocab, id) ? TLP_TOKEN_END : 0;

    switch (tlpi_vocab_type(model->vocab, id)) {
    case TLPI_TOKEN_NORMAL:
        return kind;
    case TLPI_TOKEN_USER_DEFINED:
        return kind | TLP_TOKEN_USER;
    case TLPI_TOKEN_BYTE:
        return kind | TLP_TOKEN_BYTE;
    case TLPI_TOKEN_PADDING:
        return kind | TLP_TOKEN_PADDING;
    default:
        return kind | TLP_TOKEN_CONTROL;
    }
}

/* ==== streams ============================================================ */

struct tlp_stream {
    tlp_model *model; /* retained: it owns the vocabulary */
    tlpi_stream s;
};

tlp_status tlp_stream_create(tlp_stream **out, tlp_model *model,
                             const char *const *stops, size_t n_stop,
                             uint32_t flags)
{
    tlp_status st = TLP_OK;

    if (out)
        *out = NULL;
    if (!out || !model || (!stops && n_stop > 0))
        return tlpi_fail(TLP_EINVAL, "out, model and stop are required");
    if (flags & ~(uint32_t)TLP_DETOKENIZE_SPECIAL)
        return tlpi_fail(TLP_EINVAL, "flags 0x%x: unknown bits", flags);
    tlp_stream *stream = tlpi_calloc(&model->env, 1, sizeof *stream);
    if (!stream)
        return tlpi_fail_nomem_for("the text of tokens");
    stream->model = tlpi_model_retain(model);
    stream->s.env = &model->env;
    stream->s.vocab = model->vocab;
    TLP_TRY(tlpi_stream_init(&stream->s, stops, n_stop, flags));
    *out = stream;
    stream = NULL;
done:
    tlp_stream_free(stream);
    return st;
}

void tlp_stream_free(tlp_stream *stream)
{
    if (!stream)
        return;
    tlp_model *model = stream->model;
    tlpi_stream_clear(&stream->s);
    tlpi_free(&model->env, stream);
    tlp_model_free(model);
}

tlp_status tlp_stream_push(const char **text, size_t *len, int *stopped,
                           tlp_stream *stream, int32_t token)
{
    if (text)
        *text = NULL;
    if (len)
        *len = 0;
    if (stopped)
        *stopped = 0;
    if (!stream || !text || !len || !stopped)
        return tlpi_fail(TLP_EINVAL,
                         "stream, text, len and stopped are required");
    return tlpi_stream_push(&stream->s, token, text, len, stopped);
}

tlp_status tlp_stream_flush(const char **text, size_t *len, tlp_stream *stream)
{
    if (text)
        *text = NULL;
    if (len)
        *len = 0;
    if (!stream || !text || !len)
        return tlpi_fail(TLP_EINVAL, "stream, text and len are required");
    tlpi_stream_flush(&stream->s, text, len);
    return TLP_OK;
}
