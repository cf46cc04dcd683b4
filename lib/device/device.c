/*
 * device.c - loading the GPU plug-in, and public information about its
 * devices.
 */
#include "device/device.h"

#include <stdio.h>

#include "base/plugin.h"

static tlp_status host_fail(tlp_status st, const char *text)
{
    return tlpi_fail(st, "%s", text);
}

static void host_dequantize(int type, const void *src, float *dst, int64_t n)
{
    tlpi_dequantize((tlpi_dtype)type, src, dst, n);
}

static const void *enter(void *symbol)
{
    static const tlpi_device_host host = {
        .fail = host_fail,
        .dequantize = host_dequantize,
    };
    tlpi_device_entry entry;

    /* ISO C has no cast from an object pointer to a function; see
     * transport.c. */
    *(void **)&entry = symbol;
    return entry(&host);
}

tlp_status tlpi_device_load(const tlpi_device_ops **out, int backend)
{
    static const tlpi_plugin cuda = {
        .file = "libtlp_cuda.so",
        .what = "CUDA",
        .symbol = TLPI_DEVICE_SYMBOL,
        .abi = TLPI_DEVICE_ABI,
        .enter = enter,
    };
    const void *table = NULL;
    tlp_status st = TLP_OK;

    *out = NULL;
    if (backend == TLP_BACKEND_CPU)
        return tlpi_fail(TLP_EINVAL, "backend cpu has no devices");
    if (backend != TLP_BACKEND_CUDA)
        return tlpi_fail(TLP_ENOTSUP, "backend %d is not built", backend);
    TLP_TRY(tlpi_plugin_load(&table, &cuda));
    *out = table;
done:
    return st;
}

tlp_status tlpi_device_count(const tlpi_device_ops *ops, int *n)
{
    tlp_status st = ops->count(n);

    if (st != TLP_OK)
        return st;
    *n = TLPI_MIN(*n, TLPI_MAX_DEVICE);
    return *n > 0 ? TLP_OK
                  : tlpi_fail(TLP_ENOTSUP, "%s: there is no device", ops->name);
}

tlp_status tlp_device_count(int32_t *n, int32_t backend)
{
    const tlpi_device_ops *ops = NULL;
    int count = 0;
    tlp_status st = TLP_OK;

    if (!n)
        return tlpi_fail(TLP_EINVAL, "n is required");
    *n = 0;
    TLP_TRY(tlpi_device_load(&ops, backend));
    TLP_TRY(tlpi_device_count(ops, &count));
    *n = count;
done:
    return st;
}

tlp_status tlp_device_get_info(tlp_device_info *out, int32_t backend,
                               int32_t device)
{
    const tlpi_device_ops *ops = NULL;
    tlpi_device_info found = { .name = "" };
    tlp_device_info info = { 0 };
    int n = 0;
    tlp_status st = TLP_OK;

    if (!out)
        return tlpi_fail(TLP_EINVAL, "out is required");
    TLP_TRY(tlpi_struct_check(out, sizeof info, "tlp_device_info"));
    TLP_TRY(tlpi_device_load(&ops, backend));
    TLP_TRY(tlpi_device_count(ops, &n));
    if (device < 0 || device >= n)
        return tlpi_fail(TLP_EINVAL, "%s device %d: there are 0 to %d",
                         ops->name, device, n - 1);
    TLP_TRY(ops->info(device, &found));
    snprintf(info.name, sizeof info.name, "%s", found.name);
    info.major = found.major;
    info.minor = found.minor;
    info.n_sm = found.n_sm;
    info.memory_total = found.total;
    info.memory_free = found.free;
    info.peers = found.peers;
    st = tlpi_struct_write(out, &info, sizeof info, "tlp_device_info");
done:
    return st;
}
