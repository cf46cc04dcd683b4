/*
 * session.h - one session: rank 0 with its sequences and logits, and the
 * threads of the other ranks.
 */
#ifndef TLPI_SESSION_H
#define TLPI_SESSION_H

#include <stdatomic.h>

#include "rank/rank.h"
#include "tlp_tune.h"

/* ==== commands (command.c) =============================================== */

/*
 * Rank 0 drives: it broadcasts a command, and every rank, itself included,
 * carries it out.  Collectives inside keep the ranks in step.
 */
typedef enum tlpi_op {
    TLPI_OP_QUIT,
    TLPI_OP_STEP,    /* forward; logits of the marked tokens are kept */
    TLPI_OP_SCORE,   /* forward; log-probabilities of given tokens */
    TLPI_OP_RESERVE, /* room for n_row rows of logits */
    TLPI_OP_ROW,     /* gather one row of logits on rank 0 */
    TLPI_OP_TOP,     /* gather the k best candidates of one row on rank 0 */
    TLPI_OP_FORK,    /* copy a sequence's cache */
    TLPI_OP_MEASURE  /* time this session's work and its link */
} tlpi_op;

/* Steps up to so many tokens travel inside the command itself. */
#define TLPI_INLINE_TOK 16

typedef struct tlpi_command {
    int32_t op;
    int32_t n_tok; /* STEP, SCORE */
    int32_t n_row; /* STEP, SCORE: rows[] used; RESERVE: rows wanted */
    int32_t row;   /* STEP: first row to fill; ROW, TOP: which */
    int32_t k;     /* TOP; STEP: candidates of each row, or 0 */
    int32_t dst, src, n_pos;              /* FORK */
    int32_t inlined[5 * TLPI_INLINE_TOK]; /* a small step's arrays */
} tlpi_command;

/* Results that only rank 0 receives; NULL elsewhere. */
typedef struct tlpi_results {
    float *row;            /* ROW: [n_vocab] */
    tlpi_candidate *top;   /* TOP: [n_rank][k]; STEP: [n_rank][n_row][k] */
    tlpi_row_score *score; /* SCORE: [n_rank][n_row] */
    tlp_link *link;        /* MEASURE */
    double *stage;         /* MEASURE: [n_stage] or NULL */
} tlpi_results;

/* Rank 0: broadcast and carry out; a step's tokens are in r's scratch.  res may
 * be NULL where the command has no results. */
tlp_status tlpi_command_run(tlpi_rank *r, tlpi_command *cmd,
                            const tlpi_results *res);

/* Other ranks: receive and carry out until QUIT or a communication failure. */
tlp_status tlpi_serve(tlpi_rank *r);

/* ==== rank threads (rank_threads.c) ====================================== */

typedef struct tlpi_rank_threads tlpi_rank_threads;

/*
 * Build all ranks at once, rank 0 on the caller's thread.  With a communicator
 * in the setup the others are processes of their own; NULL: they are threads
 * of this one.  On failure the status and text are those of the rank that
 * failed first.
 */
tlp_status tlpi_rank_threads_create(tlpi_rank_threads **out, tlpi_rank **rank0,
                                    const tlpi_rank_setup *setup);
/* Ends and joins the others, then frees rank 0. */
void tlpi_rank_threads_free(tlpi_rank_threads *threads);

/* A command failed: end the other ranks; the status and text of the rank
 * behind it, where st only says that a peer failed. */
tlp_status tlpi_rank_threads_fail(tlpi_rank_threads *threads, tlp_status st);

/* Memory of all ranks as they were built. */
const tlpi_rank_sizes *
tlpi_rank_threads_sizes(const tlpi_rank_threads *threads);

/* ==== session ============================================================ */

/*
 * Candidates on rank 0, best first.  A step brings those of its rows along when
 * the rows before were asked for as many: sampling then needs no command of
 * its own.
 */
typedef struct tlpi_top_rows {
    int hint;            /* candidates asked for last; 0 = whole rows */
    int row, n_row, k;   /* what `all` holds */
    tlpi_candidate *all; /* [n_rank][n_row][k], n_row * k <= TLPI_MAX_TOP */
} tlpi_top_rows;

struct tlp_session {
    tlp_plan *plan; /* retained */
    const tlpi_env *env;
    tlpi_session_config cfg;
    tlpi_shards *shards;
    tlpi_rank_threads *threads;
    tlpi_rank *rank0; /* owned by threads */
    _Atomic int abort;
    bool broken;       /* a rank failed: only freeing is left */
    int32_t *pos;      /* [n_seq] positions held */
    int32_t *new_pos;  /* [n_seq] positions after the running call */
    int32_t *history;  /* [n_seq][n_ctx] ids of the tokens held */
    int32_t *mark;     /* [n_seq] scratch: last token of each */
    int32_t *next;     /* [n_seq] scratch: places in a step */
    size_t n_row;      /* rows of logits kept */
    float *row;        /* [row_cap][n_vocab] collected on rank 0 */
    uint8_t *row_here; /* [row_cap] collected yet? */
    size_t row_cap;
    tlpi_top_rows top;
    tlpi_row_score *score; /* [n_rank][n_batch] */
    tlp_session_stats stats;
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

/* Room for so many rows of logits, on all ranks. */
tlp_status tlpi_session_reserve(tlp_session *s, size_t rows);
/* A row of the last evaluation, collected on rank 0. */
tlp_status tlpi_session_row(tlp_session *s, size_t row, const float **logits);
/* The k best candidates of a row over all ranks, into out[k]. */
tlp_status tlpi_session_top(tlp_session *s, size_t row, int k,
                            tlpi_candidate *out);
/* Rows of later steps will be asked for that many candidates; 0: as a whole. */
static inline void tlpi_session_expect(tlp_session *s, int k)
{
    s->top.hint = k;
}
/* Candidates that decide what the sampler chooses; 0: the whole row does. */
int tlpi_sampler_candidates(const tlp_sampler *sampler);
/* TLP_EINVAL without a session, TLP_ECOMM when it is broken. */
tlp_status tlpi_session_check(const tlp_session *s);

#endif
