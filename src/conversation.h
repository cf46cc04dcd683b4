/*
 * conversation.h - a conversation, and the text that the model's template makes
 * of it.
 */
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include "engine.h"

typedef struct chat {
    const tlp_model *model;
    tlp_chat_message *message; /* contents are owned */
    size_t n;
} chat;

/* Add a message; the content is copied, the role is not. */
int chat_add(chat *c, const char *role, const char *content);

/* Forget all but the first n messages. */
void chat_cut(chat *c, size_t n);

/* All messages and the opening of an answer, as text; free it. */
int chat_format(const chat *c, char **text, size_t *len);

/* Whether the model's file holds a template that the library knows. */
bool chat_has_template(const tlp_model *model);

void chat_free(chat *c);

#endif
