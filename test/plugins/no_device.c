/*
 * no_device.c - a plug-in of the right version that finds no device, or says
 * that there are none and no reason.
 */
#include <stdlib.h>

#include "device/device.h"

static const tlpi_device_host *core;

TLP_API const tlpi_device_ops *tlpi_device_v1(const tlpi_device_host *host);

static tlp_status count(int *n)
{
    *n = 0;
    return getenv("TLP_TEST_SILENT")
               ? TLP_OK
               : core->fail(TLP_ENOTSUP, "the driver is 1.0, 2.0 is needed");
}

const tlpi_device_ops *tlpi_device_v1(const tlpi_device_host *host)
{
    static const tlpi_device_ops ops = {
        .abi = TLPI_DEVICE_ABI,
        .name = "none",
        .count = count,
    };

    core = host;
    return &ops;
}
