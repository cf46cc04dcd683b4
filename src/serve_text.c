/*
 * serve_text.c - /tokenize and /detokenize.
 */
#include <stdlib.h>
#include <string.h>

#include "serve.h"
#include "serve_fields.h"
#include "serve_output.h"

/* ==== /tokenize ========================================================== */

typedef struct cutting {
    const char *text;
    bool bos, special, pieces;
} cutting;

/* The names are those of llama-server ("content", "add_special") and vLLM
 * ("prompt", "add_special_tokens"), with their defaults. */
static bool read_cutting(cutting *k, fields *f)
{
    const char *prompt = NULL;
    bool newer = true;

    *k = (cutting){ .special = true };
    field_ignore(f, "model");
    if (!field_text(f, "content", &k->text) ||
        !field_text(f, "prompt", &prompt) ||
        !field_flag(f, "add_special", &k->bos) ||
        !field_flag(f, "add_special_tokens", &newer) ||
        !field_flag(f, "parse_special", &k->special) ||
        !field_flag(f, "with_pieces", &k->pieces) || !fields_done(f))
        return false;
    if (!k->text == !prompt)
        return api_fail(f->error, MHD_HTTP_BAD_REQUEST, "content", "missing",
                        "content: content or prompt expected");
    if (prompt) {
        k->text = prompt;
        k->bos = newer;
    }
    return true;
}

static void put_piece(json *j, const tlp_model *model, int32_t id)
{
    size_t n = 0;
    char *bytes = token_bytes(model, id, &n);

    json_open(j, NULL, '{');
    json_int(j, "id", id);
    if (bytes && json_is_utf8(bytes, n)) {
        json_bytes(j, "piece", bytes, n);
    } else {
        json_open(j, "piece", '[');
        for (size_t i = 0; i < n; i++)
            json_int(j, NULL, (unsigned char)bytes[i]);
        json_close(j, ']');
    }
    json_close(j, '}');
    free(bytes);
}

static enum MHD_Result reply_tokens(call *c, const cutting *k,
                                    const int32_t *ids, size_t n)
{
    memo m;
    json j;

    if (!reply_open(&m, &j))
        return MHD_NO;
    json_open(&j, "tokens", '[');
    for (size_t i = 0; i < n; i++) {
        if (k->pieces)
            put_piece(&j, c->s->e.model, ids[i]);
        else
            json_int(&j, NULL, ids[i]);
    }
    json_close(&j, ']');
    json_int(&j, "count", (int64_t)n);
    json_int(&j, "max_model_len", c->s->n_ctx);
    return reply_close(c, &m, &j);
}

static enum MHD_Result tokenize(call *c, const cutting *k)
{
    uint32_t flags = (k->special ? TLP_TOKENIZE_SPECIAL : 0u) |
                     (k->bos ? TLP_TOKENIZE_BOS : 0u);
    size_t n = 0, len = strlen(k->text);
    int32_t *ids = NULL;
    enum MHD_Result result;

    if (api_tokenize(&c->error, c->s->e.model, k->text, len, flags, &ids, &n))
        result = reply_tokens(c, k, ids, n);
    else
        result = reply_error(c);
    free(ids);
    return result;
}

enum MHD_Result serve_tokenize(call *c)
{
    fields f;
    cutting k;
    enum MHD_Result result;

    if (fields_open(&f, c->body, c->n_body, &c->error) && read_cutting(&k, &f))
        result = tokenize(c, &k);
    else
        result = reply_error(c);
    fields_close(&f);
    return result;
}

/* ==== /detokenize ======================================================== */

static enum MHD_Result reply_content(call *c, const char *text, size_t n)
{
    memo m;
    json j;

    if (!reply_open(&m, &j))
        return MHD_NO;
    json_bytes(&j, "content", text, n);
    json_bytes(&j, "prompt", text, n);
    return reply_close(c, &m, &j);
}

static bool read_ids(call *c, fields *f, int32_t **ids, size_t *n)
{
    const json_t *array = field(f, "tokens");

    field_ignore(f, "model");
    if (!json_is_array(array))
        return api_fail(&c->error, MHD_HTTP_BAD_REQUEST, "tokens", "missing",
                        "tokens: an array of token ids expected");
    return fields_done(f) && field_tokens(f, "tokens", array, SIZE_MAX / 8,
                                          c->s->e.info.n_vocab, ids, n);
}

enum MHD_Result serve_detokenize(call *c)
{
    fields f;
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n = 0, len = 0;
    bool fine = fields_open(&f, c->body, c->n_body, &c->error) &&
                read_ids(c, &f, &ids, &n) &&
                api_detokenize(&c->error, c->s->e.model, ids, n,
                               TLP_DETOKENIZE_SPECIAL, &text, &len);
    enum MHD_Result result =
        fine ? reply_content(c, text, len) : reply_error(c);

    fields_close(&f);
    free(text);
    free(ids);
    return result;
}
