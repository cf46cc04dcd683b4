/*
 * mapfile.h - a whole file as read-only memory, mapped or read; writing a
 * whole file atomically.
 */
#ifndef TLPI_MAPFILE_H
#define TLPI_MAPFILE_H

#include "base/base.h"

typedef struct tlpi_map {
    const tlpi_env *env;
    const uint8_t *data;
    size_t size;
    bool mapped;                /* release with munmap, else with free */
    uint64_t device, inode;     /* identity of the file */
    int64_t mtime_ns, ctime_ns; /* of the file, when it was opened */
    int64_t opened_ns;          /* the system's clock before that */
} tlpi_map;

/* If another process shortens a mapped file, the next access ends this process
 * with SIGBUS.  With no_mmap only opening can fail. */
tlp_status tlpi_map_open(tlpi_map **out, const tlpi_env *env, const char *path,
                         bool no_mmap);
void tlpi_map_close(tlpi_map *map); /* NULL is allowed */

/* Tell the system that part of the mapping is not needed soon.  Its whole
 * pages leave this process's resident set.  Memory outside the mapping stays as
 * it is. */
void tlpi_map_drop(const tlpi_map *map, const void *at, size_t n);

/* Tell the system that the next reads go to few places all over the file, or
 * that they go on in order again.  Otherwise it reads ahead at each of them.
 * map: NULL is allowed. */
void tlpi_map_scatter(const tlpi_map *map, bool scatter);

/* Whether the file of this map still has the state that it was opened in. */
struct stat;
bool tlpi_map_is_state(const tlpi_map *map, const struct stat *now);

/* Whether `path`, after following links, names the file of this map. */
bool tlpi_map_is_file(const tlpi_map *map, const char *path);

/* Write to a temporary file in the folder of `path`, sync, and rename it. */
tlp_status tlpi_file_replace(const tlpi_env *env, const char *path,
                             const void *data, size_t n);

/* Read a small text file (at most max bytes), NUL-terminated; free with
 * tlpi_free. */
tlp_status tlpi_file_read(const tlpi_env *env, const char *path, size_t max,
                          char **out, size_t *len);

#endif
