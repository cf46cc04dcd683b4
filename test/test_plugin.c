/*
 * test_plugin.c - finding and loading plug-ins: what is refused, and how.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/transport.h"
#include "device/device.h"
#include "support/check.h"
#include "support/spawn.h"

#define MPI "libtlp_mpi.so"
#define CUDA "libtlp_cuda.so"
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define ABI "." TEXT(TLP_ABI_VERSION)

static char folder[PATH_MAX];

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/tlp-plugin-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    static const char *const names[] = { MPI, MPI ABI, CUDA, CUDA ABI };
    char path[PATH_MAX + 32];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
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

static void set_path(const char *path)
{
    if (path)
        setenv("TLP_PLUGIN_PATH", path, 1);
    else
        unsetenv("TLP_PLUGIN_PATH");
}

static void expect_text(const char *why)
{
    cr_expect_not_null(strstr(tlp_last_error(), why), "%s", tlp_last_error());
}

/* Loading with this TLP_PLUGIN_PATH fails and says `why`. */
static void expect_refused(const char *path, const char *why)
{
    const tlpi_transport_ops *ops = (const void *)folder;

    set_path(path);
    cr_expect_eq(tlpi_transport_load(&ops, TLP_COMM_MPI), TLP_ENOTSUP);
    cr_expect_null(ops);
    expect_text(why);
}

/* The same for GPUs, by the public call. */
static void expect_no_device(const char *path, const char *why)
{
    int32_t n = 7;

    set_path(path);
    cr_expect_eq(tlp_device_count(&n, TLP_BACKEND_CUDA), TLP_ENOTSUP);
    cr_expect_eq(n, 0);
    expect_text(why);
}

TestSuite(plugin, .init = make_folder, .fini = remove_folder);

Test(plugin, there_is_none)
{
    expect_refused(NULL, "TLP_PLUGIN_PATH (not set)");
    expect_refused(folder, folder);
    expect_refused(folder, MPI ABI ": cannot open shared object file");
    expect_refused(folder, "no plug-in for MPI in ");
}

Test(plugin, not_a_library)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof path, "%s/" MPI ABI, folder);

    FILE *f = fopen(path, "w");

    cr_assert_not_null(f);
    fputs("no library\n", f);
    fclose(f);
    expect_refused(folder, path);
}

Test(plugin, not_a_plug_in)
{
    offer("test/plugins/no_entry.so", MPI);
    expect_refused(folder, "no " TLPI_TRANSPORT_SYMBOL);
    offer("test/plugins/no_entry.so", CUDA);
    expect_no_device(folder, "no " TLPI_DEVICE_SYMBOL);
}

/* The plug-ins say that they are one ahead. */
static const char *versions(unsigned ours)
{
    static char text[64];

    snprintf(text, sizeof text, "interface version %u, this library has %u",
             ours + 1, ours);
    return text;
}

Test(plugin, other_version)
{
    offer("test/plugins/other_version.so", MPI ABI);
    expect_refused(folder, versions(TLPI_TRANSPORT_ABI));
    offer("test/plugins/other_device.so", CUDA ABI);
    expect_no_device(folder, versions(TLPI_DEVICE_ABI));
}

/* The first of two folders that has one decides. */
Test(plugin, first_found_decides)
{
    char path[2 * PATH_MAX];

    offer("test/plugins/no_entry.so", MPI ABI);
    snprintf(path, sizeof path, "/nowhere:%s:%s", folder, spawn_build_dir());
    expect_refused(path, "no " TLPI_TRANSPORT_SYMBOL);
}

/* Whoever can write to the current folder gets no code run. */
Test(plugin, not_from_the_current_folder)
{
    offer("test/plugins/other_version.so", MPI ABI);
    cr_assert_eq(chdir(folder), 0);
    expect_refused("", "where the system looks");
    expect_refused(":", "where the system looks");
    expect_refused(".:./", "where the system looks");
}

/* As where CUDA's libraries are not installed. */
Test(plugin, needs_a_library)
{
    offer("test/plugins/needs_absent.so", CUDA);
    expect_no_device(folder, "libabsent.so.1: cannot open shared object file");
}

Test(plugin, no_table)
{
    offer("test/plugins/no_table.so", CUDA);
    expect_no_device(folder, "not a plug-in of this library");
}

/* The text of a plug-in's failure is the caller's last error. */
Test(plugin, no_device)
{
    tlp_device_info info = { .struct_size = sizeof info };

    offer("test/plugins/no_device.so", CUDA);
    expect_no_device(folder, "the driver is 1.0, 2.0 is needed");
    cr_expect_eq(tlp_device_get_info(&info, TLP_BACKEND_CUDA, 0), TLP_ENOTSUP);
    expect_text("the driver is 1.0, 2.0 is needed");
    setenv("TLP_TEST_SILENT", "1", 1);
    expect_no_device(folder, "none: there is no device");
}

/* Each kind is found by its own name alone. */
Test(plugin, two_kinds)
{
    offer("test/plugins/no_device.so", CUDA);
    expect_refused(folder, "no plug-in for MPI in ");
    offer("test/plugins/no_entry.so", MPI);
    expect_no_device(folder, "the driver is 1.0");
}

Test(plugin, backends)
{
    tlp_device_info info = { .struct_size = sizeof info };
    int32_t n = 7;

    cr_expect_eq(tlp_device_count(NULL, TLP_BACKEND_CUDA), TLP_EINVAL);
    cr_expect_eq(tlp_device_get_info(NULL, TLP_BACKEND_CUDA, 0), TLP_EINVAL);
    cr_expect_eq(tlp_device_count(&n, TLP_BACKEND_CPU), TLP_EINVAL);
    cr_expect_eq(n, 0);
    cr_expect_eq(tlp_device_count(&n, 2), TLP_ENOTSUP);
    expect_text("backend 2");
    cr_expect_eq(tlp_device_get_info(&info, -1, 0), TLP_ENOTSUP);
    expect_text("backend -1");
}

Test(plugin, loads)
{
    const tlpi_transport_ops *ops, *again;
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/" MPI, spawn_build_dir());
    if (access(path, F_OK) != 0)
        cr_skip_test("built without MPI");
    setenv("TLP_PLUGIN_PATH", spawn_build_dir(), 1);
    cr_assert_eq(tlpi_transport_load(&ops, TLP_COMM_MPI), TLP_OK, "%s",
                 tlp_last_error());
    cr_expect_str_eq(ops->name, "mpi");
    cr_expect_eq(tlpi_transport_load(&again, TLP_COMM_MPI), TLP_OK);
    cr_expect_eq(ops, again);
}
