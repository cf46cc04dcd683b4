/*
 * copies.c - copies of a model file, damaged at will.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/mapfile.h"
#include "model/model.h"
#include "support/copies.h"
#include "support/tiny.h"

static void need(int ok, const char *path)
{
    if (ok)
        return;
    perror(path);
    abort();
}

const char *copy_flipped(const char *path, size_t at)
{
    const char *copy = tiny_path("copy.gguf");
    FILE *in = fopen(path, "rb"), *out = fopen(copy, "wb");
    int c;

    need(in && out, path);
    for (size_t i = 0; (c = getc(in)) != EOF; i++)
        putc(i == at ? c ^ 1 : c, out);
    fclose(in);
    need(fclose(out) == 0, copy);
    return copy;
}

void flip_in_place(const char *path, size_t at)
{
    int fd = open(path, O_RDWR);
    unsigned char c = 0;
    struct stat s;

    need(fd >= 0 && fstat(fd, &s) == 0, path);
    need(pread(fd, &c, 1, (off_t)at) == 1, path);
    c ^= 1;
    need(pwrite(fd, &c, 1, (off_t)at) == 1, path);
    need(futimens(fd, (struct timespec[]){ s.st_atim, s.st_mtim }) == 0, path);
    close(fd);
}

size_t place_of(const char *path, const char *tensor, size_t i)
{
    tlp_model *m = NULL;

    need(tlp_model_open(&m, path, NULL) == TLP_OK, path);
    const tlpi_tensor *t = tlpi_model_tensor(m, tensor);
    need(t && i < t->n_bytes, tensor);
    size_t at = (size_t)((const uint8_t *)t->data - m->file[0]->map->data) + i;
    tlp_model_free(m);
    return at;
}
