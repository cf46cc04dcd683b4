/*
 * launch.cuh - launching kernels, and all differences between the toolkit and
 * the emulation of test/cuda, for which TLPI_EMULATED is defined.
 *
 * Kernels contain no <<<>>>, no inline PTX and no `extern __shared__`.  Code
 * that needs one of these is a small function here or beside its use, with a
 * second version for the emulation.
 */
#ifndef TLPI_LAUNCH_CUH
#define TLPI_LAUNCH_CUH

#include <cuda_runtime.h>
#include <stdint.h>

/* The block's dynamic shared memory as bytes, aligned to 16. */
#ifdef TLPI_EMULATED
#define TLPI_SHARED_BYTES(name) unsigned char *const name = emu_dynamic_shared
#else
#define TLPI_SHARED_BYTES(name)                                                \
    extern __shared__ __align__(16) unsigned char name[]
#endif

template <class T>
struct tlpi_same {
    typedef T type;
};

/* Enqueue a kernel; arguments are converted to its parameters and copied. */
template <class... P>
static inline cudaError_t
tlpi_launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, typename tlpi_same<P>::type... args)
{
#ifdef TLPI_EMULATED
    return emu_launch((const void *)kernel, [=]() { kernel(args...); }, grid,
                      block, shared_bytes, stream);
#else
    cudaLaunchConfig_t config = {};

    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, args...);
#endif
}

/* ==== between devices ==================================================== */

/* Access to 64 bits that another device or the host may access at any time: as
 * one word, and not from a cache. */
static __device__ __forceinline__ uint64_t tlpi_load_system(const uint64_t *p)
{
#ifdef TLPI_EMULATED
    return __atomic_load_n(p, __ATOMIC_RELAXED);
#else
    uint64_t v;

    asm volatile("ld.relaxed.sys.global.u64 %0, [%1];"
                 : "=l"(v)
                 : "l"(p)
                 : "memory");
    return v;
#endif
}

static __device__ __forceinline__ void tlpi_store_system(uint64_t *p,
                                                         uint64_t v)
{
#ifdef TLPI_EMULATED
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
#else
    asm volatile("st.relaxed.sys.global.u64 [%0], %1;" ::"l"(p), "l"(v)
                 : "memory");
#endif
}

/* Loads of a word that a thread waits for, before it looks at the clock and
 * lets other threads run: an emulated thread holds up all threads of its rank.
 */
#ifdef TLPI_EMULATED
#define TLPI_POLLS 1u
#else
#define TLPI_POLLS 128u
#endif

/* Nanoseconds of a clock that all multiprocessors of a device share. */
static __device__ __forceinline__ uint64_t tlpi_device_ns()
{
#ifdef TLPI_EMULATED
    return (uint64_t)clock64();
#else
    uint64_t t;

    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(t));
    return t;
#endif
}

#endif
