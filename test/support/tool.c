/*
 * tool.c - helpers for tests of the command-line tool.
 */
#include "support/tool.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    data[*n] = '\0';
    fclose(f);
    return data;
}

bool tool_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* ==== XML ================================================================ */

/* Skip attributes after an element's name, up to '>'; NULL if they are not
 * well-formed. */
static const char *skip_attributes(const char *at)
{
    while (isspace((unsigned char)*at)) {
        at += strspn(at, " \n");
        if (*at == '/' || *at == '>')
            break;
        size_t n = strcspn(at, "=<>\" ");
        if (n == 0 || at[n] != '=' || at[n + 1] != '"')
            return NULL;
        at += n + 2;
        at += strcspn(at, "\"<&");
        if (*at++ != '"')
            return NULL;
    }
    at += *at == '/';
    return *at == '>' ? at : NULL;
}

static const char *skip_content(const char *at)
{
    int n;

    for (at += strcspn(at, "<&"); *at == '&'; at += strcspn(at, "<&")) {
        n = 0;
        if (sscanf(at, "&#%*d;%n", &n) != 0 || n == 0)
            return NULL;
        at += n;
    }
    return at;
}

bool tool_is_xml(const char *at)
{
    enum { MAX_DEPTH = 32 };
    struct {
        const char *name;
        size_t n;
    } open[MAX_DEPTH];
    int depth = 0;

    do {
        if (*at++ != '<')
            return false;
        bool closes = *at == '/';
        const char *name = at + closes;
        size_t n = strcspn(name, " />\n");

        at = skip_attributes(name + n);
        if (!at || n == 0 || (closes && depth == 0))
            return false;
        if (closes) {
            depth--;
            if (open[depth].n != n || memcmp(open[depth].name, name, n) != 0)
                return false;
        } else if (at[-1] != '/') {
            if (depth == MAX_DEPTH)
                return false;
            open[depth].name = name;
            open[depth++].n = n;
        }
        at = skip_content(at + 1);
    } while (at && depth > 0);
    return at && at[strspn(at, "\n")] == '\0';
}

void tool_write_ids(const char *path, int n)
{
    unsigned char *bytes = calloc((size_t)n + 1, 4);

    for (int i = 0; i < n; i++)
        bytes[4 * i] = (unsigned char)(37 * i + 11);
    tool_write_file(path, bytes, 4 * (size_t)n);
    free(bytes);
}
