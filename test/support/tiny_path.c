/*
 * tiny_path.c - paths in a temporary folder of the process.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tiny.h"

typedef struct path_node {
    struct path_node *next;
    char path[512];
} path_node;

static char temp_dir[256];
static pid_t temp_owner; /* a forked test creates its own folder */
static path_node *paths; /* kept until exit: callers hold the texts */

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *at)
{
    (void)st, (void)type, (void)at;
    remove(path);
    return 0;
}

static void remove_temp_dir(void)
{
    if (temp_owner != getpid())
        return;
    nftw(temp_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    while (paths) {
        path_node *node = paths;
        paths = node->next;
        free(node);
    }
}

const char *tiny_temp_dir(void)
{
    const char *base = getenv("TMPDIR");

    if (temp_owner == getpid())
        return temp_dir;
    snprintf(temp_dir, sizeof temp_dir, "%s/tlp-test-XXXXXX",
             base && *base ? base : "/tmp");
    if (!mkdtemp(temp_dir)) {
        perror(temp_dir);
        abort();
    }
    temp_owner = getpid();
    atexit(remove_temp_dir);
    /* In a folder of all users' jobs, a job that ends removes what another has
     * just made and is about to fill. */
    setenv("OMPI_MCA_orte_tmpdir_base", temp_dir, 1);
    return temp_dir;
}

static path_node *new_path(void)
{
    path_node *node = calloc(1, sizeof *node);

    if (!node)
        abort();
    node->next = paths;
    paths = node;
    return node;
}

const char *tiny_path(const char *name)
{
    static int serial;
    path_node *node = new_path();

    snprintf(node->path, sizeof node->path, "%s/%d-%s", tiny_temp_dir(),
             ++serial, name);
    return node->path;
}

const char *tiny_keep_path(const char *path)
{
    path_node *node = new_path();

    snprintf(node->path, sizeof node->path, "%s", path);
    return node->path;
}
