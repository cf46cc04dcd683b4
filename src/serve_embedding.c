/*
 * serve_embedding.c - /v1/embeddings: a vector for each text.
 *
 * The texts of a call are requests of their own.  All but one of the engine's
 * sequences can have one, and no more wait: a call with many texts leaves a
 * sequence and the queue to other clients.
 */
#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve_answer.h"

#define BAD MHD_HTTP_BAD_REQUEST
#define MAX_INPUTS 2048 /* of OpenAI's API */

typedef struct embedding_part {
    int32_t *ids; /* until they are submitted */
    size_t n;
    tlp_event *event; /* the embedding, or NULL */
} embedding_part;

typedef struct embedding {
    call *call;
    program *program;
    serve_job *job;
    tlp_request request;
    tlp_embed_options options;
    embedding_part *part;
    int n_part, n_begun, n_ended;
    bool base64;
    int64_t n_prompt;
} embedding;

/* ==== fields ============================================================= */

/* The number of values is the model's. */
static bool read_size(fields *f, int n_embd)
{
    int64_t n = n_embd;

    if (!field_int(f, "dimensions", INT64_MIN, INT64_MAX, &n))
        return false;
    return n == n_embd ||
           api_fail(f->error, BAD, "dimensions", "unsupported",
                    "dimensions: %lld, %d expected: vectors of this model are "
                    "not cut",
                    (long long)n, n_embd);
}

static bool read_encoding(embedding *e, fields *f)
{
    const char *name = "float";

    if (!field_text(f, "encoding_format", &name))
        return false;
    e->base64 = !strcmp(name, "base64");
    return e->base64 || !strcmp(name, "float") ||
           api_fail(f->error, BAD, "encoding_format", "unsupported",
                    "encoding_format: %.40s: float or base64 expected", name);
}

/* vLLM's `normalize`, and llama-server's `embd_normalize` with the two values
 * that say as much: 2 and -1. */
static bool read_normalize(embedding *e, fields *f)
{
    bool normalize = true;
    int64_t norm = 2;

    if (!field_flag(f, "normalize", &normalize) ||
        !field_int(f, "embd_normalize", INT64_MIN, INT64_MAX, &norm))
        return false;
    if (norm != 2 && norm != -1)
        return api_fail(f->error, BAD, "embd_normalize", "unsupported",
                        "embd_normalize: %lld: 2 (length 1) or -1 (none) "
                        "expected",
                        (long long)norm);
    e->options.no_normalize = !normalize || norm == -1;
    return true;
}

static bool read_options(embedding *e, fields *f)
{
    call *c = e->call;
    const char *user = NULL;

    e->options = (tlp_embed_options)TLP_EMBED_OPTIONS_INIT;
    e->options.pooling = c->s->o.pooling;
    e->request = (tlp_request)TLP_REQUEST_INIT;
    e->request.embed = &e->options;
    e->program = generation_read_program(f, c);
    if (!e->program || !read_encoding(e, f) ||
        !read_size(f, c->s->e.info.n_embd) || !read_normalize(e, f) ||
        !field_text(f, "user", &user))
        return false;
    e->request.client = generation_client(c, user);
    return true;
}

/* ==== texts ============================================================== */

/* Token ids of one text. */
static bool read_text(embedding *e, embedding_part *p, int index,
                      const json_t *value)
{
    server *s = e->call->s;
    api_error *error = &e->call->error;
    fields f = { .error = error };

    if (json_is_string(value)) {
        if (json_string_length(value) == 0)
            return api_fail(error, BAD, "input", NULL,
                            "input: text %d is empty", index);
        if (!api_tokenize(error, s->e.model, json_string_value(value),
                          json_string_length(value),
                          TLP_TOKENIZE_BOS | TLP_TOKENIZE_EOS |
                              TLP_TOKENIZE_SPECIAL,
                          &p->ids, &p->n))
            return false;
    } else if (json_is_array(value)) {
        if (!field_tokens(&f, "input", value, SIZE_MAX / 8, s->e.info.n_vocab,
                          &p->ids, &p->n))
            return false;
    } else {
        return api_fail(error, BAD, "input", "invalid_type",
                        "input: text %d is %s: a string, or an array of token "
                        "ids, expected",
                        index, json_kind(value));
    }
    if (p->n == 0)
        return api_fail(error, BAD, "input", NULL,
                        "input: text %d has no tokens", index);
    return p->n <= (size_t)s->n_ctx ||
           api_fail(error, BAD, "input", "context_length_exceeded",
                    "input: text %d has %zu tokens, at most %d expected", index,
                    p->n, s->n_ctx);
}

/* All texts are read before the first is evaluated. */
static bool read_input(embedding *e, const json_t *input)
{
    api_error *error = &e->call->error;
    bool one =
        !json_is_array(input) || json_is_number(json_array_get(input, 0));
    size_t n = one ? 1 : json_array_size(input);

    if (!input)
        return api_fail(error, BAD, "input", "missing",
                        "input: a text, token ids, or an array of these "
                        "expected");
    if (n < 1 || n > MAX_INPUTS)
        return api_fail(error, BAD, "input", "too_many",
                        "input: %zu texts, 1 to %d expected", n, MAX_INPUTS);
    e->part = calloc(n, sizeof *e->part);
    if (!e->part)
        return api_fail_memory(error);
    e->n_part = (int)n;
    for (int i = 0; i < e->n_part; i++)
        if (!read_text(e, &e->part[i], i,
                       one ? input : json_array_get(input, (size_t)i)))
            return false;
    return true;
}

/* ==== the requests ======================================================= */

/* What is left of the time that the server gives a call. */
static double time_left(const call *c)
{
    double limit = (double)c->s->o.request_seconds;

    return limit > 0 ? fmax(limit - (cli_now() - c->begin), 1e-3) : 0;
}

/* Most texts of this call that wait and run at a time. */
static int most_texts(const call *c)
{
    return c->s->n_seq > 1 ? c->s->n_seq - 1 : 1;
}

/* Submit texts as long as there is room for this call's. */
static bool begin_texts(embedding *e)
{
    while (e->n_begun < e->n_part &&
           e->n_begun - e->n_ended < most_texts(e->call)) {
        embedding_part *p = &e->part[e->n_begun];

        e->request.tokens = p->ids;
        e->request.n_token = p->n;
        e->request.deadline = time_left(e->call);
        tlp_status st = job_submit(e->job, e->n_begun, &e->request);
        if (st == TLP_EBUSY && e->n_begun > e->n_ended)
            return true; /* later, when a text of this call has ended */
        if (st != TLP_OK)
            return api_fail_library(&e->call->error, st);
        free(p->ids);
        p->ids = NULL;
        e->n_begun++;
    }
    return true;
}

/* Take an event; false where it says that the call fails. */
static bool take(embedding *e, tlp_event *event, int part)
{
    api_error *error = &e->call->error;
    bool fine = true;

    if (event->kind == TLP_EVENT_EMBEDDING) {
        e->part[part].event = event;
        return true;
    }
    if (event->kind == TLP_EVENT_PROMPT)
        e->n_prompt += event->n_prompt;
    if (event->kind == TLP_EVENT_STOP)
        fine = !answer_fails(error, e->call->s, event);
    if (event->kind == TLP_EVENT_END) {
        e->n_ended++;
        if (!e->part[part].event)
            fine = api_fail(error, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, NULL,
                            "text %d ended without an embedding", part);
    }
    tlp_event_free(event);
    return fine;
}

/* Wait for all texts.  *gone: the client is. */
static bool evaluate(embedding *e, bool *gone)
{
    tlp_event *event;
    int part = 0;

    while (e->n_ended < e->n_part) {
        if (!begin_texts(e))
            return false;
        switch (job_wait(e->job, e->call->fd, &event, &part)) {
        case JOB_GONE:
            *gone = true;
            return false;
        case JOB_LOST:
            return api_fail_memory(&e->call->error);
        case JOB_EVENT:
            if (!take(e, event, part))
                return false;
        }
    }
    return true;
}

/* ==== the answer ========================================================= */

/* The values as base64 of little-endian float32; NULL when out of memory. */
static char *base64_of(const float *x, int n, size_t *len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
                                 "stuvwxyz0123456789+/";
    size_t n_byte = (size_t)n * sizeof *x;
    uint32_t *bits = malloc(n_byte);
    char *text = malloc((n_byte + 2) / 3 * 4 + 1), *at = text;

    if (!bits || !text) {
        free(bits);
        free(text);
        return NULL;
    }
    memcpy(bits, x, n_byte);
    for (int i = 0; i < n; i++)
        bits[i] = htole32(bits[i]);
    const unsigned char *byte = (const unsigned char *)bits;
    for (size_t i = 0; i < n_byte; i += 3, at += 4) {
        size_t k = n_byte - i < 3 ? n_byte - i : 3;
        unsigned v = (unsigned)byte[i] << 16 |
                     (k > 1 ? (unsigned)byte[i + 1] << 8 : 0u) |
                     (k > 2 ? byte[i + 2] : 0u);

        for (unsigned d = 0; d < 4; d++)
            at[d] = d <= k ? digits[v >> (18 - 6 * d) & 63] : '=';
    }
    *len = (size_t)(at - text);
    free(bits);
    return text;
}

static bool write_vector(json *j, const embedding *e, const tlp_event *event)
{
    size_t n = 0;
    char *text;

    if (!e->base64) {
        json_open(j, "embedding", '[');
        for (int i = 0; i < event->n_embedding; i++)
            json_number(j, NULL, (double)event->embedding[i]);
        json_close(j, ']');
        return true;
    }
    text = base64_of(event->embedding, event->n_embedding, &n);
    if (text)
        json_bytes(j, "embedding", text, n);
    free(text);
    return text != NULL;
}

static enum MHD_Result reply(embedding *e)
{
    bool whole = true;
    memo m;
    json j;

    if (!reply_open(&m, &j))
        return MHD_NO;
    json_text(&j, "object", "list");
    json_open(&j, "data", '[');
    for (int i = 0; i < e->n_part; i++) {
        json_open(&j, NULL, '{');
        json_text(&j, "object", "embedding");
        json_int(&j, "index", i);
        whole &= write_vector(&j, e, e->part[i].event);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_text(&j, "model", e->program->name);
    json_open(&j, "usage", '{');
    json_int(&j, "prompt_tokens", e->n_prompt);
    json_int(&j, "total_tokens", e->n_prompt);
    json_close(&j, '}');
    if (whole)
        return reply_close(e->call, &m, &j);
    if (memo_close(&m))
        free(m.text);
    api_fail_memory(&e->call->error);
    return reply_error(e->call);
}

/* ==== the endpoint ======================================================= */

static void release(embedding *e)
{
    job_close(e->job);
    for (int i = 0; i < e->n_part; i++) {
        free(e->part[i].ids);
        tlp_event_free(e->part[i].event);
    }
    free(e->part);
}

static enum MHD_Result run(call *c, fields *f)
{
    embedding e = { .call = c };
    bool gone = false, fine;
    const json_t *input = field(f, "input");
    enum MHD_Result result = MHD_NO;

    fine = read_options(&e, f) && fields_done(f) && read_input(&e, input);
    if (fine) {
        e.job = job_open(&e.program->jobs, e.program->requests, e.n_part);
        fine = e.job || api_fail_memory(&c->error);
    }
    fine = fine && evaluate(&e, &gone);
    if (!gone)
        result = fine ? reply(&e) : reply_error(c);
    release(&e);
    return result;
}

enum MHD_Result serve_embedding(call *c)
{
    return answer_fields(c, run);
}
