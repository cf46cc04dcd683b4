/*
 * digest_cache.c - digests of a file's tensors, kept from one process to the
 * next.
 *
 * $XDG_CACHE_HOME/libtlp, or ~/.cache/libtlp, has a file for each model file,
 * by device and inode.  It begins with the state of the model file: size, time
 * of the last change of the bytes (mtime) and of the inode (ctime), and a hash
 * of names, types, shapes and places of the tensors.  Any other state is
 * another file, and so is a cache file that another user could have written.
 * A hash at the end finds damage.
 *
 * Times have a resolution.  A file that changes twice within it can keep its
 * times, so digests of a file that had just changed are not stored.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file/mapfile.h"
#include "file/quiet_write.h"
#include "model/digest.h"

#define MAGIC "libtlp digests 1\n"
#define HEAD_BYTES (sizeof MAGIC - 1 + 6 * 8 + TLPI_DIGEST_BYTES)

/* Age from which a file's times tell all changes; FAT counts two seconds. */
#define SETTLED_NS INT64_C(2500000000)

/* ==== the state of a model file ========================================== */

static uint8_t *put_u64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++)
        *p++ = (uint8_t)(x >> (8 * i));
    return p;
}

/* The place of a tensor's data in the file.  Data that were made from the file
 * are told apart by what was done to them. */
static uint8_t *put_place(uint8_t *p, const tlpi_gguf *g, size_t i)
{
    if (!g->source)
        return put_u64(
            p, (uint64_t)((const uint8_t *)g->tensor[i].data - g->map->data));
    p = put_u64(p, g->source[i].at);
    return put_u64(p, g->source[i].how);
}

static void hash_layout(const tlpi_gguf *g, uint8_t out[TLPI_DIGEST_BYTES])
{
    tlpi_sha256 s;
    uint8_t b[8 * 7];

    tlpi_sha256_init(&s);
    for (size_t i = 0; i < g->n_tensor; i++) {
        const tlpi_tensor *t = &g->tensor[i];
        uint8_t *p = put_u64(b, (uint64_t)t->type);

        for (int j = 0; j < 4; j++)
            p = put_u64(p, (uint64_t)t->ne[j]);
        p = put_place(p, g, i);
        tlpi_sha256_add(&s, t->name, strlen(t->name) + 1);
        tlpi_sha256_add(&s, b, (size_t)(p - b));
    }
    tlpi_sha256_finish(&s, out);
}

static void write_head(const tlpi_gguf *g, uint8_t head[HEAD_BYTES])
{
    const tlpi_map *map = g->map;
    uint8_t *p = mempcpy(head, MAGIC, sizeof MAGIC - 1);

    p = put_u64(p, map->device);
    p = put_u64(p, map->inode);
    p = put_u64(p, map->size);
    p = put_u64(p, (uint64_t)map->mtime_ns);
    p = put_u64(p, (uint64_t)map->ctime_ns);
    p = put_u64(p, g->n_tensor);
    hash_layout(g, p);
}

/* Is the file in the folder still the file that was opened, unchanged? */
static bool is_unchanged(const tlpi_gguf *g)
{
    struct stat s;

    return g->map && stat(g->path, &s) == 0 && tlpi_map_is_state(g->map, &s);
}

static bool is_settled(const tlpi_map *map)
{
    int64_t changed = TLPI_MAX(map->mtime_ns, map->ctime_ns);

    return map->opened_ns - changed >= SETTLED_NS;
}

/* ==== the cache file ===================================================== */

/* The folder "libtlp" of the user's cache; made if `make`.  False: no cache. */
static bool find_folder(tlpi_text *out, bool make)
{
    const char *base = secure_getenv("XDG_CACHE_HOME");
    const char *home = secure_getenv("HOME");

    if (base && base[0] == '/')
        tlpi_text_printf(out, "%s", base);
    else if (home && home[0] == '/')
        tlpi_text_printf(out, "%s/.cache", home);
    else
        return false;
    if (!out->failed && make)
        (void)mkdir(out->data, 0700);
    tlpi_text_printf(out, "/libtlp");
    if (!out->failed && make)
        (void)mkdir(out->data, 0700);
    return !out->failed;
}

static bool find_path(tlpi_text *out, const tlpi_gguf *g, bool make)
{
    if (!find_folder(out, make))
        return false;
    tlpi_text_printf(out, "/%llx-%llx.digests",
                     (unsigned long long)g->map->device,
                     (unsigned long long)g->map->inode);
    return !out->failed;
}

static size_t cache_bytes(const tlpi_gguf *g)
{
    return HEAD_BYTES + (g->n_tensor + 1) * TLPI_DIGEST_BYTES;
}

/* Exactly n bytes of a file that only this user could have written. */
static bool read_own(const char *path, uint8_t *data, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat s;
    size_t done = 0;

    if (fd < 0)
        return false;
    bool ok = fstat(fd, &s) == 0 && S_ISREG(s.st_mode) &&
              s.st_uid == geteuid() && (s.st_mode & 022) == 0 &&
              (uintmax_t)s.st_size == n;
    while (ok && done < n) {
        ssize_t got = read(fd, data + done, n - done);

        ok = got > 0;
        done += ok ? (size_t)got : 0;
    }
    close(fd);
    return ok;
}

static void hash_bytes(const uint8_t *data, size_t n,
                       uint8_t out[TLPI_DIGEST_BYTES])
{
    tlpi_sha256 s;

    tlpi_sha256_init(&s);
    tlpi_sha256_add(&s, data, n);
    tlpi_sha256_finish(&s, out);
}

bool tlpi_digest_cache_load(const tlpi_gguf *g,
                            uint8_t (*digest)[TLPI_DIGEST_BYTES])
{
    if (!is_unchanged(g))
        return false;
    tlpi_text path = { .env = g->env };
    size_t n = cache_bytes(g), n_hashed = n - TLPI_DIGEST_BYTES;
    uint8_t head[HEAD_BYTES], check[TLPI_DIGEST_BYTES];
    uint8_t *data = tlpi_alloc(g->env, n);
    bool ok =
        data && find_path(&path, g, false) && read_own(path.data, data, n);

    if (ok) {
        write_head(g, head);
        hash_bytes(data, n_hashed, check);
        ok = memcmp(data, head, HEAD_BYTES) == 0 &&
             memcmp(data + n_hashed, check, sizeof check) == 0;
    }
    if (ok)
        memcpy(digest, data + HEAD_BYTES, g->n_tensor * sizeof *digest);
    tlpi_free(g->env, data);
    tlpi_text_free(&path);
    return ok;
}

/* A new file under a name of its own, which then replaces the old file.  A file
 * that a full disk cut is no valid cache file. */
static void write_own(const char *path, const tlpi_env *env,
                      const uint8_t *data, size_t n)
{
    tlpi_text temp = { .env = env };
    struct timespec now;
    size_t done = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    tlpi_text_printf(&temp, "%s.%lx.%lx", path, (unsigned long)getpid(),
                     (unsigned long)now.tv_nsec);
    int fd = temp.failed ? -1
                         : open(temp.data,
                                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ssize_t put = 1;

        while (done < n && put > 0) {
            put = tlpi_quiet_write(fd, data + done, n - done);
            done += put > 0 ? (size_t)put : 0;
        }
        if (close(fd) != 0 || done < n || rename(temp.data, path) != 0)
            (void)unlink(temp.data);
    }
    tlpi_text_free(&temp);
}

void tlpi_digest_cache_store(const tlpi_gguf *g,
                             uint8_t (*digest)[TLPI_DIGEST_BYTES])
{
    if (!is_unchanged(g) || !is_settled(g->map))
        return;
    tlpi_text path = { .env = g->env };
    size_t n = cache_bytes(g), n_hashed = n - TLPI_DIGEST_BYTES;
    uint8_t *data = tlpi_alloc(g->env, n);

    if (data && find_path(&path, g, true)) {
        write_head(g, data);
        memcpy(data + HEAD_BYTES, digest, g->n_tensor * sizeof *digest);
        hash_bytes(data, n_hashed, data + n_hashed);
        write_own(path.data, g->env, data, n);
    }
    tlpi_free(g->env, data);
    tlpi_text_free(&path);
}
