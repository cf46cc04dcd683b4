/*
 * session.h - one session: rank 0 with its sequences and logits, and the
 * threads of the other ranks.
 */
#ifndef TLPI_SESSION_H
#define TLPI_SESSION_H

#include <stdatomic.h>
#include <sys/types.h>

#include "group/command.h"
#include "group/rank_threads.h"
#include "session/cache.h"

/*
 * Candidates on rank 0, best first.  A step returns candidates of its rows if
 * sampling asked for candidates of earlier rows, and returns an equal number.
 * Sampling then needs no command of its own.
 */
typedef struct tlpi_top_rows {
    int hint;            /* candidates asked for last; 0 = whole rows */
    int row, n_row, k;   /* what `all` holds */
    tlpi_candidate *all; /* [n_rank][n_row][k], n_row * k <= TLPI_MAX_TOP */
} tlpi_top_rows;

/* What a row of logits belongs to: the token at a position of a sequence. */
typedef struct tlpi_place {
    int32_t seq, pos;
} tlpi_place;

/* What ends the running call, or the next one. */
enum {
    TLPI_ABORT_CALL = 1, /* tlp_session_abort; one call */
    TLPI_ABORT_FREE = 2  /* tlp_session_free; for good */
};

struct tlp_session {
    tlp_plan *plan;             /* retained */
    const tlp_adapter *adapter; /* retained, or NULL */
    const tlpi_env *env;
    tlpi_session_config cfg;
    tlpi_shards *shards;
    tlpi_rank_threads *threads;
    tlpi_rank *rank0;  /* owned by threads */
    _Atomic int abort; /* TLPI_ABORT_* */
    bool broken;       /* a rank failed: only freeing is left */
    int32_t *pos;      /* [n_seq] positions held */
    int32_t *new_pos;  /* [n_seq] positions after the running call */
    tlpi_cache cache;  /* the pages of the sequences */
    int32_t *history;  /* [n_seq][n_ctx] ids of the tokens held */
    int32_t *mark;     /* [n_seq] scratch: last token of each */
    int32_t *next;     /* [n_seq] scratch: places in a step */
    int32_t *kept_as;  /* [n_seq] the sequence in whose name the rows of a
                          sequence are kept: its own, or after a fork the
                          source's; -1: it was loaded and has none */
    size_t n_row;      /* rows of logits kept */
    tlpi_place *place; /* [row_cap] of these rows */
    float *row;        /* [row_cap][n_vocab] collected on rank 0 */
    uint8_t *row_here; /* [row_cap] collected yet? */
    size_t row_cap;
    tlpi_top_rows top;
    tlpi_row_score *score; /* [n_rank][n_batch] */
    float *state;          /* [n_embd] scratch: the state of a token */
    tlp_session_stats stats;

    _Atomic uintptr_t caller; /* of the running call: session_call.c */
    pid_t pid;                /* of the process that created the session */
    bool in_text;             /* the text callback runs: between steps */
};

/* Run a command; a failure of communication breaks the session. */
tlp_status tlpi_session_command(tlp_session *s, tlpi_command *cmd,
                                const tlpi_results *res);
tlp_status tlpi_session_check_seq(const tlp_session *s, int32_t seq);
tlp_status tlpi_session_check_ids(const tlp_session *s, const int32_t *ids,
                                  size_t n);
static inline int32_t *tlpi_session_history(tlp_session *s, int32_t seq)
{
    return s->history + (size_t)seq * (size_t)s->cfg.n_ctx;
}

/* Make room for `rows` rows of logits on all ranks, at least for the rows that
 * the options reserve, and give back much more room than that.  The rows that
 * were kept are lost. */
tlp_status tlpi_session_fit_rows(tlp_session *s, size_t rows);

/* recompute.c: evaluate again the tokens of a sequence whose pages are lost. */
tlp_status tlpi_session_recompute(tlp_session *s, int32_t seq);
/* One step without logits: tokens [at, at + n) of a sequence's history. */
tlp_status tlpi_session_run_held(tlp_session *s, int32_t seq, int32_t at,
                                 int n);

/* ==== rows.c ============================================================= */

/* No rows are kept any more. */
static inline void tlpi_session_drop_rows(tlp_session *s)
{
    s->n_row = 0;
    for (int32_t i = 0; i < s->cfg.n_seq; i++)
        s->kept_as[i] = i;
}

/* TLP_ESTATE without rows, TLP_EINVAL past the last row. */
tlp_status tlpi_session_check_row(const tlp_session *s, size_t row);
/* TLP_ESTATE if no sequence holds the position of a row any more. */
tlp_status tlpi_session_check_held(const tlp_session *s, size_t row);
/* Put "row R (sequence S, position P): " before the text of a failure. */
tlp_status tlpi_session_fail_at(const tlp_session *s, size_t row,
                                tlp_status st);
/* The failure that the logit of a token is NaN or +inf. */
tlp_status tlpi_fail_logit(int32_t token, float logit);

/* A row of the last evaluation, collected on rank 0.  TLP_ERROR, with a text
 * that names the row, if it has NaN or +inf, or only -inf. */
tlp_status tlpi_session_row(tlp_session *s, size_t row, const float **logits);
/* The k best candidates of a row over all ranks, into out[k]. */
tlp_status tlpi_session_top(tlp_session *s, size_t row, int k,
                            tlpi_candidate *out);
/* Announce that later steps need k candidates of a row; 0: whole rows. */
static inline void tlpi_session_expect(tlp_session *s, int k)
{
    s->top.hint = k;
}
/* Number of candidates that the sampler chooses from; 0: the whole row. */
int tlpi_sampler_candidates(const tlp_sampler *sampler);
/* TLP_EMISMATCH for another model; NULL is fine. */
tlp_status tlpi_sampler_check(const tlp_sampler *s, const tlp_model *model);
/* Begin a text: a grammar whose text has ended starts again. */
tlp_status tlpi_sampler_begin_text(tlp_sampler *sampler);
/* Is the grammar complete, and no token of the model ends a text? */
bool tlpi_sampler_is_over(const tlp_sampler *sampler);
bool tlpi_sampler_has_grammar(const tlp_sampler *sampler); /* NULL is fine */
/* The window of the penalties becomes the last of n tokens. */
void tlpi_sampler_begin(tlp_sampler *sampler, const int32_t *ids, size_t n);
/* TLP_EINVAL without a session, TLP_ESTATE in another process than its own,
 * TLP_ECOMM when it is broken. */
tlp_status tlpi_session_check(const tlp_session *s);

/*
 * The calls of tlp.h and tlp_tune.h without the guard of session_call.c, which
 * has the public functions.  The library's own calls on a session in a call use
 * these.
 */
tlp_status tlpi_session_eval(tlp_session *s, const tlp_batch *batch);
tlp_status tlpi_session_prefill(tlp_session *s, const int32_t *tokens,
                                size_t n);
tlp_status tlpi_session_logits(const float **logits, tlp_session *s,
                               size_t row);
tlp_status tlpi_session_logprobs(tlp_logprob *top, size_t n_top, float *logprob,
                                 tlp_session *s, size_t row, int32_t token);
tlp_status tlpi_session_score(float *logprob, tlp_session *s, int32_t seq,
                              const int32_t *tokens, size_t n);
tlp_status tlpi_session_embed(float *out, tlp_session *s, int32_t seq,
                              const int32_t *tokens, size_t n,
                              const tlp_embed_options *opts);
tlp_status tlpi_session_rewind(tlp_session *s, int32_t seq, int32_t pos);
tlp_status tlpi_session_fork(tlp_session *s, int32_t dst, int32_t src);
tlp_status tlpi_session_save(void *buf, size_t cap, size_t *len, tlp_session *s,
                             int32_t seq);
tlp_status tlpi_session_save_file(tlp_session *s, int32_t seq,
                                  const char *path);
tlp_status tlpi_session_load(tlp_session *s, int32_t seq, const void *buf,
                             size_t n);
tlp_status tlpi_session_load_file(tlp_session *s, int32_t seq,
                                  const char *path);
tlp_status tlpi_session_set_threads(tlp_session *s, int32_t n_decode,
                                    int32_t n_prefill);
tlp_status tlpi_session_sample(int32_t *token, tlp_session *s, size_t row,
                               tlp_sampler *sampler);
tlp_status tlpi_session_generate(tlp_generate_result *result, tlp_session *s,
                                 tlp_sampler *sampler,
                                 const tlp_generate_options *opts);
tlp_status tlpi_session_get_place(int32_t *seq, int32_t *pos,
                                  const tlp_session *s, size_t row);
tlp_status tlpi_session_find_row(size_t *row, const tlp_session *s,
                                 int32_t seq);
tlp_status tlpi_session_get_tokens(int32_t *ids, size_t cap, size_t *count,
                                   const tlp_session *s, int32_t seq);
tlp_status tlpi_session_get_stats(tlp_session_stats *out, const tlp_session *s);
void tlpi_session_reset_stats(tlp_session *s);
tlp_status tlpi_session_measure(tlp_link *out, double *stage, tlp_session *s);
tlp_status tlpi_session_measure_link(double *seconds, tlp_session *s);
void tlpi_session_free(tlp_session *s);

/* Times of an evaluation: what the counters seconds and comm_seconds get. */
typedef struct tlpi_session_clock {
    double start, comm;
} tlpi_session_clock;

tlpi_session_clock tlpi_session_clock_start(const tlp_session *s);
void tlpi_session_clock_stop(tlp_session *s, const tlpi_session_clock *clock);

#endif
