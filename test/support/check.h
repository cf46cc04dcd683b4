/*
 * check.h - Criterion, and assertions that show a status with its error text.
 */
#ifndef CHECK_H
#define CHECK_H

#include <criterion/criterion.h>

#include "tlp.h"

/* cr_assert(a == b) assigns an int to a one-bit field. */
#pragma GCC diagnostic ignored "-Wconversion"

#define CHECK_OK(expr)                                                         \
    do {                                                                       \
        tlp_status check_st = (expr);                                          \
        cr_assert(check_st == TLP_OK, "%s: %s: %s", #expr,                     \
                  tlp_status_name(check_st), tlp_last_error());                \
    } while (0)

/* The call fails with this status and records a text. */
#define CHECK_FAILS(want, expr)                                                \
    do {                                                                       \
        tlp_status check_st = (expr);                                          \
        cr_assert(check_st == (want), "%s: %s expected, %s found: %s", #expr,  \
                  tlp_status_name(want), tlp_status_name(check_st),            \
                  tlp_last_error());                                           \
        cr_assert(tlp_last_error()[0], "%s left no error text", #expr);        \
    } while (0)

/* TSan ends a child of fork() that starts threads, and has a thread of its own
 * once a program has two. */
#if defined(__SANITIZE_THREAD__)
#define CHECK_SKIP_FORK() cr_skip_test("TSan ends a child that starts threads")
#define CHECK_OWN_THREADS 1
#else
#define CHECK_SKIP_FORK() (void)0
#define CHECK_OWN_THREADS 0
#endif

/* Sanitizers slow the tests down: counts are divided by this. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECK_SLOWDOWN 8
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CHECK_SLOWDOWN 8
#endif
#endif
#ifndef CHECK_SLOWDOWN
#define CHECK_SLOWDOWN 1
#endif

#endif
