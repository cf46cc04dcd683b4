/*
 * counting.c - each block stores its size before its start, independently of
 * the library's own header.
 */
#include "counting.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 256 /* before each block; alignments are at most this */

static void *count_alloc(size_t size, size_t align, void *user_data)
{
    counting *c = user_data;

    if (align == 0 || (align & (align - 1)) != 0 || align > ROOM)
        c->bad++;
    if (++c->calls == c->fail_at)
        return NULL;
    if (size > c->peak)
        c->peak = size;
    char *base = aligned_alloc(ROOM, (size + 2 * ROOM - 1) / ROOM * ROOM);
    if (!base)
        return NULL;
    memcpy(base, &size, sizeof size);
    memset(base + ROOM, 0xa5, size); /* no caller may rely on zeroes */
    c->live += size;
    c->n_live++;
    return base + ROOM;
}

static void count_free(void *ptr, size_t size, void *user_data)
{
    counting *c = user_data;
    char *base = (char *)ptr - ROOM;
    size_t known;

    memcpy(&known, base, sizeof known);
    if (known != size)
        c->bad++;
    c->live -= known;
    c->n_live--;
    free(base);
}

tlp_allocator counting_allocator(counting *c)
{
    return (tlp_allocator){ count_alloc, count_free, c };
}
