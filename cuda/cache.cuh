/*
 * cache.cuh - elements of the KV cache, eight at a time.
 */
#ifndef TLPI_CACHE_CUH
#define TLPI_CACHE_CUH

#include "gpu.h"
#include "half.cuh"

/* The item that kv head `head` of a launch belongs to. */
static __device__ __forceinline__ int tlpi_item_of(const tlpi_gpu_attn &a,
                                                   int head)
{
    int i = 0;

    while (i + 1 < a.n && head >= a.item[i + 1].first_kv)
        i++;
    return i;
}

/* Element offset of a head's position in its cache. */
static __device__ __forceinline__ size_t tlpi_cache_at(const tlpi_gpu_attn &a,
                                                       const tlpi_gpu_heads &it,
                                                       int seq, int head,
                                                       int pos)
{
    size_t row = ((size_t)seq * it.n_head_kv + head) * a.n_ctx + pos;

    return row * a.hp;
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

/* Elements [i, i + 8), i a multiple of 8. */
template <int KV>
static __device__ __forceinline__ void tlpi_cache_get(const uint8_t *p,
                                                      size_t i, float *x)
{
    if (KV == TLP_KV_F32) {
        const float4 *q = (const float4 *)((const float *)p + i);
        float4 a = q[0], b = q[1];
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
        x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    } else {
        uint4 v = *(const uint4 *)((const unsigned short *)p + i);
        uint32_t w[4] = { v.x, v.y, v.z, v.w };
#pragma unroll
        for (int k = 0; k < 8; k++) {
            uint32_t bits = w[k / 2] >> (k % 2 * 16) & 0xffff;
            x[k] = KV == TLP_KV_F16 ? tlpi_f16(bits) : tlpi_bf16(bits);
        }
    }
}

/* Call RUN(KV) for the type that is known at run time. */
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
