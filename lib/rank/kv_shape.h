/*
 * kv_shape.h - how the caches of a session are cut into pages.
 *
 * A page belongs to a kind of caches, not to one layer: all caches of a kind
 * hold equal positions of every sequence, so that one table of page numbers
 * serves all layers of the kind, on all ranks.
 */
#ifndef TLPI_KV_SHAPE_H
#define TLPI_KV_SHAPE_H

#include "model/model.h"
#include "rank/rank_config.h"

/* What caches hold of a sequence. */
typedef enum tlpi_kv_kind {
    TLPI_KV_ALL,    /* all positions */
    TLPI_KV_WINDOW, /* the latest positions, in layers with a window */
    TLPI_N_KV_KIND
} tlpi_kv_kind;

typedef struct tlpi_kv_shape {
    int n_pos;   /* positions of a page */
    int n_index; /* pages that n_ctx positions take */
    int n_kind;  /* 1: all caches are of kind ALL */
    int window;  /* of layers whose caches are of kind WINDOW, else 0 */
    /* Latest positions that caches of kind WINDOW keep.  A sequence can go back
     * by n_batch positions, and still has the window of its next token. */
    int n_keep;
    int n_page[TLPI_N_KV_KIND]; /* 0 for a kind that is not used */
    int64_t n_window; /* pages of kind WINDOW that all sequences keep at most */
} tlpi_kv_shape;

tlpi_kv_shape tlpi_kv_shape_of(const tlpi_session_config *cfg,
                               const tlpi_hparams *hp);

/* The kind of a layer's caches. */
static inline tlpi_kv_kind tlpi_kv_kind_of(const tlpi_kv_shape *s, int window)
{
    return window && s->n_kind > 1 ? TLPI_KV_WINDOW : TLPI_KV_ALL;
}

/* The page of a sequence in which caches of kind WINDOW begin, if it has n_pos
 * positions. */
static inline int tlpi_kv_first_kept(const tlpi_kv_shape *s, int n_pos)
{
    return TLPI_MAX(0, n_pos - s->n_keep) / TLPI_PAGE;
}

/* Pages that n_pos positions take. */
static inline int tlpi_kv_n_index(int n_pos)
{
    return (n_pos + TLPI_PAGE - 1) / TLPI_PAGE;
}

/* Bytes of n_all pages of kind ALL and of the pages of kind WINDOW that these
 * may come with; page: bytes of a page of each kind. */
uint64_t tlpi_kv_bytes(const tlpi_kv_shape *s, const uint64_t *page, int n_all);

/* The most pages of kind ALL whose bytes are within a budget; 0: not one. */
int tlpi_kv_pages_within(const tlpi_kv_shape *s, const uint64_t *page,
                         uint64_t budget);

#endif
