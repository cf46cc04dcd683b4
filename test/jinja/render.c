/*
 * render.c - render templates for check-jinja.py: a line of JSON in, a line of
 * JSON out, {"out": text} or {"error": text}.
 *
 * {"template": text, "vars": {name: value}} goes to the interpreter alone.
 * {"template": text, "chat": {...}} is a conversation with members named as
 * those of tlp_chat_options; "ids" of the answer tells whether its tokens are
 * those of the whole text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/gguf_writer.h"
#include "text/chat.h"

enum { MAX_VAR = 32, N_TOKEN = 259 };

/* ==== the interpreter alone ============================================== */

static tlp_status render_vars(tlpi_jinja_text *out, const tlpi_env *env,
                              json_t *request)
{
    json_t *text = json_object_get(request, "template"), *value;
    tlpi_jinja_var vars[MAX_VAR];
    tlpi_jinja *t = NULL;
    const char *name;
    size_t n = 0;

    json_object_foreach(json_object_get(request, "vars"), name,
                        value) if (n < MAX_VAR) vars[n++] =
        (tlpi_jinja_var){ name, value, false };

    tlp_status st = tlpi_jinja_compile(
        &t, env, "template", json_string_value(text), json_string_length(text));
    if (st == TLP_OK)
        st = tlpi_jinja_render(out, t, vars, n, 0, NULL);
    tlpi_jinja_free(t);
    return st;
}

/* ==== conversations ====================================================== */

/* SentencePiece with <unk>, <s>, </s> and bytes. */
static tlpi_gguf *make_file(const tlpi_env *env, gw_bytes *bytes)
{
    static char byte[256][8];
    const char *token[N_TOKEN] = { "<unk>", "<s>", "</s>" };
    int32_t type[N_TOKEN] = { 2, 3, 3 };
    float score[N_TOKEN] = { 0 };
    tlpi_gguf *g = NULL;
    gw_file w;

    for (int b = 0; b < 256; b++) {
        snprintf(byte[b], sizeof byte[b], "<0x%02X>", (unsigned)b);
        token[3 + b] = byte[b];
        type[3 + b] = 6;
    }
    gw_init(&w);
    gw_kv_str(&w, "tokenizer.ggml.model", "llama");
    gw_kv_strs(&w, "tokenizer.ggml.tokens", token, N_TOKEN);
    gw_kv_array(&w, "tokenizer.ggml.token_type", TLPI_GGUF_I32, N_TOKEN, type,
                sizeof type);
    gw_kv_array(&w, "tokenizer.ggml.scores", TLPI_GGUF_F32, N_TOKEN, score,
                sizeof score);
    *bytes = gw_finish(&w);
    gw_free(&w);
    return tlpi_gguf_open_memory(&g, env, bytes->data, bytes->n) == TLP_OK
               ? g
               : NULL;
}

static char *text_of(const json_t *chat, const char *name)
{
    const json_t *value = json_object_get(chat, name);

    return value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
}

static bool has_whole_ids(const tlpi_env *env, const tlpi_chat *c,
                          const tlpi_vocab *v, const tlpi_jinja_text *text)
{
    tlpi_ids a = { .env = env }, b = { .env = env };
    bool equal = tlpi_chat_tokenize(&a, env, c, v, "model") == TLP_OK &&
                 tlpi_vocab_tokenize(v, text->s, text->n, TLP_TOKENIZE_SPECIAL,
                                     &b) == TLP_OK &&
                 a.n == b.n &&
                 (a.n == 0 || !memcmp(a.data, b.data, a.n * sizeof *a.data));

    tlpi_free(env, a.data);
    tlpi_free(env, b.data);
    return equal;
}

static tlp_status render_chat(tlpi_jinja_text *out, bool *ids,
                              const tlpi_env *env, const tlpi_vocab *v,
                              json_t *request)
{
    json_t *chat = json_object_get(request, "chat");
    char *messages = text_of(chat, "messages"), *tools = text_of(chat, "tools");
    char *documents = text_of(chat, "documents");
    char *kwargs = text_of(chat, "kwargs");
    tlpi_chat c = { .opts = TLP_CHAT_OPTIONS_INIT };

    c.opts.chat_template =
        json_string_value(json_object_get(request, "template"));
    c.opts.messages_json = messages;
    c.opts.tools_json = tools;
    c.opts.documents_json = documents;
    c.opts.kwargs_json = kwargs;
    c.opts.add_generation_prompt =
        json_is_true(json_object_get(chat, "add_generation_prompt"));
    c.opts.continue_final_message =
        json_is_true(json_object_get(chat, "continue_final_message"));
    tlp_status st = tlpi_chat_render(out, env, &c, v, "model");
    *ids = st == TLP_OK && has_whole_ids(env, &c, v, out);
    free(kwargs);
    free(documents);
    free(tools);
    free(messages);
    return st;
}

/* ========================================================================= */

static void answer(const tlpi_env *env, const tlpi_vocab *v, const char *line)
{
    json_t *request = json_loads(line, 0, NULL), *reply;
    tlpi_jinja_text out = { 0 };
    tlp_status st = TLP_EFORMAT;
    bool ids = false;

    if (json_object_get(request, "chat"))
        st = render_chat(&out, &ids, env, v, request);
    else if (request)
        st = render_vars(&out, env, request);
    if (st == TLP_OK)
        reply = json_pack("{s:o, s:b}", "out", json_stringn(out.s, out.n),
                          "ids", ids);
    else
        reply = json_pack("{s:s}", "error", tlp_last_error());

    char *text = reply ? json_dumps(reply, 0) : NULL;

    puts(text ? text : "{}");
    free(text);
    json_decref(reply);
    json_decref(request);
    tlpi_jinja_text_free(env, &out);
}

int main(void)
{
    tlpi_env env;
    tlpi_vocab *v = NULL;
    gw_bytes bytes;
    char *line = NULL;
    size_t cap = 0;

    if (tlpi_env_init(&env, NULL, NULL, NULL) != TLP_OK)
        return 1;

    tlpi_gguf *g = make_file(&env, &bytes);

    if (!g || tlpi_vocab_create(&v, &env, g, 0) != TLP_OK)
        return 1;
    while (getline(&line, &cap, stdin) > 0)
        answer(&env, v, line);
    free(line);
    tlpi_vocab_free(v);
    tlpi_gguf_close(g);
    free(bytes.data);
    return 0;
}
