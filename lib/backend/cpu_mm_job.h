/*
 * cpu_mm_job.h - one call of matmul or gate_up, as its threads see it.
 *
 * Rows of x that are multiplied are entries: the tokens, or with routes the
 * pairs of a token and an expert.  A call works on one chunk of entries at a
 * time.  The entries of a chunk that one matrix multiplies are a piece: all of
 * them, or with routes the entries of one expert.
 */
#ifndef TLPI_CPU_MM_JOB_H
#define TLPI_CPU_MM_JOB_H

#include <stdalign.h>

#include "backend/cpu_mm.h"
#include "backend/cpu_route.h"

enum {
    TLPI_MM_CHUNK = 128, /* entries at a time */
    TLPI_MM_OWN = 8      /* up to this many entries every thread rounds for
                            itself */
};

/* What a product reads of x. */
typedef enum tlpi_mm_form {
    TLPI_MM_F32,  /* x itself */
    TLPI_MM_ROWS, /* rows of x, copied together */
    TLPI_MM_XQ,
    TLPI_MM_XB
} tlpi_mm_form;

/* Which row of x an entry has. */
typedef enum tlpi_mm_order {
    TLPI_MM_ENTRIES, /* a row for each entry */
    TLPI_MM_TOKENS,  /* a row for each token */
    TLPI_MM_ONE      /* all entries are of one token */
} tlpi_mm_order;

typedef struct tlpi_mm_source {
    const float *x;
    const tlpi_routes *routes; /* NULL: entries are tokens */
    tlpi_mm_order order;
} tlpi_mm_source;

/* A distinct x of a call that is rounded or copied. */
typedef struct tlpi_mm_input {
    tlpi_mm_source from;
    int64_t n_col;
    tlpi_mm_form form;
    size_t at; /* offset of the result, in own or all */
} tlpi_mm_input;

typedef struct tlpi_mm_scratch {
    int max_input;
    size_t own_bytes;     /* per thread: TLPI_MM_OWN entries of all inputs */
    size_t level_bytes;   /* per thread: an unpacked group */
    uint8_t *own;         /* [n_thread][own_bytes] */
    uint8_t *all;         /* TLPI_MM_CHUNK entries of all inputs */
    int8_t *level;        /* [n_thread][level_bytes] */
    tlpi_mm_input *input; /* [max_input] inputs of the call */
    /* [n_thread][max_input]: the call whose input was rounded in own */
    uint64_t *ready;
    uint64_t call; /* number of calls */
} tlpi_mm_scratch;

/* One call; exactly one of matmul and gate_up is set. */
typedef struct tlpi_mm_job {
    const tlpi_cpu *c;
    tlpi_mm_scratch *s;
    const tlpi_matmul *matmul;
    const tlpi_gate_up *gate_up;
    int n; /* items */
    int n_tok;
    bool routed;
    int n_entry;      /* of each x */
    int term0, term1; /* of items with routes: terms of this pass */
    int n_input;
    int t0, n_chunk; /* entries of the chunk: [t0, t0 + n_chunk) */
    int n_block;
    size_t input_bytes;
    bool own;
    bool set_up;     /* the machine must be set up for tile registers */
    uint64_t n_byte; /* of weights, times the entries that read them */
} tlpi_mm_job;

/* Entries [first, first + n) of a chunk. */
typedef struct tlpi_mm_piece {
    int expert, first, n;
} tlpi_mm_piece;

typedef struct tlpi_mm_worker {
    const tlpi_mm_job *job;
    const tlpi_cpu_mm *mm;
    tlpi_mm_piece piece; /* that is multiplied */
    uint8_t *rounded;    /* the chunk's rounded inputs */
    int8_t *level;       /* an unpacked group */
    uint64_t *ready;
    alignas(64) float panel[TLPI_SUPER * TLPI_GROUP];
    alignas(64) float a[TLPI_MM_CHUNK * TLPI_GROUP]; /* [entry][16], and b */
    alignas(64) float b[TLPI_MM_CHUNK * TLPI_GROUP];
    alignas(64) float c[TLPI_MM_CHUNK * TLPI_GROUP];
} tlpi_mm_worker;

/* The piece of the chunk that begins at entry `at`; false at the chunk's end.
 */
static inline bool tlpi_mm_piece_at(const tlpi_mm_job *job,
                                    const tlpi_routes *routes, int at,
                                    tlpi_mm_piece *p)
{
    int end = job->t0 + job->n_chunk;

    if (at >= end)
        return false;
    *p = (tlpi_mm_piece){ 0, at, end - at };
    if (routes) {
        const tlpi_cpu_run *run = &routes->run[routes->run_of[at]];

        p->expert = run->expert;
        p->n = TLPI_MIN(run[1].begin, end) - at;
    }
    return true;
}

/* ==== cpu_mm_round.c ===================================================== */

/* The x of a gate_up, and of a term. */
tlpi_mm_source tlpi_mm_gate_source(const tlpi_mm_job *job,
                                   const tlpi_gate_up *m);
tlpi_mm_source tlpi_mm_term_source(const tlpi_term *t);

/* What a product of the weight reads of x. */
tlpi_mm_form tlpi_mm_form_of(const tlpi_cpu *c, const tlpi_weight *w,
                             const tlpi_mm_source *from);

/* Whether tile registers are faster for n entries of 8-bit activations. */
static inline bool tlpi_mm_is_wide(const tlpi_cpu_mm *mm, int n)
{
    return mm->dot_w && n >= mm->wide_from;
}

/* Entries of the next tile of an input when n entries of the piece remain. */
int tlpi_mm_next_tile(const tlpi_cpu_mm *mm, tlpi_mm_form form, int n);

/* The call multiplies w by x. */
void tlpi_mm_add_input(tlpi_mm_job *job, const tlpi_weight *w,
                       tlpi_mm_source from);

/* Round or copy all inputs for the chunk, on all threads; nothing is done where
 * threads do it for themselves. */
void tlpi_mm_round_inputs(tlpi_mm_job *job);

/* The worker's piece of an input as the weight reads it, in tiles. */
const void *tlpi_mm_rounded(tlpi_mm_worker *w, const tlpi_weight *weight,
                            const tlpi_mm_source *from);

/* The members that every function of a region reads. */
void tlpi_mm_begin_worker(tlpi_mm_worker *w, const tlpi_mm_job *job, int slot);

#endif
