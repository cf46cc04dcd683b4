/*
 * plugin.c - find and load the plug-in that carries messages between processes.
 *
 * The first file found decides: one that cannot be loaded is an error, not a
 * reason to go on looking.  Only absolute folders are searched, so that nobody
 * gets code run by leaving it in the folder where a program is started.
 */
#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/transport.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define PLUGIN "libtlp_mpi.so"

static const char *const names[] = { PLUGIN "." STRING(TLP_ABI_VERSION),
                                     PLUGIN };

/* The transport in a file, a path or a name for the system's search. */
static tlp_status load(const tlpi_transport_ops **out, const char *path)
{
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (!lib)
        return tlpi_fail(TLP_ENOTSUP, "%s", dlerror());

    tlpi_transport_entry entry;

    /* POSIX lets an object pointer from dlsym hold a function's address, ISO C
     * has no cast for it. */
    *(void **)&entry = dlsym(lib, TLPI_TRANSPORT_SYMBOL);
    if (!entry) {
        tlp_status st = tlpi_fail(TLP_ENOTSUP,
                                  "%s: no %s: not a plug-in of "
                                  "this library",
                                  path, TLPI_TRANSPORT_SYMBOL);

        dlclose(lib);
        return st;
    }

    const tlpi_transport_ops *ops = entry();

    if (ops->abi != TLPI_TRANSPORT_ABI)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: interface version %u, this library has %u", path,
                         (unsigned)ops->abi, (unsigned)TLPI_TRANSPORT_ABI);
    *out = ops;
    return TLP_OK;
}

/* Look into dir[0..n) and its subfolder `sub`; TLP_OK and *out NULL when there
 * is no plug-in. */
static tlp_status search(const tlpi_transport_ops **out, const char *dir,
                         size_t n, const char *sub)
{
    char path[PATH_MAX];

    if (n == 0 || dir[0] != '/')
        return TLP_OK;
    for (size_t i = 0; i < TLPI_COUNT(names); i++) {
        int len = snprintf(path, sizeof path, "%.*s/%s%s", (int)n, dir, sub,
                           names[i]);

        if (len > 0 && (size_t)len < sizeof path && access(path, F_OK) == 0)
            return load(out, path);
    }
    return TLP_OK;
}

static tlp_status search_list(const tlpi_transport_ops **out, const char *list)
{
    tlp_status st = TLP_OK;

    while (st == TLP_OK && !*out && *list) {
        size_t n = strcspn(list, ":");

        if (n < PATH_MAX)
            st = search(out, list, n, "");
        list += n + (list[n] == ':');
    }
    return st;
}

/* The file that holds this code: the program's when it is linked statically,
 * whose name the loader does not know.  False if it cannot be told. */
static bool own_file(char path[PATH_MAX])
{
    Dl_info info;
    void *found = NULL;

    /* Any address of this file will do; a constant's is no function's. */
    if (!dladdr1(names, &info, &found, RTLD_DL_LINKMAP))
        return false;

    const struct link_map *map = found;

    if (map->l_name[0] == '\0') {
        ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

        path[n > 0 ? n : 0] = '\0';
        return n > 0;
    }
    return snprintf(path, PATH_MAX, "%s", map->l_name) < PATH_MAX;
}

tlp_status tlpi_transport_load(const tlpi_transport_ops **out, int comm)
{
    char own[PATH_MAX] = "";

    *out = NULL;
    if (comm != TLP_COMM_MPI)
        return tlpi_fail(TLP_ENOTSUP, "comm %d has no plug-in", comm);

    const char *list = secure_getenv("TLP_PLUGIN_PATH");
    tlp_status st = list ? search_list(out, list) : TLP_OK;

    if (st == TLP_OK && !*out && own_file(own)) {
        size_t n = (size_t)(strrchr(own, '/') - own);

        st = search(out, own, n, "");
        if (st == TLP_OK && !*out)
            st = search(out, own, n, "../lib/");
        own[n] = '\0';
    }
    if (st != TLP_OK || *out)
        return st;
    if (load(out, names[0]) == TLP_OK)
        return TLP_OK;
    return tlpi_fail_prefix(
        TLP_ENOTSUP,
        "no plug-in for MPI in TLP_PLUGIN_PATH (%s), %s, ../lib "
        "from there, or where the system looks: ",
        list ? list : "not set", own[0] ? own : "/");
}
