/*
 * attn_decode.cu - attention of a few tokens, or of single tokens of many
 * sequences, over long caches.
 *
 * What a token sees of a cache is cut into n_split parts, so that all
 * multiprocessors have work.  A block handles one part for one token and the
 * query heads of one kv head.  In the block, groups of lanes take positions in
 * turn.  A lane holds eight dimensions of query and result; a group holds the
 * whole head, with the running maximum and sum of its softmax.  The block
 * merges its groups in shared memory; a second kernel merges the parts. Weights
 * are powers of two: queries are scaled by log2(e) times the item's scale.
 */
#include <math.h>

#include "cache.cuh"
#include "warp.cuh"

static constexpr int THREADS = 128;
static constexpr int MIN_PART = 128; /* fewest positions of a block */
static constexpr int MAX_SPLIT = 16;
static constexpr int AHEAD = 4; /* positions whose loads are pending */

/* Softmax sums of REP query heads, in eight dimensions of each. */
template <int REP>
struct part_sums {
    float x[REP][8], max[REP], sum[REP];
};

/* One position.  ok false: the position is past the end, but its lanes take
 * part in the shuffles. */
template <int KV, int REP>
static __device__ __forceinline__ void
see_position(const tlpi_cached<KV> &k, const tlpi_cached<KV> &v, bool ok,
             int n_lane, float cap, const float (*q)[8], part_sums<REP> &s)
{
    float key[8], value[8];

    tlpi_cache_widen<KV>(k, key);
    tlpi_cache_widen<KV>(v, value);
#pragma unroll
    for (int r = 0; r < REP; r++) {
        float score = 0;
#pragma unroll
        for (int i = 0; i < 8; i++)
            score = fmaf(q[r][i], key[i], score);
        score = tlpi_soft_cap(tlpi_lane_sum(score, n_lane), cap);
        if (!ok)
            continue;
        float max = fmaxf(s.max[r], score);
        float old = exp2f(s.max[r] - max), w = exp2f(score - max);
        s.max[r] = max;
        s.sum[r] = s.sum[r] * old + w;
#pragma unroll
        for (int i = 0; i < 8; i++)
            s.x[r][i] = s.x[r][i] * old + w * value[i];
    }
}

/* Positions [begin, end).  A group takes every n_group-th position and loads
 * AHEAD of them before it uses the first. */
template <int KV, int REP>
static __device__ __forceinline__ void
see_part(const tlpi_gpu_attn &a, const tlpi_gpu_heads &it, int seq, int head,
         int d0, int begin, int end, int group, int n_group, int n_lane,
         const float (*q)[8], part_sums<REP> &s)
{
    for (int p0 = begin + group; p0 - group < end; p0 += AHEAD * n_group) {
        tlpi_cached<KV> k[AHEAD] = {}, v[AHEAD] = {};
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            int p = p0 + j * n_group;
            if (p < end && d0 < a.hp) {
                size_t at = tlpi_cache_at(a, it, seq, head, p) + d0;
                k[j] = tlpi_cache_load<KV>(it.cache_k, at);
                v[j] = tlpi_cache_load<KV>(it.cache_v, at);
            }
        }
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            see_position<KV, REP>(k[j], v[j], p0 + j * n_group < end, n_lane,
                                  it.cap, q, s);
    }
}

/* part: [n_tok][n_head][n_split][2 + h], max and sum first. */
template <int KV, int REP>
static __global__ void __launch_bounds__(THREADS)
    decode(const __grid_constant__ tlpi_gpu_attn a, int n_lane)
{
    /* groups * 8 n_lane floats for each head; the product is constant */
    __shared__ float part_x[REP][THREADS * 8];
    __shared__ float part_max[REP][THREADS], part_sum[REP][THREADS];
    int n_tile = (a.n_rep + REP - 1) / REP, tok = blockIdx.z;
    int kv_head = blockIdx.y / n_tile, rep0 = blockIdx.y % n_tile * REP;
    const tlpi_gpu_heads &it = a.item[tlpi_item_of(a, kv_head)];
    int n_rep = it.n_head / it.n_head_kv, head = kv_head - it.first_kv;
    int n_here = min(REP, n_rep - rep0);
    if (n_here <= 0)
        return;

    int lane = threadIdx.x % n_lane, group = threadIdx.x / n_lane;
    int n_group = THREADS / n_lane, d0 = 8 * lane;
    int seq = a.seq[tok], len = a.pos[tok] + 1;
    int first = tlpi_first_seen(it, a.pos[tok]);
    int per = (len - first + a.n_split - 1) / a.n_split;
    int begin = first + blockIdx.x * per, end = min(len, begin + per);
    int q_head = head * n_rep + rep0;
    float scale = it.scale;
    float q[REP][8];
    part_sums<REP> s;

#pragma unroll
    for (int r = 0; r < REP; r++) {
        const float *from = it.q + ((size_t)tok * it.n_head + q_head + r) * a.h;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            q[r][i] = r < n_here && d0 + i < a.h ? scale * from[d0 + i] : 0;
            s.x[r][i] = 0;
        }
        s.max[r] = -INFINITY;
        s.sum[r] = 0;
    }
    see_part<KV, REP>(a, it, seq, head, d0, begin, end, group, n_group, n_lane,
                      q, s);

#pragma unroll
    for (int r = 0; r < REP; r++) {
#pragma unroll
        for (int i = 0; i < 8; i++)
            part_x[r][group * 8 * n_lane + d0 + i] = s.x[r][i];
        part_max[r][group] = s.max[r];
        part_sum[r][group] = s.sum[r];
    }
    __syncthreads();
    for (int k = threadIdx.x; k < n_here * a.h; k += THREADS) {
        int r = k / a.h, d = k % a.h;
        float max = -INFINITY, sum = 0, x = 0;
        for (int j = 0; j < n_group; j++)
            max = fmaxf(max, part_max[r][j]);
        for (int j = 0; j < n_group && max > -INFINITY; j++) {
            float w = exp2f(part_max[r][j] - max);
            sum += w * part_sum[r][j];
            x += w * part_x[r][j * 8 * n_lane + d];
        }
        size_t row = (size_t)tok * it.n_head + q_head + r;
        if (a.n_split == 1) {
            it.y[row * a.h + d] = x / sum;
            continue;
        }
        row = (size_t)tok * a.n_head + it.first_q + q_head + r;
        float *out = a.part + (row * a.n_split + blockIdx.x) * (a.h + 2);
        out[2 + d] = x;
        if (d == 0) {
            out[0] = max;
            out[1] = sum;
        }
    }
}

/* A block merges the parts of one token's query head. */
static __global__ void __launch_bounds__(THREADS)
    join(const __grid_constant__ tlpi_gpu_attn a)
{
    int head = blockIdx.x, tok = blockIdx.y, i = 0;
    size_t row = (size_t)tok * a.n_head + head;
    const float *part = a.part + row * a.n_split * (a.h + 2);
    float max = -INFINITY;

    while (i + 1 < a.n && head >= a.item[i + 1].first_q)
        i++;
    const tlpi_gpu_heads &it = a.item[i];
    for (int j = 0; j < a.n_split; j++)
        max = fmaxf(max, part[j * (a.h + 2)]);
    for (int d = threadIdx.x; d < a.h; d += THREADS) {
        float sum = 0, x = 0;
        for (int j = 0; j < a.n_split; j++) {
            const float *p = part + j * (a.h + 2);
            float w = exp2f(p[0] - max);
            sum += w * p[1];
            x += w * p[2 + d];
        }
        it.y[((size_t)tok * it.n_head + head - it.first_q) * a.h + d] = x / sum;
    }
}

/* ==== launching ========================================================== */

/* Split for twice as many blocks as multiprocessors, if the cache is long
 * enough. */
static int choose_split(const tlpi_gpu *g, const tlpi_gpu_attn *a, int n_block)
{
    size_t one = (size_t)a->n_tok * (size_t)a->n_head * (size_t)(a->h + 2);
    int64_t n = tlpi_ceil_div(2 * g->n_sm, n_block);
    int64_t most = tlpi_ceil_div(g->bucket, MIN_PART);
    int64_t room = (int64_t)(g->part_cap / one);

    n = n < most ? n : most;
    n = n < MAX_SPLIT ? n : MAX_SPLIT;
    n = n < room ? n : room;
    return n > 1 ? (int)n : 1;
}

template <int KV, int REP>
static void launch(tlpi_gpu *g, const tlpi_gpu_attn *from)
{
    tlpi_gpu_attn a = *from;
    int n_tile = (int)tlpi_ceil_div(a.n_rep, REP), n_lane = 1;
    int n_head = a.n_head_kv * n_tile;

    while (8 * n_lane < a.hp)
        n_lane *= 2;
    a.n_split = choose_split(g, &a, n_head * a.n_tok);
    tlpi_gpu_run(g, "attention", decode<KV, REP>,
                 dim3((unsigned)a.n_split, (unsigned)n_head, (unsigned)a.n_tok),
                 dim3(THREADS), 0, a, n_lane);
    if (a.n_split > 1)
        tlpi_gpu_run(g, "attention", join,
                     dim3((unsigned)a.n_head, (unsigned)a.n_tok), dim3(THREADS),
                     0, a);
}

void tlpi_gpu_attn_decode(tlpi_gpu *g, const tlpi_gpu_attn *a, int kv_type)
{
#define RUN(KV)                                                                \
    a->n_rep == 1   ? launch<KV, 1>(g, a)                                      \
    : a->n_rep == 2 ? launch<KV, 2>(g, a)                                      \
                    : launch<KV, 4>(g, a)
    TLPI_EACH_KV(kv_type, RUN)
#undef RUN
}

void tlpi_gpu_load_attn_decode(tlpi_gpu *g)
{
#define X(KV)                                                                  \
    tlpi_gpu_load(g, decode<KV, 1>);                                           \
    tlpi_gpu_load(g, decode<KV, 2>);                                           \
    tlpi_gpu_load(g, decode<KV, 4>);
    TLPI_ALL_KV(X)
#undef X
    tlpi_gpu_load(g, join);
}
