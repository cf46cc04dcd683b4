/*
 * join.c - join neighbouring symbols of a word, the best pair first.
 *
 * Symbols form a linked list; a heap holds the pairs that can be joined.  Pairs
 * that are gone stay in the heap and are recognised when they come up: what the
 * two neighbours give now is asked again.  Time n log n, whatever the input.
 */
#include "model/vocab_impl.h"

tlp_status tlpi_merger_begin(tlpi_merger *m, size_t n)
{
    if (n >= TLPI_NO_SYMBOL)
        return tlpi_fail(TLP_EINVAL, "a word of %zu symbols is too long", n);
    if (n + 1 > m->cap_sym) {
        size_t cap = TLPI_MAX(n + 1, (size_t)256);
        tlpi_free(m->env, m->sym);
        m->cap_sym = 0;
        m->sym = tlpi_alloc_array(m->env, cap, sizeof *m->sym);
        if (!m->sym)
            return tlpi_fail_nomem();
        m->cap_sym = cap;
    }
    for (size_t i = 0; i <= n; i++) {
        m->sym[i].prev = i > 0 ? (uint32_t)i - 1 : TLPI_NO_SYMBOL;
        m->sym[i].next = (uint32_t)i + 1;
    }
    m->n = n;
    m->n_heap = 0;
    return TLP_OK;
}

void tlpi_merger_free(tlpi_merger *m)
{
    tlpi_free(m->env, m->sym);
    tlpi_free(m->env, m->heap);
    m->sym = NULL;
    m->heap = NULL;
    m->cap_sym = m->cap_heap = 0;
}

static tlp_status heap_push(tlpi_merger *m, uint64_t key)
{
    if (m->n_heap == m->cap_heap) {
        size_t cap = TLPI_MAX(m->cap_heap * 2, (size_t)256);
        uint64_t *heap =
            tlpi_realloc_array(m->env, m->heap, cap, sizeof *m->heap);
        if (!heap)
            return tlpi_fail_nomem();
        m->heap = heap;
        m->cap_heap = cap;
    }
    size_t i = m->n_heap++;
    while (i > 0 && m->heap[(i - 1) / 4] > key) {
        m->heap[i] = m->heap[(i - 1) / 4];
        i = (i - 1) / 4;
    }
    m->heap[i] = key;
    return TLP_OK;
}

/* Four children each: half the cache misses of a binary heap. */
static uint64_t heap_pop(tlpi_merger *m)
{
    uint64_t *heap = m->heap;
    uint64_t top = heap[0];
    size_t n = --m->n_heap;
    uint64_t key = heap[n];
    size_t i = 0;

    for (;;) {
        size_t first = 4 * i + 1, best = first;
        if (first >= n)
            break;
        for (size_t c = first + 1; c < TLPI_MIN(first + 4, n); c++)
            if (heap[c] < heap[best])
                best = c;
        if (heap[best] >= key)
            break;
        heap[i] = heap[best];
        i = best;
    }
    heap[i] = key;
    return top;
}

/* Put the pair that begins at `left` on the heap, if it can be joined. */
static tlp_status offer(tlpi_merger *m, tlpi_join_fn join, const void *arg,
                        uint32_t left)
{
    uint32_t right = m->sym[left].next, rank, value;

    if (right == m->n || !join(arg, m->sym, left, right, &rank, &value))
        return TLP_OK;
    return heap_push(m, (uint64_t)rank << 32 | left);
}

tlp_status tlpi_merger_run(tlpi_merger *m, tlpi_join_fn join, const void *arg)
{
    tlp_status st = TLP_OK;
    tlpi_symbol *sym = m->sym;

    for (size_t i = 0; i < m->n; i++)
        TLP_TRY(offer(m, join, arg, (uint32_t)i));
    while (m->n_heap > 0) {
        uint64_t key = heap_pop(m);
        uint32_t left = (uint32_t)key, right = sym[left].next, rank, value;
        if (right == 0 || right == m->n ||
            !join(arg, sym, left, right, &rank, &value) ||
            rank != (uint32_t)(key >> 32))
            continue;
        uint32_t next = sym[right].next;
        sym[left].value = value;
        sym[left].next = next;
        sym[next].prev = left;
        sym[right].next = 0;
        if (sym[left].prev != TLPI_NO_SYMBOL)
            TLP_TRY(offer(m, join, arg, sym[left].prev));
        TLP_TRY(offer(m, join, arg, left));
    }
done:
    return st;
}
