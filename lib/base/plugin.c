/*
 * plugin.c - find and load a plug-in.
 */
#include "base/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/number.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)

/* Endings of a plug-in's file name, in search order. */
static const char *const endings[] = { "." STRING(TLP_ABI_VERSION), "" };

/* Load the table from a file: a path, or a name that the system searches
 * for. */
static tlp_status load(const void **table, const tlpi_plugin *p,
                       const char *path)
{
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (!lib) {
        tlpi_locale l = tlpi_locale_begin(); /* the loader translates */
        tlp_status failed = tlpi_fail(TLP_ENOTSUP, "%s", dlerror());
        tlpi_locale_end(l);
        return failed;
    }

    void *symbol = dlsym(lib, p->symbol);
    const void *found = symbol ? p->enter(symbol) : NULL;
    tlp_status st = TLP_OK;
    uint32_t abi = 0;

    if (!found) {
        st = tlpi_fail(TLP_ENOTSUP, "%s: no %s: not a plug-in of this library",
                       path, p->symbol);
        dlclose(lib);
        return st;
    }
    memcpy(&abi, found, sizeof abi);
    if (abi != p->abi)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: interface version %u, this library has %u", path,
                         (unsigned)abi, (unsigned)p->abi);
    *table = found;
    return TLP_OK;
}

/* Search dir[0..n) and its subfolder `sub`.  Returns TLP_OK with *table NULL
 * when neither holds the plug-in. */
static tlp_status search(const void **table, const tlpi_plugin *p,
                         const char *dir, size_t n, const char *sub)
{
    char path[PATH_MAX];

    if (n == 0 || dir[0] != '/')
        return TLP_OK;
    for (size_t i = 0; i < TLPI_COUNT(endings); i++) {
        int len = snprintf(path, sizeof path, "%.*s/%s%s%s", (int)n, dir, sub,
                           p->file, endings[i]);

        if (len > 0 && (size_t)len < sizeof path && access(path, F_OK) == 0)
            return load(table, p, path);
    }
    return TLP_OK;
}

static tlp_status search_list(const void **table, const tlpi_plugin *p,
                              const char *list)
{
    tlp_status st = TLP_OK;

    while (st == TLP_OK && !*table && *list) {
        size_t n = strcspn(list, ":");

        if (n < PATH_MAX)
            st = search(table, p, list, n, "");
        list += n + (list[n] == ':');
    }
    return st;
}

/* Path of the file that holds this code.  In a statically linked program this
 * is the program, whose name the loader does not know.  False if the path is
 * unknown. */
static bool own_file(char path[PATH_MAX])
{
    Dl_info info;
    void *found = NULL;

    /* dladdr1 takes any address of this file.  A constant's address is used
     * because ISO C does not convert function pointers to void *. */
    if (!dladdr1(endings, &info, &found, RTLD_DL_LINKMAP))
        return false;

    const struct link_map *map = found;

    if (map->l_name[0] == '\0') {
        ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

        path[n > 0 ? n : 0] = '\0';
        return n > 0;
    }
    return snprintf(path, PATH_MAX, "%s", map->l_name) < PATH_MAX;
}

tlp_status tlpi_plugin_load(const void **table, const tlpi_plugin *p)
{
    char own[PATH_MAX] = "", name[64];
    const char *list = secure_getenv("TLP_PLUGIN_PATH");

    *table = NULL;

    tlp_status st = list ? search_list(table, p, list) : TLP_OK;

    if (st == TLP_OK && !*table && own_file(own)) {
        size_t n = (size_t)(strrchr(own, '/') - own);

        st = search(table, p, own, n, "");
        if (st == TLP_OK && !*table)
            st = search(table, p, own, n, "../lib/");
        own[n] = '\0';
    }
    if (st != TLP_OK || *table)
        return st;
    snprintf(name, sizeof name, "%s%s", p->file, endings[0]);
    if (load(table, p, name) == TLP_OK)
        return TLP_OK;
    return tlpi_fail_prefix(
        TLP_ENOTSUP,
        "no plug-in for %s in TLP_PLUGIN_PATH (%s), %s, ../lib "
        "from there, or where the system looks: ",
        p->what, list ? list : "not set", own[0] ? own : "/");
}
