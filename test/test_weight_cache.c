/*
 * test_weight_cache.c - objects shared by key, from one thread and from many.
 */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "backend/weight_cache.h"
#include "support/counting.h"

static tlpi_env env;

static void init_env(void)
{
    cr_assert_eq(tlpi_env_init(&env, NULL, NULL, NULL), TLP_OK);
}

TestSuite(weight_cache, .init = init_env, .timeout = 30);

typedef struct toy {
    _Atomic int made, destroyed;
    _Atomic int *wait_for; /* made must become 1 before we are done */
    int fail_times;
} toy;

static tlp_status make_toy(void **object, void *arg)
{
    toy *t = arg;

    while (t->wait_for && *t->wait_for == 0)
        usleep(100);
    if (t->fail_times > 0) {
        t->fail_times--;
        return tlpi_fail(TLP_EIO, "not this time");
    }
    usleep(1000);
    t->made++;
    *object = t;
    return TLP_OK;
}

static void destroy_toy(void *object)
{
    ((toy *)object)->destroyed++;
}

static void *take(tlpi_weight_cache *s, int64_t number, toy *t)
{
    tlpi_weight_cache_key key;
    void *object = NULL;

    memset(&key, 0, sizeof key);
    key.r0 = number;
    tlp_status st =
        tlpi_weight_cache_take(s, &key, make_toy, t, destroy_toy, &object);
    return st == TLP_OK ? object : NULL;
}

Test(weight_cache, shares_and_destroys)
{
    counting c = { 0 };
    tlp_allocator mem = counting_allocator(&c);
    static toy t[300], other;
    tlpi_weight_cache *s;

    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_OK);
    cr_assert_eq(tlpi_weight_cache_create(&s, &env), TLP_OK);
    for (int i = 0; i < 300; i++)
        cr_assert_eq(take(s, i, &t[i]), &t[i]);
    for (int i = 0; i < 300; i++)
        cr_assert_eq(take(s, i, &other), &t[i]);
    cr_assert_eq(other.made, 0);
    for (int i = 0; i < 300; i++) {
        tlpi_weight_cache_put(s, &t[i]);
        cr_assert_eq(t[i].destroyed, 0);
        tlpi_weight_cache_put(s, &t[i]);
        cr_assert_eq(t[i].destroyed, 1);
    }
    tlpi_weight_cache_put(s, NULL);
    cr_assert_eq(take(s, 5, &other), &other); /* made anew */
    tlpi_weight_cache_put(s, &other);
    tlpi_weight_cache_free(s);
    tlpi_weight_cache_free(NULL);
    cr_assert_eq(c.n_live, 0);
    cr_assert_eq(c.bad, 0);
}

Test(weight_cache, failure_leaves_nothing)
{
    static toy t = { .fail_times = 2 };
    tlpi_weight_cache *s;

    cr_assert_eq(tlpi_weight_cache_create(&s, &env), TLP_OK);
    cr_assert_null(take(s, 1, &t));
    cr_assert_str_eq(tlp_last_error(), "not this time");
    cr_assert_null(take(s, 1, &t));
    cr_assert_eq(take(s, 1, &t), &t);
    tlpi_weight_cache_put(s, &t);
    cr_assert_eq(t.destroyed, 1);
    tlpi_weight_cache_free(s);
}

typedef struct taker {
    pthread_t thread;
    tlpi_weight_cache *s;
    int64_t number;
    toy *t;
    void *got;
} taker;

static void *run_taker(void *arg)
{
    taker *a = arg;

    a->got = take(a->s, a->number, a->t);
    return NULL;
}

Test(weight_cache, one_key_is_made_once_by_many_threads)
{
    static toy t = { .fail_times = 1 };
    taker a[16];
    tlpi_weight_cache *s;
    int n_failed = 0;

    cr_assert_eq(tlpi_weight_cache_create(&s, &env), TLP_OK);
    for (size_t i = 0; i < 16; i++) {
        a[i] = (taker){ .s = s, .number = 3, .t = &t };
        cr_assert_eq(pthread_create(&a[i].thread, NULL, run_taker, &a[i]), 0);
    }
    for (size_t i = 0; i < 16; i++) {
        pthread_join(a[i].thread, NULL);
        n_failed += a[i].got == NULL;
    }
    cr_assert_eq(t.made, 1);
    cr_assert_eq(n_failed, 1); /* the one whose turn it was */
    for (size_t i = 0; i < 16; i++)
        tlpi_weight_cache_put(s, a[i].got);
    cr_assert_eq(t.destroyed, 1);
    tlpi_weight_cache_free(s);
}

Test(weight_cache, different_keys_are_made_at_the_same_time)
{
    static toy first, second;
    taker a = { .number = 1, .t = &first };

    first.wait_for = &second.made; /* deadlocks if keys are serialised */
    cr_assert_eq(tlpi_weight_cache_create(&a.s, &env), TLP_OK);
    cr_assert_eq(pthread_create(&a.thread, NULL, run_taker, &a), 0);
    usleep(5000);
    cr_assert_eq(take(a.s, 2, &second), &second);
    pthread_join(a.thread, NULL);
    cr_assert_eq(a.got, &first);
    tlpi_weight_cache_put(a.s, &first);
    tlpi_weight_cache_put(a.s, &second);
    tlpi_weight_cache_free(a.s);
}
