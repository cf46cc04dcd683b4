/*
 * jinja_arena.c - memory, bounds and failures of a compilation or a rendering.
 */
#include <string.h>

#include "jinja/jinja_value.h"

enum { CHUNK = 16 << 10 };

struct tlpi_jinja_chunk {
    tlpi_jinja_chunk *next;
    size_t used, size;
    max_align_t data[];
};

/* A large piece gets a chunk of its own behind the first one, so that the rest
 * of the first one stays in use. */
static tlpi_jinja_chunk *add_chunk(tlpi_jx *x, size_t size)
{
    size_t want = TLPI_MAX(size, (size_t)CHUNK);

    if (x->memory + want > TLPI_JINJA_MAX_MEMORY) {
        tlpi_jx_fail(x, TLP_ENOTSUP, "more than %d MiB of memory are needed",
                     TLPI_JINJA_MAX_MEMORY >> 20);
        return NULL;
    }
    tlpi_jinja_chunk *c = tlpi_alloc(x->env, sizeof *c + want);
    if (!c) {
        x->st =
            x->st == TLP_OK ? tlpi_fail_nomem_for("a chat template") : x->st;
        return NULL;
    }
    c->used = 0;
    c->size = want;
    x->memory += want;
    if (x->chunk && size > CHUNK) {
        c->next = x->chunk->next;
        x->chunk->next = c;
    } else {
        c->next = x->chunk;
        x->chunk = c;
    }
    return c;
}

void *tlpi_jx_alloc(tlpi_jx *x, size_t size)
{
    size_t unit = sizeof(max_align_t);
    tlpi_jinja_chunk *c = x->chunk;

    if (x->st != TLP_OK || size > TLPI_JINJA_MAX_MEMORY) {
        tlpi_jx_fail(x, TLP_ENOTSUP, "more than %d MiB of memory are needed",
                     TLPI_JINJA_MAX_MEMORY >> 20);
        return NULL;
    }
    size = (size + unit - 1) / unit * unit;
    if (!c || c->size - c->used < size)
        c = add_chunk(x, size);
    if (!c)
        return NULL;
    void *p = (char *)c->data + c->used;
    c->used += size;
    return memset(p, 0, size);
}

void tlpi_jx_free(tlpi_jx *x)
{
    while (x->chunk) {
        tlpi_jinja_chunk *next = x->chunk->next;
        tlpi_free(x->env, x->chunk);
        x->chunk = next;
    }
}

/* Line and column, from 1, of an offset. */
static void locate(const tlpi_jx *x, int *line, int *column)
{
    size_t end = TLPI_MIN(x->at, x->n_source);

    *line = 1;
    *column = 1;
    for (size_t i = 0; i < end; i++) {
        ++*column;
        if (x->source[i] == '\n') {
            ++*line;
            *column = 1;
        }
    }
}

void tlpi_jx_fail(tlpi_jx *x, tlp_status st, const char *fmt, ...)
{
    char text[400];
    int line, column;
    va_list args;

    if (x->st != TLP_OK)
        return;
    va_start(args, fmt);
    tlpi_format_line(text, sizeof text, fmt, args);
    va_end(args);
    locate(x, &line, &column);
    x->st = tlpi_fail(st, "%s: line %d, column %d: %s", x->name, line, column,
                      text);
}

bool tlpi_jx_step(tlpi_jx *x, size_t n)
{
    x->steps += n;
    if (x->steps > TLPI_JINJA_MAX_STEPS)
        tlpi_jx_fail(x, TLP_ENOTSUP, "the template runs for too long");
    return x->st == TLP_OK;
}

bool tlpi_jx_enter(tlpi_jx *x)
{
    if (x->depth >= TLPI_JINJA_MAX_DEPTH) {
        tlpi_jx_fail(x, TLP_ENOTSUP, "more than %d levels are nested",
                     TLPI_JINJA_MAX_DEPTH);
        return false;
    }
    x->depth++;
    return true;
}

void tlpi_jx_leave(tlpi_jx *x)
{
    x->depth--;
}
