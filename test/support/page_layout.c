/*
 * page_layout.c - pages in reverse order.
 */
#include "support/page_layout.h"

#include <stdlib.h>

tlpi_page_layout page_layout_make(int n_seq, int n_ctx)
{
    int padded = (n_ctx + 15) / 16 * 16;
    tlpi_page_layout l = { .n_pos = padded < TLPI_PAGE ? padded : TLPI_PAGE,
                           .n_index = (n_ctx + TLPI_PAGE - 1) / TLPI_PAGE };

    l.n_page = n_seq * l.n_index;
    int32_t *table = malloc((size_t)l.n_page * sizeof(*table));
    for (int i = 0; table && i < l.n_page; i++)
        table[i] = l.n_page - 1 - i;
    l.table = table;
    return l;
}

void page_layout_free(tlpi_page_layout *l)
{
    free((void *)(uintptr_t)l->table);
    l->table = NULL;
}

int page_layout_at(const tlpi_page_layout *l, int seq, int pos)
{
    return l->table[seq * l->n_index + pos / TLPI_PAGE];
}
