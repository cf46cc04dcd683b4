/*
 * serve_chat.c - /v1/chat/completions and /apply-template: conversations
 * through the model's template.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "memo.h"
#include "serve_answer.h"

/* ==== the conversation =================================================== */

/* JSON texts that the options point to. */
typedef struct talk {
    tlp_chat_options o;
    char *messages, *tools, *documents, *kwargs;
    bool no_tools, must_call; /* tool_choice */
    const char *name;         /* of the tool that must be called, or NULL */
} talk;

static void talk_free(talk *t)
{
    free(t->messages);
    free(t->tools);
    free(t->documents);
    free(t->kwargs);
}

/* The name in {"type": "function", "function": {"name": ...}}, else NULL. */
static const char *chosen_name(const json_t *choice)
{
    const char *type = json_string_value(json_object_get(choice, "type"));
    const json_t *function = json_object_get(choice, "function");

    return type && !strcmp(type, "function")
               ? json_string_value(json_object_get(function, "name"))
               : NULL;
}

static bool read_tool_choice(talk *t, fields *f)
{
    const json_t *choice = field(f, "tool_choice");
    const char *word = json_string_value(choice);
    bool parallel = true;

    t->no_tools = word && !strcmp(word, "none");
    t->name = chosen_name(choice);
    t->must_call = t->name || (word && !strcmp(word, "required"));
    if (choice && !t->no_tools && !t->must_call &&
        (!word || strcmp(word, "auto") != 0))
        return field_refuse(f, "tool_choice",
                            "auto, none, required or a function with its name "
                            "expected");
    if (!field_flag(f, "parallel_tool_calls", &parallel))
        return false;
    if (!parallel && !t->must_call && field(f, "tools"))
        return field_refuse(f, "parallel_tool_calls",
                            "nothing keeps the model from two calls unless "
                            "tool_choice asks for one");
    return field_refuse(f, "functions", "tools expected") &&
           field_refuse(f, "function_call", "tool_choice expected");
}

/* Does a chat template of the model use a variable? */
static bool template_has(const server *s, const char *name)
{
    static const char *const keys[] = { "tokenizer.chat_template",
                                        "tokenizer.chat_template.tool_use" };
    bool has = false;

    for (int i = 0; i < 2 && !has; i++) {
        size_t n = 0;
        char *text = engine_get_meta(&s->e, keys[i], &n);

        has = text && strstr(text, name);
        free(text);
    }
    return has;
}

/* Add "reasoning_effort" to the variables of the template; a template that does
 * not name it would ignore it. */
static bool read_effort(talk *t, fields *f, const server *s)
{
    static const char name[] = "reasoning_effort";
    const char *effort = NULL;

    if (!field_text(f, name, &effort))
        return false;
    if (!effort)
        return true;
    if (!template_has(s, name))
        return field_refuse(f, name,
                            "the model's chat template does not know it");
    json_t *o = t->kwargs ? json_loads(t->kwargs, 0, NULL) : json_object();

    if (!json_object_get(o, name))
        json_object_set_new(o, name, json_string(effort));
    free(t->kwargs);
    t->kwargs = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return t->kwargs || api_fail_memory(f->error);
}

static bool read_talk(talk *t, fields *f, const server *s)
{
    bool opens = true, goes_on = false;

    *t = (talk){ .o = TLP_CHAT_OPTIONS_INIT };
    if (!field_json(f, "messages", JSON_ARRAY, &t->messages) ||
        !field_json(f, "tools", JSON_ARRAY, &t->tools) ||
        !field_json(f, "documents", JSON_ARRAY, &t->documents) ||
        !field_json(f, "chat_template_kwargs", JSON_OBJECT, &t->kwargs) ||
        !read_effort(t, f, s) || !read_tool_choice(t, f) ||
        !field_flag(f, "continue_final_message", &goes_on))
        return false;
    opens = !goes_on;
    if (!field_flag(f, "add_generation_prompt", &opens))
        return false;
    if (!t->messages)
        return api_fail(f->error, MHD_HTTP_BAD_REQUEST, "messages", "missing",
                        "messages: an array of messages expected");
    if (t->no_tools || (t->tools && !strcmp(t->tools, "[]"))) {
        free(t->tools);
        t->tools = NULL;
    }
    t->o.messages_json = t->messages;
    t->o.tools_json = t->tools;
    t->o.documents_json = t->documents;
    t->o.kwargs_json = t->kwargs;
    t->o.add_generation_prompt = opens;
    t->o.continue_final_message = goes_on;
    return true;
}

/* ==== what is written ==================================================== */

/* Mistral's templates refuse ids that have not nine letters and digits. */
static void put_call(json *j, const json_t *made, size_t index, bool numbered,
                     bool nine)
{
    uint64_t id = 0;
    char text[32];

    (void)getrandom(&id, sizeof id, 0);
    if (nine)
        snprintf(text, sizeof text, "%09" PRIx64, id & 0xfffffffff);
    else
        snprintf(text, sizeof text, "call_%016" PRIx64, id);
    json_open(j, NULL, '{');
    if (numbered)
        json_int(j, "index", (int64_t)index);
    json_text(j, "id", text);
    json_text(j, "type", "function");
    json_open(j, "function", '{');
    json_text(j, "name", json_string_value(json_object_get(made, "name")));
    json_text(j, "arguments",
              json_string_value(json_object_get(made, "arguments")));
    json_close(j, '}');
    json_close(j, '}');
}

static void put_calls(json *j, const json_t *calls, bool numbered, bool nine)
{
    json_open(j, "tool_calls", '[');
    for (size_t i = 0; i < json_array_size(calls); i++)
        put_call(j, json_array_get(calls, i), i, numbered, nine);
    json_close(j, ']');
}

static void put_logprobs(json *j, const answering *a, tlp_event *const *event,
                         size_t n, bool wanted)
{
    if (wanted)
        write_chat_logprobs(j, a->s->e.model, event, n);
    else
        json_nothing(j, "logprobs");
}

static void whole(json *j, const answering *a, const output *o, int part)
{
    const tool_calls *calls = &o->calls;

    (void)part;
    json_open(j, "message", '{');
    json_text(j, "role", "assistant");
    if (calls->call && calls->n_content == 0)
        json_nothing(j, "content");
    else
        json_bytes(j, "content", o->text.text ? o->text.text : "",
                   calls->n_content);
    if (o->channels.analysis.n)
        json_bytes(j, "reasoning_content", o->channels.analysis.text,
                   o->channels.analysis.n);
    json_nothing(j, "refusal");
    if (calls->call)
        put_calls(j, calls->call, false, tools_special(&a->g.tools));
    json_close(j, '}');
    put_logprobs(j, a, o->tokens.event, o->tokens.n, a->g.request.logprobs);
}

static void piece(json *j, answering *a, int choice, const char *text, size_t n,
                  tlp_event *const *event, size_t n_event)
{
    output *o = &a->choice[choice];
    const channel_text *thought = &o->channels.analysis;

    json_open(j, "delta", '{');
    if (!o->begun)
        json_text(j, "role", "assistant");
    if (!o->begun || n)
        json_bytes(j, "content", text, n);
    if (thought->n > o->thought)
        json_bytes(j, "reasoning_content", thought->text + o->thought,
                   thought->n - o->thought);
    o->thought = thought->n;
    o->begun = true;
    if (o->calls.call)
        put_calls(j, o->calls.call, true, tools_special(&a->g.tools));
    json_close(j, '}');
    put_logprobs(j, a, event, n_event, n_event > 0);
}

static const answer_style style = {
    .prefix = "chatcmpl",
    .object = "chat.completion",
    .chunk_object = "chat.completion.chunk",
    .whole = whole,
    .piece = piece,
    .opens = true,
};

/* ==== the endpoint ======================================================= */

static bool read_lengths(generation_fields *g, fields *f)
{
    bool given = false, newer = false;
    int32_t n;

    if (!generation_read_length(g, f, "max_tokens", 1, &given))
        return false;
    n = g->request.n_predict;
    if (!generation_read_length(g, f, "max_completion_tokens", 1, &newer))
        return false;
    if (given && newer && n != g->request.n_predict)
        return api_fail(f->error, MHD_HTTP_BAD_REQUEST, "max_tokens", NULL,
                        "max_tokens: another number than "
                        "max_completion_tokens");
    return true;
}

static bool read_logprobs(generation_fields *g, fields *f)
{
    bool wanted = false;

    if (!field_flag(f, "logprobs", &wanted) ||
        !field_i32(f, "top_logprobs", 0, GENERATION_MAX_TOP, &g->request.n_top))
        return false;
    if (g->request.n_top && !wanted)
        return api_fail(f->error, MHD_HTTP_BAD_REQUEST, "top_logprobs", NULL,
                        "top_logprobs: logprobs with true expected");
    g->request.logprobs = wanted;
    return true;
}

/* Only text comes out. */
static bool read_modalities(fields *f)
{
    const json_t *list = field(f, "modalities");
    const char *word = json_string_value(json_array_get(list, 0));

    if (list && (json_array_size(list) != 1 || !word || strcmp(word, "text")))
        return field_refuse(f, "modalities", "[\"text\"] expected");
    field_ignore(f, "prediction"); /* a hint for speed */
    return true;
}

/* The tools of the request, and the grammar of a call that it asks for. */
static bool read_tools(generation_fields *g, fields *f, const talk *t, call *c)
{
    if (t->tools)
        g->tools = (tools){ .form = c->s->tool_form,
                            .list = json_incref(field(f, "tools")) };
    g->channels = c->s->tool_form == TOOL_FORM_CHANNELS;
    if (g->channels || tools_special(&g->tools))
        g->request.flags |= TLP_DETOKENIZE_SPECIAL;
    if (!t->must_call)
        return true;
    if (!t->tools || g->tools.form == TOOL_FORM_NONE)
        return field_refuse(f, "tool_choice",
                            t->tools ? "how the model writes calls is unknown"
                                     : "there are no tools");
    if (g->grammar)
        return field_refuse(f, "tool_choice",
                            "another field constrains the text already");
    if (t->name && !tools_has(&g->tools, t->name))
        return field_refuse(f, "tool_choice", "no tool has this name");
    g->grammar =
        tools_grammar(&g->tools, t->name, g->shelf, c->s->e.model, &c->error);
    if (g->grammar)
        g->sampler.grammar = shelf_open(g->grammar);
    return g->grammar != NULL;
}

static enum MHD_Result run(call *c, fields *f, talk *t)
{
    generation_fields g;
    tlp_status st;

    if (!generation_read(&g, f, c) || !read_lengths(&g, f) ||
        !read_logprobs(&g, f) || !read_modalities(f) ||
        !read_talk(t, f, c->s) || !read_tools(&g, f, t, c) || !fields_done(f)) {
        generation_free(&g);
        return reply_error(c);
    }
    answering *a = answering_make(c, &style, &g, 1);

    if (!a) {
        api_fail_memory(&c->error);
        return reply_error(c);
    }
    a->g.request.chat = &t->o;
    st = job_submit(a->job, 0, &a->g.request);
    return answering_reply(a, st);
}

enum MHD_Result serve_chat(call *c)
{
    fields f;
    talk t = { 0 };
    enum MHD_Result result;

    if (!server_is_ready(c->s, &c->error))
        return reply_error(c);
    answer_begins(c);
    if (fields_open(&f, c->body, c->n_body, &c->error))
        result = run(c, &f, &t);
    else
        result = reply_error(c);
    talk_free(&t);
    fields_close(&f);
    return result;
}

/* ==== /apply-template ==================================================== */

static enum MHD_Result reply_prompt(call *c, const char *text, size_t n)
{
    memo m;
    json j;

    if (!reply_open(&m, &j))
        return MHD_NO;
    json_bytes(&j, "prompt", text, n);
    return reply_close(c, &m, &j);
}

static enum MHD_Result render(call *c, const talk *t)
{
    const tlp_model *model = c->s->e.model;
    size_t n = 0;
    char *text = NULL;
    tlp_status st = tlp_chat_render(NULL, 0, &n, model, NULL, 0, &t->o);
    enum MHD_Result result;

    if (st == TLP_EBUFS && (text = malloc(n + 1)) != NULL)
        st = tlp_chat_render(text, n + 1, &n, model, NULL, 0, &t->o);
    if (st == TLP_OK) {
        result = reply_prompt(c, text ? text : "", text ? n : 0);
    } else {
        api_fail_library(&c->error, st);
        result = reply_error(c);
    }
    free(text);
    return result;
}

enum MHD_Result serve_template(call *c)
{
    fields f;
    talk t = { 0 };
    enum MHD_Result result;

    if (fields_open(&f, c->body, c->n_body, &c->error) &&
        read_talk(&t, &f, c->s)) {
        field_ignore(&f, "model");
        result = fields_done(&f) ? render(c, &t) : reply_error(c);
    } else {
        result = reply_error(c);
    }
    talk_free(&t);
    fields_close(&f);
    return result;
}
