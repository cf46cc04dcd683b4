/*
 * attn_prefill.cu - attention of many tokens, without a matrix of scores.
 *
 * A tile is one kv head for up to 32 neighbouring tokens of a sequence
 * (begin_step cuts the step into tiles).  Row r of a tile is token r / n_rep,
 * head r % n_rep of the kv head's query heads.  A block handles 32 rows of a
 * tile over 32 positions at a time, with a running maximum and sum for each
 * row.
 */
#include <math.h>

#include "cache.cuh"
#include "warp.cuh"

static constexpr int THREADS = 128, ROWS = 32, KEYS = 32;
static_assert(TLPI_PAGE % KEYS == 0, "keys that are loaded at once are in one "
                                     "page");

typedef struct tile_rows {
    const tlpi_gpu_heads *it;
    int head, n_rep; /* kv head of the item */
    int tok, pos, seq;
    int row0, n_row; /* of the tile */
} tile_rows;

static __device__ size_t row_at(const tile_rows &u, int r, int h)
{
    int row = min(u.row0 + r, u.n_row - 1);
    size_t tok = u.tok + row / u.n_rep;
    size_t head = u.head * u.n_rep + row % u.n_rep;

    return (tok * u.it->n_head + head) * h;
}

static __device__ int row_pos(const tile_rows &u, int r)
{
    return u.pos + min(u.row0 + r, u.n_row - 1) / u.n_rep;
}

/* Load KEYS positions from key0 on of one head's K or V, which begin at element
 * `at` and are in one page; zeros from `end` on. */
template <int KV>
static __device__ void stage_keys(float *s, int ld, const uint8_t *cache,
                                  size_t at, int hp, int key0, int end)
{
    int n = hp / 8;

    for (int i = threadIdx.x; i < KEYS * n; i += THREADS) {
        int key = i / n, d = i % n * 8;
        float x[8] = {};
        if (key0 + key < end)
            tlpi_cache_get<KV>(cache, at + (size_t)key * hp + d, x);
        for (int k = 0; k < 8; k++)
            s[key * ld + d + k] = x[k];
    }
}

/* s[row][key] = q k; a thread computes two rows and four keys. */
static __device__ void score(const float *q, const float *k, int ld, int hp,
                             float *s)
{
    int key = threadIdx.x % 8, row = threadIdx.x / 8 * 2;
    float sum[2][4] = {};

    for (int d = 0; d < hp; d += 4) {
        float4 a = *(const float4 *)(q + row * ld + d);
        float4 b = *(const float4 *)(q + (row + 1) * ld + d);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float4 c = *(const float4 *)(k + (key + 8 * j) * ld + d);
            sum[0][j] += a.x * c.x + a.y * c.y + a.z * c.z + a.w * c.w;
            sum[1][j] += b.x * c.x + b.y * c.y + b.z * c.z + b.w * c.w;
        }
    }
    for (int j = 0; j < 4; j++) {
        s[row * (KEYS + 1) + key + 8 * j] = sum[0][j];
        s[(row + 1) * (KEYS + 1) + key + 8 * j] = sum[1][j];
    }
}

/* Four threads for a row turn the scores of keys [first, limit) into weights;
 * returns the factor for earlier sums. */
static __device__ float weigh(float *s, int first, int limit, float cap,
                              float *max, float *sum)
{
    int part = threadIdx.x % 4;
    float *row = s + threadIdx.x / 4 * (KEYS + 1);
    float top = *max, total = 0;

    for (int j = part; j < KEYS; j += 4)
        if (j >= first && j < limit) {
            row[j] = tlpi_soft_cap(row[j], cap);
            top = fmaxf(top, row[j]);
        }
    for (int bit = 2; bit > 0; bit /= 2)
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, bit));
    for (int j = part; j < KEYS; j += 4) {
        row[j] = j >= first && j < limit ? exp2f(row[j] - top) : 0;
        total += row[j];
    }
    /* A row whose window begins behind these keys has seen none yet. */
    float old = top > -INFINITY ? exp2f(*max - top) : 1;
    *sum = *sum * old + tlpi_lane_sum(total, 4);
    *max = top;
    return old;
}

/* NI: float4s of a row's result in each of its four threads. */
template <int KV, int NI>
static __global__ void __launch_bounds__(THREADS)
    prefill(const __grid_constant__ tlpi_gpu_attn a)
{
    TLPI_SHARED_BYTES(shared);
    int ld = a.hp + 4;
    float *q = (float *)shared, *k = q + ROWS * ld, *v = k + KEYS * ld;
    float *s = v + KEYS * ld; /* [ROWS][KEYS + 1] */
    tlpi_gpu_tile tile = a.tile[blockIdx.x];
    tile_rows u;

    u.it = &a.item[tlpi_item_of(a, blockIdx.y)];
    u.head = blockIdx.y - u.it->first_kv;
    u.n_rep = u.it->n_head / u.it->n_head_kv;
    u.tok = tile.tok;
    u.pos = tile.pos;
    u.row0 = blockIdx.z * ROWS;
    u.n_row = tile.n_tok * u.n_rep;
    if (u.row0 >= u.n_row)
        return;
    float scale = u.it->scale;
    for (int i = threadIdx.x; i < ROWS * a.hp; i += THREADS) {
        int r = i / a.hp, d = i % a.hp;
        q[r * ld + d] = d < a.h ? scale * u.it->q[row_at(u, r, a.h) + d] : 0;
    }

    int row = threadIdx.x / 4, part = threadIdx.x % 4;
    int limit = row_pos(u, row) + 1, end = row_pos(u, ROWS - 1) + 1;
    int first = tlpi_first_seen(*u.it, limit - 1);
    int begin = tlpi_first_seen(*u.it, row_pos(u, 0)) / KEYS * KEYS;
    float max = -INFINITY, sum = 0;
    float4 x[NI] = {};

    for (int key0 = begin; key0 < end; key0 += KEYS) {
        size_t at = tlpi_cache_at(a, *u.it, tile.seq, u.head, key0);
        __syncthreads();
        stage_keys<KV>(k, ld, u.it->cache_k, at, a.hp, key0, end);
        stage_keys<KV>(v, ld, u.it->cache_v, at, a.hp, key0, end);
        __syncthreads();
        score(q, k, ld, a.hp, s);
        __syncthreads();
        float old = weigh(s, first - key0, limit - key0, u.it->cap, &max, &sum);
        __syncwarp(); /* one warp holds all weights of a row */
#pragma unroll
        for (int i = 0; i < NI; i++) {
            x[i].x *= old, x[i].y *= old, x[i].z *= old, x[i].w *= old;
        }
        for (int j = 0; j < KEYS; j++) {
            float w = s[row * (KEYS + 1) + j];
            const float4 *value = (const float4 *)(v + j * ld);
#pragma unroll
            for (int i = 0; i < NI; i++) {
                if (part + 4 * i >= a.hp / 4)
                    continue;
                float4 y = value[part + 4 * i];
                x[i].x = fmaf(w, y.x, x[i].x);
                x[i].y = fmaf(w, y.y, x[i].y);
                x[i].z = fmaf(w, y.z, x[i].z);
                x[i].w = fmaf(w, y.w, x[i].w);
            }
        }
    }
    if (u.row0 + row >= u.n_row)
        return;
    float *y = u.it->y + row_at(u, row, a.h), inverse = 1.0f / sum;
#pragma unroll
    for (int i = 0; i < NI; i++) {
        float value[4] = { x[i].x, x[i].y, x[i].z, x[i].w };
        for (int c = 0; c < 4; c++) {
            int d = 4 * (part + 4 * i) + c;
            if (d < a.h)
                y[d] = value[c] * inverse;
        }
    }
}

/* ==== launching ========================================================== */

size_t tlpi_gpu_prefill_shared(int hp)
{
    return (size_t)((ROWS + 2 * KEYS) * (hp + 4) + ROWS * (KEYS + 1)) *
           sizeof(float);
}

template <int KV, int NI>
static void launch(tlpi_gpu *g, const tlpi_gpu_attn *a)
{
    size_t bytes = tlpi_gpu_prefill_shared(a->hp);
    int64_t n_row = (int64_t)TLPI_GPU_TILE * a->n_rep;

    tlpi_gpu_allow_shared(g, prefill<KV, NI>, bytes);
    tlpi_gpu_run(g, "attention", prefill<KV, NI>,
                 dim3((unsigned)g->n_tile, (unsigned)a->n_head_kv,
                      (unsigned)tlpi_ceil_div(n_row, ROWS)),
                 dim3(THREADS), bytes, *a);
}

void tlpi_gpu_attn_prefill(tlpi_gpu *g, const tlpi_gpu_attn *a, int kv_type)
{
#define RUN(KV)                                                                \
    a->hp <= 64    ? launch<KV, 4>(g, a)                                       \
    : a->hp <= 128 ? launch<KV, 8>(g, a)                                       \
                   : launch<KV, 16>(g, a)
    TLPI_EACH_KV(kv_type, RUN)
#undef RUN
}

void tlpi_gpu_load_attn_prefill(tlpi_gpu *g)
{
#define X(KV)                                                                  \
    tlpi_gpu_load(g, prefill<KV, 4>);                                          \
    tlpi_gpu_load(g, prefill<KV, 8>);                                          \
    tlpi_gpu_load(g, prefill<KV, 16>);
    TLPI_ALL_KV(X)
#undef X
}
