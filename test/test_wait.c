/*
 * test_wait.c - waiting on words: spinning and sleeping.
 */
#include <criterion/criterion.h>

#include <pthread.h>

#include "base/pool.h"
#include "base/wait.h"

TestSuite(wait, .timeout = 60);

Test(wait, reached_at_once)
{
    static tlpi_word w;

    tlpi_word_add(&w, 7);
    cr_assert(tlpi_word_wait(&w, 7, NULL, 0));
    cr_assert(tlpi_word_wait(&w, 3, NULL, 0));
    cr_assert_not(tlpi_word_wait(&w, 8, NULL, tlpi_now() + 1e-3));
}

Test(wait, count_wraps)
{
    static tlpi_word w;

    tlpi_word_add(&w, UINT32_MAX - 1);
    cr_assert_not(tlpi_word_wait(&w, 2, NULL, tlpi_now() + 1e-3));
    tlpi_word_add(&w, 4); /* now 2, past the end */
    cr_assert(tlpi_word_wait(&w, 2, NULL, 0));
    cr_assert(tlpi_word_wait(&w, UINT32_MAX, NULL, 0));
}

Test(wait, deadline_is_kept)
{
    static tlpi_word w;
    const int all[] = { -1, 1, 100, 0 }; /* 0: adapts */

    for (size_t i = 0; i < TLPI_COUNT(all); i++) {
        double start = tlpi_now();
        tlpi_spin spin = tlpi_spin_make(all[i], 1, 1);
        cr_assert_not(tlpi_word_wait(&w, 1, &spin, start + 0.05));
        double took = tlpi_now() - start;
        cr_assert(took >= 0.05 && took < 5, "%g s", took);
        cr_assert_eq(w.sleepers, 0);
    }
}

static tlpi_word ping, pong;

static void *answer(void *arg)
{
    (void)arg;
    for (uint32_t i = 1; i <= 2000; i++) {
        tlpi_word_wait(&ping, i, NULL, 0);
        tlpi_word_add(&pong, 1);
    }
    return NULL;
}

/* Without spinning nearly every wait goes to sleep: a lost wake-up would
 * hang. */
Test(wait, no_wakeup_is_lost)
{
    pthread_t t;

    cr_assert_eq(tlpi_thread_start(&t, answer, NULL), TLP_OK);
    for (uint32_t i = 1; i <= 2000; i++) {
        tlpi_word_add(&ping, 1);
        tlpi_word_wait(&pong, i, NULL, 0);
    }
    pthread_join(t, NULL);
    cr_assert_eq(ping.sleepers, 0);
    cr_assert_eq(pong.sleepers, 0);
}

Test(wait, crowded_machines_spin_less)
{
    cr_assert_gt(tlpi_spin_make(0, 4, 4).max_ns,
                 tlpi_spin_make(0, 5, 4).max_ns);
    cr_assert_gt(tlpi_spin_make(0, 5, 4).max_ns, 0);
}

Test(wait, spinning_as_asked)
{
    for (int n = 1; n <= 2; n++) {
        cr_assert_eq(tlpi_spin_make(-1, n, 1).ns, 0);
        cr_assert_eq(tlpi_spin_make(30, n, 1).ns, 30000);
        cr_assert(tlpi_spin_make(30, n, 1).fixed);
        cr_assert_eq(tlpi_spin_make(1000000, n, 1).ns, 1000000000);
    }
}

/* Waits that end late make a thread spin less, waits that end soon make it
 * spin longer, within limits; a fixed time stays. */
Test(wait, spinning_adapts)
{
    static tlpi_word w;
    tlpi_spin spin = tlpi_spin_make(0, 1, 1);
    tlpi_spin fixed = tlpi_spin_make(7, 1, 1);
    uint32_t most = spin.ns;

    for (int i = 0; i < 20; i++) {
        uint32_t before = spin.ns;
        cr_assert_not(tlpi_word_wait(&w, 1, &spin, tlpi_now() + 2e-3));
        cr_assert_not(tlpi_word_wait(&w, 1, &fixed, tlpi_now() + 2e-3));
        cr_assert(spin.ns <= before);
        cr_assert_eq(fixed.ns, 7000);
    }
    cr_assert(spin.ns > 0 && spin.ns < most, "%u of %u ns", spin.ns, most);
    for (int i = 0; i < 1000 && spin.ns < most; i++) {
        double at = tlpi_now();
        cr_assert_not(tlpi_word_wait(&w, 1, &spin, at + 1e-6));
    }
    cr_assert_eq(spin.ns, most);
}
