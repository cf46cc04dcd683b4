/*
 * channels.h - messages in the channels of OpenAI's harmony format, as
 * gpt-oss writes them:
 *
 *     <|channel|>analysis<|message|>thoughts<|end|><|start|>assistant
 *     <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>
 *     {arguments}<|call|>
 *     <|start|>assistant<|channel|>final<|message|>answer<|return|>
 *
 * (without the newlines).  The text comes in pieces with its control words.
 */
#ifndef CHANNELS_H
#define CHANNELS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum channel_kind {
    CHANNEL_FINAL,    /* for the reader; also commentary for nobody else */
    CHANNEL_ANALYSIS, /* what the model thinks */
    CHANNEL_CALL      /* commentary for a function: arguments */
} channel_kind;

/* A text that grows. */
typedef struct channel_text {
    char *text; /* n bytes, or NULL */
    size_t n, cap;
} channel_text;

/* A message for a function, as places in the raw text. */
typedef struct channel_call {
    char name[80];           /* of the function */
    size_t begin, body, end; /* of its header, of its body, behind it */
} channel_call;

typedef struct channels {
    bool on; /* the text is in this format */
    /* what is read of the text */
    channel_text raw;
    size_t at; /* bytes of raw that are read */
    bool body; /* at is inside a message, not in its header */
    channel_kind kind;
    channel_call next; /* the call that is read */
    /* what it says */
    channel_text final, analysis;
    channel_call *call; /* [n_call] */
    size_t n_call;
} channels;

bool channel_text_add(channel_text *t, const char *text, size_t n);

/* Does a chat template have channels? */
bool channels_are_of(const char *chat_template);

/* Take a piece of text; `end`: nothing follows.  False when out of memory. */
bool channels_add(channels *c, const char *text, size_t n, bool end);
void channels_free(channels *c);

#endif
