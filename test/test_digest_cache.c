/*
 * test_digest_cache.c - digests of models that the user's cache keeps: when
 * they are stored, and when they are used.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file/mapfile.h"
#include "model/digest.h"
#include "support/check.h"
#include "support/copies.h"
#include "support/digests.h"
#include "support/tiny.h"
#include "support/tool.h"

TestSuite(digest_cache, .init = own_cache, .timeout = 120);

/* The one file in the cache, or "" if there is none. */
static const char *cache_file(const char *model)
{
    static char path[600];
    struct stat s;

    cr_assert_eq(stat(model, &s), 0);
    snprintf(path, sizeof path, "%s/libtlp/%llx-%llx.digests",
             own_cache_folder(), (unsigned long long)s.st_dev,
             (unsigned long long)s.st_ino);
    return access(path, F_OK) == 0 ? path : "";
}

/* Whether the digests of a file came from the cache; they are right. */
static bool is_cached(const char *path, const char *want)
{
    tlp_model *m = open_file(path, 0, 0);

    cr_expect_str_eq(digest_of(m), want);
    bool cached = tlpi_model_digest_progress(m) == 0;
    tlp_model_free(m);
    return cached;
}

/* The file is old enough for its times to tell changes. */
static void settle(void)
{
    nanosleep(&(struct timespec){ .tv_sec = 2, .tv_nsec = 600000000 }, NULL);
}

Test(digest_cache, a_file_that_has_just_changed_is_not_cached)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    tlp_model *m = open_file(path, 0, 0);
    const tlpi_map *map = m->file[0]->map;
    bool late = map->opened_ns - map->ctime_ns > 2000000000;

    digest_of(m);
    tlp_model_free(m);
    if (late)
        cr_skip_test("the machine is busy: the file is no longer young");
    cr_expect_str_empty(cache_file(path));
}

Test(digest_cache, a_second_look_reads_no_tensor)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *want = digest_of_file(path);
    struct stat s;

    settle();
    cr_expect(!is_cached(path, want));
    cr_assert_str_not_empty(cache_file(path));
    cr_assert_eq(stat(cache_file(path), &s), 0);
    cr_expect_eq(s.st_mode & 0777, 0600);
    cr_expect(is_cached(path, want));
    char folder[600];
    snprintf(folder, sizeof folder, "%s/libtlp", own_cache_folder());
    cr_assert_eq(stat(folder, &s), 0);
    cr_expect_eq(s.st_mode & 0777, 0700);

    /* A copy under another name is another file. */
    cr_expect(!is_cached(copy_flipped(path, SIZE_MAX), want));
    /* Another name of the file is not. */
    const char *link_name = tiny_path("link.gguf");
    cr_assert_eq(symlink(path, link_name), 0);
    cr_expect(is_cached(link_name, want));
}

/* Damage that keeps size and mtime; ctime tells. */
Test(digest_cache, damage_after_caching_is_found)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *want = digest_of_file(path);
    size_t at = place_of(path, "blk.3.ffn_down.weight", 300);

    settle();
    cr_expect(!is_cached(path, want));
    cr_expect(is_cached(path, want));
    flip_in_place(path, at);
    cr_expect_str_neq(digest_of_file(path), want);
    flip_in_place(path, at); /* healed */
    cr_expect(!is_cached(path, want));
}

/* A model that was open while its file changed. */
Test(digest_cache, a_file_that_changes_under_a_model_is_not_cached)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *want = digest_of_file(path);
    size_t at = place_of(path, "blk.3.ffn_down.weight", 300);

    settle();
    tlp_model *m = open_file(path, 1, 0);
    flip_in_place(path, at);
    cr_expect_str_eq(digest_of(m), want, "the bytes in memory");
    cr_expect_str_empty(cache_file(path));
    tlp_model_free(m);
}

static void write_bytes(const char *path, const char *data, size_t n, int mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fchmod(fd, (mode_t)mode), 0);
    cr_assert_eq(write(fd, data, n), (ssize_t)n);
    close(fd);
}

Test(digest_cache, a_bad_cache_file_is_not_used)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *want = digest_of_file(path);
    char file[600];
    size_t n = 0;

    settle();
    cr_expect(!is_cached(path, want));
    snprintf(file, sizeof file, "%s", cache_file(path));
    char *good = tool_read_file(file, &n), *bad = malloc(n + 1);

    for (size_t i = 0; i < n; i += i < 120 || i + 40 > n ? 1 : 97) {
        memcpy(bad, good, n);
        bad[i] ^= 4;
        write_bytes(file, bad, n, 0600);
        cr_expect(!is_cached(path, want), "byte %zu changed", i);
    }
    for (size_t k = 0; k < n; k += 1 + n / 20) {
        write_bytes(file, good, k, 0600);
        cr_expect(!is_cached(path, want), "cut to %zu", k);
    }
    memcpy(bad, good, n);
    bad[n] = 0;
    write_bytes(file, bad, n + 1, 0600);
    cr_expect(!is_cached(path, want), "longer");
    write_bytes(file, good, n, 0666);
    cr_expect(!is_cached(path, want), "others may write");
    cr_expect(is_cached(path, want), "it was replaced");

    /* Not a file of its own. */
    const char *elsewhere = tiny_path("elsewhere");
    write_bytes(elsewhere, good, n, 0600);
    unlink(file);
    cr_assert_eq(symlink(elsewhere, file), 0);
    cr_expect(!is_cached(path, want), "a link");
    unlink(file);
    cr_assert_eq(mkfifo(file, 0600), 0);
    cr_expect(!is_cached(path, want), "a pipe");
    unlink(file);
    cr_assert_eq(mkdir(file, 0700), 0);
    cr_expect(!is_cached(path, want), "a folder");
    cr_expect(!is_cached(path, want), "a folder stays");
    rmdir(file);
    free(bad);
    free(good);
}

Test(digest_cache, without_a_folder_nothing_is_cached)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *want = digest_of_file(path);
    const char *file = tiny_path("file"), *home = tiny_path("home");

    settle();
    unsetenv("HOME");
    setenv("XDG_CACHE_HOME", "relative", 1);
    cr_expect(!is_cached(path, want) && !is_cached(path, want));
    cr_expect_neq(access("relative", F_OK), 0);
    unsetenv("XDG_CACHE_HOME");
    cr_expect(!is_cached(path, want) && !is_cached(path, want));
    tool_write_file(file, "x", 1);
    setenv("XDG_CACHE_HOME", file, 1);
    cr_expect(!is_cached(path, want) && !is_cached(path, want));
    unsetenv("XDG_CACHE_HOME");
    cr_assert_eq(mkdir(home, 0700), 0);
    setenv("HOME", home, 1);
    cr_expect(!is_cached(path, want) && is_cached(path, want), "~/.cache");
}

/* The signal would end this process, as it would end a host. */
Test(digest_cache, a_limit_of_file_sizes_ends_no_host)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec), *want = digest_of_file(path);
    struct rlimit old, none;

    settle();
    signal(SIGXFSZ, SIG_DFL);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    none = (struct rlimit){ 0, old.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    bool first = is_cached(path, want), second = is_cached(path, want);
    setrlimit(RLIMIT_FSIZE, &old);
    cr_expect(!first && !second);
    cr_expect(!is_cached(path, want) && is_cached(path, want));
}
