/*
 * cpu_route.h - the experts that the tokens of a step read, as products walk
 * over them.
 *
 * An entry is a token and one of its experts.  Entries are sorted by expert,
 * then by token, so that the entries of an expert are a run, and a product
 * multiplies each expert's matrix by its run.  The entries of a token are
 * therefore added by rising expert, however many tokens a step has.
 */
#ifndef TLPI_CPU_ROUTE_H
#define TLPI_CPU_ROUTE_H

#include "backend/cpu.h"

typedef struct tlpi_cpu_run {
    int32_t expert;
    int32_t begin; /* its first entry */
} tlpi_cpu_run;

struct tlpi_routes {
    tlpi_route_rule rule;
    int n_entry, n_run;
    int32_t *token;    /* [n_entry] */
    float *weight;     /* [n_entry] */
    int32_t *run_of;   /* [n_entry] */
    tlpi_cpu_run *run; /* [n_run + 1]; the last one begins at n_entry */
    /* room for a step's choices, by token */
    int32_t *chosen;      /* [max_tok][n_used] by rising expert */
    float *share;         /* [max_tok][n_used] weights of chosen */
    int32_t *next;        /* [n_expert] */
    tlpi_candidate *best; /* [n_used] */
};

#endif
