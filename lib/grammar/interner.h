/*
 * interner.h - numbers for rows of integers: equal rows have equal numbers.
 */
#ifndef TLPI_INTERNER_H
#define TLPI_INTERNER_H

#include "base/base.h"

typedef struct tlpi_interner {
    const tlpi_env *env;
    int32_t *data; /* all rows, one behind the other */
    size_t n_data, cap_data;
    size_t *begin; /* [n + 1] */
    size_t n, cap;
    int32_t *slot; /* [mask + 1] numbers by hash; -1 = free */
    size_t mask;
} tlpi_interner;

static inline const int32_t *tlpi_interner_row(const tlpi_interner *t,
                                               int32_t id, size_t *n)
{
    *n = t->begin[id + 1] - t->begin[id];
    return t->data + t->begin[id];
}

/* The number of a row, which may be new; -1 when out of memory.  The row must
 * not lie in the interner. */
int32_t tlpi_intern(tlpi_interner *t, const int32_t *row, size_t n);
/* The number of a row that is known; -1 otherwise. */
int32_t tlpi_interner_find(const tlpi_interner *t, const int32_t *row,
                           size_t n);
/* Forget all rows and keep the memory. */
void tlpi_interner_clear(tlpi_interner *t);
void tlpi_interner_free(tlpi_interner *t);

#endif
