/*
 * test_slab.c - pieces of slabs: apart from each other, and all given back.
 */
#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

#include "base/slab.h"
#include "support/counting.h"

TestSuite(slab, .timeout = 30);

enum { MB = 1 << 20, N = 40 };

/* Sizes from nothing to more than a slab; the last takers of a slab outlive
 * the thread's own hold on it. */
static size_t size_of(int i)
{
    return i % 10 == 9 ? 9 * (size_t)MB : (size_t)i * 40003;
}

Test(slab, pieces_are_apart_and_given_back)
{
    counting c = { 0 };
    tlp_allocator mem = counting_allocator(&c);
    tlpi_env env;
    tlpi_slab *slab = NULL, *home[N];
    unsigned char *p[N];

    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_OK);
    for (int i = 0; i < N; i++) {
        p[i] = tlpi_slab_take(&env, &slab, size_of(i), &home[i]);
        cr_assert(p[i] && (uintptr_t)p[i] % 64 == 0);
        memset(p[i], i, size_of(i));
    }
    cr_assert(c.n_live < N / 2, "%zu blocks for %d pieces", c.n_live, N);
    tlpi_slab_drop(slab);
    for (int i = 0; i < N; i++) {
        for (size_t k = 0; k < size_of(i); k++)
            cr_assert_eq(p[i][k], i);
        tlpi_slab_drop(home[i]);
    }
    cr_assert(c.n_live == 0 && c.bad == 0);
    tlpi_slab_drop(NULL);
}

Test(slab, want_of_memory_leaves_the_slab)
{
    counting c = { 0 };
    tlp_allocator mem = counting_allocator(&c);
    tlpi_env env;
    tlpi_slab *slab = NULL, *home, *last;

    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_OK);
    c.fail_at = 1;
    cr_assert_null(tlpi_slab_take(&env, &slab, 100, &home));
    cr_assert_null(slab);
    cr_assert_not_null(tlpi_slab_take(&env, &slab, 100, &home));
    c.fail_at = c.calls + 1;
    cr_assert_null(tlpi_slab_take(&env, &slab, 64 * (size_t)MB, &last));
    cr_assert_null(tlpi_slab_take(&env, &slab, SIZE_MAX, &last));
    cr_assert_not_null(tlpi_slab_take(&env, &slab, 100, &last));
    cr_assert_eq(last, home, "the same slab goes on");
    tlpi_slab_drop(home);
    tlpi_slab_drop(last);
    tlpi_slab_drop(slab);
    cr_assert(c.n_live == 0 && c.bad == 0);
}
