/*
 * command.h - commands that rank 0 sends to all ranks of a session.
 */
#ifndef TLPI_COMMAND_H
#define TLPI_COMMAND_H

#include "rank/rank.h"
#include "tlp_tune.h"

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
    TLPI_OP_LOGPROB, /* gather the k best candidates of one row, the sums of its
                        exponentials, and the logit of one token on rank 0 */
    TLPI_OP_PAGES,   /* change the pages of the caches */
    TLPI_OP_MEASURE, /* time this session's work and its link */
    TLPI_OP_MEASURE_LINK, /* time a sum of one token's activations */
    TLPI_OP_THREADS, /* other numbers of threads; ranks of one process alone */
    TLPI_OP_PANEL_BYTES, /* gather what each rank holds of 16 positions */
    TLPI_OP_READ_PAGE,   /* gather a page on rank 0 */
    TLPI_OP_WRITE_PAGE   /* give each rank its part of a page */
} tlpi_op;

/* Steps of at most TLPI_INLINE_TOK tokens travel inside the command itself. */
#define TLPI_INLINE_TOK 16

/* Edits of pages in one command. */
#define TLPI_MAX_EDIT 12

/* A page whose content goes to or comes from rank 0. */
typedef struct tlpi_page_copy {
    int32_t kind, page;
    int32_t n;       /* positions, from the first of the page on */
    uint64_t n_most; /* bytes of the largest part of a rank */
} tlpi_page_copy;

typedef struct tlpi_command {
    int32_t op;
    int32_t n_tok; /* STEP, SCORE; THREADS: threads of decode steps; PAGES:
                      edits */
    int32_t n_row; /* STEP, SCORE: rows[] used; RESERVE: rows wanted; THREADS:
                      threads of other steps */
    int32_t row;   /* STEP: first row to fill; ROW, TOP, LOGPROB: which */
    int32_t k;     /* TOP; STEP, LOGPROB: candidates of each row, or 0 */
    int32_t token; /* LOGPROB; -1 = none */
    union {
        int32_t inlined[5 * TLPI_INLINE_TOK]; /* a small step's arrays */
        tlpi_page_edit edit[TLPI_MAX_EDIT];   /* PAGES: either all are TAKE, or
                                                 none is */
        tlpi_page_copy copy;                  /* READ_PAGE, WRITE_PAGE */
    };
} tlpi_command;

/* Results that only rank 0 receives, and a page that it sends; NULL
 * elsewhere. */
typedef struct tlpi_results {
    float *row;            /* ROW: [n_vocab] */
    tlpi_candidate *top;   /* TOP, LOGPROB: [n_rank][k]; STEP:
                              [n_rank][n_row][k] */
    tlpi_row_score *score; /* SCORE: [n_rank][n_row]; LOGPROB: [n_rank] */
    tlp_link *link;        /* MEASURE; MEASURE_LINK: allreduce[0] */
    double *stage;         /* MEASURE: [n_stage] or NULL */
    uint64_t *panel;       /* PANEL_BYTES: [n_rank][TLPI_N_KV_KIND] */
    /* READ_PAGE, WRITE_PAGE: the parts of all ranks one after the other, and
     * their bytes */
    const uint64_t *part; /* [n_rank] */
    uint8_t *page_out;
    const uint8_t *page_in;
} tlpi_results;

/* Rank 0: broadcast and carry out; a step's tokens are in r's scratch.  res may
 * be NULL where the command has no results. */
tlp_status tlpi_command_run(tlpi_rank *r, tlpi_command *cmd,
                            const tlpi_results *res);

/* Other ranks: receive and carry out until QUIT or a communication failure. */
tlp_status tlpi_command_loop(tlpi_rank *r);

#endif
