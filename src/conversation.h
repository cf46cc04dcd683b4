/*
 * conversation.h - the messages of a conversation and what its template needs.
 */
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include "engine.h"

/* What the command line says about a conversation. */
typedef struct chat_files {
    const char *template_file, *template_name;
    const char *messages_file, *tools_file, *documents_file;
    const char *kwargs;    /* JSON */
    bool continue_message; /* the last of the messages */
} chat_files;

/* Rows of an option table. */
/* clang-format off */
#define CHAT_OPTIONS(f)                                                        \
    { CLI_HEADING, .help = "Chat:" },                                          \
    { CLI_TEXT, 0, "messages", &(f).messages_file, "FILE",                     \
      "the conversation, a JSON array of messages", 0, 0 },                    \
    { CLI_FLAG, 0, "continue", &(f).continue_message, NULL,                    \
      "continue the text of the last of --messages", 0, 0 },                   \
    { CLI_TEXT, 0, "tools", &(f).tools_file, "FILE",                           \
      "tools that the model may call, a JSON array", 0, 0 },                   \
    { CLI_TEXT, 0, "documents", &(f).documents_file, "FILE",                   \
      "documents for the model, a JSON array", 0, 0 },                         \
    { CLI_TEXT, 0, "chat-template", &(f).template_file, "FILE",                \
      "chat template (the model's)", 0, 0 },                                   \
    { CLI_TEXT, 0, "chat-template-name", &(f).template_name, "NAME",           \
      "one of the templates in the model's file", 0, 0 },                      \
    { CLI_TEXT, 0, "chat-template-kwargs", &(f).kwargs, "JSON",                \
      "further names for the template, a JSON object", 0, 0 }
/* clang-format on */

typedef struct chat {
    const tlp_model *model;
    tlp_chat_message *message; /* contents are owned */
    size_t n;
    tlp_chat_options opts; /* points into text */
    char *text[4];         /* owned: what was read from files */
} chat;

/* Is anything said that needs a template? */
bool chat_files_any(const chat_files *f);

/* Read the files; chat_free also after a failure. */
int chat_open(chat *c, const tlp_model *model, const chat_files *f);

/* Add a message; the content is copied, the role is not. */
int chat_add(chat *c, const char *role, const char *content);

/* The tokens of all messages, and of the opening of an answer unless the last
 * message is continued; the caller frees the ids. */
int chat_tokenize(const chat *c, int32_t **ids, size_t *n);

/* Whether the model's file has a template. */
bool chat_has_template(const tlp_model *model);
/* Whether the conversation's template has channels (channels.h). */
bool chat_has_channels(const chat *c);

void chat_free(chat *c);

#endif
