/*
 * emu_small.h - common code of __half and __nv_bfloat16.  Both round to
 * nearest even and compute in float; for one operation on two halves this
 * rounds to equal results.
 */
#ifndef EMU_SMALL_H
#define EMU_SMALL_H

#include "emu_math.h"

static inline float emu_half_value(unsigned short h)
{
    /* put exponent and mantissa in place, then correct the exponent's bias:
     * exact for subnormal numbers too */
    float f = emu_bits<float>((unsigned)(h & 0x7fff) << 13) * 0x1p112f;
    unsigned u = emu_bits<unsigned>(f);

    if ((h & 0x7c00) == 0x7c00)
        u |= 0x7f800000u;
    return emu_bits<float>(u | (unsigned)(h & 0x8000) << 16);
}

static inline unsigned short emu_half_bits(float f)
{
    unsigned u = emu_bits<unsigned>(f);
    unsigned short sign = (unsigned short)(u >> 16 & 0x8000);
    float a = emu_bits<float>(u & 0x7fffffffu);

    if (a != a)
        return 0x7fff;
    if (a >= 65520.0f)
        return (unsigned short)(sign | 0x7c00);
    if (a < 0x1p-14f) /* subnormal: the unit is 2^-24 */
        return (unsigned short)(sign | (unsigned)rintf(a * 0x1p24f));
    u = emu_bits<unsigned>(a);
    u += 0xfff + (u >> 13 & 1); /* round, ties to even */
    return (unsigned short)(sign | ((u >> 13) - (112u << 10)));
}

static inline float emu_bf16_value(unsigned short h)
{
    return emu_bits<float>((unsigned)h << 16);
}

static inline unsigned short emu_bf16_bits(float f)
{
    unsigned u = emu_bits<unsigned>(f);

    if (f != f)
        return 0x7fff;
    return (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/*
 * T is one number, T2 two; `value` and `bits` convert.  Functions with the
 * type in their name are at the end of the headers.
 */
#define EMU_SMALL(T, T2, value, bits)                                          \
    struct T {                                                                 \
        unsigned short emu;                                                    \
        T() = default;                                                         \
        T(float f) : emu(bits(f))                                              \
        {                                                                      \
        }                                                                      \
        operator float() const                                                 \
        {                                                                      \
            return value(emu);                                                 \
        }                                                                      \
    };                                                                         \
    struct alignas(4) T2 {                                                     \
        T x, y;                                                                \
    };                                                                         \
    static inline T __hadd(T a, T b)                                           \
    {                                                                          \
        return T((float)a + (float)b);                                         \
    }                                                                          \
    static inline T __hsub(T a, T b)                                           \
    {                                                                          \
        return T((float)a - (float)b);                                         \
    }                                                                          \
    static inline T __hmul(T a, T b)                                           \
    {                                                                          \
        return T((float)a * (float)b);                                         \
    }                                                                          \
    static inline T __hdiv(T a, T b)                                           \
    {                                                                          \
        return T((float)a / (float)b);                                         \
    }                                                                          \
    static inline T __hneg(T a)                                                \
    {                                                                          \
        return T(-(float)a);                                                   \
    }                                                                          \
    static inline T __hmax(T a, T b)                                           \
    {                                                                          \
        return T(fmaxf(a, b));                                                 \
    }                                                                          \
    static inline T __hmin(T a, T b)                                           \
    {                                                                          \
        return T(fminf(a, b));                                                 \
    }                                                                          \
    /* a product of two numbers is exact in double, and so is nearly every     \
     * sum */                                                                  \
    static inline T __hfma(T a, T b, T c)                                      \
    {                                                                          \
        return T(                                                              \
            (float)((double)(float)a * (double)(float)b + (double)(float)c));  \
    }                                                                          \
    static inline T2 __hadd2(T2 a, T2 b)                                       \
    {                                                                          \
        return { __hadd(a.x, b.x), __hadd(a.y, b.y) };                         \
    }                                                                          \
    static inline T2 __hsub2(T2 a, T2 b)                                       \
    {                                                                          \
        return { __hsub(a.x, b.x), __hsub(a.y, b.y) };                         \
    }                                                                          \
    static inline T2 __hmul2(T2 a, T2 b)                                       \
    {                                                                          \
        return { __hmul(a.x, b.x), __hmul(a.y, b.y) };                         \
    }                                                                          \
    static inline T2 __hfma2(T2 a, T2 b, T2 c)                                 \
    {                                                                          \
        return { __hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y) };               \
    }                                                                          \
    static inline float __low2float(T2 a)                                      \
    {                                                                          \
        return a.x;                                                            \
    }                                                                          \
    static inline float __high2float(T2 a)                                     \
    {                                                                          \
        return a.y;                                                            \
    }

#endif
