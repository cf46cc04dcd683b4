/*
 * criterion.h - the part of Criterion that the tests use, for ThreadSanitizer.
 *
 * Criterion shares memory between its processes at addresses which TSan keeps
 * for itself, so its programs end before main.  With TSAN=1 the tests find
 * this header first and are linked with test/plain/plain_runner.c.
 */
#ifndef PLAIN_CRITERION_H
#define PLAIN_CRITERION_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

typedef struct plain_options {
    int line;
    void (*init)(void), (*fini)(void);
    double timeout; /* seconds */
} plain_options;

/* A test, or a suite when it has no body. */
typedef struct plain_test {
    const char *suite, *name;
    void (*body)(void);
    plain_options options;
    struct plain_test *next;
} plain_test;

void plain_register(plain_test *t);

/* A failed assertion ends the test; a failed expectation only fails it. */
void plain_check(bool ok, bool fatal, const char *file, int line,
                 const char *expr, const char *fmt, ...);
_Noreturn void plain_skip(const char *fmt, ...);

#define PLAIN_REGISTER(id, ...)                                                \
    __attribute__((constructor)) static void id##_register(void)               \
    {                                                                          \
        static plain_test t = { __VA_ARGS__ };                                 \
        plain_register(&t);                                                    \
    }

/* The names are the first two arguments; what follows are options. */
#define Test(...) PLAIN_TEST(__VA_ARGS__, .line = __LINE__)
#define PLAIN_TEST(s, n, ...)                                                  \
    static void s##_##n##_body(void);                                          \
    PLAIN_REGISTER(s##_##n, #s, #n, s##_##n##_body, { __VA_ARGS__ }, NULL)     \
    static void s##_##n##_body(void)

#define TestSuite(...) PLAIN_SUITE(__VA_ARGS__, .line = __LINE__)
#define PLAIN_SUITE(s, ...)                                                    \
    PLAIN_REGISTER(s##_suite, #s, NULL, NULL, { __VA_ARGS__ }, NULL)           \
    typedef int s##_suite_end

/* condition, then an optional format and its arguments */
#define PLAIN_CHECK(fatal, cond, ...)                                          \
    plain_check(cond, fatal, __FILE__, __LINE__, #cond, __VA_ARGS__)
#define PLAIN_2(fatal, a, op, b, ...) PLAIN_CHECK(fatal, (a)op(b), __VA_ARGS__)
#define PLAIN_NULL(fatal, p, ...) PLAIN_CHECK(fatal, (p) == NULL, __VA_ARGS__)
#define PLAIN_NOT_NULL(fatal, p, ...)                                          \
    PLAIN_CHECK(fatal, (p) != NULL, __VA_ARGS__)
#define PLAIN_NOT(fatal, x, ...) PLAIN_CHECK(fatal, !(x), __VA_ARGS__)
#define PLAIN_STR(fatal, op, a, b, ...)                                        \
    PLAIN_CHECK(fatal, strcmp(a, b) op 0, __VA_ARGS__)
#define PLAIN_EMPTY(fatal, op, s, ...)                                         \
    PLAIN_CHECK(fatal, (s)[0] op 0, __VA_ARGS__)
#define PLAIN_FLOAT(fatal, a, b, eps, ...)                                     \
    PLAIN_CHECK(fatal, fabs((double)(a) - (double)(b)) <= (double)(eps),       \
                __VA_ARGS__)
#define PLAIN_ARR(fatal, a, b, n, ...)                                         \
    PLAIN_CHECK(fatal, memcmp(a, b, n) == 0, __VA_ARGS__)
#define PLAIN_EQ(fatal, a, b, ...) PLAIN_2(fatal, a, ==, b, __VA_ARGS__)
#define PLAIN_NEQ(fatal, a, b, ...) PLAIN_2(fatal, a, !=, b, __VA_ARGS__)
#define PLAIN_LT(fatal, a, b, ...) PLAIN_2(fatal, a, <, b, __VA_ARGS__)
#define PLAIN_LEQ(fatal, a, b, ...) PLAIN_2(fatal, a, <=, b, __VA_ARGS__)
#define PLAIN_GT(fatal, a, b, ...) PLAIN_2(fatal, a, >, b, __VA_ARGS__)
#define PLAIN_GEQ(fatal, a, b, ...) PLAIN_2(fatal, a, >=, b, __VA_ARGS__)

#define cr_assert(...) PLAIN_CHECK(true, __VA_ARGS__, "")
#define cr_assert_fail(...) PLAIN_CHECK(true, false, __VA_ARGS__)
#define cr_assert_not(...) PLAIN_NOT(true, __VA_ARGS__, "")
#define cr_assert_eq(...) PLAIN_EQ(true, __VA_ARGS__, "")
#define cr_assert_neq(...) PLAIN_NEQ(true, __VA_ARGS__, "")
#define cr_assert_lt(...) PLAIN_LT(true, __VA_ARGS__, "")
#define cr_assert_leq(...) PLAIN_LEQ(true, __VA_ARGS__, "")
#define cr_assert_gt(...) PLAIN_GT(true, __VA_ARGS__, "")
#define cr_assert_geq(...) PLAIN_GEQ(true, __VA_ARGS__, "")
#define cr_assert_null(...) PLAIN_NULL(true, __VA_ARGS__, "")
#define cr_assert_not_null(...) PLAIN_NOT_NULL(true, __VA_ARGS__, "")
#define cr_assert_str_eq(...) PLAIN_STR(true, ==, __VA_ARGS__, "")
#define cr_assert_str_neq(...) PLAIN_STR(true, !=, __VA_ARGS__, "")
#define cr_assert_str_empty(...) PLAIN_EMPTY(true, ==, __VA_ARGS__, "")
#define cr_assert_str_not_empty(...) PLAIN_EMPTY(true, !=, __VA_ARGS__, "")
#define cr_assert_float_eq(...) PLAIN_FLOAT(true, __VA_ARGS__, "")
#define cr_assert_arr_eq(...) PLAIN_ARR(true, __VA_ARGS__, "")

#define cr_expect(...) PLAIN_CHECK(false, __VA_ARGS__, "")
#define cr_expect_not(...) PLAIN_NOT(false, __VA_ARGS__, "")
#define cr_expect_arr_eq(...) PLAIN_ARR(false, __VA_ARGS__, "")
#define cr_expect_eq(...) PLAIN_EQ(false, __VA_ARGS__, "")
#define cr_expect_neq(...) PLAIN_NEQ(false, __VA_ARGS__, "")
#define cr_expect_lt(...) PLAIN_LT(false, __VA_ARGS__, "")
#define cr_expect_leq(...) PLAIN_LEQ(false, __VA_ARGS__, "")
#define cr_expect_gt(...) PLAIN_GT(false, __VA_ARGS__, "")
#define cr_expect_geq(...) PLAIN_GEQ(false, __VA_ARGS__, "")
#define cr_expect_null(...) PLAIN_NULL(false, __VA_ARGS__, "")
#define cr_expect_not_null(...) PLAIN_NOT_NULL(false, __VA_ARGS__, "")
#define cr_expect_str_eq(...) PLAIN_STR(false, ==, __VA_ARGS__, "")
#define cr_expect_str_neq(...) PLAIN_STR(false, !=, __VA_ARGS__, "")
#define cr_expect_str_empty(...) PLAIN_EMPTY(false, ==, __VA_ARGS__, "")
#define cr_expect_float_eq(...) PLAIN_FLOAT(false, __VA_ARGS__, "")

#define cr_skip plain_skip
#define cr_skip_test plain_skip
#define cr_log_info(...) fprintf(stderr, __VA_ARGS__)

#endif
