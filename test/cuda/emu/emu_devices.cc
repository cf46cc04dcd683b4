/*
 * emu_devices.cc - devices, by environment variables, and errors.
 *
 *   TLP_EMU_DEVICES     number; 0: no device, "none": no driver      (1)
 *   TLP_EMU_MEMORY      MiB of memory on each device                 (4096)
 *   TLP_EMU_CAPABILITY  of each device                               (90)
 *   TLP_EMU_SHARED      KiB of shared memory that a block may have   (227)
 *   TLP_EMU_PEERS       0: no device accesses another's memory       (1)
 *   TLP_EMU_LAZY        1: work runs only when the host waits for it (0)
 *   TLP_EMU_LATE        1: lazy copies read pageable memory when run (0)
 *   TLP_EMU_LOADED      1: kernels must be loaded before a launch    (0)
 */
#include <atomic>
#include <cstdlib>

#include "emu_state.h"

#define MAX_DEVICE 16

static thread_local cudaError_t last_error;
static thread_local int current;
static std::atomic<bool> faulted;
static std::atomic<bool> peer_enabled[MAX_DEVICE][MAX_DEVICE];

std::atomic<int> emu_counted::live;

int emu_live_objects()
{
    return emu_counted::live;
}

static long from_env(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtol(text, nullptr, 10) : otherwise;
}

static bool has_driver()
{
    const char *text = getenv("TLP_EMU_DEVICES");
    return !text || strcmp(text, "none") != 0;
}

int emu_device_count()
{
    return min(MAX_DEVICE, (int)from_env("TLP_EMU_DEVICES", 1));
}

size_t emu_device_memory()
{
    return (size_t)from_env("TLP_EMU_MEMORY", 4096) << 20;
}

size_t emu_device_shared()
{
    return (size_t)from_env("TLP_EMU_SHARED", 227) << 10;
}

bool emu_late()
{
    return from_env("TLP_EMU_LATE", 0) == 1;
}

bool emu_needs_loading()
{
    return from_env("TLP_EMU_LOADED", 0) == 1;
}

bool emu_lazy()
{
    static const bool lazy = from_env("TLP_EMU_LAZY", 0) == 1;
    return lazy;
}

int emu_device()
{
    return current;
}

/* ==== errors ============================================================= */

cudaError_t emu_result(cudaError_t e)
{
    if (e != cudaSuccess && e != cudaErrorNotReady)
        last_error = e;
    return e;
}

void emu_set_faulted()
{
    faulted = true;
}

cudaError_t emu_enter(bool unsafe)
{
    if (!has_driver())
        return emu_result(cudaErrorInsufficientDriver);
    if (emu_device_count() < 1)
        return emu_result(cudaErrorNoDevice);
    if (faulted)
        return emu_result(cudaErrorLaunchFailure);
    if (unsafe && emu_capture_forbids())
        return emu_result(cudaErrorStreamCaptureUnsupported);
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t e)
{
    switch (e) {
#define X(name, value, text)                                                   \
    case name:                                                                 \
        return text;
        EMU_ERRORS(X)
#undef X
    }
    return "unrecognized error code";
}

const char *cudaGetErrorName(cudaError_t e)
{
    switch (e) {
#define X(name, value, text)                                                   \
    case name:                                                                 \
        return #name;
        EMU_ERRORS(X)
#undef X
    }
    return "unrecognized error code";
}

cudaError_t cudaPeekAtLastError()
{
    return faulted ? cudaErrorLaunchFailure : last_error;
}

cudaError_t cudaGetLastError()
{
    cudaError_t e = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return e;
}

/* ==== devices ============================================================ */

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = has_driver() ? CUDART_VERSION : 0;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 0;
    cudaError_t e = emu_enter(false);
    if (e == cudaSuccess)
        *n = emu_device_count();
    return e;
}

static bool exists(int device)
{
    return device >= 0 && device < emu_device_count();
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current;
    return emu_enter(false);
}

cudaError_t cudaSetDevice(int device)
{
    cudaError_t e = emu_enter(false);
    if (e != cudaSuccess)
        return e;
    if (!exists(device))
        return emu_result(cudaErrorInvalidDevice);
    current = device;
    return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned)
{
    return emu_enter(false);
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned)
{
    cudaError_t e = emu_enter(false);
    return e == cudaSuccess && !exists(device)
               ? emu_result(cudaErrorInvalidDevice)
               : e;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    cudaError_t e = emu_enter(false);
    if (e != cudaSuccess)
        return e;
    if (!exists(device))
        return emu_result(cudaErrorInvalidDevice);
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "Emulated GPU");
    p->totalGlobalMem = emu_device_memory();
    p->sharedMemPerBlock = 48 * 1024;
    p->sharedMemPerBlockOptin = emu_device_shared();
    p->sharedMemPerMultiprocessor = 228 * 1024;
    p->totalConstMem = 64 * 1024;
    p->major = (int)from_env("TLP_EMU_CAPABILITY", 90) / 10;
    p->minor = (int)from_env("TLP_EMU_CAPABILITY", 90) % 10;
    p->multiProcessorCount = 4;
    p->warpSize = 32;
    p->l2CacheSize = 1 << 20;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsPerMultiProcessor = 2048;
    p->regsPerBlock = 65536;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = INT32_MAX;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->unifiedAddressing = p->canMapHostMemory = p->concurrentKernels = 1;
    p->memoryBusWidth = 64;
    p->pciBusID = device + 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr a, int device)
{
    cudaDeviceProp p;
    cudaError_t e = cudaGetDeviceProperties(&p, device);

    if (e != cudaSuccess)
        return e;
    switch (a) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = p.maxThreadsPerBlock;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = (int)p.sharedMemPerBlock;
        break;
    case cudaDevAttrWarpSize:
        *value = p.warpSize;
        break;
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
        *value = 1000000; /* kHz */
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        break;
    case cudaDevAttrGlobalMemoryBusWidth:
        *value = p.memoryBusWidth;
        break;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = p.maxThreadsPerMultiProcessor;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)p.sharedMemPerMultiprocessor;
        break;
    case cudaDevAttrCooperativeLaunch:
        *value = 0;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)p.sharedMemPerBlockOptin;
        break;
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int cap, int device)
{
    cudaError_t e = emu_enter(false);
    if (e == cudaSuccess)
        snprintf(text, (size_t)cap, "0000:%02x:00.0", device + 1);
    return e;
}

/* ==== peers ============================================================== */

bool emu_peer_enabled(int device, int peer)
{
    return device == peer || peer_enabled[device][peer];
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    cudaError_t e = emu_enter(false);
    *can = 0;
    if (e != cudaSuccess)
        return e;
    if (!exists(device) || !exists(peer))
        return emu_result(cudaErrorInvalidDevice);
    *can = device != peer && from_env("TLP_EMU_PEERS", 1) != 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetP2PAttribute(int *value, cudaDeviceP2PAttr a, int from,
                                      int to)
{
    cudaError_t e = cudaDeviceCanAccessPeer(value, from, to);
    if (a == cudaDevP2PAttrPerformanceRank)
        *value = 0;
    return e;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned)
{
    int can = 0;
    cudaError_t e = cudaDeviceCanAccessPeer(&can, current, peer);

    if (e != cudaSuccess)
        return e;
    if (!can)
        return emu_result(cudaErrorPeerAccessUnsupported);
    return peer_enabled[current][peer].exchange(true)
               ? emu_result(cudaErrorPeerAccessAlreadyEnabled)
               : cudaSuccess;
}

cudaError_t cudaDeviceDisablePeerAccess(int peer)
{
    cudaError_t e = emu_enter(false);
    if (e != cudaSuccess)
        return e;
    if (!exists(peer))
        return emu_result(cudaErrorInvalidDevice);
    return peer_enabled[current][peer].exchange(false)
               ? cudaSuccess
               : emu_result(cudaErrorPeerAccessNotEnabled);
}
