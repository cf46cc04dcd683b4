/*
 * page_pool.h - the pages of one kind of caches, counted: how many sequences
 * have each page, and which pages are free.
 */
#ifndef TLPI_PAGE_POOL_H
#define TLPI_PAGE_POOL_H

#include "base/base.h"

typedef struct tlpi_page_pool {
    int32_t *count; /* [n_page] sequences that have the page */
    int32_t *back;  /* [n_back] pages that came back */
    int n_page, n_back;
    int n_used; /* pages that some sequence has */
    int fresh;  /* this page and those behind it were never taken */
} tlpi_page_pool;

tlp_status tlpi_page_pool_create(tlpi_page_pool *p, const tlpi_env *env,
                                 int n_page);
void tlpi_page_pool_free(tlpi_page_pool *p, const tlpi_env *env);

/* The page that the i-th call of tlpi_page_pool_take from now on returns. */
static inline int32_t tlpi_page_pool_next(const tlpi_page_pool *p, int i)
{
    return i < p->n_back ? p->back[p->n_back - 1 - i]
                         : p->fresh + i - p->n_back;
}

static inline int tlpi_page_pool_n_free(const tlpi_page_pool *p)
{
    return p->n_page - p->n_used;
}

/* A free page, for one sequence; there is one. */
int32_t tlpi_page_pool_take(tlpi_page_pool *p);
/* One sequence more has the page. */
void tlpi_page_pool_share(tlpi_page_pool *p, int32_t page);
/* One sequence less has it; true: it is free now. */
bool tlpi_page_pool_put(tlpi_page_pool *p, int32_t page);

#endif
