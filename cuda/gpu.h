/*
 * gpu.h - one rank's GPU: declarations shared by the files of the CUDA
 * backend.
 *
 * All work of a backend goes to one stream.  Host entry points outside a step
 * first call tlpi_gpu_use, because the calling thread may have used another
 * device.  The backend keeps the first failure of a launch or copy, and every
 * later call that returns a status reports it.
 */
#ifndef TLPI_GPU_H
#define TLPI_GPU_H

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "launch.cuh"

typedef struct tlpi_gpu tlpi_gpu;

/* ==== host memory, of the model's allocator ============================== */

static inline void *tlpi_gpu_alloc(const tlpi_env *env, size_t bytes)
{
    void *p = env->mem.alloc(bytes ? bytes : 1, 64, env->mem.user_data);

    if (p)
        memset(p, 0, bytes);
    return p;
}

static inline void tlpi_gpu_free(const tlpi_env *env, void *p, size_t bytes)
{
    if (p)
        env->mem.free(p, bytes ? bytes : 1, env->mem.user_data);
}

/* ==== failing ============================================================ */

/* Record a text; returns st. */
tlp_status tlpi_gpu_fail(tlp_status st, const char *fmt, ...) TLPI_PRINTF(2, 3);

/* Status of a CUDA call; `what` names the work for the error text. */
tlp_status tlpi_gpu_status(cudaError_t e, const char *what);

/* The core's functions, set by tlpi_device_v1. */
extern const tlpi_device_host *tlpi_gpu_host;

/* ==== the backend ======================================================== */

/* Steps of at most this many tokens use the kernels of decoding, and may be
 * replayed. */
static constexpr int TLPI_GPU_DECODE = 8;

/* Steps of up to this many tokens, all of different sequences, also use decode
 * attention and replay; their products are those of many tokens. */
static constexpr int TLPI_GPU_SINGLES = 32;

/* Most neighbouring tokens of one sequence in a tile of prefill attention. */
static constexpr int TLPI_GPU_TILE = 32;
typedef struct tlpi_gpu_tile {
    int32_t tok, n_tok, seq, pos;
} tlpi_gpu_tile;

/* Kinds of pages of a backend. */
static constexpr int TLPI_GPU_KINDS = 2;

/*
 * The arrays of a step, in one block on the host (pinned) and on the device:
 * id, seq, pos, row: [max_tok] each, then the pages of the step's sequences
 * table [max_seq][TLPI_GPU_KINDS][n_index], then tiles [max_tok].  Here and in
 * tiles, seq is the number of a token's sequence among those of the step.
 */
typedef struct tlpi_gpu_step {
    int32_t *id, *seq, *pos, *row;
    int32_t *table;
    tlpi_gpu_tile *tile;
} tlpi_gpu_step;

/* Number of host blocks, which uploads use in turn. */
static constexpr int TLPI_GPU_STAGING = 2;

typedef struct tlpi_gpu_graphs tlpi_gpu_graphs; /* graph.cu */
typedef struct tlpi_gpu_gemm tlpi_gpu_gemm;     /* gemm.cu */
typedef struct tlpi_gpu_window tlpi_gpu_window; /* nccl_window.cu */

struct tlpi_gpu {
    tlpi_backend base;
    int device, n_sm;
    size_t max_shared; /* most dynamic shared memory of a block, in bytes */
    bool f32;          /* TLP_COMPUTE_F32 */
    int max_tok, max_cols, max_attn;
    int max_seq, n_index; /* sequences of a step; pages of a sequence */
    tlpi_pages *pages[TLPI_GPU_KINDS]; /* NULL: no such kind */
    cudaStream_t stream;
    tlpi_device_stats stats;

    cudaError_t error; /* first failure; kept */
    const char *what;  /* what the failed call did, for the text */
    /* first failure of a library without cudaError_t; kept */
    tlp_status failed;
    char text[256];

    /* Checks for failures of the communicators (deadline, dead peer) after
     * each wait for the stream; NULL: none. */
    tlp_status (*check)(void *arg);
    /* Waits for the event, or for the stream if it is NULL; fails when a peer
     * is dead.  NULL: no communicator. */
    tlp_status (*wait)(void *arg, cudaStream_t stream, cudaEvent_t event);
    /* Waits until all ranks that share the device are here without work on it;
     * NULL: no other rank. */
    tlp_status (*rendezvous)(void *arg);
    void *check_arg; /* argument of check, wait and rendezvous */

    tlpi_gpu_step host[TLPI_GPU_STAGING], dev;
    cudaEvent_t sent[TLPI_GPU_STAGING]; /* the host block can be filled again */
    int staging;                        /* host block of this step */
    size_t step_bytes;
    const tlpi_step *step; /* between begin_step and end_step */
    const tlpi_want *want;
    int n_tile, longest; /* tiles of the step; longest context of its tokens */
    int bucket;          /* longest, rounded up to a power of two */
    bool decodes;        /* the step uses decode attention */

    float *part; /* [part_cap] partial sums of decode attention */
    size_t part_cap;
    float *scratch;      /* [max_tok][max_cols] product of gate, before up */
    float *lse;          /* [2][max_tok] */
    tlpi_candidate *top; /* [TLPI_MAX_TOP] */
    void *answer;        /* pinned memory for results */
    tlpi_gpu_graphs *graphs;
    tlpi_gpu_gemm *gemm;
    tlpi_gpu_window *windows; /* buffers allocated by NCCL */
};

static inline tlpi_gpu *tlpi_gpu_of(tlpi_backend *b)
{
    return (tlpi_gpu *)b;
}

/* Make g's device current on this thread. */
void tlpi_gpu_use(tlpi_gpu *g);

/* Keep the first failure. */
static inline void tlpi_gpu_keep_error(tlpi_gpu *g, cudaError_t e,
                                       const char *what)
{
    if (e != cudaSuccess && g->error == cudaSuccess) {
        g->error = e;
        g->what = what;
    }
}

/* The known failures, without waiting. */
tlp_status tlpi_gpu_peek(tlpi_gpu *g);
/* Wait for all enqueued work, or for an event; failures are kept. */
tlp_status tlpi_gpu_wait(tlpi_gpu *g);
void tlpi_gpu_wait_event(tlpi_gpu *g, cudaEvent_t e);

/* Enqueue a kernel on g's stream. */
template <class... P>
static inline void
tlpi_gpu_run(tlpi_gpu *g, const char *what, void (*kernel)(P...), dim3 grid,
             dim3 block, size_t shared, typename tlpi_same<P>::type... args)
{
    if (g->error != cudaSuccess || grid.x == 0 || grid.y == 0 || grid.z == 0)
        return;
    g->stats.launches++;
    tlpi_gpu_keep_error(
        g, tlpi_launch<P...>(kernel, grid, block, shared, g->stream, args...),
        what);
}

/* Load a kernel now.  Otherwise the driver loads it at the first launch and
 * may wait for the device, where another kernel may wait for this one. */
template <class... P>
static inline void tlpi_gpu_load(tlpi_gpu *g, void (*kernel)(P...))
{
    cudaFuncAttributes unused;

    tlpi_gpu_keep_error(g, cudaFuncGetAttributes(&unused, (const void *)kernel),
                        "loading kernels");
}

/* Allow a kernel more dynamic shared memory than 48 KiB. */
template <class K>
static inline void tlpi_gpu_allow_shared(tlpi_gpu *g, K *kernel, size_t bytes)
{
    if (bytes > 48 * 1024)
        tlpi_gpu_keep_error(
            g,
            cudaFuncSetAttribute(kernel,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 (int)bytes),
            "shared memory");
}

static inline int64_t tlpi_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* ==== weights (weight.cu) ================================================ */

/*
 * A matrix on the device, cut for one rank.  Rows are cut into units whose
 * levels are 16 bytes, so that a warp reads 512 neighbouring bytes: 4 elements
 * of F32, 8 of F16 and BF16, 16 of Q8_0, 32 of the remaining types.  Further
 * data of a block is in separate arrays, in the order of the units:
 *
 *   level  [row][n_unit] 16 bytes; nibbles as in the file's 32-blocks
 *   high   [row][n_block] fifth bits (4 bytes) or fifth and sixth (8 bytes)
 *   scale  [row][n_block] d (f16), or d and m, or K types' two bytes: scale
 *          and minimum, or the two scales of Q6_K
 *   super  [row][n_block/8] K types' d (f16), or d and dmin
 *
 * Rows of floats are padded with zeros to whole units.
 */
struct tlpi_weight {
    const tlpi_env *env;
    int device;
    tlpi_dtype type;
    int64_t n_row, n_col;
    int64_t n_unit;  /* units of a row */
    int64_t n_block; /* 32-element blocks of a row; 0 for floats */
    uint8_t *level;  /* start of the allocation; the other arrays follow */
    uint8_t *high, *scale, *super;
    size_t n_bytes;
};

/* A weight, as kernels get it. */
typedef struct tlpi_gpu_matrix {
    const uint8_t *level, *high, *scale, *super;
    int n_row, n_col, n_unit, n_block;
    int type;
} tlpi_gpu_matrix;

static inline tlpi_gpu_matrix tlpi_gpu_matrix_of(const tlpi_weight *w)
{
    tlpi_gpu_matrix m = { w->level,       w->high,         w->scale,
                          w->super,       (int)w->n_row,   (int)w->n_col,
                          (int)w->n_unit, (int)w->n_block, (int)w->type };
    return m;
}

tlp_status tlpi_gpu_weight_create(tlpi_backend *b, tlpi_weight **out,
                                  const tlpi_tensor *t, int64_t r0, int64_t r1,
                                  int64_t c0, int64_t c1, bool *copied);
void tlpi_gpu_weight_free(void *weight);
size_t tlpi_gpu_weight_bytes(const tlpi_weight *w);
uint64_t tlpi_gpu_weight_size(tlpi_dtype type, int64_t rows, int64_t cols);

/* ==== the cache (kv.cu) ================================================== */

struct tlpi_pages {
    tlpi_page_layout layout;
    int kind;        /* in tlpi_gpu.pages and in the table of a step */
    size_t bytes;    /* of a page, a multiple of 16 */
    uint8_t *memory; /* [n_page][bytes], NULL until the first page is taken */
};

/* In a page: [n_head_kv][n_pos][hp] of K, then of V; hp = head_dim rounded up
 * to 8, padded with zeros. */
struct tlpi_kv {
    tlpi_pages *pages; /* borrowed */
    int n_head_kv, head_dim, hp;
    int type;    /* TLP_KV_*, resolved */
    size_t size; /* bytes of an element */
    size_t k, v; /* where they begin in a page, bytes */
};

struct tlpi_rope {
    float *cos, *sin; /* [n_ctx][half] */
    float *q_gain;    /* [n_ctx] factors of queries; NULL: all are 1 */
    int half;
    bool neox;
};

tlp_status tlpi_gpu_pages_create(tlpi_backend *b, tlpi_pages **out,
                                 const tlpi_page_layout *layout);
void tlpi_gpu_pages_free(tlpi_backend *b, tlpi_pages *pages);
size_t tlpi_gpu_pages_bytes(const tlpi_pages *pages);
tlp_status tlpi_gpu_pages_take(tlpi_backend *b, tlpi_pages *pages, int page);
void tlpi_gpu_pages_drop(tlpi_backend *b, tlpi_pages *pages, int page);
void tlpi_gpu_pages_copy(tlpi_backend *b, tlpi_pages *pages, int dst, int src);
tlp_status tlpi_gpu_kv_create(tlpi_backend *b, tlpi_kv **out, tlpi_pages *pages,
                              int n_head_kv, int head_dim, int kv_type);
void tlpi_gpu_kv_free(tlpi_backend *b, tlpi_kv *kv);
uint64_t tlpi_gpu_kv_size(int n_pos, int n_head_kv, int head_dim, int kv_type);
tlp_status tlpi_gpu_rope_create(tlpi_backend *b, tlpi_rope **out,
                                const double *inv_freq, double gain, int n_rot,
                                int n_ctx, bool neox, const float *q_gain);
void tlpi_gpu_rope_free(tlpi_backend *b, tlpi_rope *r);

/* ==== a step ============================================================= */

/* step.cu, graph.cu */
tlp_status tlpi_gpu_step_create(tlpi_gpu *g);
void tlpi_gpu_step_free(tlpi_gpu *g);
bool tlpi_gpu_begin_step(tlpi_backend *b, const tlpi_step *s,
                         const tlpi_want *want);
tlp_status tlpi_gpu_end_step(tlpi_backend *b, tlp_status st);
/* Whether this step is known.  Then its graph is launched; otherwise recording
 * may begin. */
tlp_status tlpi_gpu_graphs_create(tlpi_gpu *g);
bool tlpi_gpu_graphs_begin(tlpi_gpu *g);
tlp_status tlpi_gpu_graphs_end(tlpi_gpu *g, tlp_status st);
void tlpi_gpu_graphs_free(tlpi_gpu *g);
/* Forget all recorded steps. */
void tlpi_gpu_graphs_clear(tlpi_gpu *g);

/* Load the kernels of the file with this name. */
void tlpi_gpu_load_rows(tlpi_gpu *g);
void tlpi_gpu_load_matmul(tlpi_gpu *g);
void tlpi_gpu_load_gemv(tlpi_gpu *g);
void tlpi_gpu_load_gemm(tlpi_gpu *g);
void tlpi_gpu_load_attn(tlpi_gpu *g);
void tlpi_gpu_load_attn_decode(tlpi_gpu *g);
void tlpi_gpu_load_attn_prefill(tlpi_gpu *g);
void tlpi_gpu_load_logits(tlpi_gpu *g);
void tlpi_gpu_load_oneshot(tlpi_gpu *g);

/* rows.cu */
void tlpi_gpu_embed(tlpi_backend *b, const tlpi_step *s, const tlpi_tensor *t,
                    const tlpi_weight *w, float scale, float *x);
void tlpi_gpu_gather(tlpi_backend *b, const float *x, const int32_t *rows,
                     int n, int cols, float *y);
void tlpi_gpu_add_norm(tlpi_backend *b, int n_tok, int cols, const float *x,
                       const float *delta, float *sum, const tlpi_norm *norm,
                       int n_norm, float eps);
void tlpi_gpu_sum_squares(tlpi_backend *b, int n_tok, const tlpi_square *item,
                          int n);
void tlpi_gpu_add(tlpi_backend *b, float *y, const float *x, size_t n);
void tlpi_gpu_soft_cap(tlpi_backend *b, float *x, size_t n, float cap);
void tlpi_gpu_zero(tlpi_backend *b, float *y, size_t n);

static __device__ __forceinline__ float tlpi_gate_of(tlpi_gate fn, float x)
{
    float u = fn == TLPI_GATE_GELU
                  ? (float)TLPI_GELU_1 * x * (1 + (float)TLPI_GELU_3 * x * x)
                  : x;

    return x / (1.0f + expf(-u));
}

/* matmul.cu: chooses between gemv.cu and gemm.cu */
void tlpi_gpu_matmul(tlpi_backend *b, int n_tok, const tlpi_matmul *item,
                     int n);
void tlpi_gpu_gate_up(tlpi_backend *b, int n_tok, const tlpi_gate_up *item,
                      int n);

/* gemv.cu: n_tok <= TLPI_GPU_DECODE */
void tlpi_gpu_gemv(tlpi_gpu *g, int n_tok, const tlpi_matmul *item, int n);
void tlpi_gpu_gemv_gate_up(tlpi_gpu *g, int n_tok, const tlpi_gate_up *item,
                           int n);

/* gemm.cu */
tlp_status tlpi_gpu_gemm_create(tlpi_gpu *g);
void tlpi_gpu_gemm_free(tlpi_gpu *g);
void tlpi_gpu_gemm_run(tlpi_gpu *g, int n_tok, const tlpi_matmul *item, int n);

/* attn.cu, attn_decode.cu, attn_prefill.cu */
void tlpi_gpu_attention(tlpi_backend *b, const tlpi_step *s,
                        const tlpi_attn *item, int n, int head_dim, float eps);

/* Heads of one item, for kernels. */
typedef struct tlpi_gpu_heads {
    float *q, *k;
    const float *v, *q_norm, *k_norm;
    uint8_t *cache_k, *cache_v; /* where they begin in page 0 */
    size_t page;                /* elements of a page */
    const int32_t *table;       /* pages of the step's first sequence */
    float *y;
    int n_head, n_head_kv;
    int first_q, first_kv;  /* number of heads of the items before */
    float scale;            /* of queries: scores are base 2 logarithms */
    const float *cos, *sin; /* [n_ctx][half]; NULL: no rotation */
    const float *q_gain;    /* [n_ctx] or NULL, as in tlpi_rope */
    int half;
    bool neox;
    float cap;  /* of scores, 0: none */
    int window; /* as in tlpi_attn */
    tlpi_row_square q_row, k_row;
} tlpi_gpu_heads;

/* The first position that a token at pos sees. */
static __device__ __forceinline__ int tlpi_first_seen(const tlpi_gpu_heads &it,
                                                      int pos)
{
    return it.window && pos >= it.window ? pos + 1 - it.window : 0;
}

static __device__ __forceinline__ float tlpi_soft_cap(float x, float cap)
{
    return cap > 0 ? cap * tanhf(x / cap) : x;
}

/* Most items of a launch; more items take several launches. */
static constexpr int TLPI_GPU_ITEMS = 16;

typedef struct tlpi_gpu_attn {
    tlpi_gpu_heads item[TLPI_GPU_ITEMS];
    int n, n_head_kv, n_head; /* items; heads over all items */
    int n_rep;                /* most query heads of a kv head */
    int h, hp;
    int n_pos;   /* positions of a page */
    int n_entry; /* of the table for each sequence */
    int n_tok;
    const int32_t *seq, *pos;
    const tlpi_gpu_tile *tile;
    float *part;
    int n_split;
} tlpi_gpu_attn;

void tlpi_gpu_attn_decode(tlpi_gpu *g, const tlpi_gpu_attn *a, int kv_type);
void tlpi_gpu_attn_prefill(tlpi_gpu *g, const tlpi_gpu_attn *a, int kv_type);
/* Bytes of shared memory that prefill attention takes for heads of hp. */
size_t tlpi_gpu_prefill_shared(int hp);

/* logits.cu */
tlp_status tlpi_gpu_log_sum_exp(tlpi_backend *b, const float *x, int n,
                                int cols, const int32_t *index, float *lse,
                                float *at);
tlp_status tlpi_gpu_top(tlpi_backend *b, const float *x, int n, int cols,
                        int base, int k, tlpi_candidate *out);

/* backend.cu */
tlp_status tlpi_gpu_backend_create(tlpi_backend **out, const tlpi_env *env,
                                   const tlpi_backend_options *opts,
                                   int device);
tlp_status tlpi_gpu_get_stats(tlpi_backend *b, tlpi_device_stats *out);
/* Upload from memory that is not pinned; finished on return. */
tlp_status tlpi_gpu_upload(tlpi_gpu *g, void *dst, const void *host,
                           size_t bytes, const char *what);

/* comm.cu */
tlp_status tlpi_gpu_comm_create(tlpi_comm **out, tlpi_comm *host,
                                tlpi_backend *b, int timeout_ms);
tlp_status tlpi_gpu_allreduce_add_norm(tlpi_comm *c, int n_tok, int cols,
                                       float *x, float *delta,
                                       const tlpi_norm *norm, int n_norm,
                                       float eps);

/* nccl_window.cu */
tlp_status tlpi_gpu_exchange_buffer(tlpi_comm *c, float **out, size_t n);
/* Free a buffer that NCCL allocated; false for other buffers. */
bool tlpi_gpu_free_window(tlpi_gpu *g, const void *memory);

#endif
