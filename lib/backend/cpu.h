/*
 * cpu.h - internals of the CPU backend: the threads, scratch and kernels of
 * one rank.
 *
 * cpu.c fills the table of operations; cpu_matmul.c splits matmuls over the
 * threads, and cpu_mm_round.c rounds what they read; cpu_route.c chooses
 * experts; cpu_weight.c packs weights; cpu_attn.c does attention and the
 * cache; cpu_vec.c does row operations.  Code that depends on the instruction
 * set is in two tables of functions, with one file for each set:
 * cpu_mm_{scalar,avx2,avx512,amx}.c and cpu_vec_{scalar,avx2,avx512}.c.
 */
#ifndef TLPI_CPU_H
#define TLPI_CPU_H

#include "backend/backend.h"
#include "base/pool.h"

struct tlpi_cpu_mm;  /* cpu_mm.h: matmul kernels */
struct tlpi_cpu_vec; /* cpu_vec.h: norm, softmax, product and rope kernels */

typedef struct tlpi_cpu {
    tlpi_backend base;
    tlpi_backend_options opts;
    tlpi_pool *pool;
    int n_decode, n_prefill; /* threads of the pool that steps use */
    int isa;                 /* TLP_ISA_*, resolved */
    bool f32;                /* TLP_COMPUTE_F32 */
    bool bf16;               /* BF16 weights use bf16 activations */
    int max_tok;
    const struct tlpi_cpu_mm *mm;
    const struct tlpi_cpu_vec *vec;
    struct tlpi_slab *slab; /* current slab for new weights */
    void *mm_scratch;       /* owned by cpu_mm_round.c */
    void *attn_scratch;     /* owned by cpu_attn.c */
} tlpi_cpu;

static inline tlpi_cpu *tlpi_cpu_of(tlpi_backend *b)
{
    return (tlpi_cpu *)b;
}

/* The best TLP_ISA_* of this machine. */
int tlpi_cpu_detect(void);
/* *isa = the instruction set that `asked`, a TLP_ISA_*, stands for; with
 * TLP_ISA_AUTO the best of this machine.  TLP_ENOTSUP for an instruction set
 * that this machine lacks. */
tlp_status tlpi_cpu_choose_isa(int asked, int *isa);

/* Whether the machine has AVX512_BF16, which is not part of TLP_ISA_AVX512. */
bool tlpi_cpu_has_bf16(void);

/* Call before the first use of TLP_ISA_AMX; false if the kernel refuses. */
bool tlpi_cpu_ask_amx(void);

/* ---- cpu_matmul.c, cpu_mm_round.c, cpu_route.c, cpu_weight.c ---- */

const struct tlpi_cpu_mm *tlpi_cpu_mm_get(int isa);
tlp_status tlpi_cpu_mm_scratch_create(tlpi_cpu *c); /* for the pool's threads */
void tlpi_cpu_mm_scratch_free(tlpi_cpu *c);
tlp_status tlpi_cpu_weight_create(tlpi_backend *b, tlpi_weight **out,
                                  const tlpi_tensor *t, int64_t r0, int64_t r1,
                                  int64_t c0, int64_t c1, bool *copied);
void tlpi_cpu_weight_free(void *weight);
size_t tlpi_cpu_weight_bytes(const tlpi_weight *w);
/* Bytes of a packed weight. */
uint64_t tlpi_cpu_packed_size(tlpi_dtype type, int64_t rows, int64_t cols);
void tlpi_cpu_embed(tlpi_backend *b, const tlpi_step *s, const tlpi_tensor *t,
                    const tlpi_weight *w, float scale, float *x);
tlp_status tlpi_cpu_routes_create(tlpi_backend *b, tlpi_routes **out,
                                  const tlpi_route_rule *rule);
void tlpi_cpu_routes_free(tlpi_backend *b, tlpi_routes *r); /* NULL is fine */
void tlpi_cpu_route(tlpi_backend *b, int n_tok, const tlpi_route *item, int n);
void tlpi_cpu_matmul(tlpi_backend *b, int n_tok, const tlpi_matmul *item,
                     int n);
void tlpi_cpu_gate_up(tlpi_backend *b, int n_tok, const tlpi_gate_up *item,
                      int n);

/* ---- cpu_attn.c, cpu_pages.c, cpu_kv.c, cpu_vec.c ---- */

const struct tlpi_cpu_vec *tlpi_cpu_vec_get(int isa);
tlp_status tlpi_cpu_attn_scratch_create(tlpi_cpu *c);
void tlpi_cpu_attn_scratch_free(tlpi_cpu *c);
tlp_status tlpi_cpu_pages_create(tlpi_backend *b, tlpi_pages **out,
                                 const tlpi_page_layout *layout);
void tlpi_cpu_pages_free(tlpi_backend *b, tlpi_pages *pages);
size_t tlpi_cpu_pages_bytes(const tlpi_pages *pages);
tlp_status tlpi_cpu_pages_take(tlpi_backend *b, tlpi_pages *pages, int page);
void tlpi_cpu_pages_drop(tlpi_backend *b, tlpi_pages *pages, int page);
void tlpi_cpu_pages_copy(tlpi_backend *b, tlpi_pages *pages, int dst, int src);
tlp_status tlpi_cpu_kv_create(tlpi_backend *b, tlpi_kv **out, tlpi_pages *pages,
                              int n_head_kv, int head_dim, int kv_type);
void tlpi_cpu_kv_free(tlpi_backend *b, tlpi_kv *kv);
size_t tlpi_cpu_kv_panel_bytes(const tlpi_kv *kv); /* cpu_kv_copy.c */
void tlpi_cpu_kv_read(tlpi_backend *b, void *host, const tlpi_kv *kv, int page,
                      int n);
void tlpi_cpu_kv_write(tlpi_backend *b, tlpi_kv *kv, int page, const void *host,
                       int n);
/* Bytes of a cache in a page of n_pos positions; the type is not
 * TLP_KV_DEFAULT. */
uint64_t tlpi_cpu_kv_size(int n_pos, int n_head_kv, int head_dim, int kv_type);
tlp_status tlpi_cpu_rope_create(tlpi_backend *b, tlpi_rope **out,
                                const double *inv_freq, double gain, int n_rot,
                                int n_ctx, bool neox, const float *q_gain);
void tlpi_cpu_soft_cap(tlpi_backend *b, float *x, size_t n, float cap);
void tlpi_cpu_rope_free(tlpi_backend *b, tlpi_rope *r);
void tlpi_cpu_gather(tlpi_backend *b, const float *x, const int32_t *rows,
                     int n, int cols, float *y);
void tlpi_cpu_add_norm(tlpi_backend *b, int n_tok, int cols, const float *x,
                       const float *delta, float *sum, const tlpi_norm *norm,
                       int n_norm, float eps);
void tlpi_cpu_sum_squares(tlpi_backend *b, int n_tok, const tlpi_square *item,
                          int n);
void tlpi_cpu_add(tlpi_backend *b, float *y, const float *x, size_t n);
void tlpi_cpu_zero(tlpi_backend *b, float *y, size_t n);
tlp_status tlpi_cpu_log_sum_exp(tlpi_backend *b, const float *x, int n,
                                int cols, const int32_t *index, float *lse,
                                float *at);
tlp_status tlpi_cpu_top(tlpi_backend *b, const float *x, int n, int cols,
                        int base, int k, tlpi_candidate *out);
void tlpi_cpu_attention(tlpi_backend *b, const tlpi_step *s,
                        const tlpi_attn *item, int n, int head_dim, float eps);

#endif
