/*
 * no_table.c - devices that do not say what they can do.
 */
#include "device/device.h"

TLP_API const tlpi_device_ops *tlpi_device_v1(const tlpi_device_host *host);

const tlpi_device_ops *tlpi_device_v1(const tlpi_device_host *host)
{
    (void)host;
    return NULL;
}
