/*
 * serve_output.c - the text of a choice, and its tokens with log-probabilities.
 */
#include "serve_output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve_tool_text.h"

/* ==== what is kept ======================================================= */

bool event_list_add(event_list *l, tlp_event *event)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        tlp_event **grown = realloc(l->event, cap * sizeof *grown);

        if (!grown) {
            tlp_event_free(event);
            return false;
        }
        l->event = grown;
        l->cap = cap;
    }
    l->event[l->n++] = event;
    return true;
}

void event_list_free(event_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        tlp_event_free(l->event[i]);
    free(l->event);
    *l = (event_list){ 0 };
}

static bool add(output *o, const char *text, size_t n, bool end)
{
    const channel_text *final = &o->channels.final;

    if (!o->channels.on)
        return channel_text_add(&o->text, text, n);
    return channels_add(&o->channels, text, n, end) &&
           channel_text_add(&o->text,
                            final->text ? final->text + o->text.n : "",
                            final->n - o->text.n);
}

bool output_add(output *o, const char *text, size_t n)
{
    return add(o, text, n, false);
}

/* A call to a function that cannot be read, or is no tool of the request, stays
 * text. */
static bool take_call(output *o, const tools *t, const channel_call *call)
{
    const char *raw = o->channels.raw.text;
    tool_text x = { .t = t, .calls = o->calls.call };
    json_t *arguments = json_loadb(raw + call->body, call->end - call->body,
                                   JSON_REJECT_DUPLICATES, NULL);
    bool is_call = t->list && tool_text_add(&x, call->name, arguments);

    json_decref(arguments);
    return is_call || channel_text_add(&o->text, raw + call->begin,
                                       call->end - call->begin);
}

static bool take_calls(output *o, const tools *t)
{
    bool fine = (o->calls.call = json_array()) != NULL;

    for (size_t i = 0; fine && i < o->channels.n_call; i++)
        fine = take_call(o, t, &o->channels.call[i]);
    if (json_array_size(o->calls.call) == 0) {
        json_decref(o->calls.call);
        o->calls.call = NULL;
    }
    o->calls.n_content = o->text.n;
    return fine;
}

bool output_end(output *o, const tools *t, const char *text, size_t n)
{
    if (!add(o, text, n, true))
        return false;
    return o->channels.on ? take_calls(o, t)
                          : tools_read(&o->calls, t, o->text.text, o->text.n);
}

void output_free(output *o)
{
    free(o->text.text);
    channels_free(&o->channels);
    json_decref(o->calls.call);
    event_list_free(&o->tokens);
}

const char *output_reason(const output *o)
{
    if (o->stop_reason == TLP_STOP_LENGTH || o->stop_reason == TLP_STOP_CONTEXT)
        return "length";
    return o->calls.call ? "tool_calls" : "stop";
}

/* ==== tokens ============================================================= */

bool api_tokenize(api_error *error, const tlp_model *model, const char *text,
                  size_t n, uint32_t flags, int32_t **ids, size_t *n_ids)
{
    size_t cap = n / 2 + 16;
    tlp_status st = TLP_EBUFS;

    *ids = NULL;
    for (int round = 0; round < 2 && st == TLP_EBUFS; round++) {
        free(*ids);
        *ids = malloc(cap * sizeof **ids);
        if (!*ids)
            return api_fail_memory(error);
        st = tlp_tokenize(*ids, cap, n_ids, model, text, n, flags);
        cap = *n_ids;
    }
    return st == TLP_OK || api_fail_library(error, st);
}

bool api_detokenize(api_error *error, const tlp_model *model,
                    const int32_t *ids, size_t n, uint32_t flags, char **text,
                    size_t *len)
{
    tlp_status st = tlp_detokenize(NULL, 0, len, model, ids, n, flags);

    *text = st == TLP_OK || st == TLP_EBUFS ? malloc(*len + 1) : NULL;
    if (!*text)
        return api_fail_memory(error);
    st = tlp_detokenize(*text, *len + 1, len, model, ids, n, flags);
    return st == TLP_OK || api_fail_library(error, st);
}

/* Where the tokenizer hides a blank at the begin of a text, the second of two
 * equal tokens has it. */
char *token_bytes(const tlp_model *model, int32_t id, size_t *n)
{
    const int32_t twice[2] = { id, id };
    api_error none;
    char *text = NULL;
    size_t len = 0;

    *n = 0;
    if (!api_detokenize(&none, model, twice, 2, TLP_DETOKENIZE_SPECIAL, &text,
                        &len)) {
        free(text);
        return NULL;
    }
    *n = (len + 1) / 2;
    memmove(text, text + len - *n, *n + 1);
    return text;
}

/* The name of a token: its text, or where its bytes are no text, in the way of
 * OpenAI's legacy completions, "bytes:\xe2\x96". */
static char *token_label(const tlp_model *model, int32_t id, size_t *n)
{
    char *bytes = token_bytes(model, id, n);

    if (!bytes || (json_is_utf8(bytes, *n) && !memchr(bytes, '\0', *n)))
        return bytes; /* readers of JSON may refuse a NUL in a key */
    char *label = malloc(4 * *n + 7);
    char *at = label;

    if (label) {
        at += sprintf(at, "bytes:");
        for (size_t i = 0; i < *n; i++)
            at += sprintf(at, "\\x%02x", (unsigned char)bytes[i]);
    }
    *n = (size_t)(at - label);
    free(bytes);
    return label;
}

static void put_token(json *j, const tlp_model *model, int32_t id)
{
    size_t n = 0;
    char *label = token_label(model, id, &n);

    json_bytes(j, NULL, label ? label : "", n);
    free(label);
}

/* ==== chats ============================================================== */

static void put_number(json *j, const char *key, float x)
{
    /* JSON has no infinity: OpenAI writes -9999 for what is out of reach. */
    json_number(j, key, isinf(x) ? -9999.0 : (double)x);
}

static void put_chat_token(json *j, const tlp_model *model, int32_t id,
                           float logprob)
{
    size_t n = 0;
    char *bytes = token_bytes(model, id, &n);

    json_bytes(j, "token", bytes ? bytes : "", n);
    put_number(j, "logprob", logprob);
    json_open(j, "bytes", '[');
    for (size_t i = 0; i < n; i++)
        json_int(j, NULL, (unsigned char)bytes[i]);
    json_close(j, ']');
    free(bytes);
}

void write_chat_logprobs(json *j, const tlp_model *model,
                         tlp_event *const *event, size_t n)
{
    json_open(j, "logprobs", '{');
    json_open(j, "content", '[');
    for (size_t i = 0; i < n; i++) {
        json_open(j, NULL, '{');
        put_chat_token(j, model, event[i]->token, event[i]->logprob);
        json_open(j, "top_logprobs", '[');
        for (int32_t k = 0; k < event[i]->n_top; k++) {
            json_open(j, NULL, '{');
            put_chat_token(j, model, event[i]->top[k].token,
                           event[i]->top[k].logprob);
            json_close(j, '}');
        }
        json_close(j, ']');
        json_close(j, '}');
    }
    json_close(j, ']');
    json_nothing(j, "refusal");
    json_close(j, '}');
}

/* ==== completions ======================================================== */

static void put_named(json *j, const tlp_model *model, int32_t id, float x)
{
    size_t n = 0;
    char *label = token_label(model, id, &n);

    json_key(j, label ? label : "", n);
    put_number(j, NULL, x);
    free(label);
}

/* The likeliest tokens, and the token itself if it is not among them. */
static void put_top(json *j, const tlp_model *model, const tlp_event *e)
{
    bool has_token = false;

    if (isnan(e->logprob)) { /* the first token of a prompt */
        json_nothing(j, NULL);
        return;
    }
    json_open(j, NULL, '{');
    for (int32_t k = 0; k < e->n_top; k++) {
        has_token |= e->top[k].token == e->token;
        put_named(j, model, e->top[k].token, e->top[k].logprob);
    }
    if (!has_token)
        put_named(j, model, e->token, e->logprob);
    json_close(j, '}');
}

/* Characters of a token in a text: control tokens have none there. */
static size_t width(const tlp_model *model, int32_t id, bool at_start)
{
    const int32_t twice[2] = { id, id };
    api_error none;
    char *text = NULL;
    size_t both = 0, chars = 0;

    if (api_detokenize(&none, model, twice, 2, 0, &text, &both))
        for (size_t i = at_start ? (both + 1) / 2 : both / 2; i < both; i++)
            chars += (text[i] & 0xc0) != 0x80;
    free(text);
    return chars;
}

void write_completion_logprobs(json *j, const tlp_model *model,
                               tlp_event *const *event, size_t n,
                               size_t *offset)
{
    json_open(j, "logprobs", '{');
    json_open(j, "tokens", '[');
    for (size_t i = 0; i < n; i++)
        put_token(j, model, event[i]->token);
    json_close(j, ']');
    json_open(j, "token_logprobs", '[');
    for (size_t i = 0; i < n; i++)
        put_number(j, NULL, event[i]->logprob); /* NaN: null */
    json_close(j, ']');
    json_open(j, "top_logprobs", '[');
    for (size_t i = 0; i < n; i++)
        put_top(j, model, event[i]);
    json_close(j, ']');
    json_open(j, "text_offset", '[');
    for (size_t i = 0; i < n; i++) {
        json_int(j, NULL, (int64_t)*offset);
        *offset += width(model, event[i]->token, *offset == 0);
    }
    json_close(j, ']');
    json_close(j, '}');
}
