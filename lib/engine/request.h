/*
 * request.h - requests, their choices and their events.
 */
#ifndef TLPI_REQUEST_H
#define TLPI_REQUEST_H

#include "session/pooling.h"

/* ==== events (event.c) =================================================== */

typedef struct tlpi_event {
    tlp_event event; /* first: what the program holds */
    struct tlpi_event *next;
    tlp_model *model; /* retained: it has the allocator */
    char *more;       /* text in memory of its own, or NULL */
    float *vector;    /* owned, or NULL */
} tlpi_event;

/* An event with room for n_top log-probabilities and a text; NULL when out of
 * memory.  The text is copied. */
tlpi_event *tlpi_event_make(tlp_model *model, int n_top, const char *text,
                            size_t n_text);
/* Give an event a text; when out of memory it stays without. */
void tlpi_event_set_text(tlpi_event *e, const char *text, size_t n);
void tlpi_event_free(tlpi_event *e); /* NULL is fine */

/* Most tokens of a text that are guessed in a step. */
enum { TLPI_MAX_DRAFT = 16 };

/* ==== requests (request.c) =============================================== */

struct tlpi_request;

/* One text of a request. */
typedef struct tlpi_request_choice {
    struct tlpi_request *request;
    int index;
    int32_t seq;   /* -1: has none yet, or no more */
    int32_t token; /* chosen, not evaluated yet; -1: none */
    int32_t n_generated;
    int32_t guess[TLPI_MAX_DRAFT]; /* tokens that may follow `token` */
    int32_t n_guess;               /* guesses that are in the batch */
    int32_t guessed;               /* the first one, also if it is not in the
                                      batch; -1: none */
    double hit;                    /* share of guesses that came true */
    bool ended;
    tlp_sampler *sampler; /* from the beginning to the end */
    tlp_stream *stream;
    tlpi_event *stop; /* the event of its end, made beforehand */
    double last;      /* time of the last token */
} tlpi_request_choice;

typedef struct tlpi_request {
    uint64_t id;
    tlp_request o; /* arrays are copies: prompt, stop_tokens, sampler, bias */
    tlp_sampler_options sampler;
    tlp_logit_bias *bias;
    int32_t *prompt, *stop_tokens;
    int32_t n_prompt, n_done, n_cached; /* tokens; evaluated; not again */
    tlpi_request_choice *choice;        /* [o.n_choice] */
    int n_left;                         /* choices that have not ended */
    tlpi_event *end;       /* the event of its end, made beforehand */
    tlpi_pooling *pooling; /* of the prompt; NULL: no embedding is wanted */
    double submitted;
    double deadline;             /* time; 0: none */
    int32_t n_draft, n_accepted; /* guesses, and those that came true */
    bool failed, canceled;
    int32_t given;             /* tokens of the prompt in this step */
    struct tlpi_request *next; /* in the list of waiting or running requests */
} tlpi_request;

typedef struct tlpi_request_list {
    tlpi_request *first, **end; /* end: where the next request is hung; first
                                   &first */
    int n;
} tlpi_request_list;

/* Does a part of its prompt wait for evaluation? */
static inline bool tlpi_request_has_prompt(const tlpi_request *r)
{
    return r->n_left && r->n_done < r->n_prompt;
}

void tlpi_request_push(tlpi_request_list *list, tlpi_request *r);
/* Take out the request that hangs at `place`. */
tlpi_request *tlpi_request_take(tlpi_request_list *list, tlpi_request **place);
void tlpi_request_free(tlp_model *model, tlpi_request *r); /* NULL is fine */

#endif
