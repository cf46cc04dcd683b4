/*
 * kv_shape.c - numbers of pages.
 *
 * The pages of kind WINDOW never run out before those of kind ALL: a sequence
 * that holds a page of kind WINDOW holds a page of kind ALL with equal
 * positions, and sequences that share the one share the other.  So there are at
 * most as many as of kind ALL, and at most n_seq times what one sequence keeps.
 */
#include "rank/kv_shape.h"

/* Most pages that `n` neighbouring positions touch. */
static int touched(int64_t n)
{
    return n < 2 ? 1 : (int)((n - 2) / TLPI_PAGE + 2);
}

static int padded(int n)
{
    return (n + 15) / 16 * 16;
}

/* Pages of kind WINDOW that n_all pages of kind ALL may come with. */
static int windows_of(const tlpi_kv_shape *s, int n_all)
{
    return (int)TLPI_MIN(s->n_window, n_all);
}

tlpi_kv_shape tlpi_kv_shape_of(const tlpi_session_config *cfg,
                               const tlpi_hparams *hp)
{
    tlpi_kv_shape s = { .n_pos = TLPI_MIN(TLPI_PAGE, padded(cfg->n_ctx)),
                        .n_index = tlpi_kv_n_index(cfg->n_ctx),
                        .n_kind = 1 };
    int64_t keep = (int64_t)hp->n_window + cfg->n_batch;
    int most = cfg->n_seq * s.n_index;

    s.n_page[TLPI_KV_ALL] = cfg->n_page ? TLPI_MIN(cfg->n_page, most) : most;
    /* Pages that belong to their sequences are never freed. */
    if (cfg->n_page && hp->n_window && touched(keep) < s.n_index) {
        s.n_kind = 2;
        s.window = hp->n_window;
        s.n_keep = (int)keep;
        s.n_window = (int64_t)cfg->n_seq * touched(keep);
        s.n_page[TLPI_KV_WINDOW] = windows_of(&s, s.n_page[TLPI_KV_ALL]);
    }
    return s;
}

uint64_t tlpi_kv_bytes(const tlpi_kv_shape *s, const uint64_t *page, int n_all)
{
    return (uint64_t)n_all * page[TLPI_KV_ALL] +
           (uint64_t)windows_of(s, n_all) * page[TLPI_KV_WINDOW];
}

int tlpi_kv_pages_within(const tlpi_kv_shape *s, const uint64_t *page,
                         uint64_t budget)
{
    int lo = 0, hi = s->n_page[TLPI_KV_ALL];

    while (lo < hi) {
        int middle = lo + (hi - lo + 1) / 2;

        if (tlpi_kv_bytes(s, page, middle) <= budget)
            lo = middle;
        else
            hi = middle - 1;
    }
    return lo;
}
