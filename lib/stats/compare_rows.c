/*
 * compare_rows.c - rows of logits compared, each row by one thread of a pool.
 */
#include <stdatomic.h>

#include "stats/stats.h"

typedef struct job {
    const tlpi_row_comparison *c;
    _Atomic int failed; /* the first row that failed; c->n: none */
} job;

static tlp_status compare_row(const tlpi_row_comparison *c, int i)
{
    size_t at = (size_t)i * c->n_vocab;

    c->div[i].struct_size = sizeof(c->div[i]);
    return tlp_logits_compare(&c->div[i], c->reference + at, c->rows + at,
                              c->n_vocab);
}

static void compare_one(void *arg, int i, int n)
{
    job *j = arg;
    int first = atomic_load(&j->failed);

    (void)n;
    if (i < first && compare_row(j->c, i) != TLP_OK)
        while (i < first &&
               !atomic_compare_exchange_weak(&j->failed, &first, i))
            ;
}

tlp_status tlpi_rows_compare(tlpi_pool *pool, const tlpi_row_comparison *c)
{
    job j = { .c = c, .failed = c->n };

    tlpi_pool_map(pool, c->n, compare_one, &j);
    /* The text of a failure belongs to a thread: fail again on this one. */
    if (j.failed == c->n)
        return TLP_OK;
    (void)compare_row(c, j.failed);
    return tlpi_fail_prefix(TLP_ERROR, "position %d: ", c->at + j.failed);
}
