/*
 * half.c - 16-bit floats: IEEE binary16 and bfloat16.
 */
#include <string.h>

#include "tensor/tensor.h"

static uint32_t bits_of(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

float tlpi_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t exponent = h >> 10 & 0x1f;
    uint32_t fraction = h & 0x3ff;

    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exactly */
        float f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    if (exponent == 0x1f) /* infinity or NaN */
        return float_of(sign | 0x7f800000 | fraction << 13);
    return float_of(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

uint16_t tlpi_f32_to_f16(float f)
{
    uint32_t u = bits_of(f);
    uint32_t sign = u >> 16 & 0x8000;
    uint32_t a = u & 0x7fffffff;

    if (a > 0x7f800000) /* NaN, made quiet; keeps the top bits of its payload */
        return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x1ff));
    if (a >= 0x47800000) /* at least 2^16 */
        return (uint16_t)(sign | 0x7c00);
    if (a < 0x38800000) {
        /* Below 2^-14 the result is a multiple of 2^-24.  That is the last bit
         * of 0.5, so adding 0.5 rounds the value. */
        return (uint16_t)(sign | (bits_of(float_of(a) + 0.5f) - 0x3f000000));
    }
    /* Add half of the last place, or one bit less if that place is even.  A
     * carry into the exponent, up to infinity, is correct. */
    a += 0xfff + (a >> 13 & 1);
    return (uint16_t)(sign | ((a >> 13) - ((127 - 15) << 10)));
}

float tlpi_bf16_to_f32(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

uint16_t tlpi_f32_to_bf16(float f)
{
    uint32_t u = bits_of(f);

    /* a NaN, which rounding could make infinite */
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
