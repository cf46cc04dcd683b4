/*
 * weight.cu - weights on the device: cut for one rank, in their own type.
 *
 * The host splits the file's blocks into the arrays that gpu.h describes, and
 * uploads them in one copy.
 */
#include "gpu.h"
#include "tensor/codebook.h"
#include "tensor/kquant.h"

#include <inttypes.h>

typedef struct weight_shape {
    int block, size;        /* of the file: elements, bytes */
    int unit;               /* elements of a unit */
    int high, scale, super; /* bytes: per 32 elements, per 32, per 256 */
} weight_shape;

static bool shape_of(tlpi_dtype type, weight_shape *out)
{
    switch (type) {
    case TLPI_F32:
        *out = { 1, 4, 4, 0, 0, 0 };
        return true;
    case TLPI_F16:
    case TLPI_BF16:
        *out = { 1, 2, 8, 0, 0, 0 };
        return true;
    case TLPI_Q8_0:
        *out = { 32, 34, 16, 0, 2, 0 };
        return true;
    case TLPI_Q4_0:
        *out = { 32, 18, 32, 0, 2, 0 };
        return true;
    case TLPI_Q4_1:
        *out = { 32, 20, 32, 0, 4, 0 };
        return true;
    case TLPI_Q5_0:
        *out = { 32, 22, 32, 4, 2, 0 };
        return true;
    case TLPI_Q5_1:
        *out = { 32, 24, 32, 4, 4, 0 };
        return true;
    case TLPI_Q2_K: /* levels take four bits */
        *out = { 256, 84, 32, 0, 2, 4 };
        return true;
    case TLPI_Q3_K:
        *out = { 256, 110, 32, 0, 2, 2 };
        return true;
    case TLPI_Q4_K:
        *out = { 256, 144, 32, 0, 2, 4 };
        return true;
    case TLPI_Q5_K:
        *out = { 256, 176, 32, 4, 2, 4 };
        return true;
    case TLPI_Q6_K:
        *out = { 256, 210, 32, 8, 2, 2 };
        return true;
    case TLPI_IQ4_NL:
        *out = { 32, 18, 32, 0, 2, 0 };
        return true;
    case TLPI_IQ4_XS:
        *out = { 256, 136, 32, 0, 1, 2 };
        return true;
    case TLPI_MXFP4:
        *out = { 32, 17, 32, 0, 1, 0 };
        return true;
    }
    return false;
}

/* ==== the file's blocks ================================================== */

/* Where one block of 32 of a row is stored. */
typedef struct weight_place {
    uint8_t *level, *high, *scale, *super;
} weight_place;

static void put_32(tlpi_dtype type, const uint8_t *b, weight_place p)
{
    switch (type) {
    case TLPI_Q8_0:
        memcpy(p.scale, b, 2);
        memcpy(p.level, b + 2, 32);
        break;
    case TLPI_Q4_0:
    case TLPI_IQ4_NL:
        memcpy(p.scale, b, 2);
        memcpy(p.level, b + 2, 16);
        break;
    case TLPI_Q4_1:
        memcpy(p.scale, b, 4);
        memcpy(p.level, b + 4, 16);
        break;
    case TLPI_Q5_0:
        memcpy(p.scale, b, 2);
        memcpy(p.high, b + 2, 4);
        memcpy(p.level, b + 6, 16);
        break;
    case TLPI_MXFP4:
        p.scale[0] = b[0];
        memcpy(p.level, b + 1, 16);
        break;
    default: /* Q5_1 */
        memcpy(p.scale, b, 4);
        memcpy(p.high, b + 4, 4);
        memcpy(p.level, b + 8, 16);
        break;
    }
}

/* Store 32 levels as nibbles in the order of the 32-blocks, and their upper
 * bits. */
static void put_levels(const uint8_t *q, int n_high, weight_place p)
{
    uint32_t high[2] = { 0, 0 };

    for (int i = 0; i < 16; i++)
        p.level[i] = (uint8_t)((q[i] & 15) | q[i + 16] << 4);
    for (int i = 0; n_high == 4 && i < 32; i++)
        high[0] |= (uint32_t)(q[i] >> 4 & 1) << i;
    for (int i = 0; n_high == 8 && i < 32; i++)
        high[i / 16] |= (uint32_t)(q[i] >> 4 & 3) << (2 * (i % 16));
    if (n_high)
        memcpy(p.high, high, (size_t)n_high);
}

/* Bits of levels 32s ... of a block of Q2_K or Q3_K (tensor/kquant.h). */
static void get_low_bits(const uint8_t *two, int s, uint8_t *q)
{
    for (int i = 0; i < 32; i++)
        q[i] = two[s / 4 * 32 + i] >> (2 * (s % 4)) & 3;
}

static void put_q2_k(const uint8_t *b, int s, weight_place p)
{
    uint8_t q[32];

    get_low_bits(b + 16, s, q);
    put_levels(q, 0, p);
    memcpy(p.scale, b + 2 * s, 2);
    if (s == 0)
        memcpy(p.super, b + 80, 4);
}

static void put_q3_k(const uint8_t *b, int s, weight_place p)
{
    uint8_t q[32];
    int8_t scale[16];

    get_low_bits(b + 32, s, q);
    for (int i = 0; i < 32; i++)
        q[i] |= (uint8_t)((b[i] >> s & 1) << 2);
    put_levels(q, 0, p);
    tlpi_q3_k_unpack(b + 96, scale);
    memcpy(p.scale, scale + 2 * s, 2);
    if (s == 0)
        memcpy(p.super, b + 108, 2);
}

/* Sub-block s of the eight in a Q4_K or Q5_K block (tensor/kquant.h). */
static void put_k45(tlpi_dtype type, const uint8_t *b, int s, weight_place p)
{
    const uint8_t *scale = b + 4, *high = b + 16;
    const uint8_t *nib = type == TLPI_Q4_K ? b + 16 : b + 48;
    uint8_t q[32];

    for (int i = 0; i < 32; i++) {
        q[i] = (uint8_t)(nib[s / 2 * 32 + i] >> (s % 2 * 4) & 15);
        if (type == TLPI_Q5_K)
            q[i] |= (uint8_t)((high[i] >> s & 1) << 4);
    }
    put_levels(q, type == TLPI_Q5_K ? 4 : 0, p);
    if (s < 4) {
        p.scale[0] = scale[s] & 63;
        p.scale[1] = scale[s + 4] & 63;
    } else {
        p.scale[0] = (uint8_t)((scale[s + 4] & 15) | scale[s - 4] >> 6 << 4);
        p.scale[1] = (uint8_t)(scale[s + 4] >> 4 | scale[s] >> 6 << 4);
    }
    if (s == 0)
        memcpy(p.super, b, 4);
}

static void put_q6_k(const uint8_t *b, int s, weight_place p)
{
    uint8_t q[32];

    for (int i = 0; i < 32; i++) {
        int half = s / 4, k = s % 4;
        int lo = b[half * 64 + k % 2 * 32 + i] >> (k / 2 * 4) & 15;
        int hi = b[128 + half * 32 + i] >> (2 * k) & 3;
        q[i] = (uint8_t)(lo | hi << 4);
    }
    put_levels(q, 8, p);
    memcpy(p.scale, b + 192 + 2 * s, 2);
    if (s == 0)
        memcpy(p.super, b + 208, 2);
}

static void put_iq4_xs(const uint8_t *b, int s, weight_place p)
{
    int8_t scale[8];

    tlpi_iq4_xs_scales(b, scale);
    memcpy(p.level, b + 8 + 16 * s, 16);
    p.scale[0] = (uint8_t)scale[s];
    if (s == 0)
        memcpy(p.super, b, 2);
}

/* Sub-block s of a block of 256. */
static void put_256(tlpi_dtype type, const uint8_t *b, int s, weight_place p)
{
    switch (type) {
    case TLPI_Q2_K:
        put_q2_k(b, s, p);
        break;
    case TLPI_Q3_K:
        put_q3_k(b, s, p);
        break;
    case TLPI_Q6_K:
        put_q6_k(b, s, p);
        break;
    case TLPI_IQ4_XS:
        put_iq4_xs(b, s, p);
        break;
    default:
        put_k45(type, b, s, p);
        break;
    }
}

static void put_row(const tlpi_weight *w, weight_shape s, const uint8_t *src,
                    int64_t row, uint8_t *const base[4])
{
    int64_t n = w->n_block;

    for (int64_t i = 0; i < n; i++) {
        int64_t at = row * n + i;
        weight_place p = { base[0] + 16 * (row * w->n_unit + i * (32 / s.unit)),
                           base[1] + s.high * at, base[2] + s.scale * at,
                           base[3] + s.super * (row * (n / 8) + i / 8) };
        if (s.block == 32)
            put_32(w->type, src + i * s.size, p);
        else
            put_256(w->type, src + i / 8 * s.size, (int)(i % 8), p);
    }
}

/* ==== weights ============================================================ */

static size_t round16(size_t n)
{
    return (n + 15) / 16 * 16;
}

/* Compute the sizes and offsets of the arrays. */
static void lay_out(tlpi_weight *w, weight_shape s, int64_t rows, int64_t cols,
                    size_t at[4])
{
    w->n_row = rows;
    w->n_col = cols;
    w->n_unit = tlpi_ceil_div(cols, s.unit);
    w->n_block = s.block == 1 ? 0 : cols / 32;

    size_t n_row = (size_t)rows, blocks = n_row * (size_t)w->n_block;

    at[0] = 0;
    at[1] = 16 * n_row * (size_t)w->n_unit;
    at[2] = at[1] + round16(blocks * (size_t)s.high);
    at[3] = at[2] + round16(blocks * (size_t)s.scale);
    w->n_bytes = at[3] + round16(blocks / 8 * (size_t)s.super);
}

uint64_t tlpi_gpu_weight_size(tlpi_dtype type, int64_t rows, int64_t cols)
{
    tlpi_weight w = {};
    size_t at[4];
    weight_shape s;

    if (!shape_of(type, &s))
        return 0; /* the weight cannot be created */
    lay_out(&w, s, rows, cols, at);
    return w.n_bytes;
}

static tlp_status upload(tlpi_gpu *g, tlpi_weight *w, weight_shape s,
                         const size_t at[4], const uint8_t *src, size_t stride)
{
    tlp_status st = TLP_OK;

    uint8_t *host = (uint8_t *)tlpi_gpu_alloc(w->env, w->n_bytes);
    if (!host)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    uint8_t *base[4] = { host, host + at[1], host + at[2], host + at[3] };
    for (int64_t r = 0; r < w->n_row; r++) {
        const uint8_t *row = src + (size_t)r * stride;
        if (w->n_block)
            put_row(w, s, row, r, base);
        else
            memcpy(host + 16 * r * w->n_unit, row, (size_t)(w->n_col * s.size));
    }
    st = tlpi_gpu_status(cudaMalloc(&w->level, w->n_bytes ? w->n_bytes : 16),
                         "weights");
    if (st == TLP_OK) {
        w->high = w->level + at[1];
        w->scale = w->level + at[2];
        w->super = w->level + at[3];
        st = tlpi_gpu_upload(g, w->level, host, w->n_bytes, "weights");
    }
    tlpi_gpu_free(w->env, host, w->n_bytes);
    return st;
}

tlp_status tlpi_gpu_weight_create(tlpi_backend *b, tlpi_weight **out,
                                  const tlpi_tensor *t, int64_t r0, int64_t r1,
                                  int64_t c0, int64_t c1, bool *copied)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    size_t at[4];
    weight_shape s;

    *out = NULL;
    *copied = false;
    if (!shape_of(t->type, &s) || r0 < 0 || r0 > r1 || r1 > t->ne[1] ||
        c0 < 0 || c0 > c1 || c1 > t->ne[0] || c0 % s.block || c1 % s.block ||
        r1 - r0 > INT32_MAX || c1 - c0 > INT32_MAX)
        return tlpi_gpu_fail(TLP_EINVAL,
                             "tensor %s: cannot cut rows %" PRId64 "..%" PRId64
                             ", columns %" PRId64 "..%" PRId64,
                             t->name, r0, r1, c0, c1);
    tlpi_weight *w = (tlpi_weight *)tlpi_gpu_alloc(b->env, sizeof *w);
    if (!w)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    tlpi_gpu_use(g);
    w->env = b->env;
    w->device = g->device;
    w->type = t->type;
    lay_out(w, s, r1 - r0, c1 - c0, at);
    size_t stride = (size_t)(t->ne[0] / s.block) * (size_t)s.size;
    const uint8_t *src = (const uint8_t *)t->data + (size_t)r0 * stride +
                         (size_t)(c0 / s.block) * (size_t)s.size;
    tlp_status st = upload(g, w, s, at, src, stride);
    if (st != TLP_OK) {
        tlpi_gpu_weight_free(w);
        return st;
    }
    *copied = true;
    *out = w;
    return TLP_OK;
}

/* Any thread may call, with any current device. */
void tlpi_gpu_weight_free(void *weight)
{
    tlpi_weight *w = (tlpi_weight *)weight;
    int before = -1;

    if (!w)
        return;
    (void)cudaGetDevice(&before);
    (void)cudaSetDevice(w->device);
    (void)cudaFree(w->level);
    if (before >= 0)
        (void)cudaSetDevice(before);
    tlpi_gpu_free(w->env, w, sizeof *w);
}

size_t tlpi_gpu_weight_bytes(const tlpi_weight *w)
{
    return w->n_bytes;
}
