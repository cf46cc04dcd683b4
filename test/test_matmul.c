/*
 * test_matmul.c - matmuls of every instruction set and tensor type.
 *
 * The reference is a double-precision product with tlpi_dequantize'd weights,
 * which shares nothing with the packed layouts.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/random_weights.h"

TestSuite(matmul, .timeout = 120);

/* How activations may be rounded where they meet a weight. */
enum rounding { NONE, TO_8_BITS, TO_BF16 };

/* In default compute; to bf16 only where the machine has instructions for it,
 * which bf16_activations_are_rounded_or_not tells apart. */
static enum rounding rounding_of(tlpi_dtype type)
{
    return type == TLPI_BF16                 ? TO_BF16
           : tlpi_dtype_get(type)->block > 1 ? TO_8_BITS
                                             : NONE;
}

/* ==== reference ========================================================== */

/* Half a step of an 8-bit block: how far quantising may move each of x. */
static double half_step(const float *x)
{
    float max = 0.0f;
    for (int i = 0; i < 32; i++)
        max = fmaxf(max, fabsf(x[i]));
    return (double)max / 254.0;
}

/* The product, and how far from it the result may lie. */
static double exact(const float *w, const float *x, int64_t n,
                    enum rounding rounding, double *tol)
{
    double sum = 0.0, abs = 0.0, lost = 0.0;
    double step = 0.0;
    for (int64_t i = 0; i < n; i++) {
        if (rounding == TO_8_BITS && i % 32 == 0)
            step = half_step(x + i);
        if (rounding == TO_BF16) /* half of the last of 8 binary places */
            step = fabs((double)x[i]) / 256.0;
        sum += (double)w[i] * (double)x[i];
        abs += fabs((double)w[i] * (double)x[i]);
        lost += fabs((double)w[i]) * step;
    }
    *tol = 1e-5 * abs + 1.001 * lost + 1e-30;
    return sum;
}

/* ==== single products ==================================================== */

static void check_product(tlpi_backend *b, const char *isa, bool f32,
                          const tlpi_tensor *t, const int64_t cut[4])
{
    static const int n_toks[] = { 1,  2,  3,  4,  5,  6,  7,  8,  9,
                                  10, 11, 12, 13, 14, 15, 16, 17, 64 };
    int64_t rows = cut[1] - cut[0], cols = cut[3] - cut[2];
    tlpi_weight *w = weigh(b, t, cut[0], cut[1], cut[2], cut[3]);
    float *wf = tensor_floats(t), *x = random_floats((size_t)(64 * cols));
    float *y = malloc((size_t)(64 * rows) * sizeof *y);
    enum rounding rounding = f32 ? NONE : rounding_of(t->type);

    for (size_t i = 0; i < TLPI_COUNT(n_toks); i++) {
        multiply(b, w, x, n_toks[i], y);
        for (int64_t k = 0; k < n_toks[i] * rows; k++) {
            double tol,
                want = exact(wf + (cut[0] + k % rows) * t->ne[0] + cut[2],
                             x + k / rows * cols, cols, rounding, &tol);
            cr_assert(fabs((double)y[k] - want) <= tol,
                      "%s %s f32=%d n_tok %d token %d row %d: %g, not %g +-%g",
                      isa, tlpi_dtype_name(t->type), f32, n_toks[i],
                      (int)(k / rows), (int)(k % rows), (double)y[k], want,
                      tol);
        }
    }
    b->ops->weight_free(w);
    free(wf);
    free(x);
    free(y);
}

static void check_isa(int isa, const char *name)
{
    for (int f32 = 0; f32 < 2; f32++) {
        tlpi_backend *b = weights_backend(isa, f32, 2);
        for (size_t i = 0; b && i < WEIGHTS_N_TYPE; i++) {
            tlpi_tensor t = random_tensor(weights_type[i], 53, 768);
            check_product(b, name, f32, &t, (int64_t[]){ 0, 48, 0, 768 });
            check_product(b, name, f32, &t, (int64_t[]){ 3, 53, 0, 768 });
            check_product(b, name, f32, &t, (int64_t[]){ 7, 8, 256, 512 });
            tensor_free(&t);
        }
        /* Columns that are no multiple of 32, where blocks allow it. */
        for (size_t i = 0; b && i < 3; i++) {
            tlpi_tensor t = random_tensor(weights_type[i], 19, 75);
            check_product(b, name, f32, &t, (int64_t[]){ 0, 19, 0, 75 });
            check_product(b, name, f32, &t, (int64_t[]){ 1, 18, 33, 52 });
            tensor_free(&t);
        }
        if (b)
            b->ops->free(b);
    }
}

Test(matmul, scalar_is_exact)
{
    check_isa(TLP_ISA_SCALAR, "scalar");
}

Test(matmul, avx2_is_exact)
{
    check_isa(TLP_ISA_AVX2, "avx2");
}

Test(matmul, avx512_is_exact)
{
    check_isa(TLP_ISA_AVX512, "avx512");
}

Test(matmul, amx_is_exact)
{
    check_isa(TLP_ISA_AMX, "amx");
}

/*
 * A machine either rounds all activations that meet BF16 weights, to nearest
 * even, or none: the product is that of the rounded ones bit for bit, or that
 * of the others to f32's accuracy.  Of rounded ones it is always accurate.
 */
static void check_bf16(int isa, const char *name, int64_t cols)
{
    enum { ROWS = 37, TOKENS = 11 };
    tlpi_backend *b = weights_backend(isa, TLP_COMPUTE_DEFAULT, 2);
    tlpi_tensor t = random_tensor(TLPI_BF16, ROWS, cols);
    float *wf = tensor_floats(&t), *x = random_floats((size_t)(TOKENS * cols));
    float *xr = malloc((size_t)(TOKENS * cols) * sizeof *xr);
    float y[ROWS * TOKENS], z[ROWS * TOKENS];

    x[0] = 1.00390625f; /* ties: to 1 and, */
    x[1] = 1.01171875f; /* upwards, to 1.015625 */
    for (int64_t i = 0; i < TOKENS * cols; i++)
        xr[i] = tlpi_bf16_to_f32(tlpi_f32_to_bf16(x[i]));
    if (b) {
        tlpi_weight *w = weigh_all(b, &t);
        multiply(b, w, x, TOKENS, y);
        multiply(b, w, xr, TOKENS, z);
        b->ops->weight_free(w);
        b->ops->free(b);
    }
    bool rounds = b && !memcmp(y, z, sizeof y);
    for (int64_t k = 0; b && k < ROWS * TOKENS; k++) {
        const float *row = wf + k % ROWS * cols;
        int64_t at = k / ROWS * cols;
        double tol, want = exact(row, xr + at, cols, NONE, &tol);
        cr_assert(fabs((double)z[k] - want) <= tol,
                  "%s token %d row %d: %g, not %g +-%g", name, (int)(k / ROWS),
                  (int)(k % ROWS), (double)z[k], want, tol);
        want = exact(row, x + at, cols, NONE, &tol);
        cr_assert(rounds || fabs((double)y[k] - want) <= tol,
                  "%s token %d row %d, unrounded: %g, not %g +-%g", name,
                  (int)(k / ROWS), (int)(k % ROWS), (double)y[k], want, tol);
    }
    free(wf);
    free(x);
    free(xr);
    tensor_free(&t);
}

Test(matmul, bf16_activations_are_rounded_or_not)
{
    for (size_t i = 0; i < WEIGHTS_N_ISA; i++) {
        check_bf16(weights_isa[i], weights_isa_name[i], 768);
        check_bf16(weights_isa[i], weights_isa_name[i], 75);
        check_bf16(weights_isa[i], weights_isa_name[i], 33);
        check_bf16(weights_isa[i], weights_isa_name[i], 2);
    }
}

/* ==== against the scalar table =========================================== */

/* Scales are written as f16 at these places of a block; -1: none.  The scale of
 * MXFP4 is one byte. */
static void scale_places(tlpi_dtype type, int *d, int *m)
{
    *d = type == TLPI_Q2_K    ? 80
         : type == TLPI_Q3_K  ? 108
         : type == TLPI_Q6_K  ? 208
         : type == TLPI_MXFP4 ? -1
                              : 0;
    *m = type == TLPI_Q2_K ? 82
         : type == TLPI_Q4_1 || type == TLPI_Q5_1 || type == TLPI_Q4_K ||
                 type == TLPI_Q5_K
             ? 2
             : -1;
}

/* Blocks of arbitrary levels and sub-scales, with the hardest of scales. */
static tlpi_tensor hard_tensor(tlpi_dtype type, int64_t rows, int64_t cols)
{
    static const uint16_t hard[] = { 0x0000, 0x8000, 0x0001, 0x83ff, 0x0400,
                                     0x3c00, 0xbc00, 0x7bff, 0xfbff, 0x2e66 };
    static const uint8_t hard_e8m0[] = { 0, 1, 2, 96, 127, 128, 160, 177 };
    tlpi_tensor t = random_tensor(type, rows, cols);
    const tlpi_dtype_info *info = tlpi_dtype_get(type);
    uint8_t *block = (uint8_t *)t.data;
    int at_d, at_m;

    scale_places(type, &at_d, &at_m);
    for (size_t b = 0; b < t.n_bytes / (size_t)info->size; b++) {
        uint32_t kind = random_bits() % 4;
        for (int i = 0; i < info->size; i++)
            block[i] = kind == 0 ? 0 : kind == 1 ? 255 : (uint8_t)random_bits();
        if (at_d >= 0)
            memcpy(block + at_d, &hard[random_bits() % TLPI_COUNT(hard)], 2);
        else
            block[0] = hard_e8m0[random_bits() % TLPI_COUNT(hard_e8m0)];
        if (at_m >= 0)
            memcpy(block + at_m, &hard[random_bits() % TLPI_COUNT(hard)], 2);
        block += info->size;
    }
    return t;
}

/* Blocks that saturate 8 bits, vanish, or are very large or small. */
static float *hard_floats(size_t n)
{
    static const float scale[] = { 0.0f,   1.0f,   -1.0f, 1e-44f,
                                   1e-37f, 1e-30f, 1e20f, 3.0f };
    float *x = random_floats(n);
    for (size_t i = 0; i < n; i += 32) {
        uint32_t kind = random_bits() % 3;
        float f = scale[random_bits() % TLPI_COUNT(scale)];
        for (size_t k = i; k < i + 32; k++)
            x[k] = f * (kind == 0 ? 1.0f : kind == 1 && k % 2 ? -1.0f : x[k]);
    }
    return x;
}

/* What rounding errors are measured by: in every block the largest |w| and |x|,
 * since d * level and m may cancel in a single value. */
static double magnitude(const float *w, const float *x, int64_t n)
{
    double sum = 0.0;
    for (int64_t b = 0; b < n; b += 32) {
        double max_w = 0.0, max_x = 0.0;
        for (int64_t i = b; i < b + 32; i++) {
            max_w = fmax(max_w, fabs((double)w[i]));
            max_x = fmax(max_x, fabs((double)x[i]));
        }
        sum += 32.0 * max_w * max_x;
    }
    return sum;
}

static void check_hard(int isa, const char *name, bool f32)
{
    enum { ROWS = 37, COLS = 768, TOKENS = 11 };
    tlpi_backend *b = weights_backend(isa, f32, 2);
    tlpi_backend *oracle = weights_backend(TLP_ISA_SCALAR, f32, 1);

    for (size_t i = 3; b && i < WEIGHTS_N_TYPE; i++) {
        tlpi_tensor t = hard_tensor(weights_type[i], ROWS, COLS);
        float *x = hard_floats(TOKENS * COLS), *wf = tensor_floats(&t);
        tlpi_weight *w = weigh_all(b, &t), *v = weigh_all(oracle, &t);
        float y[ROWS * TOKENS], z[ROWS * TOKENS];
        multiply(b, w, x, TOKENS, y);
        multiply(oracle, v, x, TOKENS, z);
        for (int k = 0; k < ROWS * TOKENS; k++) {
            double tol = 2e-6 * magnitude(wf + k % ROWS * COLS,
                                          x + k / ROWS * COLS, COLS);
            cr_assert(isfinite(y[k]) && isfinite(z[k]));
            cr_assert(fabs((double)y[k] - (double)z[k]) <= tol + 1e-37,
                      "%s %s f32=%d token %d row %d: %g, scalar %g, +-%g", name,
                      tlpi_dtype_name(weights_type[i]), f32, k / ROWS, k % ROWS,
                      (double)y[k], (double)z[k], tol);
        }
        b->ops->weight_free(w);
        b->ops->weight_free(v);
        free(x);
        free(wf);
        tensor_free(&t);
    }
    oracle->ops->free(oracle);
    if (b)
        b->ops->free(b);
}

Test(matmul, hard_blocks_agree_with_scalar)
{
    for (size_t i = 1; i < WEIGHTS_N_ISA; i++) {
        check_hard(weights_isa[i], weights_isa_name[i], false);
        check_hard(weights_isa[i], weights_isa_name[i], true);
    }
}

/* ==== against AVX-512 ==================================================== */

/* Sums of 8-bit products are exact in both, and become floats in one order. */
static void check_amx(tlpi_backend *amx, tlpi_backend *avx,
                      const tlpi_tensor *t, const float *x)
{
    enum { ROWS = 37 };
    tlpi_weight *w = weigh_all(amx, t), *v = weigh_all(avx, t);
    float y[ROWS * 40], z[ROWS * 40];

    for (int n_tok = 1; n_tok <= 40; n_tok++) {
        multiply(amx, w, x, n_tok, y);
        multiply(avx, v, x, n_tok, z);
        cr_assert_arr_eq(y, z, sizeof *y * (size_t)(n_tok * ROWS),
                         "%s, %d tokens: other bits than AVX-512",
                         tlpi_dtype_name(t->type), n_tok);
    }
    amx->ops->weight_free(w);
    avx->ops->weight_free(v);
}

Test(matmul, amx_has_the_bits_of_avx512)
{
    tlpi_backend *amx = weights_backend(TLP_ISA_AMX, TLP_COMPUTE_DEFAULT, 2);
    tlpi_backend *avx =
        amx ? weights_backend(TLP_ISA_AVX512, TLP_COMPUTE_DEFAULT, 2) : NULL;

    for (size_t i = 3; amx && i < WEIGHTS_N_TYPE; i++) {
        tlpi_tensor t = random_tensor(weights_type[i], 37, 768);
        tlpi_tensor hard = hard_tensor(weights_type[i], 37, 768);
        float *x = random_floats(40 * 768), *hard_x = hard_floats(40 * 768);
        check_amx(amx, avx, &t, x);
        check_amx(amx, avx, &hard, hard_x);
        free(x);
        free(hard_x);
        tensor_free(&t);
        tensor_free(&hard);
    }
    if (amx) {
        amx->ops->free(amx);
        avx->ops->free(avx);
    }
}

/* ==== groups ============================================================= */

/* Two items: three terms of different types, scales and columns, added to y
 * with a bias; and one plain term that shares an x. */
static void check_group(tlpi_backend *b, const char *isa, tlpi_dtype plain,
                        int n_tok)
{
    enum { ROWS = 70, OTHER = 33 };
    tlpi_tensor t[] = { random_tensor(TLPI_Q4_1, ROWS, 256),
                        random_tensor(TLPI_Q6_K, ROWS, 512),
                        random_tensor(TLPI_F16, ROWS, 75),
                        random_tensor(plain, OTHER, 256) };
    static const float scale[] = { 1.0f, -0.75f, 3.0f, 0.5f };
    float *x[4], *wf[4], *bias = random_floats(ROWS);
    float *y = random_floats((size_t)(n_tok * ROWS));
    float *y0 = malloc((size_t)(n_tok * ROWS) * sizeof *y0);
    float *z = random_floats((size_t)(n_tok * OTHER));
    tlpi_term term[4];

    memcpy(y0, y, (size_t)(n_tok * ROWS) * sizeof *y);
    for (int j = 0; j < 4; j++) {
        x[j] = j == 3 ? x[0] : random_floats((size_t)(n_tok * t[j].ne[0]));
        wf[j] = tensor_floats(&t[j]);
        term[j] =
            (tlpi_term){ weigh_all(b, &t[j]), x[j], scale[j], NULL, NULL };
    }
    tlpi_matmul item[] = { { term, 3, bias, true, y },
                           { term + 3, 1, NULL, false, z } };
    b->ops->matmul(b, n_tok, item, 2);
    for (int k = 0; k < n_tok * (ROWS + OTHER); k++) {
        bool first = k < n_tok * ROWS;
        int i = first ? k : k - n_tok * ROWS, rows = first ? ROWS : OTHER;
        double want = first ? (double)y0[i] + (double)bias[i % rows] : 0.0;
        double tol = 1e-6 * fabs(want), more;
        for (int j = first ? 0 : 3; j < (first ? 3 : 4); j++) {
            want += (double)scale[j] * exact(wf[j] + i % rows * t[j].ne[0],
                                             x[j] + i / rows * t[j].ne[0],
                                             t[j].ne[0], rounding_of(t[j].type),
                                             &more);
            tol += fabs((double)scale[j]) * more;
        }
        double got = (double)(first ? y[i] : z[i]);
        cr_assert(fabs(got - want) <= tol,
                  "%s n_tok %d item %d token %d row %d: %g, not %g +-%g", isa,
                  n_tok, !first, i / rows, i % rows, got, want, tol);
    }
    for (int j = 0; j < 4; j++) {
        b->ops->weight_free((void *)term[j].w);
        free(wf[j]);
        tensor_free(&t[j]);
        if (j < 3)
            free(x[j]);
    }
    free(bias);
    free(y);
    free(y0);
    free(z);
}

Test(matmul, terms_scale_bias_and_add)
{
    for (size_t i = 0; i < WEIGHTS_N_ISA; i++) {
        tlpi_backend *b =
            weights_backend(weights_isa[i], TLP_COMPUTE_DEFAULT, 3);
        if (!b)
            continue;
        check_group(b, weights_isa_name[i], TLPI_Q8_0, 1);
        check_group(b, weights_isa_name[i], TLPI_Q8_0, 7);
        check_group(b, weights_isa_name[i], TLPI_Q8_0, 150);
        check_group(b, weights_isa_name[i], TLPI_BF16, 7); /* x in two forms */
        check_group(b, weights_isa_name[i], TLPI_BF16, 150);
        b->ops->free(b);
    }
}

Test(matmul, gate_up_is_silu_times_up)
{
    enum { ROWS = 45, COLS = 256, TOKENS = 21 };
    tlpi_tensor g = random_tensor(TLPI_Q5_1, ROWS, COLS);
    tlpi_tensor u = random_tensor(TLPI_Q4_K, ROWS, COLS);
    float *gf = tensor_floats(&g), *uf = tensor_floats(&u);
    float *x = random_floats(TOKENS * COLS);

    for (int i = 0; i < COLS; i++) /* far out on both sides of silu */
        x[i] *= 100.0f;
    for (size_t i = 0; i < WEIGHTS_N_ISA; i++) {
        float y[2 * TOKENS * ROWS];
        tlpi_backend *b = weights_backend(weights_isa[i], TLP_COMPUTE_F32, 2);
        if (!b)
            continue;
        tlpi_weight *gw = weigh_all(b, &g), *uw = weigh_all(b, &u);
        tlpi_gate_up item[] = {
            { .gate = gw, .up = uw, .x = x, .y = y },
            { .gate = uw, .up = gw, .x = x, .y = y + TOKENS * ROWS },
        };
        b->ops->gate_up(b, TOKENS, item, 2);
        for (int k = 0; k < 2 * TOKENS * ROWS; k++) {
            int at = k % (TOKENS * ROWS), r = at % ROWS * COLS;
            const float *xt = x + at / ROWS * COLS;
            const float *wa = k == at ? gf : uf, *wb = k == at ? uf : gf;
            double tol_a, tol_b, a = exact(wa + r, xt, COLS, NONE, &tol_a);
            double c = exact(wb + r, xt, COLS, NONE, &tol_b);
            double s = a / (1.0 + exp(-a)); /* its slope is at most 1.1 */
            double tol = 1.1 * tol_a * (fabs(c) + tol_b) +
                         (1e-6 + tol_b / fabs(c)) * fabs(s * c) + 1e-30;
            cr_assert(fabs((double)y[k] - s * c) <= tol,
                      "%s item %d token %d row %d: %g, not %g +-%g",
                      weights_isa_name[i], k != at, at / ROWS, at % ROWS,
                      (double)y[k], s * c, tol);
        }
        b->ops->weight_free(gw);
        b->ops->weight_free(uw);
        b->ops->free(b);
    }
    free(gf);
    free(uf);
    free(x);
    tensor_free(&g);
    tensor_free(&u);
}
