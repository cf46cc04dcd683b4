/*
 * interner.c - rows of integers by their content: open addressing, at most
 * half full.
 */
#include "grammar/interner.h"

#include <string.h>

static size_t hash_row(const int32_t *row, size_t n)
{
    uint64_t h = n;

    for (size_t i = 0; i < n; i++) {
        h = (h ^ (uint32_t)row[i]) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return (size_t)h;
}

/* The slot that holds the row, or the free one where it belongs. */
static int32_t *slot_of(const tlpi_interner *t, const int32_t *row, size_t n)
{
    for (size_t i = hash_row(row, n) & t->mask;; i = (i + 1) & t->mask) {
        int32_t id = t->slot[i];
        if (id < 0)
            return &t->slot[i];
        size_t n_old;
        const int32_t *old = tlpi_interner_row(t, id, &n_old);
        if (n_old == n && (n == 0 || memcmp(old, row, n * sizeof *row) == 0))
            return &t->slot[i];
    }
}

static bool grow_slots(tlpi_interner *t)
{
    size_t n = t->slot ? 2 * (t->mask + 1) : 128;
    int32_t *slot = tlpi_alloc_array(t->env, n, sizeof *slot);

    if (!slot)
        return false;
    memset(slot, 0xff, n * sizeof *slot);
    tlpi_free(t->env, t->slot);
    t->slot = slot;
    t->mask = n - 1;
    for (size_t id = 0; id < t->n; id++) {
        size_t n_row;
        const int32_t *row = tlpi_interner_row(t, (int32_t)id, &n_row);
        *slot_of(t, row, n_row) = (int32_t)id;
    }
    return true;
}

static bool reserve(tlpi_interner *t, size_t n)
{
    if (t->n + 1 >= t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        size_t *begin =
            tlpi_realloc_array(t->env, t->begin, cap + 1, sizeof *begin);
        if (!begin)
            return false;
        t->begin = begin;
        t->begin[t->n] = t->n_data;
        t->cap = cap;
    }
    if (t->n_data + n > t->cap_data) {
        size_t cap = TLPI_MAX(2 * t->cap_data, t->n_data + n + 256);
        int32_t *data = tlpi_realloc_array(t->env, t->data, cap, sizeof *data);
        if (!data)
            return false;
        t->data = data;
        t->cap_data = cap;
    }
    return (t->slot && 2 * (t->n + 1) <= t->mask) || grow_slots(t);
}

int32_t tlpi_interner_find(const tlpi_interner *t, const int32_t *row, size_t n)
{
    return t->slot ? *slot_of(t, row, n) : -1;
}

int32_t tlpi_intern(tlpi_interner *t, const int32_t *row, size_t n)
{
    int32_t known = tlpi_interner_find(t, row, n);

    if (known >= 0)
        return known;
    if (!reserve(t, n))
        return -1;
    int32_t *slot = slot_of(t, row, n);
    if (n > 0)
        memcpy(t->data + t->n_data, row, n * sizeof *row);
    t->n_data += n;
    *slot = (int32_t)t->n++;
    t->begin[t->n] = t->n_data;
    return *slot;
}

void tlpi_interner_clear(tlpi_interner *t)
{
    t->n = t->n_data = 0;
    if (t->slot)
        memset(t->slot, 0xff, (t->mask + 1) * sizeof *t->slot);
    if (t->begin)
        t->begin[0] = 0;
}

void tlpi_interner_free(tlpi_interner *t)
{
    tlpi_free(t->env, t->data);
    tlpi_free(t->env, t->begin);
    tlpi_free(t->env, t->slot);
    memset(t, 0, sizeof *t);
}
