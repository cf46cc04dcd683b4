/*
 * serve_tools.h - calls of tools: the form in which a model writes them, and
 * the text that makes it write one.
 */
#ifndef SERVE_TOOLS_H
#define SERVE_TOOLS_H

#include "engine.h"
#include "serve_fields.h"
#include "serve_shelf.h"

/* How the template tells the model to write a call. */
typedef enum tool_form {
    TOOL_FORM_NONE, /* unknown: calls stay text */
    TOOL_FORM_TAGS, /* <tool_call>{"name", "arguments"}</tool_call>, repeated */
    TOOL_FORM_BARE, /* the whole text is {"name", "parameters"} */
    TOOL_FORM_LIST, /* Mistral: [TOOL_CALLS][{"name", "arguments"}, ...] */
    TOOL_FORM_ARGS, /* newer: [TOOL_CALLS]name[ARGS]{arguments}, repeated */
    TOOL_FORM_XML,  /* Qwen3-Coder: serve_tool_xml.c, repeated */
    TOOL_FORM_CHANNELS /* gpt-oss: channels.h reads its texts */
} tool_form;

/* The form of the model's chat template, told by its text. */
tool_form tool_form_of(const engine *e);

/* The tools that a model may call. */
typedef struct tools {
    tool_form form;
    json_t *list; /* OpenAI's array; NULL: no tools */
} tools;

/* The i-th tool's function, and its name; NULL without a name. */
json_t *tools_function(const tools *t, size_t i, const char **name);
bool tools_has(const tools *t, const char *name);
/* The schema of a tool's parameters; NULL: it has none. */
const json_t *tools_schema(const tools *t, const char *name);
/* Are words of the form control tokens, whose text must be shown? */
bool tools_special(const tools *t);

/* ==== a call that must be written (serve_tool_grammar.c) ================= */

/* A grammar of one call of one of the tools, or of the tool `name`; shelf_give
 * returns it.  NULL: *error says why. */
shelf_grammar *tools_grammar(const tools *t, const char *name, shelf *s,
                             tlp_model *model, api_error *error);

/* ==== texts ============================================================== */

/* A text that was read. */
typedef struct tool_calls {
    size_t n_content; /* bytes of the text in front of the calls */
    json_t *call;     /* array of {"name": ..., "arguments": text}; NULL: the
                         text has no calls, or calls that cannot be read */
} tool_calls;

/* Read a complete text; without tools all of it is content.  The caller decrefs
 * out->call.  False when out of memory. */
bool tools_read(tool_calls *out, const tools *t, const char *text, size_t n);

/* Bytes of the begin of a text that are content, however it goes on; at least
 * `shown`, which were so before. */
size_t tools_certain(const tools *t, const char *text, size_t n, size_t shown);

#endif
