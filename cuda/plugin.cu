/*
 * plugin.cu - the exported table of libtlp_cuda.so: devices, and creation of a
 * backend and a communicator.
 *
 * The runtime and cuBLASLt are linked; the driver is not.  If the driver is
 * missing or too old, the first call reports it.
 */
#include "gpu.h"

static const char *version_text(int v, char *text, size_t size)
{
    if (v > 0)
        snprintf(text, size, "%d.%d", v / 1000, v % 1000 / 10);
    else
        snprintf(text, size, "none");
    return text;
}

/* TLP_ENOTSUP with the versions that do not match. */
static tlp_status unusable(cudaError_t e)
{
    int driver = 0, runtime = 0;
    char d[32], r[32];

    (void)cudaGetLastError();
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    return tlpi_gpu_fail(TLP_ENOTSUP,
                         "no CUDA device: %s (driver for CUDA %s, this plug-in "
                         "for %s)",
                         cudaGetErrorString(e),
                         version_text(driver, d, sizeof d),
                         version_text(runtime, r, sizeof r));
}

static tlp_status count(int *n)
{
    *n = 0;
    cudaError_t e = cudaGetDeviceCount(n);
    if (e == cudaSuccess && *n == 0)
        e = cudaErrorNoDevice;
    if (*n > TLPI_MAX_DEVICE)
        *n = TLPI_MAX_DEVICE;
    return e == cudaSuccess ? TLP_OK : unusable(e);
}

static uint64_t peers_of(int device, int n)
{
    uint64_t mask = 0;

    for (int i = 0; i < n; i++) {
        int can = 0;
        if (i != device &&
            cudaDeviceCanAccessPeer(&can, device, i) == cudaSuccess && can)
            mask |= (uint64_t)1 << i;
    }
    return mask;
}

static tlp_status info(int device, tlpi_device_info *out)
{
    cudaDeviceProp prop;
    size_t free = 0, total = 0;
    int n = 0, before = -1;
    tlp_status st = count(&n);

    *out = {};
    if (st != TLP_OK)
        return st;
    if (device < 0 || device >= n)
        return tlpi_gpu_fail(TLP_EINVAL, "device %d: there are 0 to %d", device,
                             n - 1);
    TLP_TRY(tlpi_gpu_status(cudaGetDeviceProperties(&prop, device),
                            "a device's properties"));
    (void)cudaGetDevice(&before);
    TLP_TRY(tlpi_gpu_status(cudaSetDevice(device), "choosing the device"));
    st = tlpi_gpu_status(cudaMemGetInfo(&free, &total), "a device's memory");
    if (before >= 0)
        (void)cudaSetDevice(before);
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1,
             prop.name);
    out->major = prop.major;
    out->minor = prop.minor;
    out->n_sm = prop.multiProcessorCount;
    out->total = total;
    out->free = free;
    out->peers = peers_of(device, n);
done:
    return st;
}

extern "C" __attribute__((visibility("default"))) const tlpi_device_ops *
tlpi_device_v1(const tlpi_device_host *host)
{
    static const tlpi_device_ops table = { TLPI_DEVICE_ABI,
                                           "cuda",
                                           count,
                                           info,
                                           tlpi_gpu_backend_create,
                                           tlpi_gpu_get_stats,
                                           tlpi_gpu_weight_size,
                                           tlpi_gpu_kv_size,
                                           tlpi_gpu_comm_create,
                                           tlpi_gpu_allreduce_add_norm,
                                           tlpi_gpu_exchange_buffer };

    tlpi_gpu_host = host;
    return &table;
}
