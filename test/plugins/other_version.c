/*
 * other_version.c - a transport of a version that the library does not know.
 */
#include "comm/transport.h"

TLP_API const tlpi_transport_ops *tlpi_transport_v1(void);

const tlpi_transport_ops *tlpi_transport_v1(void)
{
    static const tlpi_transport_ops ops = { .abi = TLPI_TRANSPORT_ABI + 1 };

    return &ops;
}
