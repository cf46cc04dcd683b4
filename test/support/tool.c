/*
 * tool.c - what the tests of the command-line tool share.
 */
#include "support/tool.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/tiny.h"

const char *tool_model(void)
{
    tiny_spec spec = tiny_default();

    return tiny_make(&spec);
}

void tool_expect_message(const spawned *s, const char *start)
{
    cr_expect_eq(strncmp(s->err, start, strlen(start)), 0, "stderr: %s",
                 s->err);
    cr_expect_eq(strchr(s->err, '\n'), s->err + s->n_err - 1, "stderr: %s",
                 s->err);
    cr_expect_eq(s->n_out, 0, "stdout: %s", s->out);
}

void tool_expect_status(const spawned *s, int status)
{
    cr_expect_eq(s->status, status, "status %d, %d expected; stderr: %s",
                 s->status, status, s->err);
}

void tool_write_file(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");

    cr_assert_not_null(f);
    cr_assert_eq(fwrite(data, 1, n, f), n);
    cr_assert_eq(fclose(f), 0);
}

char *tool_read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *data;

    cr_assert_not_null(f, "%s", path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    data = malloc(*n + 1);
    cr_assert_eq(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

void tool_write_ids(const char *path, int n)
{
    unsigned char *bytes = calloc((size_t)n + 1, 4);

    for (int i = 0; i < n; i++)
        bytes[4 * i] = (unsigned char)(37 * i + 11);
    tool_write_file(path, bytes, 4 * (size_t)n);
    free(bytes);
}
