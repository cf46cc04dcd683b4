/*
 * test_mapfile.c - files as memory, and what is no file.
 */
#include <criterion/criterion.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/gguf.h"
#include "file/mapfile.h"
#include "support/counting.h"
#include "support/tiny.h"

static tlpi_env env;
static counting count;

static void init_env(void)
{
    tlp_allocator mem = counting_allocator(&count);

    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_OK);
}

static void check_leaks(void)
{
    cr_assert_eq(count.n_live, 0);
    cr_assert_eq(count.bad, 0);
}

TestSuite(mapfile, .init = init_env, .fini = check_leaks, .timeout = 30);

static const char *file_of(const char *name, const void *data, size_t n)
{
    const char *path = tiny_path(name);
    FILE *f = fopen(path, "wb");

    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, n, f), n);
    cr_assert_eq(fclose(f), 0);
    return path;
}

Test(mapfile, mapped_and_read_alike)
{
    char data[10000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 31);
    const char *path = file_of("data", data, sizeof data);

    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
        tlpi_map *map = NULL;
        cr_assert_eq(tlpi_map_open(&map, &env, path, no_mmap), TLP_OK);
        cr_assert_eq(map->mapped, !no_mmap);
        cr_assert_eq(map->size, sizeof data);
        cr_assert_eq(memcmp(map->data, data, sizeof data), 0);
        /* dropping may cost time later, never contents */
        tlpi_map_drop(map, map->data, map->size);
        tlpi_map_drop(map, map->data + 5000, 10);
        tlpi_map_drop(map, map->data + 100, 0);
        cr_assert_eq(memcmp(map->data, data, sizeof data), 0);
        tlpi_map_close(map);
    }
    tlpi_map_close(NULL);
}

static void refuse(const char *path, tlp_status want, const char *text)
{
    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
        tlpi_map *map = (tlpi_map *)&map;
        cr_assert_eq(tlpi_map_open(&map, &env, path, no_mmap), want);
        cr_assert_null(map);
        cr_assert_not_null(strstr(tlp_last_error(), text), "%s",
                           tlp_last_error());
        cr_assert_not_null(strstr(tlp_last_error(), path));
        cr_assert_eq(count.n_live, 0);
    }
}

Test(mapfile, what_is_no_file)
{
    const char *fifo = tiny_path("fifo");

    cr_assert_eq(mkfifo(fifo, 0600), 0);
    refuse(fifo, TLP_EIO, "not a regular file"); /* and does not wait */
    refuse("/", TLP_EIO, "not a regular file");
    refuse("/dev/zero", TLP_EIO, "not a regular file");
    refuse(tiny_path("absent"), TLP_EIO, "No such file");
    refuse(file_of("empty", "", 0), TLP_EFORMAT, "is empty");
}

Test(mapfile, allocations_may_fail)
{
    const char *path = file_of("data", "abc", 3);
    tlpi_map *map = NULL;
    char *text = NULL;

    for (long n = 1; n <= 2; n++) {
        count.calls = 0;
        count.fail_at = n;
        cr_assert_eq(tlpi_map_open(&map, &env, path, true), TLP_ENOMEM);
        cr_assert_null(map);
        cr_assert_eq(count.n_live, 0);
    }
    count.calls = 0;
    count.fail_at = 1;
    cr_assert_eq(tlpi_file_read(&env, path, 10, &text, NULL), TLP_ENOMEM);
    cr_assert_null(text);
}

Test(mapfile, small_texts)
{
    const char *path = file_of("text", "abc", 3);
    char *text = NULL;
    size_t len = 0;

    cr_assert_eq(tlpi_file_read(&env, path, 3, &text, &len), TLP_OK);
    cr_assert_str_eq(text, "abc");
    cr_assert_eq(len, 3);
    tlpi_free(&env, text);
    cr_assert_eq(tlpi_file_read(&env, path, 2, &text, &len), TLP_EFORMAT);
    cr_assert_null(text);
    path = file_of("none", "", 0);
    cr_assert_eq(tlpi_file_read(&env, path, 2, &text, &len), TLP_OK);
    cr_assert(text[0] == '\0' && len == 0);
    tlpi_free(&env, text);
}

/* ==== replacing ========================================================== */

static int n_in_folder_of(const char *path)
{
    char folder[512];
    int n = 0;

    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

Test(mapfile, replace)
{
    const char *path = file_of("plan", "old and longer", 14);
    char *text = NULL;
    struct stat s;

    cr_assert_eq(chmod(path, 0640), 0);
    int before = n_in_folder_of(path);
    cr_assert_eq(tlpi_file_replace(&env, path, "new", 3), TLP_OK);
    cr_assert_eq(tlpi_file_read(&env, path, 100, &text, NULL), TLP_OK);
    cr_assert_str_eq(text, "new");
    tlpi_free(&env, text);
    cr_assert_eq(stat(path, &s), 0);
    cr_assert_eq(s.st_mode & 0777, 0640);
    cr_assert_eq(n_in_folder_of(path), before);

    const char *fresh = tiny_path("fresh");
    cr_assert_eq(tlpi_file_replace(&env, fresh, "", 0), TLP_OK);
    cr_assert_eq(stat(fresh, &s), 0);
    cr_assert_eq(s.st_size, 0);
    unlink(fresh);
}

Test(mapfile, failed_replacement_leaves_nothing)
{
    const char *folder = tiny_path("folder");
    char inside[600];

    snprintf(inside, sizeof inside, "%s/x", folder);
    cr_assert_eq(tlpi_file_replace(&env, inside, "new", 3), TLP_EIO);
    cr_assert_eq(mkdir(folder, 0700), 0);
    int before = n_in_folder_of(folder);
    cr_assert_eq(tlpi_file_replace(&env, folder, "new", 3), TLP_EIO);
    cr_assert_eq(n_in_folder_of(folder), before);
    cr_assert_eq(rmdir(folder), 0);
}

/* ==== GGUF from files ==================================================== */

Test(mapfile, gguf_both_ways)
{
    tiny_spec spec = tiny_default();
    tlpi_gguf *mapped = NULL, *read = NULL;
    const char *path = tiny_make(&spec);

    cr_assert_eq(tlpi_gguf_open(&mapped, &env, path, NULL), TLP_OK);
    cr_assert_eq(tlpi_gguf_open(&read, &env, path,
                                &(tlpi_gguf_options){ .no_mmap = true }),
                 TLP_OK);
    cr_assert_eq(mapped->n_tensor, read->n_tensor);
    for (size_t i = 0; i < read->n_tensor; i++)
        cr_assert_eq(memcmp(mapped->tensor[i].data, read->tensor[i].data,
                            read->tensor[i].n_bytes),
                     0);
    tlpi_gguf_close(read);
    tlpi_gguf_close(mapped);
}

Test(mapfile, vocab_only_needs_no_data)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    tlpi_gguf_options vocab_only = { .vocab_only = true };
    struct stat s;
    tlpi_gguf *g = NULL;

    cr_assert_eq(stat(path, &s), 0);
    cr_assert_eq(truncate(path, s.st_size - 1000), 0);
    cr_assert_eq(tlpi_gguf_open(&g, &env, path, NULL), TLP_EFORMAT);
    cr_assert_not_null(strstr(tlp_last_error(), path));
    cr_assert_eq(tlpi_gguf_open(&g, &env, path, &vocab_only), TLP_OK);
    cr_assert_eq(tlpi_gguf_tensor(g, "output.weight")->ne[0], 96);
    cr_assert_null(tlpi_gguf_tensor(g, "output.weight")->data);
    cr_assert_not_null(tlpi_gguf_find(g, "tokenizer.ggml.tokens"));
    tlpi_gguf_close(g);
}
