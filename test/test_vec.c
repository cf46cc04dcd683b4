/*
 * test_vec.c - row operations and attention kernels of every instruction set
 * against their definitions in double.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/vec_tables.h"

#define N 200

Test(vec, add_scale_sum)
{
    EACH_TABLE (vec)
        for (size_t n = 0; n < N; n++) {
            float x[N], y[N], z[N + 1], w[N];
            double ss = 0;
            vec_fill(x, N);
            vec_fill(y, N);
            vec_fill(w, N);
            z[n] = 7;
            vec->add(z, x, y, n);
            for (size_t i = 0; i < n; i++) {
                cr_assert_eq(z[i], x[i] + y[i]);
                ss += (double)x[i] * x[i];
            }
            cr_assert_float_eq(vec->sum_sq(x, n), ss, 1e-6 * (1 + ss));
            vec->scale(z, x, w, 3.7f, n);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(z[i], 3.7f * x[i] * w[i]);
            vec->scale(z, x, NULL, 0.3f, n);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(z[i], 0.3f * x[i]);
            cr_assert_eq(z[n], 7.0f, "wrote past %zu", n);
        }
}

Test(vec, rope)
{
    EACH_TABLE (vec)
        for (int half = 0; half <= 40; half++)
            for (int neox = 0; neox < 2; neox++) {
                float x[82], y[82], c[40], s[40];
                vec_fill(x, 82);
                vec_fill(c, 40);
                vec_fill(s, 40);
                memcpy(y, x, sizeof y);
                vec->rope(y, c, s, half, neox);
                for (int i = 0; i < half; i++) {
                    int a = neox ? i : 2 * i, b = neox ? i + half : 2 * i + 1;
                    double ra = (double)x[a] * c[i] - (double)x[b] * s[i];
                    double rb = (double)x[a] * s[i] + (double)x[b] * c[i];
                    cr_assert_float_eq(y[a], ra, 2e-7);
                    cr_assert_float_eq(y[b], rb, 2e-7);
                }
                cr_assert_eq(y[2 * half], x[2 * half]);
            }
}

/* All 16-bit patterns as a row of B, times 1. */
Test(vec, widen)
{
    uint16_t *all = malloc(65536 * sizeof *all);
    float *wide = malloc(65536 * sizeof *wide), one = 1;
    for (size_t i = 0; i < 65536; i++)
        all[i] = (uint16_t)i;
    EACH_TABLE (vec)
        for (int type = TLP_KV_F16; type <= TLP_KV_BF16; type++) {
            tlpi_panel_product x = { 1,  1,  4096, &one,  1,    all,
                                     16, 16, wide, 65536, false };
            vec->mul[type](&x);
            for (size_t i = 0; i < 65536; i++) {
                float want = type == TLP_KV_F16 ? tlpi_f16_to_f32(all[i])
                                                : tlpi_bf16_to_f32(all[i]);
                cr_assert(isnan(want) ? isnan(wide[i]) : wide[i] == want);
            }
        }
    free(all);
    free(wide);
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

Test(vec, narrow)
{
    enum { STEP = 4099, COUNT = (int)(UINT32_MAX / STEP) };
    float *x = malloc(COUNT * sizeof *x);
    uint16_t *half = malloc(COUNT * sizeof *half);
    for (uint32_t i = 0; i < COUNT; i++)
        x[i] = float_of(i * STEP);
    /* Ties, the largest finite f16, infinities, denormals. */
    static const uint32_t special[] = { 0x3f801000, 0x3f803000, 0x3f808000,
                                        0x3f818000, 0x477fe000, 0x477ff000,
                                        0x7f800000, 0xff800000, 0x33000000,
                                        0x33000001, 0x00008000, 0x00018000,
                                        0x7f7fffff, 0x80000000, 0x7fc00000 };
    for (size_t i = 0; i < TLPI_COUNT(special); i++)
        x[i] = float_of(special[i]);

    EACH_TABLE (vec) {
        vec->narrow[TLP_KV_F16](half, x, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            if (isnan(x[i])) {
                cr_assert(isnan(tlpi_f16_to_f32(half[i])));
                continue;
            }
            float most = 65504;
            float f = isinf(x[i])    ? x[i]
                      : x[i] > most  ? most
                      : x[i] < -most ? -most
                                     : x[i];
            cr_assert_eq(half[i], tlpi_f32_to_f16(f), "%a", (double)x[i]);
        }
        vec->narrow[TLP_KV_BF16](half, x, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            if (isnan(x[i]))
                cr_assert(isnan(tlpi_bf16_to_f32(half[i])));
            else
                cr_assert_eq(half[i], tlpi_f32_to_bf16(x[i]), "%a",
                             (double)x[i]);
        }
        for (size_t n = 0; n < 40; n++) {
            half[n] = 7;
            vec->narrow[TLP_KV_F16](half, x + 260000, n);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(half[i], tlpi_f32_to_f16(x[260000 + i]));
            cr_assert_eq(half[n], 7);
        }
    }
    free(x);
    free(half);
}

static void to_bytes(char *dst, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        dst[i] = (char)(signed char)x[i];
}

/* B [n][C] in both layouts of the cache, every type, up to 9 panels; rows of
 * one tile, and of several; n as of short heads, and of more than a chunk of
 * positions. */
enum { P = 9, M = 53, C = P * TLPI_PANEL, MOST = 280 };

/* What is in C is added to, or does not matter. */
static void check_product(const tlpi_cpu_vec *vec, int type, size_t n,
                          bool by_panel, int m, int p, bool add)
{
    static float a[M * MOST], b[MOST * C], c[M * C];
    static char raw[sizeof b];
    size_t ldk = by_panel ? TLPI_PANEL : C;
    size_t ldp = by_panel ? TLPI_PANEL * n : TLPI_PANEL;
    tlpi_panel_product x = { m, (int)n, p, a, n, raw, ldk, ldp, c, C, add };

    vec_fill(a, M * n);
    vec_fill(b, n * C);
    for (size_t i = 0; i < n * C; i++) /* is exact */
        b[i] = floorf(b[i] * 100);
    if (type == TLP_KV_Q8_0)
        to_bytes(raw, b, (int)n * C);
    else
        vec->narrow[type](raw, b, n * C);
    for (int i = 0; i < M * C; i++)
        c[i] = 7;
    vec->mul[type](&x);
    for (int i = 0; i < M * C; i++) {
        size_t row = (size_t)(i / C), col = (size_t)(i % C);
        double want = add ? 7 : 0, size = 7;

        for (size_t k = 0; k < n; k++) {
            double v = (double)a[row * n + k] *
                       b[k * ldk + col / TLPI_PANEL * ldp + col % TLPI_PANEL];
            want += v;
            size += fabs(v);
        }
        if ((int)row >= m || (int)col >= p * TLPI_PANEL)
            want = 7;
        cr_assert_float_eq(c[i], want, 5e-7 * size,
                           "type %d: %d x %zu, %d panels, add %d: C[%d] is %g, "
                           "not %g",
                           type, m, n, p, add, i, (double)c[i], want);
    }
}

Test(vec, product)
{
    static const size_t sizes[] = { 21, 150, MOST };
    static const int rows[] = { 1, 2, 3, 4, 5, 6, 7, 12, 13, 16, 33, M };

    EACH_TABLE (vec)
        for (int type = TLP_KV_F32; type <= TLP_KV_Q8_0; type++)
            for (int by_panel = 0; by_panel < 2; by_panel++)
                for (size_t m = 0; m < TLPI_COUNT(rows); m++)
                    for (int i = 0; i < 3; i++) {
                        int p = 1 + (int)m % P;
                        check_product(vec, type, sizes[i], by_panel, rows[m], p,
                                      m % 2);
                        check_product(vec, type, sizes[i], by_panel, rows[m], P,
                                      false);
                    }
}

Test(vec, softmax)
{
    enum { LD = 64 };
    static const float spread[] = { 1, 30, 1e4f };
    EACH_TABLE (vec)
        for (size_t g = 0; g < TLPI_COUNT(spread); g++)
            for (int limit = 1; limit <= LD; limit++) {
                float s[2 * LD], e[2 * LD], max[2], sum[2];
                int limits[2] = { limit, LD - limit + 1 };
                vec_fill(s, 2 * LD);
                for (int i = 0; i < 2 * LD; i++)
                    e[i] = s[i] *= spread[g];
                e[limit] = limit < LD ? NAN : e[limit]; /* must not matter */
                vec->softmax(e, LD, limits, 2, LD, max, sum);
                for (int r = 0; r < 2; r++) {
                    const float *x = s + r * LD;
                    double top = -INFINITY, total = 0;
                    for (int i = 0; i < limits[r]; i++)
                        top = fmax(top, x[i]);
                    for (int i = 0; i < LD; i++) {
                        double want =
                            i < limits[r] ? exp2((double)(x[i] - max[r])) : 0;
                        total += want;
                        cr_assert_float_eq(e[r * LD + i], want,
                                           2e-7 * want + 1e-30);
                    }
                    cr_assert_eq(max[r], (float)top);
                    cr_assert_float_eq(sum[r], total, 1e-6 * total);
                }
            }
}

Test(vec, softmax_grad)
{
    enum { LD = 64 };
    EACH_TABLE (vec)
        for (int from = 0; from < LD; from++)
            for (int to = from + 1; to <= LD; to += 3) {
                float s[LD], d[LD], p[LD], g[LD];
                vec_fill(s, LD);
                vec_fill(d, LD);
                memcpy(p, s, sizeof p);
                memcpy(g, d, sizeof g);
                if (from > 0 || to < LD)
                    p[from > 0 ? 0 : to] = 1e6f; /* must not matter */
                vec->softmax_grad(p, g, from, to, LD, 2.5f, 0.75f, -0.5f);
                for (int i = 0; i < LD; i++) {
                    bool seen = i >= from && i < to;
                    double x = seen ? exp2((double)s[i] - 2.5) : 0;
                    double y = -0.5 * x * ((double)d[i] - 0.75);
                    cr_assert_float_eq(p[i], x, 3e-7 * x);
                    cr_assert_float_eq(g[i], y, 6e-7 * fabs(y));
                }
            }
}

Test(vec, merge)
{
    static const float tops[][2] = {
        { 0, 0 }, { 3, -2.5f }, { -4, 5 }, { -3000, 2000 }
    };
    EACH_TABLE (vec)
        for (size_t g = 0; g < TLPI_COUNT(tops); g++) {
            float x[3 * 32], y[3 * 32], z[3 * 32];
            float max[3], sum[3] = { 1, 2, 3 }, sum_y[3] = { 4, 5, 6 },
                          max_y[3];
            vec_fill(x, 96);
            vec_fill(y, 96);
            memcpy(z, x, sizeof z);
            for (int r = 0; r < 3; r++) {
                max[r] = tops[g][0] + (float)r;
                max_y[r] = tops[g][1];
            }
            vec->merge(z, max, sum, y, max_y, sum_y, 3, 32);
            for (int r = 0; r < 3; r++) {
                double mx = (double)tops[g][0] + r, my = tops[g][1];
                double top = fmax(mx, my);
                double fx = exp2(mx - top), fy = exp2(my - top);
                cr_assert_eq(max[r], (float)top);
                cr_assert_float_eq(sum[r], (r + 1) * fx + (r + 4) * fy, 2e-6);
                for (int i = r * 32; i < r * 32 + 32; i++)
                    cr_assert_float_eq(z[i], x[i] * fx + y[i] * fy, 5e-7);
            }
        }
}

/* ==== the backend's row operations ======================================= */

typedef struct vec_rows {
    tlpi_env env;
    tlpi_cpu c;
} vec_rows;

static void rows_open(vec_rows *r, const tlpi_cpu_vec *vec, int n_thread)
{
    tlp_allocator mem = { NULL, NULL, NULL };
    tlpi_pool_options o = { .n_thread = n_thread, .n_machine = n_thread };
    memset(r, 0, sizeof *r);
    cr_assert_eq(tlpi_env_init(&r->env, &mem, NULL, NULL), TLP_OK);
    cr_assert_eq(tlpi_pool_create(&r->c.pool, &r->env, &o), TLP_OK);
    r->c.base.env = &r->env;
    r->c.vec = vec;
}

/* Enough rows for a parallel region; one row alone gives the same bits. */
Test(vec, add_norm)
{
    enum { T = 300, D = 75 };
    float *x = malloc(T * D * 4), *d = malloc(T * D * 4);
    float *z = malloc(T * D * 4), *y0 = malloc(T * D * 4);
    float *y1 = malloc(T * D * 4), w0[D], w1[D], z1[D], y2[D];
    vec_fill(x, T * D);
    vec_fill(d, T * D);
    vec_fill(w0, D);
    vec_fill(w1, D);
    tlpi_norm norm[2] = { { w0, y0 }, { w1, y1 } };
    EACH_TABLE (vec)
        for (int n_thread = 1; n_thread <= 3; n_thread++) {
            vec_rows r;
            rows_open(&r, vec, n_thread);
            tlpi_cpu_add_norm(&r.c.base, T, D, x, d, z, norm, 2, 1e-5f);
            for (int t = 0; t < T; t++) {
                double ss = 0;
                for (int i = t * D; i < t * D + D; i++) {
                    cr_assert_eq(z[i], x[i] + d[i]);
                    ss += (double)z[i] * z[i];
                }
                double s = 1 / sqrt(ss / D + 1e-5);
                for (int i = 0; i < D; i++) {
                    int at = t * D + i;
                    cr_assert_float_eq(y0[at], z[at] * s * w0[i], 1e-6);
                    cr_assert_float_eq(y1[at], z[at] * s * w1[i], 1e-6);
                }
                /* sum left out; then delta too; then sum over x */
                tlpi_norm one = { w1, y2 };
                tlpi_cpu_add_norm(&r.c.base, 1, D, x + t * D, d + t * D, NULL,
                                  &one, 1, 1e-5f);
                cr_assert(!memcmp(y2, y1 + t * D, sizeof y2));
                tlpi_cpu_add_norm(&r.c.base, 1, D, z + t * D, NULL, NULL, &one,
                                  1, 1e-5f);
                cr_assert(!memcmp(y2, y1 + t * D, sizeof y2));
                memcpy(z1, x + t * D, sizeof z1);
                tlpi_cpu_add_norm(&r.c.base, 1, D, z1, d + t * D, z1, NULL, 0,
                                  1e-5f);
                cr_assert(!memcmp(z1, z + t * D, sizeof z1));
                /* without weights, beside a norm and alone */
                tlpi_norm bare[2] = { { w1, y2 }, { NULL, z1 } };
                tlpi_cpu_add_norm(&r.c.base, 1, D, x + t * D, d + t * D, NULL,
                                  bare, 2, 1e-5f);
                cr_assert(!memcmp(y2, y1 + t * D, sizeof y2));
                cr_assert(!memcmp(z1, z + t * D, sizeof z1));
                tlpi_cpu_add_norm(&r.c.base, 1, D, z + t * D, NULL, NULL,
                                  &bare[1], 1, 1e-5f);
                cr_assert(!memcmp(z1, z + t * D, sizeof z1));
            }
            tlpi_cpu_add_norm(&r.c.base, T, D, x, NULL, z, norm, 1, 1e-5f);
            cr_assert(!memcmp(z, x, T * D * 4));
            tlpi_pool_free(r.c.pool);
        }
    free(x);
    free(d);
    free(z);
    free(y0);
    free(y1);
}

/* Two rows of one sum, and one of another; enough of them for a parallel
 * region. */
Test(vec, sum_squares)
{
    enum { T = 300, D = 75 };
    float *x = malloc(3 * T * D * 4), y[2][T];
    vec_fill(x, 3 * T * D);
    EACH_TABLE (vec)
        for (int n_thread = 1; n_thread <= 3; n_thread++) {
            tlpi_square item[] = { { x, D, y[0] },
                                   { x + T * D, D, y[1] },
                                   { x + 2 * T * D, D - 5, y[0] } };
            vec_rows r;
            rows_open(&r, vec, n_thread);
            for (int t = 0; t < T; t++)
                y[0][t] = y[1][t] = (float)t;
            tlpi_cpu_sum_squares(&r.c.base, T, item, 3);
            for (int t = 0; t < T; t++) {
                double want[2] = { t, t };
                for (int k = 0; k < 3; k++)
                    for (int i = 0; i < item[k].cols; i++) {
                        double v = (double)item[k].x[t * item[k].cols + i];
                        want[k % 2] += v * v;
                    }
                cr_assert_float_eq(y[0][t], want[0], 1e-4);
                cr_assert_float_eq(y[1][t], want[1], 1e-4);
            }
            tlpi_pool_free(r.c.pool);
        }
    free(x);
}

/* Squares that overflow, and values that are no numbers, end as NaN and not as
 * zeros. */
Test(vec, norm_of_an_overflow)
{
    enum { D = 75 };
    static const float bad[] = { 1e30f, -1e30f, INFINITY, -INFINITY, NAN };
    float x[D], w[D], y[D];
    tlpi_norm norm = { w, y };

    vec_fill(w, D);
    EACH_TABLE (vec)
        for (size_t i = 0; i < TLPI_COUNT(bad); i++)
            for (int at = 0; at < D; at++) {
                vec_rows r;
                rows_open(&r, vec, 1);
                vec_fill(x, D);
                x[at] = bad[i];
                tlpi_cpu_add_norm(&r.c.base, 1, D, x, NULL, NULL, &norm, 1,
                                  1e-5f);
                for (int k = 0; k < D; k++)
                    cr_assert(isnan(y[k]), "%g at %d", (double)bad[i], at);
                tlpi_pool_free(r.c.pool);
            }
}

Test(vec, gather_add_zero)
{
    enum { T = 400, D = 67 };
    float *x = malloc(T * D * 4), *y = malloc(T * D * 4);
    int32_t pick[T];
    vec_fill(x, T * D);
    for (int i = 0; i < T; i++)
        pick[i] = i * 7 % T;
    EACH_TABLE (vec)
        for (int n_thread = 1; n_thread <= 3; n_thread++) {
            vec_rows r;
            rows_open(&r, vec, n_thread);
            tlpi_cpu_gather(&r.c.base, x, pick, T, D, y);
            for (int i = 0; i < T * D; i++)
                cr_assert_eq(y[i], x[pick[i / D] * D + i % D]);
            tlpi_cpu_add(&r.c.base, y, x, T * D);
            for (int i = 0; i < T * D; i++)
                cr_assert_eq(y[i], x[pick[i / D] * D + i % D] + x[i]);
            tlpi_cpu_zero(&r.c.base, y, T * D - 1);
            for (int i = 0; i < T * D - 1; i++)
                cr_assert_eq(y[i], 0);
            cr_assert_neq(y[T * D - 1], 0);
            tlpi_pool_free(r.c.pool);
        }
    free(x);
    free(y);
}
