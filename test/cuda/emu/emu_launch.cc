/*
 * emu_launch.cc - attributes and launches of kernels.
 */
#include <map>
#include <set>

#include "emu_block.h"
#include "emu_state.h"

static std::mutex lock;
static std::map<const void *, int> shared_limit;
static std::set<const void *> loaded;

cudaError_t emu_func_set(const void *kernel, cudaFuncAttribute a, int value)
{
    cudaError_t e = emu_enter(false);

    if (e != cudaSuccess)
        return e;
    if (a != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess;
    if (value < 0 || (size_t)value > emu_device_shared())
        return emu_result(cudaErrorInvalidValue);
    std::lock_guard<std::mutex> hold(lock);
    shared_limit[kernel] = value;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, const void *kernel)
{
    *a = cudaFuncAttributes();
    a->maxThreadsPerBlock = 1024;
    a->numRegs = 32;
    std::lock_guard<std::mutex> hold(lock);
    loaded.insert(kernel);
    return emu_enter(false);
}

static bool fits(const void *kernel, dim3 grid, dim3 block, size_t shared)
{
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    std::lock_guard<std::mutex> hold(lock);
    auto at = shared_limit.find(kernel);
    int limit =
        at == shared_limit.end() ? 48 * 1024 : max(at->second, 48 * 1024);

    return threads >= 1 && threads <= 1024 && block.z <= 64 && grid.x >= 1 &&
           grid.x <= INT32_MAX && grid.y >= 1 && grid.y <= 65535 &&
           grid.z >= 1 && grid.z <= 65535 && shared <= (size_t)limit;
}

/* False for a kernel that must be loaded before its first launch. */
static bool may_launch(const void *kernel)
{
    std::lock_guard<std::mutex> hold(lock);
    return !emu_needs_loading() || loaded.count(kernel) > 0;
}

cudaError_t emu_launch(const void *kernel, std::function<void()> body,
                       dim3 grid, dim3 block, size_t shared, cudaStream_t s)
{
    cudaError_t e = emu_enter(false);

    if (e != cudaSuccess)
        return e;
    if (emu_stream_of(s)->device != emu_device())
        return emu_result(cudaErrorInvalidResourceHandle);
    if (!may_launch(kernel))
        return emu_result(cudaErrorNotSupported);
    if (!fits(kernel, grid, block, shared))
        return emu_result(cudaErrorInvalidConfiguration);
    return emu_submit(s, [=]() {
        if (!emu_run_grid(body, grid, block, shared))
            emu_set_faulted();
    });
}
