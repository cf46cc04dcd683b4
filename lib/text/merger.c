/*
 * merger.c - join neighbouring symbols of a word, the pair of lowest rank
 * first.
 *
 * The symbols form a linked list.  Each symbol holds the rank of the pair that
 * begins with it.  The heap holds only local minima: pairs whose rank is lower
 * than the ranks of the two pairs that they overlap; of equal ranks the left
 * one counts.  Stale entries stay in the heap and are skipped when their rank
 * no longer matches.  Time is n log n for any input.
 */
#include "text/vocab_impl.h"

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
            return tlpi_fail_nomem_for("the tokens of a text");
        m->cap_sym = cap;
    }
    m->n = (uint32_t)n;
    for (uint32_t i = 0; i <= m->n; i++) {
        m->sym[i].prev = i > 0 ? i - 1 : TLPI_NO_SYMBOL;
        m->sym[i].next = i + 1;
    }
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

/* ==== heap =============================================================== */

static tlp_status heap_push(tlpi_merger *m, uint64_t key)
{
    if (m->n_heap == m->cap_heap) {
        size_t cap = TLPI_MAX(m->cap_heap * 2, (size_t)256);
        uint64_t *heap =
            tlpi_realloc_array(m->env, m->heap, cap, sizeof *m->heap);
        if (!heap)
            return tlpi_fail_nomem_for("the tokens of a text");
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

/* A node has four children: half the cache misses of a binary heap. */
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

/* ==== joining ============================================================ */

static uint32_t rank_at(const tlpi_merger *m, uint32_t i)
{
    return i < m->n ? m->sym[i].rank : TLPI_NO_RANK;
}

static void set_rank(tlpi_merger *m, tlpi_join_fn join, const void *arg,
                     uint32_t left)
{
    uint32_t right = m->sym[left].next, rank, value;

    m->sym[left].rank =
        right < m->n && join(arg, m->sym, left, right, &rank, &value)
            ? rank
            : TLPI_NO_RANK;
}

/* Has the pair that begins at i a lower rank than both pairs it overlaps? */
static bool is_local_min(const tlpi_merger *m, uint32_t i)
{
    uint32_t rank = rank_at(m, i);

    return rank != TLPI_NO_RANK && rank < rank_at(m, m->sym[i].prev) &&
           rank <= rank_at(m, m->sym[i].next);
}

static tlp_status offer(tlpi_merger *m, uint32_t i)
{
    return is_local_min(m, i) ? heap_push(m, (uint64_t)m->sym[i].rank << 32 | i)
                              : TLP_OK;
}

/*
 * Join the pair that begins at `left`, and offer the new local minima: the new
 * pairs on both sides, or the pairs beyond them.  A pair beyond was offered
 * before if its rank was lower than the rank of the old neighbour.
 */
static tlp_status join_pair(tlpi_merger *m, tlpi_join_fn join, const void *arg,
                            uint32_t left)
{
    tlp_status st = TLP_OK;
    tlpi_symbol *sym = m->sym;
    uint32_t right = sym[left].next, next = sym[right].next;
    uint32_t prev = sym[left].prev, rank;
    uint32_t old_right = sym[right].rank, old_prev = rank_at(m, prev);

    if (!join(arg, sym, left, right, &rank, &sym[left].value))
        return TLP_OK;
    sym[left].next = next;
    sym[next].prev = left;
    sym[right].rank = TLPI_NO_RANK;
    set_rank(m, join, arg, left);
    if (prev != TLPI_NO_SYMBOL)
        set_rank(m, join, arg, prev);

    TLP_TRY(offer(m, left));
    if (rank_at(m, next) >= old_right)
        TLP_TRY(offer(m, next));
    if (prev == TLPI_NO_SYMBOL)
        goto done;
    TLP_TRY(offer(m, prev));
    if (rank_at(m, sym[prev].prev) > old_prev)
        TLP_TRY(offer(m, sym[prev].prev));
done:
    return st;
}

tlp_status tlpi_merger_run(tlpi_merger *m, tlpi_join_fn join, const void *arg)
{
    tlp_status st = TLP_OK;

    for (uint32_t i = 0; i < m->n; i++)
        set_rank(m, join, arg, i);
    for (uint32_t i = 0; i < m->n; i++)
        TLP_TRY(offer(m, i));
    while (m->n_heap > 0) {
        uint64_t key = heap_pop(m);
        uint32_t left = (uint32_t)key;
        if (m->sym[left].rank == (uint32_t)(key >> 32))
            TLP_TRY(join_pair(m, join, arg, left));
    }
done:
    return st;
}
