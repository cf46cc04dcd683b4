/*
 * plain_runner.c - runs the tests of a program, each in a process of its own;
 * see criterion/criterion.h here.  Options of Criterion's command line are
 * accepted and ignored.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "criterion/criterion.h"

#define SKIPPED 77

static plain_test *tests;
static bool failed; /* an expectation of the running test */

void plain_register(plain_test *t)
{
    plain_test **end = &tests;

    while (*end)
        end = &(*end)->next;
    *end = t;
}

void plain_check(bool ok, bool fatal, const char *file, int line,
                 const char *expr, const char *fmt, ...)
{
    va_list ap;

    if (ok)
        return;
    failed = true;
    fprintf(stderr, "[----] %s:%d: %s is false: ", file, line, expr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    if (fatal)
        exit(1);
}

void plain_skip(const char *fmt, ...)
{
    va_list ap;

    printf("[SKIP] ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    exit(SKIPPED);
}

static plain_options suite_of(const plain_test *t)
{
    for (const plain_test *s = tests; s; s = s->next)
        if (!s->body && strcmp(s->suite, t->suite) == 0)
            return s->options;
    return (plain_options){ 0 };
}

static _Noreturn void run(const plain_test *t)
{
    plain_options suite = suite_of(t), o = t->options;
    double timeout = o.timeout > 0 ? o.timeout : suite.timeout;

    alarm(timeout > 0 ? (unsigned)timeout : 0);
    if (suite.init)
        suite.init();
    if (o.init)
        o.init();
    t->body();
    if (o.fini)
        o.fini();
    if (suite.fini)
        suite.fini();
    exit(failed);
}

int main(void)
{
    int n = 0, n_failed = 0, n_skipped = 0;

    for (const plain_test *t = tests; t; t = t->next) {
        int status = 0;

        if (!t->body)
            continue;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            run(t);
        if (child < 0 || waitpid(child, &status, 0) < 0) {
            perror("runner");
            return 2;
        }
        n++;
        if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
            n_skipped++;
        } else if (status != 0) {
            n_failed++;
            printf("[FAIL] %s::%s: %s %d\n", t->suite, t->name,
                   WIFEXITED(status) ? "exit status" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        }
    }
    printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d\n",
           n - n_skipped, n - n_skipped - n_failed, n_failed);
    return n_failed != 0;
}
