/*
 * cpu_kv.h - the layout of cached keys and values and of rotation tables.
 */
#ifndef TLPI_CPU_KV_H
#define TLPI_CPU_KV_H

#include "backend/cpu.h"
#include "backend/cpu_vec.h"

/* The memory of caches.  A page is one block, in which every cache has a place
 * of its own. */
struct tlpi_pages {
    tlpi_page_layout layout;
    size_t bytes;  /* of a page */
    char **memory; /* [n_page]; NULL: the page has none */
};

/*
 * Keys and values are stored in the order in which the products of attention
 * read them (tlpi_panel_product).  A query is multiplied with 16 positions or
 * 16 columns in one vector, and no data is transposed or summed across lanes.
 * In a page of n_pos positions a cache has:
 *
 *   k  [n_head_kv][n_pos / 16][h][16]  16 positions side by side
 *   v  [n_head_kv][n_pos][hp]          hp = h padded to 16
 *
 * For Q8_0 these hold integers, with a scale for every 32 columns of a
 * position:
 *
 *   k_scale, v_scale  [n_head_kv][n_block][n_pos]
 *
 * Scales of neighbouring positions are neighbours, because attention
 * multiplies its scores and weights by them, not the integers.
 *
 * Pages are not cleared: positions are written before they are read.
 */
struct tlpi_kv {
    const tlpi_pages *pages; /* borrowed */
    int n_head_kv, head_dim;
    int type;    /* TLP_KV_*, resolved */
    size_t size; /* bytes of an element */
    size_t hp;
    size_t n_pos;                  /* of a page */
    size_t n_block;                /* for Q8_0: blocks of a head, else 0 */
    size_t k, v, k_scale, v_scale; /* where they begin in a page, bytes */
};

enum { TLPI_KV_BLOCK = 32 }; /* columns under one scale */

/* The page that holds a position of a sequence. */
static inline char *tlpi_kv_page(const tlpi_kv *kv, int seq, int pos)
{
    const tlpi_page_layout *l = &kv->pages->layout;
    size_t at = (size_t)seq * (size_t)l->n_index + (size_t)(pos / TLPI_PAGE);
    return kv->pages->memory[l->table[at]];
}

/* Address of the panel that holds pos, and of the row of pos. */
static inline char *tlpi_kv_k(const tlpi_kv *kv, int seq, int head, int pos)
{
    size_t panel = (size_t)(pos % TLPI_PAGE / TLPI_PANEL);
    size_t row = (size_t)head * kv->n_pos + panel * TLPI_PANEL;
    return tlpi_kv_page(kv, seq, pos) + kv->k +
           row * (size_t)kv->head_dim * kv->size;
}

static inline char *tlpi_kv_v(const tlpi_kv *kv, int seq, int head, int pos)
{
    size_t row = (size_t)head * kv->n_pos + (size_t)(pos % TLPI_PAGE);
    return tlpi_kv_page(kv, seq, pos) + kv->v + row * kv->hp * kv->size;
}

/* Scales of a block of columns from a position on; `at`: kv->k_scale or
 * kv->v_scale. */
static inline float *tlpi_kv_scales(const tlpi_kv *kv, size_t at, int seq,
                                    int head, size_t block, int pos)
{
    size_t row = (size_t)head * kv->n_block + block;
    char *scales = tlpi_kv_page(kv, seq, pos) + at;
    return (float *)(void *)scales + row * kv->n_pos +
           (size_t)(pos % TLPI_PAGE);
}

/* Store the key and value [h] of one head at a position. */
void tlpi_kv_store(const tlpi_kv *kv, const tlpi_cpu *c, int seq, int head,
                   int pos, const float *k, const float *v);

struct tlpi_rope {
    int half; /* pairs: n_rot / 2 */
    bool neox;
    float *cos, *sin; /* [n_ctx][half] */
    float *q_gain;    /* [n_ctx] factors of queries; NULL: all are 1 */
};

#endif
