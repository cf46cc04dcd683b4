/*
 * engine_state.h - requests of many clients on one session: who waits, who runs
 * on which sequence, and the events that nobody has taken yet.
 *
 * A step (step.c) ends requests that are not wanted any more, does tasks of
 * callers (seq_task.c), lets requests begin (admit.c), evaluates a batch, and
 * chooses tokens (choice.c).  Only the thread that steps touches running
 * requests and the session; it holds step_lock.  `lock` guards what every
 * thread may touch, and is never held while the network runs.
 */
#ifndef TLPI_ENGINE_STATE_H
#define TLPI_ENGINE_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

#include "engine/draft.h"
#include "session/session.h"

/* ==== the engine ========================================================= */

/* A sequence of the session. */
typedef struct tlpi_engine_seq {
    tlpi_request_choice
        *choice;   /* NULL: free; its tokens are kept for later prompts */
    uint64_t used; /* greater: used later */
} tlpi_engine_seq;

/* Who uses a row of logits of a step. */
typedef struct tlpi_engine_row {
    tlpi_request *request;       /* NULL: a row of a guess, which the choice of
                                    an earlier row uses */
    tlpi_request_choice *choice; /* NULL: a row of the prompt */
    int32_t pos;                 /* of the prompt's token */
} tlpi_engine_row;

typedef struct tlpi_engine_task tlpi_engine_task;

struct tlp_engine {
    tlp_plan *plan; /* retained */
    const tlpi_env *env;
    tlp_session *session;
    int32_t n_seq, n_ctx, n_batch, n_chunk, n_request, n_draft;
    pid_t pid; /* of the process that created the engine */

    /* ---- of every thread ---- */
    _Atomic uint64_t *cancel; /* [n_request] id of a request to cancel */
    pthread_mutex_t lock;
    pthread_cond_t work, news; /* a request, a task or the end; an event or the
                                  end */
    pthread_cond_t between;    /* a task is done, or step_lock is free */
    /* under lock */
    tlpi_request_list waiting;
    uint64_t n_id;
    int32_t *free_slot; /* [n_request] numbers of requests that are free */
    int32_t n_free;
    tlpi_event *first_event, **event_end;
    bool stopping;     /* no request and no step may begin */
    bool stopped;      /* and every request has its last event */
    tlp_status broken; /* TLP_OK; the status after a rank failed */
    char broken_text[512];
    tlp_engine_stats stats;
    tlp_session_stats session_stats; /* after the last step */
    tlp_slot *slot;                  /* [n_seq] after the last step */
    bool started;
    pthread_t thread;
    tlpi_engine_task *task; /* first of those that wait for a thread */
    bool no_step;           /* step_lock is held for tasks, not for a step */

    /* ---- of the thread that steps ---- */
    pthread_mutex_t step_lock;
    tlpi_request_list running;
    tlpi_engine_seq *seq;       /* [n_seq] */
    uint64_t clock;             /* counts uses of sequences */
    int32_t *token, *token_seq; /* the batch: texts, guesses, prompts */
    uint8_t *want;
    tlpi_engine_row *row;
    tlpi_pooling **pool; /* [n_seq] of the prompts in the batch, or NULL */
    size_t n_token, n_row;
    int32_t n_text, n_guess; /* chosen and guessed tokens of the batch */
    tlpi_draft_cost cost;
    double prompt_rate; /* tokens a second of prompts alone; 0: not known */
};

/* TLP_EINVAL without an engine, TLP_ESTATE in another process than its own. */
tlp_status tlpi_engine_check(const tlp_engine *e);

/* TLP_EINVAL if the session has no such sequence. */
tlp_status tlpi_engine_check_seq(const tlp_engine *e, int32_t seq);

/* Release step_lock, and announce it to callers with tasks. */
void tlpi_engine_leave(tlp_engine *e);

static inline int32_t tlpi_engine_slot(uint64_t id)
{
    return (int32_t)(id & 0xffff);
}

/* The time, on the clock of `work` and `news`, that is ms milliseconds ahead.
 */
struct timespec tlpi_engine_in_ms(int32_t ms);

/* Append an event. */
void tlpi_engine_post(tlp_engine *e, tlpi_event *event);

/* Move the waiting request that hangs at `place` to the running ones; under
 * lock. */
tlpi_request *tlpi_engine_run(tlp_engine *e, tlpi_request **place);

/* ==== steps ============================================================== */

/* admit.c: let waiting requests begin, as long as there are sequences.  Returns
 * the failure of a rank. */
tlp_status tlpi_engine_admit(tlp_engine *e);

/* step.c: one step; the caller holds step_lock.  TLP_ECOMM and TLP_ETIMEDOUT
 * have ended every request. */
tlp_status tlpi_engine_step(tlp_engine *e);
/* Break the engine if a task failed with a rank; returns st. */
tlp_status tlpi_engine_check_task(tlp_engine *e, tlp_status st);
/* With nothing to do: notice ranks in other processes that have failed.  The
 * caller holds step_lock. */
tlp_status tlpi_engine_check_ranks(tlp_engine *e);
/* Copy the counters of the session, and the uses of its sequences; on the
 * thread that steps. */
void tlpi_engine_count_session(tlp_engine *e);
void tlpi_engine_count_slots(tlp_engine *e);
/* End all requests that wait or run. */
void tlpi_engine_end_all(tlp_engine *e, int reason, tlp_status status,
                         const char *text);
bool tlpi_engine_is_fatal(tlp_status st);
/* Return the failure of a rank; another failure ends the request alone. */
tlp_status tlpi_engine_fail_request(tlp_engine *e, tlpi_request *r,
                                    tlp_status st);

/* seq_task.c: do what callers want done to sequences; the caller holds
 * step_lock. Returns the failure of a rank; another failure is the caller's
 * alone. */
tlp_status tlpi_engine_do_tasks(tlp_engine *e);

/* choice.c: choose a token from a row, and end the choice if that ends it.
 * Returns the failure of a rank; another failure ends the choice alone. */
tlp_status tlpi_engine_choose(tlp_engine *e, tlpi_request_choice *c,
                              size_t row);
/* The event of token n of the prompt, from the row before it. */
tlp_status tlpi_engine_prompt_token(tlp_engine *e, tlpi_request *r, int32_t n,
                                    size_t row);
/* The event of the evaluated prompt. */
void tlpi_engine_prompt_done(tlp_engine *e, tlpi_request *r);
/* embedding.c: the event of the prompt's embedding, if one is wanted.  A
 * failure ends the request. */
void tlpi_engine_embedding(tlp_engine *e, tlpi_request *r);
/* Fill an event that belongs to a request. */
void tlpi_engine_fill_event(tlpi_event *event, const tlpi_request *r, int kind,
                            int choice, double now);
/* End a choice; the last one of a request ends the request, which the caller
 * then finds with n_left = 0. */
void tlpi_engine_end_choice(tlp_engine *e, tlpi_request_choice *c, int reason,
                            tlp_status status, const char *text);
void tlpi_engine_end_request(tlp_engine *e, tlpi_request *r, int reason,
                             tlp_status status, const char *text);
/* Post the event of the end, and release the request. */
void tlpi_engine_close_request(tlp_engine *e, tlpi_request *r);

#endif
