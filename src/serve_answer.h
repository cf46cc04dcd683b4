/*
 * serve_answer.h - the way from a request for text to its answer, at once or as
 * a stream, for completions and chats.
 *
 * An answer has one or more prompts (parts), each of which is a request to the
 * engine with `n` choices.  Choice k of part p is choice p * n + k of the
 * answer.
 */
#ifndef SERVE_ANSWER_H
#define SERVE_ANSWER_H

#include "serve_generation.h"
#include "serve_output.h"

typedef struct answering answering;

/* What an endpoint writes: JSON values of an open object or array. */
typedef struct answer_style {
    const char *prefix;       /* of ids */
    const char *object;       /* "chat.completion" */
    const char *chunk_object; /* of a stream */
    /* The members of a choice that is complete. */
    void (*whole)(json *j, const answering *a, const output *o, int part);
    /* The members of a choice in a chunk: text that became certain, and the
     * tokens that gave it. */
    void (*piece)(json *j, answering *a, int choice, const char *text, size_t n,
                  tlp_event *const *event, size_t n_event);
    bool opens; /* a stream begins with an empty piece of each choice */
} answer_style;

/* A prompt, and what is known of it. */
typedef struct answer_part {
    event_list prompt; /* events of its tokens, with prompt_logprobs */
    char *echo;        /* text in front of the choices, or NULL; owned */
    size_t n_echo;
} answer_part;

struct answering {
    call *call; /* valid until the answer is complete */
    server *s;
    int fd;
    const answer_style *style;
    generation_fields g;
    serve_job *job;
    answer_part *part;     /* [n_part] */
    output *choice;        /* [n_part * n] */
    int n_part, n, n_left; /* parts; choices of a part; parts that go on */
    int64_t n_prompt, n_cached, n_generated;
    int32_t seq; /* of the choice that ended last; -1: it had none */
    char id[48];
    int64_t created;
    api_error error;
    /* of a stream */
    char *pending; /* text that the client has not got, or NULL */
    size_t n_pending, sent;
    bool over;
};

/* Room for n_part prompts with g->request.n_choice choices each; takes g.  NULL
 * when out of memory. */
answering *answering_make(call *c, const answer_style *style,
                          generation_fields *g, int n_part);
void answering_free(answering *a); /* NULL is allowed */

/* Answer a call with what `run` makes of the fields of its body. */
enum MHD_Result answer_fields(call *c,
                              enum MHD_Result (*run)(call *c, fields *f));

/* The requests have been submitted, or one was refused with `st`: answer. */
enum MHD_Result answering_reply(answering *a, tlp_status st);

/* The members that every answer and chunk has. */
void write_answer_head(json *j, const answering *a, const char *object);
void write_usage(json *j, const answering *a); /* at the end */

/* The choice of this event ended before its time; *e says why. */
bool answer_fails(api_error *e, const server *s, const tlp_event *event);

/* Take what an event says into the answer, then the event itself.  False:
 * a->error says why the answer ends here. */
bool answering_note(answering *a, const tlp_event *event, int part);
bool answering_keep(answering *a, tlp_event *event, int part);

/* serve_stream.c: answer with chunks as events come. */
enum MHD_Result answering_stream(answering *a);

#endif
