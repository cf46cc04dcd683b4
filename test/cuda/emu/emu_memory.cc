/*
 * emu_memory.cc - device memory, pinned memory, copies.
 *
 * Each piece of device memory ends, up to alignment, at a protected page.
 * Guard bytes fill the gap and are checked in free.  A kernel that writes
 * beyond the end therefore faults or is reported.  New memory is full of NaN.
 * Freed memory is protected.
 */
#include <cstdlib>
#include <map>
#include <sys/mman.h>

#include "emu_block.h"
#include "emu_state.h"

#define ALIGN ((size_t)256) /* as cudaMalloc promises */
#define PAGE ((size_t)4096)
#define CANARY 0xa5

namespace
{
struct piece {
    size_t bytes;
    emu_memory_kind kind;
    int device;
    char *map; /* with its guards; NULL if the user registered the memory */
    size_t map_bytes;
};
} // namespace

static std::mutex lock;
static std::map<uintptr_t, piece> pieces;
static size_t used[16];

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static char *tail_of(uintptr_t p, const piece &m)
{
    return (char *)p + m.bytes;
}

static size_t tail_bytes(const piece &m)
{
    return round_up(m.bytes, ALIGN) - m.bytes;
}

static bool intact(uintptr_t p, const piece &m)
{
    for (size_t i = 0; m.map && i < tail_bytes(m); i++)
        if ((unsigned char)tail_of(p, m)[i] != CANARY)
            return false;
    return true;
}

static cudaError_t allocate(void **out, size_t bytes, emu_memory_kind kind)
{
    int device = emu_device();
    size_t body = round_up(bytes ? bytes : 1, ALIGN);
    size_t pages = round_up(body, PAGE), all = pages + 2 * PAGE;

    *out = nullptr;
    if (bytes > SIZE_MAX / 4)
        return emu_result(cudaErrorMemoryAllocation);
    std::lock_guard<std::mutex> hold(lock);
    if (kind == EMU_ON_DEVICE && body > emu_device_memory() - used[device])
        return emu_result(cudaErrorMemoryAllocation);
    void *map =
        mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return emu_result(cudaErrorMemoryAllocation);
    mprotect((char *)map + PAGE, pages, PROT_READ | PROT_WRITE);
    char *p = (char *)map + PAGE + pages - body;
    piece m = { bytes, kind, device, (char *)map, all };
    memset(p, 0xff, bytes);
    memset(p + bytes, CANARY, tail_bytes(m));
    pieces[(uintptr_t)p] = m;
    if (kind == EMU_ON_DEVICE)
        used[device] += body;
    *out = p;
    return cudaSuccess;
}

static cudaError_t release(void *p, bool on_device)
{
    if (!p)
        return cudaSuccess;
    std::lock_guard<std::mutex> hold(lock);
    auto at = pieces.find((uintptr_t)p);
    if (at == pieces.end() || !at->second.map ||
        (at->second.kind == EMU_ON_DEVICE) != on_device)
        return emu_result(cudaErrorInvalidValue);
    const piece m = at->second;
    bool ok = intact(at->first, m);
    pieces.erase(at);
    munmap(m.map, m.map_bytes);
    if (on_device)
        used[m.device] -= round_up(m.bytes ? m.bytes : 1, ALIGN);
    if (ok)
        return cudaSuccess;
    emu_note_fault("something wrote beyond a piece of memory");
    emu_set_faulted();
    return emu_result(cudaErrorIllegalAddress);
}

bool emu_memory_intact()
{
    std::lock_guard<std::mutex> hold(lock);
    for (const auto &at : pieces)
        if (!intact(at.first, at.second))
            return false;
    return true;
}

bool emu_memory_find(const void *p, size_t bytes, emu_memory_kind *kind,
                     int *device)
{
    uintptr_t u = (uintptr_t)p;
    std::lock_guard<std::mutex> hold(lock);
    auto at = pieces.upper_bound(u);

    *kind = EMU_PAGEABLE;
    *device = -1;
    if (at == pieces.begin())
        return true;
    --at;
    if (u - at->first >= max(at->second.bytes, (size_t)1))
        return true;
    *kind = at->second.kind;
    *device = at->second.device;
    return u - at->first + bytes <= at->second.bytes;
}

size_t emu_memory_used(int device)
{
    std::lock_guard<std::mutex> hold(lock);
    return used[device];
}

/* ==== allocating ========================================================= */

cudaError_t emu_malloc(void **p, size_t bytes)
{
    cudaError_t e = emu_enter(true);
    *p = nullptr;
    return e == cudaSuccess ? allocate(p, bytes, EMU_ON_DEVICE) : e;
}

cudaError_t emu_malloc_async(void **p, size_t bytes, cudaStream_t)
{
    return emu_malloc(p, bytes); /* graphs have no memory nodes */
}

cudaError_t emu_host_alloc(void **p, size_t bytes, unsigned)
{
    cudaError_t e = emu_enter(true);
    *p = nullptr;
    return e == cudaSuccess ? allocate(p, bytes, EMU_PINNED) : e;
}

/* Free waits for the device, as in CUDA. */
cudaError_t cudaFree(void *p)
{
    cudaError_t e = p ? emu_enter(true) : cudaSuccess;
    if (e == cudaSuccess && p)
        e = cudaDeviceSynchronize();
    cudaError_t freed = release(p, true); /* also after a fault */
    return e == cudaSuccess ? freed : e;
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t s)
{
    cudaError_t e = emu_enter(true);
    if (e == cudaSuccess)
        e = cudaStreamSynchronize(s);
    cudaError_t freed = release(p, true);
    return e == cudaSuccess ? freed : e;
}

cudaError_t cudaFreeHost(void *p)
{
    cudaError_t e = p ? emu_enter(true) : cudaSuccess;
    cudaError_t freed = release(p, false);
    return e == cudaSuccess ? freed : e;
}

cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned)
{
    cudaError_t e = emu_enter(true);
    if (e != cudaSuccess)
        return e;
    std::lock_guard<std::mutex> hold(lock);
    piece m = { bytes, EMU_PINNED, emu_device(), nullptr, 0 };
    return pieces.insert({ (uintptr_t)p, m }).second
               ? cudaSuccess
               : emu_result(cudaErrorHostMemoryAlreadyRegistered);
}

cudaError_t cudaHostUnregister(void *p)
{
    std::lock_guard<std::mutex> hold(lock);
    auto at = pieces.find((uintptr_t)p);
    if (at == pieces.end() || at->second.map)
        return emu_result(cudaErrorInvalidValue);
    pieces.erase(at);
    return cudaSuccess;
}

cudaError_t emu_host_pointer(void **device, void *host)
{
    emu_memory_kind kind;
    int of;
    cudaError_t e = emu_enter(false);

    *device = nullptr;
    if (e != cudaSuccess)
        return e;
    if (!emu_memory_find(host, 1, &kind, &of) || kind != EMU_PINNED)
        return emu_result(cudaErrorInvalidValue);
    *device = host;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *a, const void *p)
{
    emu_memory_kind kind;
    cudaError_t e = emu_enter(false);

    if (e != cudaSuccess)
        return e;
    emu_memory_find(p, 0, &kind, &a->device);
    a->type = kind == EMU_ON_DEVICE ? cudaMemoryTypeDevice
              : kind == EMU_PINNED  ? cudaMemoryTypeHost
                                    : cudaMemoryTypeUnregistered;
    a->devicePointer = kind == EMU_PAGEABLE ? nullptr : (void *)p;
    a->hostPointer = kind == EMU_ON_DEVICE ? nullptr : (void *)p;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    cudaError_t e = emu_enter(false);
    *total = emu_device_memory();
    *free = *total - emu_memory_used(emu_device());
    return e;
}

/* ==== copies ============================================================= */

/* Whether each side is the kind of memory that `kind` says, and in bounds. */
static bool sides_fit(void *dst, const void *src, size_t bytes,
                      cudaMemcpyKind kind, emu_memory_kind *from,
                      emu_memory_kind *to)
{
    int device;

    if (!emu_memory_find(src, bytes, from, &device) ||
        !emu_memory_find(dst, bytes, to, &device))
        return false;
    if (kind == cudaMemcpyDefault)
        return true;
    bool src_on =
        kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    bool dst_on =
        kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    return (*from == EMU_ON_DEVICE) == src_on &&
           (*to == EMU_ON_DEVICE) == dst_on;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t s)
{
    emu_memory_kind from, to;
    cudaError_t e = emu_enter(false);

    if (e != cudaSuccess || bytes == 0)
        return e;
    if (!sides_fit(dst, src, bytes, kind, &from, &to))
        return emu_result(cudaErrorInvalidValue);
    if (from == EMU_PAGEABLE && !emu_stream_of(s)->capture && !emu_late()) {
        std::shared_ptr<std::vector<char>> staged(new std::vector<char>(
            (const char *)src, (const char *)src + bytes));
        return emu_submit(s, [=]() { memcpy(dst, staged->data(), bytes); });
    }
    e = emu_submit(s, [=]() { memmove(dst, src, bytes); });
    if (e == cudaSuccess && to == EMU_PAGEABLE && !emu_stream_of(s)->capture)
        e = cudaStreamSynchronize(s);
    return e;
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes,
                       cudaMemcpyKind kind)
{
    if (emu_capture_forbids())
        return emu_result(cudaErrorStreamCaptureImplicit);
    cudaError_t e = cudaMemcpyAsync(dst, src, bytes, kind, nullptr);
    return e == cudaSuccess ? cudaStreamSynchronize(nullptr) : e;
}

cudaError_t cudaMemcpyPeerAsync(void *dst, int, const void *src, int,
                                size_t bytes, cudaStream_t s)
{
    return cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, s);
}

cudaError_t cudaMemcpyPeer(void *dst, int, const void *src, int, size_t bytes)
{
    return cudaMemcpy(dst, src, bytes, cudaMemcpyDeviceToDevice);
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src,
                              size_t src_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t s)
{
    cudaError_t e = cudaSuccess;

    if (width > dst_pitch || width > src_pitch)
        return emu_result(cudaErrorInvalidValue);
    for (size_t i = 0; i < height && e == cudaSuccess; i++)
        e = cudaMemcpyAsync((char *)dst + i * dst_pitch,
                            (const char *)src + i * src_pitch, width, kind, s);
    return e;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s)
{
    emu_memory_kind kind;
    int device;
    cudaError_t e = emu_enter(false);

    if (e != cudaSuccess || bytes == 0)
        return e;
    if (!emu_memory_find(p, bytes, &kind, &device) || kind == EMU_PAGEABLE)
        return emu_result(cudaErrorInvalidValue);
    return emu_submit(s, [=]() { memset(p, value, bytes); });
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    if (emu_capture_forbids())
        return emu_result(cudaErrorStreamCaptureImplicit);
    cudaError_t e = cudaMemsetAsync(p, value, bytes, nullptr);
    return e == cudaSuccess ? cudaStreamSynchronize(nullptr) : e;
}
