/*
 * mem.c - see mem.h.  The size of a block stands before it, so that free can
 * check the size that the caller gives.
 */
#include "mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *mem_alloc(size_t size, size_t align, void *user_data)
{
    mem *m = user_data;
    long call = atomic_fetch_add(&m->calls, 1) + 1;
    size_t head = align < 16 ? 16 : align;

    if (m->fail_at &&
        (call == m->fail_at || (m->fail_after && call > m->fail_at))) {
        atomic_fetch_add(&m->failed, 1);
        return NULL;
    }
    size_t now = atomic_fetch_add(&m->bytes, size) + size;
    size_t peak = atomic_load(&m->peak);
    while (now > peak && !atomic_compare_exchange_weak(&m->peak, &peak, now))
        continue;
    char *p = NULL;
    if ((!m->budget || now <= m->budget) && size < SIZE_MAX - 2 * head)
        p = aligned_alloc(head, (head + size + head - 1) / head * head);
    if (!p) {
        atomic_fetch_sub(&m->bytes, size);
        atomic_fetch_add(&m->failed, 1);
        return NULL;
    }
    memcpy(p + head - sizeof size, &size, sizeof size);
    memset(p + head - 16, (int)(head / 16), 1);
    atomic_fetch_add(&m->live, 1);
    return p + head;
}

static void mem_free(void *ptr, size_t size, void *user_data)
{
    mem *m = user_data;
    char *p = ptr;
    size_t was, head;

    if (!p)
        return;
    memcpy(&was, p - sizeof was, sizeof was);
    head = (size_t)(unsigned char)p[-16] * 16;
    if (was != size) {
        fprintf(stderr, "mem: freed with size %zu, allocated with %zu\n", size,
                was);
        abort();
    }
    memset(p, 0xdd, size < 64 ? size : 64);
    atomic_fetch_sub(&m->bytes, size);
    atomic_fetch_sub(&m->live, 1);
    free(p - head);
}

tlp_allocator mem_hooks(mem *m)
{
    return (tlp_allocator){ mem_alloc, mem_free, m };
}
