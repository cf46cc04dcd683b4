/*
 * page_layout.h - pages for tests of a backend's caches.
 */
#ifndef PAGE_LAYOUT_H
#define PAGE_LAYOUT_H

#include "backend/backend.h"

/* Pages for n_seq sequences of n_ctx positions.  They are in another order than
 * the positions, so that a mixed-up address shows.  page_layout_free frees the
 * table. */
tlpi_page_layout page_layout_make(int n_seq, int n_ctx);
void page_layout_free(tlpi_page_layout *l);

/* The page of a position. */
int page_layout_at(const tlpi_page_layout *l, int seq, int pos);

#endif
