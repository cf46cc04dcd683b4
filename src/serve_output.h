/*
 * serve_output.h - the text of a choice, and its tokens with log-probabilities.
 */
#ifndef SERVE_OUTPUT_H
#define SERVE_OUTPUT_H

#include "channels.h"
#include "json.h"
#include "serve_error.h"
#include "serve_tools.h"

/* Events that are kept for their log-probabilities. */
typedef struct event_list {
    tlp_event **event; /* owned */
    size_t n, cap;
} event_list;

typedef struct output {
    channel_text text;
    channels channels; /* where `text` and calls come from, if they are on */
    event_list tokens;
    int stop_reason;  /* 0: goes on */
    tool_calls calls; /* of a text that has ended */
    bool begun;       /* of a stream: the client knows of it */
    size_t shown;     /* of a stream: bytes of the text that the client has */
    size_t thought;   /* and bytes of the analysis */
    size_t chars;     /* of a stream: characters of its tokens so far */
} output;

/* False when out of memory; the list owns the event then too. */
bool event_list_add(event_list *l, tlp_event *event);
void event_list_free(event_list *l);

/* Take a piece of text of the model, or the last one. */
bool output_add(output *o, const char *text, size_t n);
bool output_end(output *o, const tools *t, const char *text, size_t n);
void output_free(output *o);

/* "stop", "length" or "tool_calls", of a text that has ended. */
const char *output_reason(const output *o);

/* All ids of a text, and the text of ids with a NUL behind it; the caller frees
 * them, also after a failure. */
bool api_tokenize(api_error *error, const tlp_model *model, const char *text,
                  size_t n, uint32_t flags, int32_t **ids, size_t *n_ids);
bool api_detokenize(api_error *error, const tlp_model *model,
                    const int32_t *ids, size_t n, uint32_t flags, char **text,
                    size_t *len);

/* The bytes of one token, with the blank in front that some tokenizers hide at
 * the begin of a text; NULL when out of memory. */
char *token_bytes(const tlp_model *model, int32_t id, size_t *n);

/* The events of tokens as the value of "logprobs". */
void write_chat_logprobs(json *j, const tlp_model *model,
                         tlp_event *const *event, size_t n);
/* *offset: characters before the first token; then behind the last. */
void write_completion_logprobs(json *j, const tlp_model *model,
                               tlp_event *const *event, size_t n,
                               size_t *offset);

#endif
