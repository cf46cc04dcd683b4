/*
 * ranks.h - ranks in threads for tests of communicators: starting ranks,
 * checking sums, failing allocations.
 */
#ifndef RANKS_H
#define RANKS_H

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "comm/comm.h"
#include "mem.h"
#include "payload.h"

#define MAX_RANK 5

/* ==== memory ============================================================= */

static mem heap;
static tlpi_env env;

static inline void init_heap(void)
{
    heap = (mem){ 0 };
    tlp_allocator hooks = mem_hooks(&heap);
    cr_assert_eq(tlpi_env_init(&env, &hooks, NULL, NULL), TLP_OK);
}

/* The next n allocations succeed; later ones fail. */
static inline void ration(long n)
{
    heap.calls = 0;
    heap.fail_at = n + 1;
    heap.fail_after = true;
}

/* ==== ranks in threads =================================================== */

typedef struct member member;
typedef void (*member_fn)(member *m);

/* One rank's thread.  The main thread makes all assertions; a rank records its
 * first failed line. */
struct member {
    tlpi_comm *c;
    int rank, n;
    void *arg;
    member_fn fn;
    uint64_t rng;
    int bad_line;
    tlp_status st;
    char text[160];
    pthread_t thread;
};

#define CHECK(m, cond)                                                         \
    do {                                                                       \
        if (!(cond)) {                                                         \
            (m)->bad_line = __LINE__;                                          \
            (m)->c->ops->abort((m)->c);                                        \
            return;                                                            \
        }                                                                      \
    } while (0)

static inline void nap_us(long us)
{
    struct timespec t = { us / 1000000, us % 1000000 * 1000 };
    nanosleep(&t, NULL);
}

/* Sleep: mostly not, sometimes briefly, rarely long enough for peers to
 * sleep. */
static inline void dawdle(member *m)
{
    uint64_t dice = next(&m->rng) % 64;
    if (dice == 0)
        nap_us(500);
    else if (dice < 8)
        for (uint64_t i = next(&m->rng) % 2000; i > 0; i--)
            __asm__ __volatile__("");
}

static inline void *member_main(void *arg)
{
    member *m = arg;
    m->fn(m);
    return NULL;
}

static inline void start_ranks(member *m, tlpi_comm *const *c, int n,
                               member_fn fn, void *arg)
{
    for (int r = 0; r < n; r++) {
        m[r] = (member){ .c = c[r],
                         .rank = r,
                         .n = n,
                         .arg = arg,
                         .fn = fn,
                         .rng = (uint64_t)r * 77 + 1 };
        cr_assert_eq(tlpi_thread_start(&m[r].thread, member_main, &m[r]),
                     TLP_OK);
    }
}

static inline void join_ranks(member *m, int n)
{
    for (int r = 0; r < n; r++)
        pthread_join(m[r].thread, NULL);
    for (int r = 0; r < n; r++)
        cr_assert_eq(m[r].bad_line, 0, "rank %d of %d: line %d: %s", r, n,
                     m[r].bad_line, m[r].text);
}

static inline void make(tlpi_comm **c, int n, int timeout_ms)
{
    cr_assert_eq(tlpi_comm_threads_create(c, &env, n, n, timeout_ms), TLP_OK,
                 "%s", tlp_last_error());
    for (int r = 0; r < n; r++) {
        cr_assert_eq(c[r]->rank, r);
        cr_assert_eq(c[r]->size, n);
    }
}

static inline void drop(tlpi_comm **c, int n)
{
    for (int r = 0; r < n; r++)
        tlpi_comm_free(c[r]);
    cr_assert_eq(heap.live, 0);
}

static inline void run_ranks(int n, member_fn fn, void *arg)
{
    tlpi_comm *c[MAX_RANK];
    member m[MAX_RANK];

    make(c, n, 60000);
    start_ranks(m, c, n, fn, arg);
    join_ranks(m, n);
    drop(c, n);
}

/* ==== sums =============================================================== */

static inline tlp_status allreduce(tlpi_comm *c, float *x, size_t n,
                                   uint32_t *vote)
{
    return c->ops->allreduce(c, x, n, vote);
}

/* All-reduce n values in sub, whose rank 0 is root rank `first`; true if sum
 * and votes are right. */
static inline bool sub_sum(tlpi_comm *sub, uint64_t key, int first,
                           int root_rank, size_t n)
{
    float *x = malloc(n * sizeof *x);
    uint32_t vote = 1u << root_rank, votes = 0;
    for (int r = first; r < first + sub->size; r++)
        votes |= 1u << r;
    if (sub->size == 1)
        votes = vote;
    fill(x, n, key, root_rank);
    bool ok = allreduce(sub, x, n, &vote) == TLP_OK && vote == votes &&
              is_sum(x, n, key, first, sub->size);
    free(x);
    return ok;
}

#endif
