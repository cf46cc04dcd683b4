/*
 * conversation.h - the messages of a conversation, laid out by the model's
 * template.
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

/* Remove all but the first n messages. */
void chat_cut(chat *c, size_t n);

/* Format all messages and the opening of an answer; the caller frees the
 * text. */
int chat_format(const chat *c, char **text, size_t *len);

/* Whether the model's file has a template that the library knows. */
bool chat_has_template(const tlp_model *model);

void chat_free(chat *c);

#endif
