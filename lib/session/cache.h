/*
 * cache.h - the pages of a session's sequences, on rank 0.
 *
 * Sequences have pages, which are counted.  A fork shares the pages of its
 * source; a page that several sequences have is copied when one of them writes
 * to it, which can only be the last page of that sequence.  A page that no
 * sequence has is free, and its memory goes back.
 *
 * Rank 0 plans here and sends edits (rank/store.h); the tables that result are
 * those of its own store.
 */
#ifndef TLPI_CACHE_H
#define TLPI_CACHE_H

#include "rank/kv_shape.h"
#include "session/page_pool.h"

/* What a sequence has, besides the pages in the tables. */
typedef struct tlpi_seq_pages {
    int32_t first; /* index of its first page of kind WINDOW */
    /* Its tokens are known, but it has no pages: it went back behind the
     * windows that it had kept.  The next call evaluates its tokens again. */
    bool lost;
    bool copies;      /* the call writes to a page that other sequences have */
    int32_t from, to; /* positions that the call writes; none if equal */
} tlpi_seq_pages;

typedef struct tlpi_cache {
    tlpi_kv_shape shape;
    tlpi_page_pool pool[TLPI_N_KV_KIND];
    tlpi_seq_pages *seq; /* [n_seq] */
} tlpi_cache;

tlp_status tlpi_cache_create(tlp_session *s);
void tlpi_cache_free(tlp_session *s);

/* The call that begins, or its next step, writes no positions so far. */
void tlpi_cache_plan(tlp_session *s);
/* It also writes positions [from, to) of a sequence. */
void tlpi_cache_write(tlp_session *s, int32_t seq, int32_t from, int32_t to);
/* TLP_EFULL if there are too few pages for these positions. */
tlp_status tlpi_cache_check(tlp_session *s);
/* Pages for these positions, which no other sequence has.  TLP_ENOMEM: nothing
 * has changed. */
tlp_status tlpi_cache_fit(tlp_session *s);

/* The sequences have their positions again, and no pages beyond: after a call
 * that failed, or that wrote what is not needed. */
tlp_status tlpi_cache_settle(tlp_session *s);
/* A sequence goes back to a position. */
tlp_status tlpi_cache_rewind(tlp_session *s, int32_t seq, int32_t pos);
/* dst drops its pages, and gets those of src. */
tlp_status tlpi_cache_fork(tlp_session *s, int32_t dst, int32_t src);

/* The page at an index of a sequence; -1: none. */
int32_t tlpi_cache_page(const tlp_session *s, int kind, int32_t seq, int index);

/* Free pages that a sequence will get, after something has filled them. */
typedef struct tlpi_new_pages {
    int first[TLPI_N_KV_KIND], n[TLPI_N_KV_KIND]; /* indices in the sequence */
    int32_t *page[TLPI_N_KV_KIND];                /* [n] */
} tlpi_new_pages;

/* Choose the pages and give them memory; first and n are set.  TLP_EFULL and
 * TLP_ENOMEM: nothing has changed.  Until the sequence has the pages, or they
 * are dropped, no other edit is made. */
tlp_status tlpi_cache_take_new(tlp_session *s, tlpi_new_pages *pages);
/* Their memory goes back.  Returns st, or a failure to do so. */
tlp_status tlpi_cache_drop_new(tlp_session *s, const tlpi_new_pages *pages,
                               tlp_status st);
/* The sequence gives its pages back, and gets these. */
tlp_status tlpi_cache_adopt(tlp_session *s, int32_t seq,
                            const tlpi_new_pages *pages);
void tlpi_cache_free_new(const tlp_session *s, tlpi_new_pages *pages);

/* Memory that pages have, over all ranks. */
uint64_t tlpi_cache_bytes(const tlp_session *s);

#endif
