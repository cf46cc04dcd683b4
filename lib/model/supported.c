/*
 * supported.c - what the library loads, by name.
 */
#include "model/hparams.h"
#include "tensor/tensor.h"

/* Type numbers of files are below this one. */
#define N_TYPE_NUMBER 64

const char *tlp_arch_name(size_t index)
{
    return index < TLPI_N_ARCH ? tlpi_arch_table[index].name : NULL;
}

const char *tlp_type_name(size_t index)
{
    for (uint32_t type = 0; type < N_TYPE_NUMBER; type++) {
        const tlpi_dtype_info *info = tlpi_dtype_get(type);

        if (info && index-- == 0)
            return info->name;
    }
    return NULL;
}
