/*
 * logits.cu - results that the host gets from logits: log sum exp, and the k
 * best.
 */
#include <float.h>
#include <math.h>

#include "gpu.h"
#include "warp.cuh"

static constexpr int THREADS = 1024, MAX_LSE = 32;
static constexpr int ROOM = 512; /* candidates that one block sorts */

/* ==== log sum exp ======================================================== */

typedef struct targets {
    int32_t at[MAX_LSE]; /* column of the target; -1: none */
} targets;

/* out[i] = log sum exp of row i, NaN if the row has NaN or +inf; out[n + i] =
 * the logit of its target. */
static __global__ void __launch_bounds__(THREADS)
    log_sum_exp(const float *x, int cols, targets t, float *out)
{
    __shared__ float part[32];
    const float *row = x + (size_t)blockIdx.x * cols;
    float max = -INFINITY, sum = 0;

    for (int i = threadIdx.x; i < cols; i += THREADS)
        max = row[i] != row[i] ? INFINITY : fmaxf(max, row[i]);
    max = tlpi_block_max(max, part);
    for (int i = threadIdx.x; i < cols && max > -INFINITY; i += THREADS)
        sum += expf(row[i] - max);
    sum = tlpi_block_sum(sum, part);
    if (threadIdx.x == 0) {
        int at = t.at[blockIdx.x];
        out[blockIdx.x] = max > -INFINITY ? max + logf(sum) : -INFINITY;
        out[gridDim.x + blockIdx.x] = at < 0 ? -INFINITY : row[at];
    }
}

tlp_status tlpi_gpu_log_sum_exp(tlpi_backend *b, const float *x, int n,
                                int cols, const int32_t *index, float *lse,
                                float *at)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    tlpi_gpu_use(g);
    for (int i = 0; i < n; i += MAX_LSE) {
        int k = n - i < MAX_LSE ? n - i : MAX_LSE;
        const float *host = (const float *)g->answer;
        targets t;

        memcpy(t.at, index + i, (size_t)k * sizeof *index);
        tlpi_gpu_run(g, "log sum exp", log_sum_exp, dim3((unsigned)k),
                     dim3(THREADS), 0, x + (size_t)i * (size_t)cols, cols, t,
                     g->lse);
        tlpi_gpu_keep_error(g,
                            cudaMemcpyAsync(g->answer, g->lse,
                                            2 * (size_t)k * sizeof *lse,
                                            cudaMemcpyDeviceToHost, g->stream),
                            "log sum exp");
        tlp_status st = tlpi_gpu_wait(g);
        if (st != TLP_OK)
            return st;
        memcpy(lse + i, host, (size_t)k * sizeof *lse);
        memcpy(at + i, host + k, (size_t)k * sizeof *at);
    }
    return TLP_OK;
}

/* ==== top ================================================================ */

/*
 * A candidate as an integer that is larger for a better candidate: the logit's
 * bits, mapped so that they compare as integers, then the complement of the
 * index.  No two keys are equal; 0 is no candidate.
 */
typedef unsigned long long key;

static __device__ __forceinline__ key key_of(float x, int i)
{
    if (x == 0)
        x = 0; /* -0 equals 0 */
    /* NaN of either sign comes first. */
    uint32_t bits = x != x ? 0x7fffffffu : __float_as_uint(x);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (key)bits << 32 | (uint32_t)~i;
}

static __device__ __forceinline__ tlpi_candidate candidate_of(key v, int base)
{
    uint32_t bits = (uint32_t)(v >> 32);
    tlpi_candidate c = { -1, -INFINITY };

    if (v) {
        bits = bits & 0x80000000u ? bits & 0x7fffffffu : ~bits;
        c.id = base + (int)~(uint32_t)v;
        c.logit = __uint_as_float(bits);
    }
    return c;
}

static __device__ key warp_best(key v)
{
    for (int bit = 16; bit > 0; bit /= 2) {
        key other = __shfl_xor_sync(0xffffffffu, v, bit);
        v = other > v ? other : v;
    }
    return v;
}

static __device__ key thread_best(const float *row, int cols)
{
    key best = 0;

    for (int i = threadIdx.x; i < cols; i += THREADS) {
        key v = key_of(row[i], i);
        best = v > best ? v : best;
    }
    return best;
}

/* The best key of a block's threads. */
static __device__ key block_best(key mine, key *part)
{
    mine = warp_best(mine);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = mine;
    __syncthreads();
    return warp_best(part[threadIdx.x % 32]);
}

/*
 * The k-th best key, found from the top bits down, eight bits at a time.  A
 * histogram counts the next eight bits of all keys that agree in the bits
 * found so far.
 */
static __device__ key find_kth(const float *row, int cols, int k,
                               unsigned *count, key *shared)
{
    key prefix = 0;
    int left = k;

    for (int shift = 56; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < 256; i += THREADS)
            count[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < cols; i += THREADS) {
            key v = key_of(row[i], i);
            if (shift == 56 || v >> (shift + 8) == prefix >> (shift + 8))
                atomicAdd(&count[v >> shift & 255], 1u);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            int digit = 255, above = 0;
            while (digit > 0 && above + (int)count[digit] < left)
                above += (int)count[digit--];
            shared[0] = prefix | (key)digit << shift;
            shared[1] = (key)(left - above);
        }
        __syncthreads();
        prefix = shared[0];
        left = (int)shared[1];
        __syncthreads();
    }
    return prefix;
}

/* Sort n keys in descending order; n is a power of two. */
static __device__ void sort(key *v, int n)
{
    for (int size = 2; size <= n; size *= 2)
        for (int step = size / 2; step > 0; step /= 2) {
            __syncthreads();
            int i = threadIdx.x, j = i ^ step;
            if (i < n && j > i) {
                bool down = (i & size) == 0;
                if ((v[i] < v[j]) == down) {
                    key x = v[i];
                    v[i] = v[j];
                    v[j] = x;
                }
            }
        }
    __syncthreads();
}

/*
 * Count the candidates that are at least v, and store those that fit into
 * `best`.
 */
static __device__ int collect(const float *row, int cols, key v, key *best,
                              int room, unsigned *n)
{
    best[threadIdx.x] = 0;
    if (threadIdx.x == 0)
        *n = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < cols; i += THREADS) {
        key x = key_of(row[i], i);
        if (x >= v) {
            unsigned at = atomicAdd(n, 1u);
            if (at < (unsigned)room)
                best[at] = x;
        }
    }
    __syncthreads();
    return (int)*n;
}

/*
 * A block handles a row.  Each thread finds its best candidate; the k-th best
 * of these is a lower bound for the k-th best of all, and usually close.  Few
 * candidates at least as good remain to be sorted.  If there are too many, the
 * k-th best is computed exactly.
 */
static __global__ void __launch_bounds__(THREADS)
    top(const float *x, int cols, int base, int k, tlpi_candidate *out)
{
    __shared__ key best[THREADS], shared[32];
    __shared__ unsigned count[256], n;
    const float *row = x + (size_t)blockIdx.x * cols;
    tlpi_candidate *y = out + (size_t)blockIdx.x * k;
    key mine = thread_best(row, cols);

    if (k == 1) {
        key v = block_best(mine, shared);
        if (threadIdx.x == 0)
            y[0] = candidate_of(v, base);
        return;
    }
    best[threadIdx.x] = mine;
    sort(best, THREADS);
    key bound = best[k - 1];
    __syncthreads();
    if (collect(row, cols, bound, best, ROOM, &n) > ROOM) {
        key kth = find_kth(row, cols, k, count, shared);
        collect(row, cols, kth, best, ROOM, &n);
    }
    sort(best, ROOM);
    for (int i = threadIdx.x; i < k; i += THREADS)
        y[i] = candidate_of(best[i], base);
}

tlp_status tlpi_gpu_top(tlpi_backend *b, const float *x, int n, int cols,
                        int base, int k, tlpi_candidate *out)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    size_t bytes = (size_t)n * (size_t)k * sizeof *out;

    if (bytes == 0)
        return TLP_OK;
    tlpi_gpu_use(g);
    tlpi_gpu_run(g, "candidates", top, dim3((unsigned)n), dim3(THREADS), 0, x,
                 cols, base, k, g->top);
    tlpi_gpu_keep_error(g,
                        cudaMemcpyAsync(g->answer, g->top, bytes,
                                        cudaMemcpyDeviceToHost, g->stream),
                        "candidates");
    tlp_status st = tlpi_gpu_wait(g);
    if (st == TLP_OK)
        memcpy(out, g->answer, bytes);
    return st;
}

void tlpi_gpu_load_logits(tlpi_gpu *g)
{
    tlpi_gpu_load(g, log_sum_exp);
    tlpi_gpu_load(g, top);
}
