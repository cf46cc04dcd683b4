/*
 * test_plugin.c - finding and loading the plug-in: what is refused, and how.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/transport.h"
#include "support/check.h"
#include "support/spawn.h"

#define NAME "libtlp_mpi.so"

static char folder[PATH_MAX];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/tlp-plugin-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof path, "%s/" NAME ".0", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/" NAME, folder);
    unlink(path);
    cr_expect_eq(rmdir(folder), 0);
}

/* The folder has `target`, a path below the build folder, as `name`. */
static void offer(const char *target, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX + 32];

    snprintf(from, sizeof from, "%s/%s", spawn_build_dir(), target);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    cr_assert_eq(access(from, F_OK), 0, "%s", from);
    cr_assert_eq(symlink(from, to), 0, "%s", to);
}

/* Loading with this TLP_PLUGIN_PATH fails and says `why`. */
static void expect_refused(const char *path, const char *why)
{
    const tlpi_transport_ops *ops = (const void *)folder;

    if (path)
        setenv("TLP_PLUGIN_PATH", path, 1);
    else
        unsetenv("TLP_PLUGIN_PATH");
    cr_expect_eq(tlpi_transport_load(&ops, TLP_COMM_MPI), TLP_ENOTSUP);
    cr_expect_null(ops);
    cr_expect_not_null(strstr(tlp_last_error(), why), "%s", tlp_last_error());
}

TestSuite(plugin, .init = make_folder, .fini = remove_folder);

Test(plugin, there_is_none)
{
    expect_refused(NULL, "TLP_PLUGIN_PATH (not set)");
    expect_refused(folder, folder);
    expect_refused(folder, NAME ".0: cannot open shared object file");
}

Test(plugin, not_a_library)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof path, "%s/" NAME ".0", folder);

    FILE *f = fopen(path, "w");

    cr_assert_not_null(f);
    fputs("no library\n", f);
    fclose(f);
    expect_refused(folder, path);
}

Test(plugin, not_a_plug_in)
{
    offer("test/plugins/no_entry.so", NAME);
    expect_refused(folder, "no " TLPI_TRANSPORT_SYMBOL);
}

Test(plugin, other_version)
{
    offer("test/plugins/other_version.so", NAME ".0");
    expect_refused(folder, "interface version 2, this library has 1");
}

/* The first of two folders that has one decides. */
Test(plugin, first_found_decides)
{
    char path[2 * PATH_MAX];

    offer("test/plugins/no_entry.so", NAME ".0");
    snprintf(path, sizeof path, "/nowhere:%s:%s", folder, spawn_build_dir());
    expect_refused(path, "no " TLPI_TRANSPORT_SYMBOL);
}

/* Whoever can write to the current folder gets no code run. */
Test(plugin, not_from_the_current_folder)
{
    offer("test/plugins/other_version.so", NAME ".0");
    cr_assert_eq(chdir(folder), 0);
    expect_refused("", "where the system looks");
    expect_refused(":", "where the system looks");
    expect_refused(".:./", "where the system looks");
}

Test(plugin, loads)
{
    const tlpi_transport_ops *ops, *again;
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/" NAME, spawn_build_dir());
    if (access(path, F_OK) != 0)
        cr_skip_test("built without MPI");
    setenv("TLP_PLUGIN_PATH", spawn_build_dir(), 1);
    cr_assert_eq(tlpi_transport_load(&ops, TLP_COMM_MPI), TLP_OK, "%s",
                 tlp_last_error());
    cr_expect_str_eq(ops->name, "mpi");
    cr_expect_eq(tlpi_transport_load(&again, TLP_COMM_MPI), TLP_OK);
    cr_expect_eq(ops, again);
}
