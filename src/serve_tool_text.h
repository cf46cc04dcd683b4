/*
 * serve_tool_text.h - from the text of a model to calls of tools, in each form.
 */
#ifndef SERVE_TOOL_TEXT_H
#define SERVE_TOOL_TEXT_H

#include "serve_tools.h"

/* A text that is read: text[at, n) is left. */
typedef struct tool_text {
    const tools *t;
    const char *text;
    size_t n, at;
    json_t *calls; /* those that were read */
} tool_text;

/* Read everything that is left as calls.  False: something is no call. */
typedef bool (*tool_reader)(tool_text *x);

bool tool_read_tags(tool_text *x);
bool tool_read_bare(tool_text *x);
bool tool_read_list(tool_text *x);
bool tool_read_args(tool_text *x);
bool tool_read_xml(tool_text *x);

/* Does the rest begin with a word?  If it does, go behind it. */
bool tool_text_word(tool_text *x, const char *word);
void tool_text_blanks(tool_text *x);
/* The place of a word in the rest; n: nowhere. */
size_t tool_text_find(const tool_text *x, const char *word);
/* Add a call of a tool of the request; a name that none has, or arguments that
 * are no object, are refused.  Takes neither. */
bool tool_text_add(tool_text *x, const char *name, const json_t *arguments);

#endif
