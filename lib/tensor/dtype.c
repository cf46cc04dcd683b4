/*
 * dtype.c - the tensor types of GGUF files: names of all, sizes of the
 * supported types.
 */
#include "tensor/tensor.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "files are little-endian and used in place");

static const tlpi_dtype_info dtypes[] = {
    { TLPI_F32, "F32", 1, 4 },           { TLPI_F16, "F16", 1, 2 },
    { TLPI_BF16, "BF16", 1, 2 },         { TLPI_Q8_0, "Q8_0", 32, 34 },
    { TLPI_Q4_0, "Q4_0", 32, 18 },       { TLPI_Q4_1, "Q4_1", 32, 20 },
    { TLPI_Q5_0, "Q5_0", 32, 22 },       { TLPI_Q5_1, "Q5_1", 32, 24 },
    { TLPI_Q2_K, "Q2_K", 256, 84 },      { TLPI_Q3_K, "Q3_K", 256, 110 },
    { TLPI_Q4_K, "Q4_K", 256, 144 },     { TLPI_Q5_K, "Q5_K", 256, 176 },
    { TLPI_Q6_K, "Q6_K", 256, 210 },     { TLPI_IQ4_NL, "IQ4_NL", 32, 18 },
    { TLPI_IQ4_XS, "IQ4_XS", 256, 136 }, { TLPI_MXFP4, "MXFP4", 32, 17 },
};

/* By type number; gaps are withdrawn numbers. */
static const char *const names[] = {
    [0] = "F32",      [1] = "F16",     [2] = "Q4_0",     [3] = "Q4_1",
    [6] = "Q5_0",     [7] = "Q5_1",    [8] = "Q8_0",     [9] = "Q8_1",
    [10] = "Q2_K",    [11] = "Q3_K",   [12] = "Q4_K",    [13] = "Q5_K",
    [14] = "Q6_K",    [15] = "Q8_K",   [16] = "IQ2_XXS", [17] = "IQ2_XS",
    [18] = "IQ3_XXS", [19] = "IQ1_S",  [20] = "IQ4_NL",  [21] = "IQ3_S",
    [22] = "IQ2_S",   [23] = "IQ4_XS", [24] = "I8",      [25] = "I16",
    [26] = "I32",     [27] = "I64",    [28] = "F64",     [29] = "IQ1_M",
    [30] = "BF16",    [34] = "TQ1_0",  [35] = "TQ2_0",   [39] = "MXFP4",
    [40] = "NVFP4",   [41] = "Q1_0",
};

const tlpi_dtype_info *tlpi_dtype_get(uint32_t type)
{
    for (size_t i = 0; i < TLPI_COUNT(dtypes); i++)
        if ((uint32_t)dtypes[i].type == type)
            return &dtypes[i];
    return NULL;
}

const char *tlpi_dtype_name(uint32_t type)
{
    if (type < TLPI_COUNT(names) && names[type])
        return names[type];
    return "?";
}

size_t tlpi_row_bytes(tlpi_dtype type, int64_t cols)
{
    const tlpi_dtype_info *info = tlpi_dtype_get(type);

    return (size_t)(cols / info->block) * (size_t)info->size;
}
