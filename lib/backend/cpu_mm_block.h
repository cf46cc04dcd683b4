/*
 * cpu_mm_block.h - reading packed blocks (cpu_mm_shape.h) into vectors: levels
 * and scales.
 *
 * Include this after the vectors of an instruction set, which cpu_mm_simd.h
 * names.
 */
#ifndef TLPI_CPU_MM_BLOCK_H
#define TLPI_CPU_MM_BLOCK_H

#define QUANTISED_TYPES(X)                                                     \
    X(Q4_0)                                                                    \
    X(Q4_1)                                                                    \
    X(Q5_0)                                                                    \
    X(Q5_1)                                                                    \
    X(Q8_0)                                                                    \
    X(Q2_K)                                                                    \
    X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_NL) X(IQ4_XS) X(MXFP4)

/* Shift by `up` bits, or down; bits cross from byte to byte. */
ALWAYS_INLINE vi shift(vi v, int up)
{
    return up < 0 ? vi_shr16(v, -up) : up > 0 ? vi_shl16(v, up) : v;
}

/* Quad j of a plane of two bits with them at bit `at`, not masked. */
ALWAYS_INLINE vi load_two(const uint8_t *plane, int j, int at)
{
    return shift(vi_load(plane + 64 * (j / 4)), at - 2 * (j % 4));
}

/* Quad j of a plane of one bit with it at bit `at`, not masked. */
ALWAYS_INLINE vi load_one(const uint8_t *plane, int j, int at)
{
    return shift(vi_load(plane), at - j);
}

/* Quad j of a block's codes as bytes, for the rows from part * LANES on. */
ALWAYS_INLINE vi load_code(tlpi_mm_shape s, const uint8_t *p, int part, int j)
{
    p += 4 * LANES * part;
    if (s.bits == 8)
        return vi_load(p + 64 * j);
    if (s.bits < 4) {
        vi v = vi_and(load_two(p, j, 0), vi_set1_8(3));
        if (s.bits == 3)
            v = vi_or_and(v, load_one(p + 128, j, 2), vi_set1_8(4));
        return v;
    }
    vi v = vi_load(p + 64 * (j % 4));
    v = vi_and(j < 4 ? v : vi_shr16(v, 4), vi_set1_8(15));
    if (s.bits == 5)
        v = vi_or_and(v, load_one(p + 256, j, 4), vi_set1_8(16));
    if (s.bits == 6)
        v = vi_or_and(v, load_two(p + 256, j, 4), vi_set1_8(48));
    return v;
}

/* The levels of the codes. */
ALWAYS_INLINE vi load_level(tlpi_mm_shape s, const uint8_t *p, int part, int j)
{
    vi code = load_code(s, p, part, j);

    if (!s.table)
        return code;
    /* Loops keep this sum in a register. */
    vi table = vi_add8(vi_table(s.table), vi_set1_8((char)(1 << s.zero)));
    return vi_lookup(table, code);
}

/* Factor and offset of a block's levels. */
typedef struct scales {
    vf super_d, super_m; /* valid for 8 blocks */
    vf d;                /* of types with two scales: super_d */
    vf m;                /* for types with one offset per block */
    vi pair;             /* two offsets of 16 bits: of columns 0..15, on top
                            of 16..31; to be multiplied by super_m */
} scales;

ALWAYS_INLINE scales no_scales(void)
{
    vf f = vf_set1(0.0f);
    return (scales){ f, f, f, f, vi_set1(0) };
}

ALWAYS_INLINE void load_super(tlpi_mm_shape s, const uint8_t *p, int part,
                              scales *v)
{
    v->super_d = vf_f16(p + 2 * LANES * part);
    if (s.zero < 0)
        v->super_m = vf_f16(p + 2 * TLPI_GROUP + 2 * LANES * part);
}

/* Scale i of a type with two scales: of columns 0..15, or of 16..31. */
ALWAYS_INLINE vi load_scale(tlpi_mm_shape s, const uint8_t *p, int part, int i)
{
    p += tlpi_mm_code_bytes(s) + TLPI_GROUP * i + LANES * part;
    return tlpi_mm_two_offsets(s) ? vi_and(vi_u8(p), vi_set1(15)) : vi_s8(p);
}

/* Offset i of a type with two offsets. */
ALWAYS_INLINE vi load_offset(tlpi_mm_shape s, const uint8_t *p, int part, int i)
{
    p += tlpi_mm_code_bytes(s) + TLPI_GROUP * i + LANES * part;
    return vi_shr32(vi_u8(p), 4);
}

/* Two integers as 16 bits each. */
ALWAYS_INLINE vi pair_of(vi low, vi high)
{
    return vi_or(vi_and(low, vi_set1(65535)), vi_shl32(high, 16));
}

/* Minus the sums of both halves of the activations, as 16 bits each. */
ALWAYS_INLINE vi sums_pair(const tlpi_xq *x)
{
    uint32_t low = (uint32_t)(x->n - x->n_high), high = (uint32_t)x->n_high;

    return vi_set1((int)((low & 65535) | high << 16));
}

/* 2^(e - 128), which may be subnormal, as the product of two normal floats. */
ALWAYS_INLINE vf load_e8m0(const uint8_t *p)
{
    vi e = vi_u8(p), half = vi_shr32(e, 1), bias = vi_set1(63);
    vi low = vi_add32(half, bias), high = vi_add32(vi_sub32(e, half), bias);

    return vf_mul(vf_bits(vi_shl32(low, 23)), vf_bits(vi_shl32(high, 23)));
}

ALWAYS_INLINE void load_scales(tlpi_mm_shape s, const uint8_t *p, int part,
                               scales *v)
{
    bool affine = s.zero < 0;

    if (s.n_scale == 2) {
        v->d = v->super_d;
        if (affine)
            v->pair =
                pair_of(load_offset(s, p, part, 0), load_offset(s, p, part, 1));
        return;
    }
    p += tlpi_mm_code_bytes(s);
    if (s.e8m0) {
        v->d = load_e8m0(p + LANES * part);
        return;
    }
    if (!s.super) {
        v->d = vf_f16(p + 2 * LANES * part);
        if (affine)
            v->m = vf_f16(p + 2 * TLPI_GROUP + 2 * LANES * part);
        return;
    }
    p += LANES * part;
    v->d = vf_mul(v->super_d, vf_cvt(vi_s8(p))); /* 6 bits */
    if (affine)
        v->m = vf_mul(v->super_m, vf_cvt(vi_s8(p + TLPI_GROUP)));
}

/* acc + m * f; acc - m * f for types with super scales, which store -m. */
ALWAYS_INLINE vf add_m(tlpi_mm_shape s, vf m, vf f, vf acc)
{
    return s.super ? vf_fnma(m, f, acc) : vf_fma(m, f, acc);
}

/* Add the offsets of an affine type times the activations. */
ALWAYS_INLINE vf add_offset(tlpi_mm_shape s, const scales *v, const tlpi_xq *x,
                            vf acc)
{
    if (!tlpi_mm_two_offsets(s))
        return add_m(s, v->m, vf_set1(x->s), acc);
    vi sum = vi_madd16(v->pair, sums_pair(x));
    return vf_fma(vf_mul(v->super_m, vf_set1(x->d)), vf_cvt(sum), acc);
}

#endif
