/*
 * test_cuda_kernels.cc - the emulated device: kernels whose results are known,
 * and kernels that hardware would punish.
 */
#include <csignal>

#include "cuda/on_device.h"

TestSuite(cuda_kernels, .timeout = 60);

/* ==== places in the grid ================================================= */

static __global__ void write_places(int *out)
{
    int in_block = (int)(threadIdx.x +
                         blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
    int block =
        (int)(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
    int i = block * (int)(blockDim.x * blockDim.y * blockDim.z) + in_block;

    out[i] = i;
}

Test(cuda_kernels, every_thread_runs_once)
{
    dim3 grid(3, 2, 2), block(5, 4, 3);
    on_device<int> out(720);

    CUDA_OK(tlpi_launch(write_places, grid, block, 0, nullptr, out.p));
    std::vector<int> got = out.get();
    for (int i = 0; i < 720; i++)
        cr_assert_eq(got[(size_t)i], i);
}

/* ==== barriers and shared memory ========================================= */

/* Each block turns its part round, through shared memory of both kinds. */
static __global__ void reverse(const float *x, float *y, float *z)
{
    TLPI_SHARED_BYTES(bytes);
    float *dynamic = (float *)bytes;
    __shared__ float fixed[256];
    unsigned i = threadIdx.x, last = blockDim.x - 1;
    size_t base = (size_t)blockIdx.x * blockDim.x;

    for (int round = 0; round < 3; round++) {
        dynamic[i] = x[base + i] + (float)round;
        fixed[i] = dynamic[i] * 2;
        __syncthreads();
        y[base + i] = dynamic[last - i];
        z[base + i] = fixed[last - i];
        __syncthreads();
    }
}

Test(cuda_kernels, barriers_separate_writes_from_reads)
{
    std::vector<float> x(1024);
    for (size_t i = 0; i < x.size(); i++)
        x[i] = (float)i;
    on_device<float> dx(x), dy(x.size()), dz(x.size());

    CUDA_OK(tlpi_launch(reverse, 4, 256, 256 * sizeof(float), nullptr, dx.p,
                        dy.p, dz.p));
    std::vector<float> y = dy.get(), z = dz.get();
    for (size_t i = 0; i < x.size(); i++) {
        float want = (float)(i / 256 * 256 + 255 - i % 256) + 2;
        cr_assert_eq(y[i], want);
        cr_assert_eq(z[i], 2 * want);
    }
}

static __global__ void count_votes(int *out)
{
    int odd = threadIdx.x & 1;
    int n = __syncthreads_count(odd);
    int any = __syncthreads_or(threadIdx.x == 70), none = __syncthreads_or(0);
    int all = __syncthreads_and(1), not_all = __syncthreads_and(odd);

    if (threadIdx.x == 99) {
        out[0] = n;
        out[1] = any * 8 + none * 4 + all * 2 + not_all;
    }
}

Test(cuda_kernels, barriers_count_votes)
{
    on_device<int> out(2);
    CUDA_OK(tlpi_launch(count_votes, 1, 100, 0, nullptr, out.p));
    cr_assert_eq(out.get()[0], 50);
    cr_assert_eq(out.get()[1], 8 + 2);
}

/* ==== warps ============================================================== */

enum { WARP_RESULTS = 16 };

static __global__ void warp_work(int *out)
{
    int lane = (int)(threadIdx.x % 32), i = (int)threadIdx.x;
    int *o = out + i * WARP_RESULTS;
    unsigned all = 0xffffffffu;
    float sum = (float)i;

    for (int bit = 16; bit > 0; bit /= 2)
        sum += __shfl_xor_sync(all, sum, bit);
    o[0] = (int)sum;
    o[1] = __shfl_sync(all, i, 5);
    o[2] = __shfl_sync(all, i, 3, 8);
    o[3] = __shfl_up_sync(all, i, 2);
    o[4] = __shfl_down_sync(all, i, 2, 16);
    o[5] = (int)__ballot_sync(all, lane % 3 == 0);
    o[6] = __any_sync(all, lane == 7) * 2 + __all_sync(all, lane < 32);
    o[7] = __reduce_add_sync(all, i);
    o[8] = __reduce_max_sync(all, -lane);
    o[9] = (int)__reduce_max_sync(all, (unsigned)-lane);
    o[10] = (int)__match_any_sync(all, lane / 4);
    /* two halves on ways of their own */
    if (lane < 16)
        o[11] = __reduce_add_sync(0xffffu, 1) + __shfl_sync(0xffffu, i, 0);
    else
        o[11] = __shfl_sync(0xffff0000u, i, 31);
    double d = __shfl_sync(all, (double)i + 0.5, 1);
    o[12] = (int)(d * 2);
    o[13] = (int)__reduce_or_sync(all, 1u << lane);
    __syncwarp();
}

Test(cuda_kernels, warps_exchange)
{
    const int n = 96;
    on_device<int> out(n * WARP_RESULTS);

    CUDA_OK(tlpi_launch(warp_work, 1, n, 0, nullptr, out.p));
    std::vector<int> got = out.get();
    for (int i = 0; i < n; i++) {
        const int *o = &got[(size_t)(i * WARP_RESULTS)];
        int base = i / 32 * 32, lane = i % 32;
        int sum = 32 * base + 31 * 16;

        cr_assert_eq(o[0], sum);
        cr_assert_eq(o[1], base + 5);
        cr_assert_eq(o[2], i / 8 * 8 + 3);
        cr_assert_eq(o[3], lane < 2 ? i : i - 2);
        cr_assert_eq(o[4], lane % 16 >= 14 ? i : i + 2);
        cr_assert_eq((unsigned)o[5], 0x49249249u);
        cr_assert_eq(o[6], 3);
        cr_assert_eq(o[7], sum);
        cr_assert_eq(o[8], 0);
        cr_assert_eq((unsigned)o[9], 0xffffffffu);
        cr_assert_eq((unsigned)o[10], 0xfu << (lane / 4 * 4));
        cr_assert_eq(o[11], lane < 16 ? 16 + base : base + 31);
        cr_assert_eq(o[12], (base + 1) * 2 + 1);
        cr_assert_eq((unsigned)o[13], 0xffffffffu);
    }
}

/* ==== atomics ============================================================ */

static __global__ void atomics(int *n, unsigned *ring, float *sum,
                               unsigned long long *big)
{
    atomicAdd(n, 1);
    atomicMax(n + 1, (int)threadIdx.x);
    atomicInc(ring, 9);
    atomicAdd(sum, 0.5f);
    atomicMin(big, (unsigned long long)threadIdx.x + 3);
    if (atomicCAS(n + 2, 0, 1) == 0)
        atomicExch(n + 3, 7);
}

Test(cuda_kernels, atomics_update_once_each)
{
    on_device<int> n(std::vector<int>{ 0, -1, 0, 0 });
    on_device<unsigned> ring(std::vector<unsigned>{ 0 });
    on_device<float> sum(std::vector<float>{ 0 });
    on_device<unsigned long long> big(
        std::vector<unsigned long long>{ 1ull << 40 });

    CUDA_OK(tlpi_launch(atomics, 5, 64, 0, nullptr, n.p, ring.p, sum.p, big.p));
    cr_assert((n.get() == std::vector<int>{ 320, 63, 1, 7 }));
    cr_assert_eq(ring.get()[0], 0);
    cr_assert_eq(sum.get()[0], 160.0f);
    cr_assert_eq(big.get()[0], 3);
}

/* ==== what hardware punishes ============================================= */

static __global__ void some_leave(int *out)
{
    if (threadIdx.x >= 40)
        return;
    out[threadIdx.x] = 1;
    __syncthreads();
}

Test(cuda_kernels, barrier_that_some_never_reach)
{
    on_device<int> out(64);
    CUDA_OK(tlpi_launch(some_leave, 1, 64, 0, nullptr, out.p));
    expect_fault("has left the kernel");
}

static __global__ void late_comers(int *out)
{
    if (threadIdx.x == 0) {
        out[0] = 1;
        return;
    }
    __syncthreads();
}

Test(cuda_kernels, barrier_after_one_has_left)
{
    on_device<int> out(1);
    CUDA_OK(tlpi_launch(late_comers, 1, 64, 0, nullptr, out.p));
    expect_fault("__syncthreads at test_cuda_kernels.cc");
}

static __global__ void two_barriers(int *out)
{
    if (threadIdx.x < 32) {
        __syncthreads();
        out[0] = 1;
    } else {
        __syncthreads();
        out[1] = 1;
    }
}

Test(cuda_kernels, barriers_at_different_places)
{
    on_device<int> out(2);
    CUDA_OK(tlpi_launch(two_barriers, 1, 64, 0, nullptr, out.p));
    expect_fault("is in __syncthreads at");
}

static __global__ void shuffle_in_branch(int *out)
{
    if (threadIdx.x % 32 < 20)
        out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
}

Test(cuda_kernels, shuffle_with_lanes_that_left)
{
    on_device<int> out(32);
    CUDA_OK(tlpi_launch(shuffle_in_branch, 1, 32, 0, nullptr, out.p));
    expect_fault("has left the kernel");
}

static __global__ void shuffle_all(int *out)
{
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}

Test(cuda_kernels, shuffle_with_lanes_that_never_were)
{
    on_device<int> out(32);
    CUDA_OK(tlpi_launch(shuffle_all, 1, 30, 0, nullptr, out.p));
    expect_fault("does not exist");
}

static __global__ void shuffle_from_outside(int *out)
{
    if (threadIdx.x < 16)
        out[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}

Test(cuda_kernels, shuffle_from_outside_the_mask)
{
    on_device<int> out(32);
    CUDA_OK(tlpi_launch(shuffle_from_outside, 1, 32, 0, nullptr, out.p));
    expect_fault("reads lane 20, which is not in 0000ffff");
}

static __global__ void wrong_mask(int *out)
{
    out[threadIdx.x] = __any_sync(0xfffffffeu, 1);
}

Test(cuda_kernels, lane_outside_its_own_mask)
{
    on_device<int> out(32);
    CUDA_OK(tlpi_launch(wrong_mask, 1, 32, 0, nullptr, out.p));
    expect_fault("is not in its own mask");
}

static __global__ void cross_waits(int *out)
{
    if (threadIdx.x < 16)
        __syncwarp(0xffffffffu);
    else
        __syncthreads();
    out[threadIdx.x] = 1;
}

Test(cuda_kernels, half_a_warp_waits_elsewhere)
{
    on_device<int> out(32);
    CUDA_OK(tlpi_launch(cross_waits, 1, 32, 0, nullptr, out.p));
    expect_fault("waits for ever");
}

static __global__ void overflow_shared()
{
    TLPI_SHARED_BYTES(bytes);
    bytes[threadIdx.x] = 1;
}

Test(cuda_kernels, shared_memory_has_an_end)
{
    CUDA_OK(tlpi_launch(overflow_shared, 1, 33, 32, nullptr));
    expect_fault("beyond its shared memory");
}

static __global__ void write_at(float *x, size_t i)
{
    x[i] = 1;
}

Test(cuda_kernels, memory_has_an_end)
{
    on_device<float> x(33);

    CUDA_OK(tlpi_launch(write_at, 1, 1, 0, nullptr, x.p, (size_t)32));
    CUDA_OK(cudaDeviceSynchronize());
    CUDA_OK(tlpi_launch(write_at, 1, 1, 0, nullptr, x.p, (size_t)33));
    expect_fault("beyond a piece of memory");
}

/* ASan catches the signal and ends the program itself. */
#ifndef __SANITIZE_ADDRESS__
Test(cuda_kernels, far_beyond_the_end_is_a_crash, .signal = SIGSEGV)
{
    on_device<float> x(64);
    tlpi_launch(write_at, 1, 1, 0, nullptr, x.p, (size_t)64);
}
#endif

Test(cuda_kernels, a_fault_stays)
{
    on_device<int> out(64);
    int more = 0;

    CUDA_OK(tlpi_launch(some_leave, 1, 64, 0, nullptr, out.p));
    cr_assert_eq(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    cr_assert_eq(cudaGetLastError(), cudaErrorLaunchFailure);
    cr_assert_eq(cudaGetLastError(), cudaErrorLaunchFailure);
    cr_assert_eq(tlpi_launch(shuffle_all, 1, 32, 0, nullptr, out.p),
                 cudaErrorLaunchFailure);
    cr_assert_eq(cudaMemcpy(&more, out.p, sizeof more, cudaMemcpyDeviceToHost),
                 cudaErrorLaunchFailure);
}

/* A block after a fault finds its fibers in order. */
static __global__ void sum_block(int *out)
{
    int n = __syncthreads_count(1);
    if (threadIdx.x == 0)
        *out = n;
}

Test(cuda_kernels, bad_launches_are_refused)
{
    on_device<int> out(1);

    cr_assert_eq(tlpi_launch(sum_block, 1, 1025, 0, nullptr, out.p),
                 cudaErrorInvalidConfiguration);
    cr_assert_eq(tlpi_launch(sum_block, 0, 32, 0, nullptr, out.p),
                 cudaErrorInvalidConfiguration);
    cr_assert_eq(tlpi_launch(sum_block, dim3(1, 65536), 32, 0, nullptr, out.p),
                 cudaErrorInvalidConfiguration);
    cr_assert_eq(tlpi_launch(sum_block, 1, 32, 50000, nullptr, out.p),
                 cudaErrorInvalidConfiguration);
    cr_assert_eq(cudaGetLastError(), cudaErrorInvalidConfiguration);
    cr_assert_eq(cudaGetLastError(), cudaSuccess);
    CUDA_OK(cudaFuncSetAttribute(
        sum_block, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000));
    CUDA_OK(tlpi_launch(sum_block, 1, 1024, 50000, nullptr, out.p));
    cr_assert_eq(out.get()[0], 1024);
}
