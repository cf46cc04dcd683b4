/*
 * serve_completion.c - /v1/completions: texts and tokens that go on, and their
 * log-probabilities.
 */
#include <stdlib.h>
#include <string.h>

#include "serve_answer.h"

#define BAD MHD_HTTP_BAD_REQUEST
#define DEFAULT_LENGTH 16 /* of OpenAI's API */

/* ==== what is written ==================================================== */

static void put_text(json *j, const answer_part *p, const output *o)
{
    char *both = p->n_echo ? malloc(p->n_echo + o->text.n + 1) : NULL;

    if (both) {
        memcpy(both, p->echo, p->n_echo);
        if (o->text.n)
            memcpy(both + p->n_echo, o->text.text, o->text.n);
        json_bytes(j, "text", both, p->n_echo + o->text.n);
    } else {
        json_bytes(j, "text", o->text.text ? o->text.text : "", o->text.n);
    }
    free(both);
}

static void put_logprobs(json *j, const answering *a, const output *o,
                         const answer_part *p)
{
    size_t n = p->prompt.n + o->tokens.n, offset = 0;
    tlp_event **both = malloc((n + 1) * sizeof *both);

    if (!both) {
        json_nothing(j, "logprobs");
        return;
    }
    for (size_t i = 0; i < n; i++)
        both[i] = i < p->prompt.n ? p->prompt.event[i]
                                  : o->tokens.event[i - p->prompt.n];
    write_completion_logprobs(j, a->s->e.model, both, n, &offset);
    free(both);
}

static void whole(json *j, const answering *a, const output *o, int part)
{
    put_text(j, &a->part[part], o);
    if (a->g.request.logprobs)
        put_logprobs(j, a, o, &a->part[part]);
    else
        json_nothing(j, "logprobs");
}

static void piece(json *j, answering *a, int choice, const char *text, size_t n,
                  tlp_event *const *event, size_t n_event)
{
    json_bytes(j, "text", text, n);
    if (n_event)
        write_completion_logprobs(j, a->s->e.model, event, n_event,
                                  &a->choice[choice].chars);
    else
        json_nothing(j, "logprobs");
}

static const answer_style style = {
    .prefix = "cmpl",
    .object = "text_completion",
    .chunk_object = "text_completion",
    .whole = whole,
    .piece = piece,
};

/* ==== prompts ============================================================ */

static bool read_prompt(answering *a, int part, const json_t *value, bool echo,
                        int32_t **ids, size_t *n)
{
    call *c = a->call;
    fields f = { .error = &c->error };
    answer_part *p = &a->part[part];

    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t len = json_string_length(value);

        if (echo && (p->echo = malloc(len + 1)) == NULL)
            return api_fail_memory(&c->error);
        if (echo)
            memcpy(p->echo, text, len + 1);
        p->n_echo = echo ? len : 0;
        if (!api_tokenize(&c->error, c->s->e.model, text, len,
                          TLP_TOKENIZE_BOS | TLP_TOKENIZE_SPECIAL, ids, n))
            return false;
    } else if (json_is_array(value)) {
        if (!field_tokens(&f, "prompt", value, SIZE_MAX / 8,
                          c->s->e.info.n_vocab, ids, n) ||
            (echo && !api_detokenize(&c->error, c->s->e.model, *ids, *n, 0,
                                     &p->echo, &p->n_echo)))
            return false;
    } else {
        return api_fail(&c->error, BAD, "prompt", "invalid_type",
                        "prompt: %s: texts, or arrays of token ids, expected",
                        json_kind(value));
    }
    return *n > 0 || api_fail(&c->error, BAD, "prompt", NULL,
                              "prompt: it has no tokens, at least 1 expected");
}

/* Submit the prompts; *st is the engine's refusal.  False: the prompt is at
 * fault. */
static bool submit(answering *a, const json_t *prompt, bool one, bool echo,
                   tlp_status *st)
{
    for (int i = 0; i < a->n_part && *st == TLP_OK; i++) {
        const json_t *value = one ? prompt : json_array_get(prompt, (size_t)i);
        int32_t *ids = NULL;
        size_t n = 0;
        bool fine = read_prompt(a, i, value, echo, &ids, &n);

        if (fine) {
            a->g.request.tokens = ids;
            a->g.request.n_token = n;
            *st = job_submit(a->job, i, &a->g.request);
        }
        free(ids);
        if (!fine)
            return false;
    }
    return true;
}

/* ==== the endpoint ======================================================= */

static bool read_logprobs(generation_fields *g, fields *f, bool echo)
{
    int32_t n = -1;

    if (!field_i32(f, "logprobs", 0, GENERATION_MAX_TOP, &n))
        return false;
    g->request.logprobs = n >= 0;
    g->request.prompt_logprobs = n >= 0 && echo;
    g->request.n_top = n > 0 ? n : 0;
    return true;
}

/* best_of would need choices that nobody sees. */
static bool read_best_of(const generation_fields *g, fields *f)
{
    int64_t best = g->request.n_choice;

    if (!field_int(f, "best_of", 1, INT32_MAX, &best))
        return false;
    return best == g->request.n_choice ||
           field_refuse(f, "best_of", "another number than n");
}

static bool read_suffix(fields *f)
{
    const char *suffix = "";

    return field_text(f, "suffix", &suffix) &&
           (!*suffix ||
            field_refuse(f, "suffix", "models are not asked to fill in"));
}

/* How many prompts there are; *one: the value itself is one. */
static bool count_prompts(call *c, const json_t *prompt, bool *one, int *n)
{
    size_t size = json_array_size(prompt);

    if (!prompt)
        return api_fail(&c->error, BAD, "prompt", "missing",
                        "prompt: a text, or an array of token ids, expected");
    *one = !json_is_array(prompt) || json_is_number(json_array_get(prompt, 0));
    *n = *one ? 1 : (int)(size < INT32_MAX ? size : INT32_MAX);
    if (*n < 1 || *n > c->s->o.n_queue)
        return api_fail(&c->error, BAD, "prompt", "too_many",
                        "prompt: %d prompts, 1 to %d expected", *n,
                        c->s->o.n_queue);
    return true;
}

static enum MHD_Result run(call *c, fields *f)
{
    generation_fields g;
    bool echo = false, one = true, given = false;
    int n = 0;
    tlp_status st = TLP_OK;
    const json_t *prompt = field(f, "prompt");

    if (!generation_read(&g, f, c) || !field_flag(f, "echo", &echo) ||
        !generation_read_length(&g, f, "max_tokens", 0, &given) ||
        !read_logprobs(&g, f, echo) || !read_best_of(&g, f) ||
        !read_suffix(f) || !count_prompts(c, prompt, &one, &n) ||
        !fields_done(f)) {
        generation_free(&g);
        return reply_error(c);
    }
    if (!given)
        g.request.n_predict = DEFAULT_LENGTH;
    answering *a = answering_make(c, &style, &g, n);

    if (!a) {
        api_fail_memory(&c->error);
        return reply_error(c);
    }
    if (submit(a, prompt, one, echo, &st))
        return answering_reply(a, st);
    answering_free(a);
    return reply_error(c);
}

enum MHD_Result serve_completion(call *c)
{
    return answer_fields(c, run);
}
