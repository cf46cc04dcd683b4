/*
 * mapfile.c - files as memory.
 */
#include "file/mapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file/fail_io.h"

/*
 * Open a regular file and read its metadata.  O_NONBLOCK: opening a pipe must
 * not wait for a writer.
 */
static tlp_status open_regular(const char *path, int *fd, struct stat *s)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return tlpi_fail_io(path);
    if (fstat(*fd, s) != 0)
        return tlpi_fail_io(path);
    if (!S_ISREG(s->st_mode))
        return tlpi_fail(TLP_EIO, "%s: not a regular file", path);
    if ((uintmax_t)s->st_size > PTRDIFF_MAX)
        return tlpi_fail(TLP_EIO, "%s: too large for this machine", path);
    return TLP_OK;
}

static tlp_status read_whole(const char *path, int fd, void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = read(fd, (char *)data + done, n - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tlpi_fail_io(path);
        if (got == 0)
            return tlpi_fail(TLP_EIO, "%s: cut to %zu of %zu bytes meanwhile",
                             path, done, n);
        done += (size_t)got;
    }
    return TLP_OK;
}

static tlp_status fill(tlpi_map *map, const char *path, int fd, bool no_mmap)
{
    if (no_mmap) {
        uint8_t *data = tlpi_alloc(map->env, map->size);
        if (!data)
            return tlpi_fail_nomem_for("a file");
        map->data = data;
        return read_whole(path, fd, data, map->size);
    }
    void *p = mmap(NULL, map->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return tlpi_fail_io(path);
    map->data = p;
    map->mapped = true;
    return TLP_OK;
}

static int64_t to_ns(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

tlp_status tlpi_map_open(tlpi_map **out, const tlpi_env *env, const char *path,
                         bool no_mmap)
{
    tlp_status st = TLP_OK;
    struct timespec now;
    struct stat s;
    int fd = -1;

    *out = NULL;
    tlpi_map *map = tlpi_calloc(env, 1, sizeof *map);
    if (!map)
        return tlpi_fail_nomem_for("a file");
    map->env = env;
    clock_gettime(CLOCK_REALTIME, &now);
    map->opened_ns = to_ns(&now);
    TLP_TRY(open_regular(path, &fd, &s));
    map->size = (size_t)s.st_size;
    map->device = s.st_dev;
    map->inode = s.st_ino;
    map->mtime_ns = to_ns(&s.st_mtim);
    map->ctime_ns = to_ns(&s.st_ctim);
    if (map->size == 0)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: the file is empty", path));
    TLP_TRY(fill(map, path, fd, no_mmap));
    *out = map;
    map = NULL;
done:
    if (fd >= 0)
        close(fd);
    tlpi_map_close(map);
    return st;
}

void tlpi_map_close(tlpi_map *map)
{
    if (!map)
        return;
    if (map->mapped)
        munmap((void *)(uintptr_t)map->data, map->size);
    else
        tlpi_free(map->env, (void *)(uintptr_t)map->data);
    tlpi_free(map->env, map);
}

void tlpi_map_drop(const tlpi_map *map, const void *at, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)at + page - 1) & ~(page - 1);
    uintptr_t last = ((uintptr_t)at + n) & ~(page - 1);

    bool inside = (uintptr_t)at >= (uintptr_t)map->data &&
                  (uintptr_t)at + n <= (uintptr_t)map->data + map->size;

    if (map->mapped && inside && first < last)
        (void)madvise((void *)first, last - first, MADV_DONTNEED);
}

void tlpi_map_scatter(const tlpi_map *map, bool scatter)
{
    if (map && map->mapped)
        (void)madvise((void *)(uintptr_t)map->data, map->size,
                      scatter ? MADV_RANDOM : MADV_NORMAL);
}

bool tlpi_map_is_state(const tlpi_map *map, const struct stat *now)
{
    return now->st_dev == map->device && now->st_ino == map->inode &&
           (uintmax_t)now->st_size == map->size &&
           to_ns(&now->st_mtim) == map->mtime_ns &&
           to_ns(&now->st_ctim) == map->ctime_ns;
}

bool tlpi_map_is_file(const tlpi_map *map, const char *path)
{
    struct stat s;

    return stat(path, &s) == 0 && s.st_dev == map->device &&
           s.st_ino == map->inode;
}

tlp_status tlpi_file_read(const tlpi_env *env, const char *path, size_t max,
                          char **out, size_t *len)
{
    tlp_status st = TLP_OK;
    char *text = NULL;
    struct stat s;
    int fd = -1;

    *out = NULL;
    TLP_TRY(open_regular(path, &fd, &s));
    size_t size = (size_t)s.st_size;
    if (size > max)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: %zu bytes, at most %zu expected",
                          path, size, max));
    text = tlpi_alloc(env, size + 1);
    if (!text)
        TLP_TRY(tlpi_fail_nomem_for("a file"));
    TLP_TRY(read_whole(path, fd, text, size));
    text[size] = '\0';
    if (len)
        *len = size;
    *out = text;
    text = NULL;
done:
    tlpi_free(env, text);
    if (fd >= 0)
        close(fd);
    return st;
}
