/*
 * oneshot.cuh - device functions of comm_oneshot.cu: words with tags, waiting
 * for words, counting exchanges.
 */
#ifndef TLPI_ONESHOT_CUH
#define TLPI_ONESHOT_CUH

#include "gpu_comm.h"

/* Most floats of an exchange; longer vectors take several exchanges. */
#define SLOT_FLOATS ((size_t)65536)

/* Words that a thread loads before it checks the first. */
static constexpr int AHEAD = 4;

/* Counters of one rank's kernels, in its device's memory. */
typedef struct counters {
    unsigned long long sums, sent, received; /* exchanges that have ended */
    unsigned blocks; /* blocks of the running kernel that have ended */
    unsigned unused;
    /* messages that the next rank has taken; written by that rank */
    uint64_t taken;
} counters;

/* Exchange memory of a rank, on its device. */
typedef struct rank_memory {
    counters *count;
    uint64_t *inbox; /* [2][SLOT_FLOATS] from the previous rank */
    uint64_t *slot;  /* [2][n_rank][SLOT_FLOATS] */
} rank_memory;

/* Kernel argument of an exchange. */
typedef struct exchange {
    rank_memory of[TLPI_ONESHOT_RANKS];
    int rank, n_rank, first;
    uint64_t *stop, *report; /* the root's word, and this rank's word */
    uint64_t timeout_ns;
} exchange;

static __device__ uint64_t tag_of(unsigned long long number)
{
    return (number % 0xfffffffeu + 1) << 32;
}

static __device__ uint64_t *slot_of(const exchange &e, int owner, int from,
                                    unsigned long long number)
{
    size_t half = (size_t)(number & 1) * (size_t)e.n_rank;

    return e.of[owner].slot + (half + (size_t)from) * SLOT_FLOATS;
}

/* Called now and then in a wait: true after a failure or the timeout. */
static __device__ bool is_over(const exchange &e, int from, uint64_t *since)
{
    uint64_t now = tlpi_device_ns();

    if (*since == 0)
        *since = now;
    if (tlpi_load_system(e.stop) != 0)
        return true;
    if (now - *since < e.timeout_ns) {
        __nanosleep(100);
        return false;
    }
    tlpi_store_system(e.report, (uint64_t)(TLPI_WAITED + e.first + from));
    __threadfence_system();
    tlpi_store_system(e.stop, (uint64_t)(1 + e.first + e.rank));
    return true;
}

/* The word at p once it has the tag; 0 if the wait was given up. */
static __device__ uint64_t await_tag(const exchange &e, const uint64_t *p,
                                     uint64_t tag, int from)
{
    uint64_t since = 0;

    for (unsigned polls = 1;; polls++) {
        uint64_t word = tlpi_load_system(p);
        if (word >> 32 == tag >> 32)
            return word;
        if (polls % TLPI_POLLS == 0 && is_over(e, from, &since))
            return 0;
    }
}

static __device__ unsigned long long read_count(const unsigned long long *p)
{
    return *(const volatile unsigned long long *)p;
}

/* The last block to call this counts the exchange, and one of its threads gets
 * true.  By then all blocks have read the count. */
static __device__ bool count_once(counters *c, unsigned long long *which,
                                  unsigned long long number)
{
    __syncthreads();
    if (threadIdx.x != 0)
        return false;
    __threadfence();
    if (atomicAdd(&c->blocks, 1u) != gridDim.x - 1)
        return false;
    c->blocks = 0;
    *which = number;
    return true;
}

static __device__ size_t thread_number()
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* Write x[i], x[i + step], ... into this rank's slot on all other ranks; i <
 * end. */
static __device__ void push(const exchange &e, unsigned long long number,
                            const float *x, size_t i, size_t step, size_t end)
{
    uint64_t tag = tag_of(number);

    for (; i < end; i += step) {
        uint64_t word = tag | __float_as_uint(x[i]);
        for (int r = 0; r < e.n_rank; r++)
            if (r != e.rank)
                tlpi_store_system(slot_of(e, r, e.rank, number) + i, word);
    }
}

/* sum[j] = sum over ranks of x[i + j step], in rank order.  A thread loads all
 * words of a rank before it checks them. */
static __device__ __forceinline__ void
sum_words(const exchange &e, unsigned long long number, const float *x,
          size_t i, size_t step, size_t end, float sum[AHEAD])
{
    uint64_t tag = tag_of(number);

    for (int r = 0; r < e.n_rank; r++) {
        const uint64_t *slot = slot_of(e, e.rank, r, number);
        uint64_t word[AHEAD] = {};
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            if (r != e.rank && i + j * step < end)
                word[j] = tlpi_load_system(slot + i + j * step);
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            size_t k = i + j * step;
            if (k >= end)
                break;
            if (r == e.rank)
                word[j] = __float_as_uint(x[k]);
            else if (word[j] >> 32 != tag >> 32)
                word[j] = await_tag(e, slot + k, tag, r);
            float v = __uint_as_float((unsigned)word[j]);
            sum[j] = r == 0 ? v : __fadd_rn(sum[j], v);
        }
    }
}

#endif
