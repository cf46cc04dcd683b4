/*
 * cpu_kv.h - the layout of cached keys and values and of rotation tables.
 */
#ifndef TLPI_CPU_KV_H
#define TLPI_CPU_KV_H

#include "backend/backend.h"
#include "backend/cpu_vec.h"

/*
 * Both operands lie as attention's products read them (tlpi_product), so that a
 * query meets 16 positions or 16 columns in one vector and nothing is ever
 * transposed or summed across lanes:
 *
 *   k  [n_seq][n_head_kv][n_panel][h][16]    16 positions side by side
 *   v  [n_seq][n_head_kv][n_panel * 16][hp]  hp = h padded to 16
 *
 * Memory is not cleared: positions that were never written are never used,
 * and cost nothing until they are.
 */
struct tlpi_kv {
    int n_seq, n_ctx, n_head_kv, head_dim;
    int type;    /* TLP_KV_*, resolved */
    size_t size; /* bytes of an element */
    size_t hp;
    size_t k_head, v_head; /* elements of one head of one sequence */
    char *k, *v;
};

/* The panel that holds pos / the row of pos. */
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

/* Keep the key and value [h] of one head at a position. */
void tlpi_kv_store(const tlpi_kv *kv, const tlpi_cpu_vec *vec, int seq,
                   int head, int pos, const float *k, const float *v);

struct tlpi_rope {
    int half; /* pairs: n_rot / 2 */
    bool neox;
    float *cos, *sin; /* [n_ctx][half] */
};

#endif
