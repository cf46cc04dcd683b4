/*
 * build_info.c - one line about this build and machine.
 *
 * One constant text for each kind of kernel: nothing is assembled at run time,
 * so nothing needs to be guarded or kept.
 */
#include <string.h>

#include "backend/backend.h"

#define TEXT(x) #x
#define DOTTED(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

#if defined(__clang__)
#define COMPILER __VERSION__ /* names itself */
#else
#define COMPILER "gcc " __VERSION__
#endif

#define INFO(isa)                                                              \
    "libtlp " DOTTED(TLP_VERSION_MAJOR, TLP_VERSION_MINOR,                     \
                     TLP_VERSION_PATCH) ", " COMPILER ", " isa " kernels"

const char *tlp_build_info(void)
{
    const char *isa = tlpi_cpu_best_isa();

    if (strcmp(isa, "amx") == 0)
        return INFO("amx");
    if (strcmp(isa, "avx512") == 0)
        return INFO("avx512");
    if (strcmp(isa, "avx2") == 0)
        return INFO("avx2");
    return INFO("scalar");
}
