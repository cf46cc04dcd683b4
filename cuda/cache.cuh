/*
 * cache.cuh - elements of the KV cache, eight at a time.
 */
#ifndef TLPI_CACHE_CUH
#define TLPI_CACHE_CUH

#include "gpu.h"
#include "half.cuh"

/* The item to which kv head `head` of a launch belongs. */
static __device__ __forceinline__ int tlpi_item_of(const tlpi_gpu_attn &a,
                                                   int head)
{
    int i = 0;

    while (i + 1 < a.n && head >= a.item[i + 1].first_kv)
        i++;
    return i;
}

/* Element offset of a head's position in its cache; rows of one page follow
 * each other.  seq: as in tlpi_gpu_step. */
static __device__ __forceinline__ size_t tlpi_cache_at(const tlpi_gpu_attn &a,
                                                       const tlpi_gpu_heads &it,
                                                       int seq, int head,
                                                       int pos)
{
    int page = it.table[(size_t)seq * a.n_entry + pos / TLPI_PAGE];
    size_t row = (size_t)head * a.n_pos + pos % TLPI_PAGE;

    return (size_t)page * it.page + row * a.hp;
}

template <int KV>
static __device__ __forceinline__ void tlpi_cache_put(uint8_t *p, size_t i,
                                                      float x)
{
    if (KV == TLP_KV_F32)
        ((float *)p)[i] = x;
    else
        ((unsigned short *)p)[i] =
            (unsigned short)(KV == TLP_KV_F16 ? tlpi_to_f16(x)
                                              : tlpi_to_bf16(x));
}

/* Elements [i, i + 8) as stored; i is a multiple of 8. */
template <int KV>
struct tlpi_cached {
    uint4 w[KV == TLP_KV_F32 ? 2 : 1];
};

template <int KV>
static __device__ __forceinline__ tlpi_cached<KV>
tlpi_cache_load(const uint8_t *p, size_t i)
{
    const uint4 *q = (const uint4 *)(p + i * (KV == TLP_KV_F32 ? 4 : 2));
    tlpi_cached<KV> x;

    x.w[0] = q[0];
    if constexpr (KV == TLP_KV_F32)
        x.w[1] = q[1];
    return x;
}

template <int KV>
static __device__ __forceinline__ void
tlpi_cache_widen(const tlpi_cached<KV> &c, float *x)
{
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const uint4 &v = c.w[KV == TLP_KV_F32 ? k / 4 : 0];
        int i = KV == TLP_KV_F32 ? k % 4 : k / 2;
        uint32_t word = i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
        uint32_t bits = word >> (k % 2 * 16) & 0xffff;
        x[k] = KV == TLP_KV_F32   ? __uint_as_float(word)
               : KV == TLP_KV_F16 ? tlpi_f16(bits)
                                  : tlpi_bf16(bits);
    }
}

/* Elements [i, i + 8) as floats. */
template <int KV>
static __device__ __forceinline__ void tlpi_cache_get(const uint8_t *p,
                                                      size_t i, float *x)
{
    tlpi_cache_widen<KV>(tlpi_cache_load<KV>(p, i), x);
}

/* X(KV) for every cache type. */
#define TLPI_ALL_KV(X) X(TLP_KV_F32) X(TLP_KV_F16) X(TLP_KV_BF16)

/* Call RUN(KV) for a type known at run time. */
#define TLPI_EACH_KV(type, RUN)                                                \
    switch (type) {                                                            \
    case TLP_KV_F32:                                                           \
        RUN(TLP_KV_F32);                                                       \
        break;                                                                 \
    case TLP_KV_F16:                                                           \
        RUN(TLP_KV_F16);                                                       \
        break;                                                                 \
    default:                                                                   \
        RUN(TLP_KV_BF16);                                                      \
        break;                                                                 \
    }

#endif
