/*
 * other_device.c - devices of a version that the library does not know.
 */
#include "device/device.h"

TLP_API const tlpi_device_ops *tlpi_device_v1(const tlpi_device_host *host);

const tlpi_device_ops *tlpi_device_v1(const tlpi_device_host *host)
{
    static const tlpi_device_ops ops = { .abi = TLPI_DEVICE_ABI + 1 };

    (void)host;
    return &ops;
}
