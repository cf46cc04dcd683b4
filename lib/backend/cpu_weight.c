/*
 * cpu_weight.c - weights of the CPU backend: slice and pack them for the
 * kernels.
 *
 * A rank packs only its slice: rows [r0, r1) and columns [c0, c1) of the
 * file's tensor.  All threads of the rank pack it into the layout of
 * cpu_mm_shape.h.
 */
#include <inttypes.h>
#include <string.h>

#include "backend/cpu_levels.h"
#include "backend/cpu_mm.h"

static uint16_t load16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void store16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

static void store32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

/* ==== writing packed blocks ============================================== */

/* A plane of bit `at` of 32 levels. */
static void put_one(uint8_t *dst, const uint32_t quad[8], int at)
{
    uint32_t bits = 0;

    for (int j = 0; j < 8; j++)
        bits |= (quad[j] >> at & 0x01010101) << j;
    store32(dst, bits);
}

/* A plane of bits `at` and `at` + 1. */
static void put_two(uint8_t *dst, const uint32_t quad[8], int at)
{
    for (int h = 0; h < 2; h++) {
        uint32_t bits = 0;
        for (int j = 0; j < 4; j++)
            bits |= (quad[4 * h + j] >> at & 0x03030303) << 2 * j;
        store32(dst + 64 * h, bits);
    }
}

/* Write 32 levels of row r, four columns at a time. */
static void put_levels(uint8_t *dst, int r, const uint8_t *level, int bits)
{
    uint32_t quad[8];

    for (int j = 0; j < 8; j++)
        quad[j] = load32(level + 4 * j);
    dst += 4 * r;
    if (bits == 8)
        for (int j = 0; j < 8; j++)
            store32(dst + 64 * j, quad[j]);
    else if (bits < 4)
        put_two(dst, quad, 0);
    else
        for (int j = 0; j < 4; j++)
            store32(dst + 64 * j,
                    (quad[j] & 0x0f0f0f0f) | (quad[j + 4] & 0x0f0f0f0f) << 4);
    if (bits == 3)
        put_one(dst + 128, quad, 2);
    if (bits == 5)
        put_one(dst + 256, quad, 4);
    if (bits == 6)
        put_two(dst + 256, quad, 4);
}

/* Write a block of the file as row r of 1 or 8 packed blocks at dst. */
static void put_block(uint8_t *dst, int r, const tlpi_levels *v,
                      tlpi_mm_shape s)
{
    int n_block = s.super ? TLPI_SUPER / TLPI_MM_BLOCK : 1;
    bool affine = s.zero < 0;

    if (s.super) {
        store16(dst + 2 * r, v->d);
        if (affine)
            store16(dst + 2 * TLPI_GROUP + 2 * r, v->m);
        dst += tlpi_mm_super_bytes(s);
    }
    for (int b = 0; b < n_block; b++, dst += tlpi_mm_block_bytes(s)) {
        uint8_t *scale = dst + tlpi_mm_code_bytes(s);
        put_levels(dst, r, v->level + TLPI_MM_BLOCK * b, s.bits);
        if (s.e8m0) {
            scale[r] = (uint8_t)v->d;
        } else if (!s.super) {
            store16(scale + 2 * r, v->d);
            if (affine)
                store16(scale + 2 * TLPI_GROUP + 2 * r, v->m);
        } else {
            for (int i = 0; i < s.n_scale; i++)
                scale[TLPI_GROUP * i + r] = v->sub_d[s.n_scale * b + i];
            if (affine && s.n_scale == 1)
                scale[TLPI_GROUP + r] = v->sub_m[b];
        }
    }
}

/* ==== weights ============================================================ */

enum { PACKS = 8 }; /* tasks of packing, for each thread */

struct packing {
    tlpi_weight *w;
    uint8_t *dst;
    const uint8_t *src; /* first element of the slice */
    size_t stride;      /* bytes from row to row */
    size_t matrix;      /* of a stack: bytes from matrix to matrix */
};

static int depth_of(const tlpi_weight *w)
{
    return TLPI_MAX(w->n_expert, 1);
}

static void pack_group(const struct packing *p, int64_t group)
{
    const tlpi_weight *w = p->w;
    const tlpi_dtype_info *type = tlpi_dtype_get(w->type);
    tlpi_mm_shape shape = tlpi_mm_shape_of(w->type);
    int n_block = type->block / TLPI_MM_BLOCK;
    size_t step = (size_t)(n_block * tlpi_mm_block_bytes(shape) +
                           tlpi_mm_super_bytes(shape));
    int64_t row0 = group * TLPI_GROUP;
    int n_row = (int)TLPI_MIN(w->n_row - row0, (int64_t)TLPI_GROUP);
    const uint8_t *src = p->src + (size_t)row0 * p->stride;
    uint8_t *dst = p->dst + (size_t)group * w->group_bytes;
    tlpi_levels v;

    if (n_row < TLPI_GROUP)
        memset(dst, 0, w->group_bytes);
    for (int64_t b = 0; b < w->n_col / type->block; b++) {
        for (int r = 0; r < n_row; r++) {
            tlpi_levels_read(&v, w->type, src + (size_t)r * p->stride);
            put_block(dst, r, &v, shape);
        }
        src += type->size;
        dst += step;
    }
}

/* Pack F32, F16 or pairs of BF16, 32 at a time, to write whole cache lines. */
static void pack_group_float(const struct packing *p, int64_t group)
{
    const tlpi_weight *w = p->w;
    bool wide = w->type != TLPI_F16;
    size_t row_bytes = tlpi_row_bytes(w->type, w->n_col);
    int64_t n = (int64_t)(row_bytes / (wide ? 4 : 2));
    int64_t row0 = group * TLPI_GROUP;
    int64_t n_row = TLPI_MIN(w->n_row - row0, (int64_t)TLPI_GROUP);
    const uint8_t *src = p->src + (size_t)row0 * p->stride;
    uint8_t *dst = p->dst + (size_t)group * w->group_bytes;

    if (n_row < TLPI_GROUP || w->n_col % TLPI_MM_BLOCK)
        memset(dst, 0, w->group_bytes);
    for (int64_t k0 = 0; k0 < n; k0 += TLPI_MM_BLOCK) {
        int64_t k1 = TLPI_MIN(k0 + TLPI_MM_BLOCK, n);
        for (int64_t r = 0; r < n_row; r++) {
            const uint8_t *row = src + (size_t)r * p->stride;
            for (int64_t k = k0; wide && k < k1; k++)
                store32(dst + 4 * (k * TLPI_GROUP + r), load32(row + 4 * k));
            for (int64_t k = k0; !wide && k < k1; k++)
                store16(dst + 2 * (k * TLPI_GROUP + r), load16(row + 2 * k));
        }
    }
    /* the last column of an odd number makes half a pair */
    bool half = wide && row_bytes % 4;
    for (int64_t r = 0; half && r < n_row; r++)
        store16(dst + 4 * (n * TLPI_GROUP + r),
                load16(src + (size_t)r * p->stride + 4 * n));
}

/* Groups of one matrix. */
static int64_t groups_of(const tlpi_weight *w)
{
    return (w->n_row + TLPI_GROUP - 1) / TLPI_GROUP;
}

/* The groups of all matrices of a stack form one list. */
static void pack(void *arg, int ith, int nth)
{
    const struct packing *p = arg;
    int64_t each = groups_of(p->w), n = each * depth_of(p->w);
    bool quantised = tlpi_mm_shape_of(p->w->type).bits > 0;

    for (int64_t g = n * ith / nth; g < n * (ith + 1) / nth; g++) {
        size_t e = (size_t)(g / each);
        struct packing one = *p;

        one.src += e * p->matrix;
        one.dst += e * (size_t)each * p->w->group_bytes;
        if (quantised)
            pack_group(&one, g % each);
        else
            pack_group_float(&one, g % each);
    }
}

static size_t packed_group_bytes(tlpi_dtype type, int64_t n_col)
{
    tlpi_mm_shape s = tlpi_mm_shape_of(type);
    size_t n = (size_t)n_col;

    if (type == TLPI_BF16)
        n = (n + TLPI_MM_BLOCK - 1) / TLPI_MM_BLOCK * TLPI_MM_BLOCK;
    if (!s.bits)
        return n * TLPI_GROUP * (type == TLPI_F32 ? 4 : 2);
    return n / TLPI_MM_BLOCK * (size_t)tlpi_mm_block_bytes(s) +
           n / TLPI_SUPER * (size_t)tlpi_mm_super_bytes(s);
}

uint64_t tlpi_cpu_packed_size(tlpi_dtype type, int64_t rows, int64_t cols)
{
    uint64_t n_group = (uint64_t)(rows + TLPI_GROUP - 1) / TLPI_GROUP;

    return n_group * packed_group_bytes(type, cols);
}

/* Keep rows as in the file: in place if the slice has whole rows, else
 * copied. */
static tlp_status keep_rows(struct packing *p, tlpi_slab **slab)
{
    tlpi_weight *w = p->w;
    size_t row = tlpi_row_bytes(w->type, w->n_col);
    size_t matrix = (size_t)w->n_row * row;

    w->group_bytes = TLPI_GROUP * row;
    w->n_bytes = (size_t)depth_of(w) * matrix;
    w->data = p->src;
    if (row == p->stride)
        return TLP_OK;
    uint8_t *dst = tlpi_slab_take(w->env, slab, w->n_bytes, &w->home);
    if (!dst)
        return tlpi_fail_nomem_for("packed weights");
    for (int e = 0; e < depth_of(w); e++)
        for (int64_t r = 0; r < w->n_row; r++)
            memcpy(dst + (size_t)e * matrix + (size_t)r * row,
                   p->src + (size_t)e * p->matrix + (size_t)r * p->stride, row);
    w->data = dst;
    p->matrix = matrix;
    return TLP_OK;
}

static tlp_status pack_rows(struct packing *p, tlpi_slab **slab,
                            tlpi_pool *pool)
{
    tlpi_weight *w = p->w;
    size_t n_group = (size_t)groups_of(w) * (size_t)depth_of(w);

    w->group_bytes = packed_group_bytes(w->type, w->n_col);
    if (!tlpi_mul(n_group, w->group_bytes, &w->n_bytes))
        return tlpi_fail_nomem_for("packed weights");
    p->dst = tlpi_slab_take(w->env, slab, w->n_bytes, &w->home);
    if (!p->dst)
        return tlpi_fail_nomem_for("packed weights");
    w->data = p->dst;
    int64_t n_task =
        TLPI_MIN((int64_t)n_group, (int64_t)(PACKS * tlpi_pool_in_use(pool)));
    tlpi_pool_map(pool, (int)n_task, pack, p);
    p->matrix = (size_t)groups_of(w) * w->group_bytes;
    return TLP_OK;
}

/* The matrices of a stack, `matrix` bytes apart. */
static tlp_status list_experts(tlpi_weight *w, size_t matrix)
{
    size_t n = (size_t)w->n_expert;

    if (n == 0)
        return TLP_OK;
    w->expert = tlpi_alloc_array(w->env, n, sizeof *w->expert);
    if (!w->expert)
        return tlpi_fail_nomem_for("packed weights");
    for (size_t e = 0; e < n; e++) {
        w->expert[e] = *w;
        w->expert[e].n_expert = 0;
        w->expert[e].data = w->data + e * matrix;
    }
    return TLP_OK;
}

tlp_status tlpi_cpu_weight_create(tlpi_backend *b, tlpi_weight **out,
                                  const tlpi_tensor *t, int64_t r0, int64_t r1,
                                  int64_t c0, int64_t c1, bool *copied)
{
    tlp_status st = TLP_OK;
    tlpi_cpu *c = tlpi_cpu_of(b);
    const tlpi_dtype_info *type = tlpi_dtype_get(t->type);
    tlpi_weight *w = NULL;

    *out = NULL;
    *copied = false;
    if (!type || r0 < 0 || r0 > r1 || r1 > t->ne[1] || c0 < 0 || c0 > c1 ||
        c1 > t->ne[0] || c0 % type->block || c1 % type->block)
        return tlpi_fail(TLP_EINVAL,
                         "tensor %s: cannot cut rows %" PRId64 "..%" PRId64
                         ", columns %" PRId64 "..%" PRId64,
                         t->name, r0, r1, c0, c1);
    w = tlpi_calloc(b->env, 1, sizeof *w);
    if (!w)
        return tlpi_fail_nomem_for("packed weights");
    w->env = b->env;
    w->type = t->type;
    w->n_row = r1 - r0;
    w->n_col = c1 - c0;
    w->n_expert = t->ne[2] > 1 ? (int)t->ne[2] : 0;
    size_t stride = tlpi_row_bytes(t->type, t->ne[0]);
    struct packing p = { .w = w,
                         .src = (const uint8_t *)t->data + (size_t)r0 * stride +
                                tlpi_row_bytes(t->type, c0),
                         .stride = stride,
                         .matrix = (size_t)t->ne[1] * stride };
    if (c->mm->packed)
        TLP_TRY(pack_rows(&p, &c->slab, c->pool));
    else
        TLP_TRY(keep_rows(&p, &c->slab));
    TLP_TRY(list_experts(w, p.matrix));
    *copied = w->home != NULL;
    *out = w;
    w = NULL;
done:
    tlpi_cpu_weight_free(w);
    return st;
}

void tlpi_cpu_weight_free(void *weight)
{
    tlpi_weight *w = weight;

    if (!w)
        return;
    tlpi_slab_drop(w->home);
    tlpi_free(w->env, w->expert);
    tlpi_free(w->env, w);
}

size_t tlpi_cpu_weight_bytes(const tlpi_weight *w)
{
    return w->n_bytes;
}
