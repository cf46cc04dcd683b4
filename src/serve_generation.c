/*
 * serve_generation.c - sampling, ends and streaming, as OpenAI, llama-server
 * and vLLM spell them.
 */
#include "serve_generation.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BAD MHD_HTTP_BAD_REQUEST
#define MAX_STOP_BYTES 4096

/* ==== sampling =========================================================== */

/* Without a seed, or with -1, every request draws other numbers. */
static bool read_seed(generation_fields *g, fields *f)
{
    int64_t seed = -1;

    if (!field_int(f, "seed", INT64_MIN, INT64_MAX, &seed))
        return false;
    g->sampler.seed = (uint64_t)seed;
    if (seed == -1 && getrandom(&g->sampler.seed, sizeof g->sampler.seed, 0) !=
                          sizeof g->sampler.seed)
        return api_fail(f->error, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, NULL,
                        "the system has no random numbers");
    return true;
}

/* llama-server: 0 switches penalties off, -1 is the whole context. */
static bool read_window(generation_fields *g, fields *f, int32_t n_ctx)
{
    tlp_sampler_options *o = &g->sampler;
    int32_t n = 64;

    if (!field_i32(f, "repeat_last_n", -1, INT32_MAX, &n))
        return false;
    o->penalty_last_n = n < 0 || n > n_ctx ? n_ctx : n;
    if (n == 0)
        o->repeat_penalty = o->frequency_penalty = o->presence_penalty = 0;
    return true;
}

static bool read_penalties(generation_fields *g, fields *f, int32_t n_ctx)
{
    tlp_sampler_options *o = &g->sampler;

    return field_real(f, "presence_penalty", -2, 2, &o->presence_penalty) &&
           field_real(f, "frequency_penalty", -2, 2, &o->frequency_penalty) &&
           field_real(f, "repeat_penalty", 0.001, 1000, &o->repeat_penalty) &&
           field_real(f, "repetition_penalty", 0.001, 1000,
                      &o->repeat_penalty) &&
           read_window(g, f, n_ctx);
}

static bool read_bias(generation_fields *g, fields *f, int32_t n_vocab)
{
    json_t *object = field(f, "logit_bias"), *value;
    const char *key;

    if (!object)
        return true;
    if (!json_is_object(object))
        return api_fail(f->error, BAD, "logit_bias", "invalid_type",
                        "logit_bias: %s, an object expected",
                        json_kind(object));
    g->bias = malloc((json_object_size(object) + 1) * sizeof *g->bias);
    if (!g->bias)
        return api_fail_memory(f->error);
    json_object_foreach(object, key, value)
    {
        char *end = NULL;
        long id = strtol(key, &end, 10);
        double x = json_number_value(value);

        if (*key < '0' || *key > '9' || *end || id >= n_vocab ||
            !json_is_number(value) || !(x >= -100 && x <= 100))
            return api_fail(f->error, BAD, "logit_bias", "out_of_range",
                            "logit_bias: \"%.20s\": token ids from 0 to %d "
                            "with numbers from -100 to 100 expected",
                            key, n_vocab - 1);
        g->bias[g->sampler.n_bias++] =
            (tlp_logit_bias){ (int32_t)id, (float)x };
    }
    g->sampler.bias = g->bias;
    return true;
}

/* 0 is the likeliest token alone; to the library it is no limit. */
static bool read_top_p(generation_fields *g, fields *f)
{
    float p = 1;

    if (!field_real(f, "top_p", 0, 1, &p))
        return false;
    g->sampler.top_p = p > 1e-6f ? p : 1e-6f;
    return true;
}

static bool read_sampler(generation_fields *g, fields *f, const call *c)
{
    tlp_sampler_options *o = &g->sampler;

    *o = (tlp_sampler_options)TLP_SAMPLER_OPTIONS_INIT;
    o->temperature = 1;
    if (!field_real(f, "temperature", 0, 100, &o->temperature) ||
        !read_top_p(g, f) || !field_real(f, "min_p", 0, 1, &o->min_p) ||
        !field_i32(f, "top_k", -1, INT32_MAX, &o->top_k) ||
        !read_penalties(g, f, c->s->n_ctx) || !read_seed(g, f) ||
        !read_bias(g, f, c->s->e.info.n_vocab))
        return false;
    o->top_k = o->top_k < 0 ? 0 : o->top_k;
    g->request.sampler = o;
    return true;
}

/* ==== ends =============================================================== */

static bool add_stop(generation_fields *g, fields *f, const json_t *value)
{
    size_t n = json_is_string(value) ? json_string_length(value) : 0;

    if (n == 0 || n > MAX_STOP_BYTES)
        return api_fail(f->error, BAD, "stop", "invalid_type",
                        "stop: %s: strings of 1 to %d bytes expected",
                        json_is_string(value) ? "a string of another length"
                                              : json_kind(value),
                        MAX_STOP_BYTES);
    g->stop[g->request.n_stop++] = json_string_value(value);
    return true;
}

static bool read_stop(generation_fields *g, fields *f)
{
    const json_t *stop = field(f, "stop");

    g->request.stop = g->stop;
    if (!stop)
        return true;
    if (!json_is_array(stop))
        return add_stop(g, f, stop);
    if (json_array_size(stop) > GENERATION_MAX_STOP)
        return api_fail(f->error, BAD, "stop", "too_many",
                        "stop: %zu strings, at most %d expected",
                        json_array_size(stop), GENERATION_MAX_STOP);
    for (size_t i = 0; i < json_array_size(stop); i++)
        if (!add_stop(g, f, json_array_get(stop, i)))
            return false;
    return true;
}

static bool read_stop_tokens(generation_fields *g, fields *f, int32_t n_vocab)
{
    const json_t *array = field(f, "stop_token_ids");

    if (!array)
        return true;
    if (!json_is_array(array))
        return api_fail(f->error, BAD, "stop_token_ids", "invalid_type",
                        "stop_token_ids: %s, an array expected",
                        json_kind(array));
    if (!field_tokens(f, "stop_token_ids", array, 1024, n_vocab,
                      &g->stop_tokens, &g->request.n_stop_token))
        return false;
    g->request.stop_tokens = g->stop_tokens;
    return true;
}

bool generation_read_length(generation_fields *g, fields *f, const char *name,
                            int64_t least, bool *given)
{
    int64_t n = -1;

    *given = field(f, name) != NULL;
    if (!*given)
        return true;
    if (!field_int(f, name, -1, INT32_MAX, &n))
        return false;
    if (n >= 0 && n < least)
        return api_fail(f->error, BAD, name, "out_of_range",
                        "%s: %lld, at least %lld expected", name, (long long)n,
                        (long long)least);
    g->request.n_predict = n < 0 ? 0 : n == 0 ? -1 : (int32_t)n;
    return true;
}

/* ==== the rest =========================================================== */

static bool read_streaming(generation_fields *g, fields *f)
{
    const json_t *o = field(f, "stream_options"), *value;
    const char *key;

    if (!field_flag(f, "stream", &g->stream))
        return false;
    if (!o)
        return true;
    if (!g->stream || !json_is_object(o))
        return api_fail(f->error, BAD, "stream_options", NULL,
                        "stream_options: an object, and stream, expected");
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        bool known = !strcmp(key, "include_usage");

        if (!json_is_boolean(value) ||
            (!known && strcmp(key, "include_obfuscation") != 0) ||
            (!known && json_is_true(value)))
            return api_fail(f->error, BAD, "stream_options", "unknown_field",
                            "stream_options: %.40s: include_usage with true or "
                            "false expected",
                            key);
        g->usage |= known && json_is_true(value);
    }
    return true;
}

uint64_t generation_client(const call *c, const char *user)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    char fd[16];

    if (!user)
        user = MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND,
                                           MHD_HTTP_HEADER_AUTHORIZATION);
    snprintf(fd, sizeof fd, "%d", c->fd);
    for (const char *at = user ? user : fd; *at; at++)
        h = (h ^ (unsigned char)*at) * 0x100000001b3u;
    return h;
}

program *generation_read_program(fields *f, call *c)
{
    const char *model = NULL;

    if (!field_text(f, "model", &model))
        return NULL;
    return server_program(c->s, model, f->error);
}

/* Fields that cannot change the text. */
static void ignore_notes(fields *f)
{
    static const char *const names[] = {
        "metadata",         "service_tier", "safety_identifier",
        "prompt_cache_key", "cache_prompt", "id_slot",
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        field_ignore(f, names[i]);
}

static bool read_constraint(generation_fields *g, fields *f, server *s)
{
    g->shelf = &s->grammars;
    if (!constraint_read(&g->grammar, f, g->shelf, s->e.model))
        return false;
    if (g->grammar)
        g->sampler.grammar = shelf_open(g->grammar);
    return true;
}

bool generation_read(generation_fields *g, fields *f, call *c)
{
    const char *user = NULL;
    bool ignore_end = false, hide_special = true, store = false;
    int32_t n_choice = 1, n_vocab = c->s->e.info.n_vocab;

    *g = (generation_fields){ .request = TLP_REQUEST_INIT };
    g->program = generation_read_program(f, c);
    if (!g->program || !read_sampler(g, f, c) || !read_stop(g, f) ||
        !read_stop_tokens(g, f, n_vocab) || !read_streaming(g, f) ||
        !field_i32(f, "n", 1, c->s->n_seq, &n_choice) ||
        !field_flag(f, "ignore_eos", &ignore_end) ||
        !field_flag(f, "skip_special_tokens", &hide_special) ||
        !field_text(f, "user", &user) || !field_flag(f, "store", &store) ||
        !read_constraint(g, f, c->s))
        return false;
    if (store)
        return field_refuse(f, "store", "the server keeps no answers");
    ignore_notes(f);
    g->request.n_choice = n_choice;
    g->request.ignore_end = ignore_end;
    g->request.flags = hide_special ? 0 : TLP_DETOKENIZE_SPECIAL;
    g->request.client = generation_client(c, user);
    g->request.deadline = (double)c->s->o.request_seconds;
    return true;
}

void generation_free(generation_fields *g)
{
    free(g->bias);
    free(g->stop_tokens);
    json_decref(g->tools.list);
    if (g->grammar)
        shelf_give(g->shelf, g->grammar);
}
