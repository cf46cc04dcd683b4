/*
 * test_cxx.c - the C++ interface, compiled by each compiler as C++17 and C++20,
 * with and without exceptions.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "support/spawn.h"
#include "support/tool.h"

TestSuite(cxx, .timeout = 550);

static void run(const char *variant)
{
    char program[4200], path[4400];

    snprintf(program, sizeof program, "test/cxx/%s/interface", variant);
    snprintf(path, sizeof path, "%s/%s", spawn_build_dir(), program);
    if (access(path, X_OK) != 0)
        cr_skip_test("%s was not built: there is no clang++, or a sanitizer "
                     "is on",
                     program);

    spawned s = SPAWN(program, tool_model());

    cr_expect_eq(s.status, 0, "status %d: %s", s.status, s.err);
    cr_expect_str_eq(s.out, "ok\n");
    spawn_free(&s);
}

Test(cxx, cxx17)
{
    run("own-17");
}

Test(cxx, cxx20)
{
    run("own-20");
}

Test(cxx, cxx17_without_exceptions)
{
    run("own-17-results");
}

Test(cxx, cxx20_without_exceptions)
{
    run("own-20-results");
}

Test(cxx, clang_cxx17)
{
    run("clang-17");
}

Test(cxx, clang_cxx20)
{
    run("clang-20");
}

Test(cxx, clang_cxx17_without_exceptions)
{
    run("clang-17-results");
}

Test(cxx, clang_cxx20_without_exceptions)
{
    run("clang-20-results");
}
