/*
 * emu_math.h - CUDA's arithmetic for single threads.
 *
 * Functions round as their names say.  The fast approximations (__expf etc.)
 * are libm's functions, which are more exact than a device's.
 */
#ifndef EMU_MATH_H
#define EMU_MATH_H

#include <cmath>
#include <cstdint>
#include <cstring>

#include "emu_vectors.h"

/* ==== bits =============================================================== */

template <class To, class From>
static inline To emu_bits(From v)
{
    static_assert(sizeof(To) == sizeof(From), "same size");
    To out;
    memcpy(&out, &v, sizeof out);
    return out;
}

static inline float __int_as_float(int v)
{
    return emu_bits<float>(v);
}

static inline float __uint_as_float(unsigned v)
{
    return emu_bits<float>(v);
}

static inline int __float_as_int(float v)
{
    return emu_bits<int>(v);
}

static inline unsigned __float_as_uint(float v)
{
    return emu_bits<unsigned>(v);
}

static inline double __longlong_as_double(long long v)
{
    return emu_bits<double>(v);
}

static inline long long __double_as_longlong(double v)
{
    return emu_bits<long long>(v);
}

static inline int __clz(int v)
{
    return v ? __builtin_clz((unsigned)v) : 32;
}

static inline int __ffs(int v)
{
    return __builtin_ffs(v);
}

static inline int __popc(unsigned v)
{
    return __builtin_popcount(v);
}

static inline int __popcll(unsigned long long v)
{
    return __builtin_popcountll(v);
}

static inline int __clzll(long long v)
{
    return v ? __builtin_clzll((unsigned long long)v) : 64;
}

static inline unsigned __brev(unsigned v)
{
    unsigned r = 0;
    for (int i = 0; i < 32; i++)
        r |= (v >> i & 1u) << (31 - i);
    return r;
}

/* Byte i of the result is byte s[4i..4i+2] of {x, y}, or its sign. */
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s)
{
    uint64_t both = (uint64_t)y << 32 | x;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        unsigned select = s >> (4 * i) & 0xf;
        unsigned byte = (unsigned)(both >> (8 * (select & 7))) & 0xff;
        if (select & 8)
            byte = byte & 0x80 ? 0xff : 0;
        r |= byte << (8 * i);
    }
    return r;
}

static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned n)
{
    uint64_t both = (uint64_t)hi << 32 | lo;
    return (unsigned)(both << (n & 31) >> 32);
}

static inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned n)
{
    uint64_t both = (uint64_t)hi << 32 | lo;
    return (unsigned)(both >> (n & 31));
}

/* ==== integers =========================================================== */

static inline int __mul24(int a, int b)
{
    return (a << 8 >> 8) * (b << 8 >> 8);
}

static inline int __mulhi(int a, int b)
{
    return (int)((int64_t)a * b >> 32);
}

static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}

/* c + sum of the products of four signed or unsigned bytes */
static inline int __dp4a(int a, int b, int c)
{
    for (int i = 0; i < 32; i += 8)
        c += (int8_t)(a >> i) * (int8_t)(b >> i);
    return c;
}

static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int i = 0; i < 32; i += 8)
        c += (a >> i & 0xff) * (b >> i & 0xff);
    return c;
}

/* Four bytes, one operation each. */
#define EMU_BYTES(name, type, expr)                                            \
    static inline unsigned name(unsigned a, unsigned b)                        \
    {                                                                          \
        unsigned r = 0;                                                        \
        for (int i = 0; i < 32; i += 8) {                                      \
            int x = (type)(a >> i), y = (type)(b >> i);                        \
            r |= ((unsigned)(expr)&0xff) << i;                                 \
        }                                                                      \
        return r;                                                              \
    }

EMU_BYTES(__vadd4, int8_t, x + y)
EMU_BYTES(__vsub4, int8_t, x - y)
EMU_BYTES(__vsubss4, int8_t, x - y > 127 ? 127 : x - y < -128 ? -128 : x - y)
EMU_BYTES(__vaddss4, int8_t, x + y > 127 ? 127 : x + y < -128 ? -128 : x + y)
EMU_BYTES(__vmaxs4, int8_t, x > y ? x : y)
EMU_BYTES(__vmins4, int8_t, x < y ? x : y)
EMU_BYTES(__vcmpeq4, uint8_t, x == y ? 0xff : 0)
EMU_BYTES(__vcmpne4, uint8_t, x != y ? 0xff : 0)
EMU_BYTES(__vcmpgtu4, uint8_t, x > y ? 0xff : 0)

#undef EMU_BYTES

/* CUDA has these without std::, also for mixed types. */
#define EMU_MIN_MAX(T)                                                         \
    static inline T min(T a, T b)                                              \
    {                                                                          \
        return b < a ? b : a;                                                  \
    }                                                                          \
    static inline T max(T a, T b)                                              \
    {                                                                          \
        return a < b ? b : a;                                                  \
    }

EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)

#undef EMU_MIN_MAX

static inline float min(float a, float b)
{
    return fminf(a, b);
}

static inline float max(float a, float b)
{
    return fmaxf(a, b);
}

static inline double min(double a, double b)
{
    return fmin(a, b);
}

static inline double max(double a, double b)
{
    return fmax(a, b);
}

/* ==== floats ============================================================= */

#define EMU_UNARY(name, expr)                                                  \
    static inline float name(float x)                                          \
    {                                                                          \
        return expr;                                                           \
    }
#define EMU_BINARY(name, expr)                                                 \
    static inline float name(float x, float y)                                 \
    {                                                                          \
        return expr;                                                           \
    }

EMU_UNARY(rsqrtf, 1 / sqrtf(x))
EMU_UNARY(__frsqrt_rn, 1 / sqrtf(x))
EMU_UNARY(__frcp_rn, 1 / x)
EMU_UNARY(__fsqrt_rn, sqrtf(x))
EMU_UNARY(__saturatef, x > 0 ? (x < 1 ? x : 1) : 0)
EMU_BINARY(__fadd_rn, x + y)
EMU_BINARY(__fsub_rn, x - y)
EMU_BINARY(__fmul_rn, x *y)
EMU_BINARY(__fdiv_rn, x / y)
EMU_BINARY(__fdividef, x / y)
EMU_BINARY(fdividef, x / y)

/* glibc declares these names and does not define them. */
#define __expf(x) expf(x)
#define __exp10f(x) powf(10.0f, x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __sincosf(x, s, c) sincosf(x, s, c)
#define __powf(x, y) powf(x, y)

#undef EMU_UNARY
#undef EMU_BINARY

static inline float __fmaf_rn(float x, float y, float z)
{
    return fmaf(x, y, z);
}

static inline double rsqrt(double x)
{
    return 1 / sqrt(x);
}

/* Values out of range become the nearest integer, NaN becomes 0, as in
 * cvt.sat. */
static inline int emu_to_int(float x)
{
    if (x != x)
        return 0;
    return x >= 2147483648.0f    ? INT32_MAX
           : x <= -2147483648.0f ? INT32_MIN
                                 : (int)x;
}

static inline int __float2int_rn(float x)
{
    return emu_to_int(rintf(x));
}

static inline int __float2int_rz(float x)
{
    return emu_to_int(truncf(x));
}

static inline int __float2int_rd(float x)
{
    return emu_to_int(floorf(x));
}

static inline int __float2int_ru(float x)
{
    return emu_to_int(ceilf(x));
}

static inline float __int2float_rn(int x)
{
    return (float)x;
}

static inline float __uint2float_rn(unsigned x)
{
    return (float)x;
}

#endif
