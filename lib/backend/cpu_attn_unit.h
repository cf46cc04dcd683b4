/*
 * cpu_attn_unit.h - a unit of attention: one kv head for a few neighbouring
 * tokens, and what it sees of a chunk of positions.
 */
#ifndef TLPI_CPU_ATTN_UNIT_H
#define TLPI_CPU_ATTN_UNIT_H

#include "backend/cpu_attn.h"
#include "backend/cpu_kv.h"

typedef struct tlpi_attn_job {
    tlpi_cpu *c;
    const tlpi_step *step;
    const tlpi_attn *item;
    int n_item;
    int n_head_kv; /* over all items */
    int h;
    size_t hp;
    float eps;
    int n_block;
    bool prepared; /* q, k, v are ready and cached */
    int n_chunk;   /* > 0: units are cut into this many chunks */
    int n_row;     /* rows of the largest unit */
} tlpi_attn_job;

/* The rows of a block for one kv head.  Row r is token tok + r / n_rep, query
 * head r % n_rep of the kv head's query heads. */
typedef struct tlpi_attn_unit {
    const tlpi_attn *a;
    int head, n_rep; /* kv head; query heads on it */
    int tok, n_row;
    int seq, pos; /* of the first token */
} tlpi_attn_unit;

static inline int tlpi_row_pos(const tlpi_attn_unit *u, int r)
{
    return u->pos + r / u->n_rep;
}

/* The first position that row r sees. */
static inline int tlpi_row_begin(const tlpi_attn_unit *u, int r)
{
    int window = u->a->window;

    return window ? TLPI_MAX(0, tlpi_row_pos(u, r) + 1 - window) : 0;
}

/* The chunk that holds the first position that row r sees. */
static inline int tlpi_first_chunk(const tlpi_attn_unit *u, int r)
{
    return tlpi_row_begin(u, r) / TLPI_ATTN_CHUNK;
}

static inline size_t tlpi_row_at(const tlpi_attn_job *j,
                                 const tlpi_attn_unit *u, int r)
{
    size_t t = (size_t)(u->tok + r / u->n_rep);
    size_t head = (size_t)(u->head * u->n_rep + r % u->n_rep);
    return (t * (size_t)u->a->n_head + head) * (size_t)j->h;
}

/* Rows [first, end) of the n rows from some row on. */
typedef struct tlpi_row_range {
    int first, end;
} tlpi_row_range;

/* cpu_attn_chunk.c: write the sums of n rows from r0 over chunk c to out.
 * Returns the rows that see something of the chunk: it comes after the tokens
 * of the rows before, and before the windows of the rows behind. */
tlpi_row_range tlpi_attn_sum_chunk(const tlpi_attn_job *j,
                                   const struct tlpi_attn_work *w,
                                   const tlpi_attn_unit *u, int r0, int n,
                                   int c, struct tlpi_attn_sums out);

#endif
