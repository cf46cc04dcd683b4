/*
 * three_devices.c - devices that can be listed and chosen, but not used.
 */
#include <stdio.h>

#include "device/device.h"

static const tlpi_device_host *core;

TLP_API const tlpi_device_ops *tlpi_device_v1(const tlpi_device_host *host);

static tlp_status count(int *n)
{
    *n = 3;
    return TLP_OK;
}

/* Devices 0 and 2 reach each other. */
static tlp_status info(int device, tlpi_device_info *out)
{
    *out = (tlpi_device_info){
        .major = 9,
        .minor = device,
        .n_sm = 100 + device,
        .total = (uint64_t)(device + 1) * 1000000000,
        .free = (uint64_t)(device + 1) * 750000000,
        .peers = device == 0   ? 4
                 : device == 2 ? 1
                               : 0,
    };
    snprintf(out->name, sizeof out->name, "Listed \x1b \"%d\"", device);
    return TLP_OK;
}

static tlp_status backend_create(tlpi_backend **out, const tlpi_env *env,
                                 const tlpi_backend_options *opts, int device)
{
    char text[64];

    (void)env;
    (void)opts;
    *out = NULL;
    snprintf(text, sizeof text, "device %d is only listed", device);
    return core->fail(TLP_EDEVICE, text);
}

const tlpi_device_ops *tlpi_device_v1(const tlpi_device_host *host)
{
    static const tlpi_device_ops ops = {
        .abi = TLPI_DEVICE_ABI,
        .name = "listed",
        .count = count,
        .info = info,
        .backend_create = backend_create,
    };

    core = host;
    return &ops;
}
