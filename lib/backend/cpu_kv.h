/*
 * cpu_kv.h - the layout of cached keys and values and of rotation tables.
 */
#ifndef TLPI_CPU_KV_H
#define TLPI_CPU_KV_H

#include "backend/cpu.h"
#include "backend/cpu_vec.h"

/*
 * Keys and values are stored in the order in which the products of attention
 * read them (tlpi_panel_product).  A query is multiplied with 16 positions or
 * 16 columns in one vector, and no data is transposed or summed across lanes:
 *
 *   k  [n_seq][n_head_kv][n_panel][h][16]    16 positions side by side
 *   v  [n_seq][n_head_kv][n_panel * 16][hp]  hp = h padded to 16
 *
 * For Q8_0 these hold integers, with a scale for every 32 columns of a
 * position:
 *
 *   k_scale, v_scale  [n_seq][n_head_kv][n_block][n_panel * 16]
 *
 * Scales of neighbouring positions are neighbours, because attention
 * multiplies its scores and weights by them, not the integers.
 *
 * Memory is not cleared: positions are written before they are read, and
 * unwritten pages take no memory.
 */
struct tlpi_kv {
    int n_seq, n_ctx, n_head_kv, head_dim;
    int type;    /* TLP_KV_*, resolved */
    size_t size; /* bytes of an element */
    size_t hp;
    size_t k_head, v_head; /* elements of one head of one sequence */
    char *k, *v;
    size_t n_block, n_pos;    /* for Q8_0: blocks of a head, padded positions */
    float *k_scale, *v_scale; /* for Q8_0, else NULL */
};

enum { TLPI_KV_BLOCK = 32 }; /* columns under one scale */

/* Address of the panel that holds pos, and of the row of pos. */
static inline char *tlpi_kv_k(const tlpi_kv *kv, int seq, int head, int pos)
{
    size_t at = (size_t)seq * (size_t)kv->n_head_kv + (size_t)head;
    size_t panel = (size_t)(pos / TLPI_PANEL);
    size_t step = (size_t)kv->head_dim * TLPI_PANEL;
    return kv->k + (at * kv->k_head + panel * step) * kv->size;
}

static inline char *tlpi_kv_v(const tlpi_kv *kv, int seq, int head, int pos)
{
    size_t at = (size_t)seq * (size_t)kv->n_head_kv + (size_t)head;
    return kv->v + (at * kv->v_head + (size_t)pos * kv->hp) * kv->size;
}

/* Index in k_scale and v_scale of the scale of a position's block. */
static inline size_t tlpi_kv_scale(const tlpi_kv *kv, int seq, int head,
                                   size_t block, int pos)
{
    size_t at = (size_t)seq * (size_t)kv->n_head_kv + (size_t)head;
    return (at * kv->n_block + block) * kv->n_pos + (size_t)pos;
}

/* Store the key and value [h] of one head at a position. */
void tlpi_kv_store(const tlpi_kv *kv, const tlpi_cpu *c, int seq, int head,
                   int pos, const float *k, const float *v);

struct tlpi_rope {
    int half; /* pairs: n_rot / 2 */
    bool neox;
    float *cos, *sin; /* [n_ctx][half] */
};

#endif
