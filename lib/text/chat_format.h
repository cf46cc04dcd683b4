/*
 * chat_format.h - format one conversation as text.
 */
#ifndef TLPI_CHAT_FORMAT_H
#define TLPI_CHAT_FORMAT_H

#include "text/vocab.h"

typedef struct tlpi_chat {
    tlpi_str tmpl;     /* the template's text */
    tlpi_str bos, eos; /* texts of the tokens; empty if there are none */
    const tlp_chat_message *msg;
    size_t n;
    bool add_assistant;
    tlpi_text out;
} tlpi_chat;

/* Lay out the messages of c, with the template of the model file's vocabulary,
 * into c->out; path names the file in error texts. */
tlp_status tlpi_chat_format(tlpi_chat *c, const tlpi_vocab *v,
                            const char *path);

/* The first place of a text in the template, or NULL. */
const char *tlpi_chat_find(const tlpi_chat *c, const char *text);

void tlpi_chat_add(tlpi_chat *c, const char *text);
void tlpi_chat_add_str(tlpi_chat *c, tlpi_str text);
/* Add without the blanks around it. */
void tlpi_chat_add_trimmed(tlpi_chat *c, const char *text);

bool tlpi_chat_role_is(const tlpi_chat *c, size_t i, const char *role);

/* Add the text of a quoted literal, without its escapes, up to `end`.  If the
 * quote comes before `end`, add nothing and return false. */
bool tlpi_chat_literal(tlpi_chat *c, const char *from, char quote,
                       const char *end);

/* The families: chat_header.c (a header before each message), chat_inst.c
 * (user messages between [INST] and [/INST]). */
tlp_status tlpi_chat_chatml(tlpi_chat *c);
tlp_status tlpi_chat_llama3(tlpi_chat *c);
tlp_status tlpi_chat_llama2(tlpi_chat *c);
tlp_status tlpi_chat_mistral(tlpi_chat *c);

#endif
