/*
 * emu_device.h - declarations for device code: qualifiers, thread indices,
 * barriers, warps, atomics.
 *
 * The threads of a block are fibers of the host thread that launched the
 * kernel (emu_block.cc), so one of them runs at a time.  Waiting functions
 * take the place of the call, which a fault report names.
 */
#ifndef EMU_DEVICE_H
#define EMU_DEVICE_H

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "emu_vectors.h"

#define __host__
#define __device__
#define __global__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
/* A host thread runs one block at a time. */
#define __shared__ static thread_local

#define EMU_TLS __thread

/* ==== where a thread is ================================================== */

extern EMU_TLS uint3 threadIdx, blockIdx;
extern EMU_TLS uint3 blockDim, gridDim;
static constexpr int warpSize = 32;

/* The block's dynamic shared memory. */
extern EMU_TLS unsigned char *emu_dynamic_shared;

/* ==== waiting ============================================================ */

struct emu_place {
    const char *what, *file;
    int line;
};

enum emu_kind {
    EMU_SYNC,
    EMU_SHUFFLE,
    EMU_BALLOT,
    EMU_ADD,
    EMU_MIN,
    EMU_MAX,
    EMU_MIN_S,
    EMU_MAX_S,
    EMU_AND,
    EMU_OR,
    EMU_XOR,
    EMU_MATCH
};

/* Barrier of all threads of the block; counts the threads with a true
 * predicate. */
int emu_barrier(bool predicate, emu_place at);

/* Collective of the lanes of a mask; returns this lane's result. */
uint64_t emu_warp(emu_kind kind, unsigned mask, uint64_t value, int source,
                  emu_place at);

/* Let the block's other threads run, then other host threads. */
void emu_yield();

/* End the kernel, which did something that hardware does not allow. */
[[noreturn]] void emu_fault(emu_place at, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

int emu_lane();

#define EMU_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define EMU_HERE(name)                                                         \
    emu_place                                                                  \
    {                                                                          \
        name, file, line                                                       \
    }

static inline void __syncthreads(EMU_AT)
{
    emu_barrier(false, EMU_HERE("__syncthreads"));
}

static inline int __syncthreads_count(int p, EMU_AT)
{
    return emu_barrier(p != 0, EMU_HERE("__syncthreads_count"));
}

static inline int __syncthreads_or(int p, EMU_AT)
{
    return emu_barrier(p != 0, EMU_HERE("__syncthreads_or")) > 0;
}

static inline int __syncthreads_and(int p, EMU_AT)
{
    return emu_barrier(p == 0, EMU_HERE("__syncthreads_and")) == 0;
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, EMU_AT)
{
    emu_warp(EMU_SYNC, mask, 0, 0, EMU_HERE("__syncwarp"));
}

/* ==== warps ============================================================== */

/* value of lane `source`, any type of up to 8 bytes */
template <class T>
static inline T emu_shuffle(unsigned mask, T value, int source, emu_place at)
{
    static_assert(sizeof(T) <= 8, "at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = emu_warp(EMU_SHUFFLE, mask, bits, source, at);
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
static inline T __shfl_sync(unsigned mask, T v, int source, int width = 32,
                            EMU_AT)
{
    int base = emu_lane() & -width;
    return emu_shuffle(mask, v, base + (source & (width - 1)),
                       EMU_HERE("__shfl_sync"));
}

template <class T>
static inline T __shfl_up_sync(unsigned mask, T v, unsigned delta,
                               int width = 32, EMU_AT)
{
    int lane = emu_lane(), source = lane - (int)delta;
    return emu_shuffle(mask, v, source < (lane & -width) ? lane : source,
                       EMU_HERE("__shfl_up_sync"));
}

template <class T>
static inline T __shfl_down_sync(unsigned mask, T v, unsigned delta,
                                 int width = 32, EMU_AT)
{
    int lane = emu_lane(), source = lane + (int)delta;
    int last = (lane & -width) + width - 1;
    return emu_shuffle(mask, v, source > last ? lane : source,
                       EMU_HERE("__shfl_down_sync"));
}

template <class T>
static inline T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32,
                                EMU_AT)
{
    int lane = emu_lane(), source = lane ^ bits;
    int last = (lane & -width) + width - 1;
    return emu_shuffle(mask, v, source > last ? lane : source,
                       EMU_HERE("__shfl_xor_sync"));
}

static inline unsigned __ballot_sync(unsigned mask, int p, EMU_AT)
{
    return (unsigned)emu_warp(EMU_BALLOT, mask, p != 0, 0,
                              EMU_HERE("__ballot_sync"));
}

static inline int __any_sync(unsigned mask, int p, EMU_AT)
{
    return emu_warp(EMU_BALLOT, mask, p != 0, 0, EMU_HERE("__any_sync")) != 0;
}

static inline int __all_sync(unsigned mask, int p, EMU_AT)
{
    return emu_warp(EMU_BALLOT, mask, p == 0, 0, EMU_HERE("__all_sync")) == 0;
}

template <class T>
static inline unsigned __match_any_sync(unsigned mask, T v, EMU_AT)
{
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    return (unsigned)emu_warp(EMU_MATCH, mask, bits, 0,
                              EMU_HERE("__match_any_sync"));
}

#define EMU_REDUCE(name, T, kind)                                              \
    static inline T name(unsigned mask, T v, EMU_AT)                           \
    {                                                                          \
        return (T)emu_warp(kind, mask, (uint64_t)(int64_t)v, 0,                \
                           EMU_HERE(#name));                                   \
    }

EMU_REDUCE(__reduce_add_sync, int, EMU_ADD)
EMU_REDUCE(__reduce_add_sync, unsigned, EMU_ADD)
EMU_REDUCE(__reduce_min_sync, int, EMU_MIN_S)
EMU_REDUCE(__reduce_min_sync, unsigned, EMU_MIN)
EMU_REDUCE(__reduce_max_sync, int, EMU_MAX_S)
EMU_REDUCE(__reduce_max_sync, unsigned, EMU_MAX)
EMU_REDUCE(__reduce_and_sync, unsigned, EMU_AND)
EMU_REDUCE(__reduce_or_sync, unsigned, EMU_OR)
EMU_REDUCE(__reduce_xor_sync, unsigned, EMU_XOR)

#undef EMU_REDUCE

/* Lanes that could run together; a single lane is always a valid answer. */
static inline unsigned __activemask()
{
    return 1u << emu_lane();
}

/* ==== memory ============================================================= */

#define EMU_LOAD(name)                                                         \
    template <class T>                                                         \
    static inline T name(const T *p)                                           \
    {                                                                          \
        return *p;                                                             \
    }
#define EMU_STORE(name)                                                        \
    template <class T>                                                         \
    static inline void name(T *p, T v)                                         \
    {                                                                          \
        *p = v;                                                                \
    }

EMU_LOAD(__ldg)
EMU_LOAD(__ldcg)
EMU_LOAD(__ldca)
EMU_LOAD(__ldcs)
EMU_LOAD(__ldlu)
EMU_LOAD(__ldcv)
EMU_STORE(__stwb)
EMU_STORE(__stcg)
EMU_STORE(__stcs)
EMU_STORE(__stwt)

#undef EMU_LOAD
#undef EMU_STORE

static inline void __threadfence()
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void __threadfence_block()
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void __threadfence_system()
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* *p = new, atomically, where `next` computes new from old; returns old. */
template <class T, class F>
static inline T emu_update(T *p, F next)
{
    T old, fresh;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    do {
        fresh = next(old);
    } while (!__atomic_compare_exchange(p, &old, &fresh, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED));
    return old;
}

template <class T>
struct emu_same {
    typedef T type;
};

#define EMU_ATOMIC(name, expr)                                                 \
    template <class T>                                                         \
    static inline T name(T *p, typename emu_same<T>::type v)                   \
    {                                                                          \
        return emu_update(p, [=](T old) -> T { return (T)(expr); });           \
    }

#define EMU_ATOMICS(name, expr)                                                \
    EMU_ATOMIC(name, expr)                                                     \
    EMU_ATOMIC(name##_block, expr)                                             \
    EMU_ATOMIC(name##_system, expr)

EMU_ATOMICS(atomicAdd, old + v)
EMU_ATOMICS(atomicSub, old - v)
EMU_ATOMICS(atomicMin, v < old ? v : old)
EMU_ATOMICS(atomicMax, v > old ? v : old)
EMU_ATOMICS(atomicAnd, old &v)
EMU_ATOMICS(atomicOr, old | v)
EMU_ATOMICS(atomicXor, old ^ v)
EMU_ATOMICS(atomicInc, old >= v ? 0 : old + 1)
EMU_ATOMICS(atomicDec, old == 0 || old > v ? v : old - 1)
EMU_ATOMICS(atomicExch, (void(old), v))

#undef EMU_ATOMICS
#undef EMU_ATOMIC

template <class T>
static inline T atomicCAS(T *p, typename emu_same<T>::type expected,
                          typename emu_same<T>::type fresh)
{
    return emu_update(
        p, [=](T old) -> T { return old == expected ? fresh : old; });
}

template <class T>
static inline T atomicCAS_system(T *p, typename emu_same<T>::type expected,
                                 typename emu_same<T>::type fresh)
{
    return atomicCAS(p, expected, fresh);
}

/* ==== time =============================================================== */

static inline long long clock64()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void __nanosleep(unsigned)
{
    emu_yield();
}

static inline void __trap(EMU_AT)
{
    emu_fault(EMU_HERE("__trap"), "called");
}

#endif
