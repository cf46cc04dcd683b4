/*
 * mapfile.h - a whole file as read-only memory, mapped or read; and a file
 * written whole or not at all.
 */
#ifndef TLPI_MAPFILE_H
#define TLPI_MAPFILE_H

#include "base/base.h"

typedef struct tlpi_map {
    const tlpi_env *env;
    const uint8_t *data;
    size_t size;
    bool mapped;            /* munmap, else free */
    uint64_t device, inode; /* which file it is */
} tlpi_map;

/* A file that somebody cuts short while it is mapped ends the process with
 * SIGBUS on the next touch; with no_mmap only opening it can fail. */
tlp_status tlpi_map_open(tlpi_map **out, const tlpi_env *env, const char *path,
                         bool no_mmap);
void tlpi_map_close(tlpi_map *map); /* NULL is fine */

/* Tell the system that a part of the mapping will not be needed soon: its
 * pages leave this process's resident set.  Only whole pages inside go. */
void tlpi_map_drop(const tlpi_map *map, const void *at, size_t n);

/* Whether `path`, followed through links, names the file of this map. */
bool tlpi_map_is_file(const tlpi_map *map, const char *path);

/* Write to a temporary file beside `path`, sync, rename over it. */
tlp_status tlpi_file_replace(const tlpi_env *env, const char *path,
                             const void *data, size_t n);

/* Read a small text file (at most max bytes), NUL-terminated; tlpi_free. */
tlp_status tlpi_file_read(const tlpi_env *env, const char *path, size_t max,
                          char **out, size_t *len);

#endif
