/*
 * test_unload.c - a host that loads, uses and unloads the library again and
 * again: the process has nothing more afterwards.
 */
#include <limits.h>
#include <stdio.h>

#include "support/check.h"
#include "support/spawn.h"
#include "support/tiny.h"

/* A leak of 1 KB in a round is found in ROUNDS; thread stacks and arenas that
 * the C library keeps stay below the limit. */
#define ROUNDS (1000 / CHECK_SLOWDOWN)
#define SESSION_ROUNDS (300 / CHECK_SLOWDOWN)
#define LIMIT_KB 1000

TestSuite(unload, .timeout = 600);

static void expect_no_growth(int rounds, const char *what)
{
    tiny_spec spec = tiny_default();
    const char *model = tiny_make(&spec);
    char library[PATH_MAX], count[16];
    long rss = -1, maps = -1, threads = -1, fds = -1, code = -1;

    snprintf(library, sizeof library, "%s/libtlp.so", spawn_build_dir());
    snprintf(count, sizeof count, "%d", rounds);
    spawned s = SPAWN("test/host/unload", library, model, count, what);
    cr_assert_eq(s.status, 0, "status %d: %s", s.status, s.err);
    cr_assert_eq(sscanf(s.out,
                        "rss %ld maps %ld threads %ld fds %ld "
                        "writable-code %ld",
                        &rss, &maps, &threads, &fds, &code),
                 5, "%s", s.out);
    cr_expect_eq(threads, 0, "%s", s.out);
    cr_expect_eq(fds, 0, "%s", s.out);
    cr_expect_eq(code, 0, "%s", s.out);
#if CHECK_SLOWDOWN == 1 /* a sanitizer keeps memory of its own */
    cr_expect_leq(rss, LIMIT_KB, "%s", s.out);
    cr_expect_leq(maps, 2, "%s", s.out);
#endif
    spawn_free(&s);
}

Test(unload, a_model_leaves_nothing)
{
    expect_no_growth(ROUNDS, "open");
}

Test(unload, a_session_leaves_nothing)
{
    expect_no_growth(SESSION_ROUNDS, "session");
}
