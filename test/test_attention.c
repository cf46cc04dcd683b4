/*
 * test_attention.c - attention and its cache against the equations in double,
 * and against itself: cut into other steps, on other numbers of threads.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu.h"
#include "backend/cpu_vec.h"
#include "support/page_layout.h"

#define EPS 1e-5f
#define THETA 10000.0
#define MAX_ITEM 3
#define MAX_TOK 640

typedef struct attn_shape {
    int n_head, n_head_kv, h, n_rot;
    bool neox, norm;
    int type;   /* TLP_KV_* */
    int window; /* 0: none */
} attn_shape;

/* A CPU backend with nothing but attention, and what the cache should hold. */
typedef struct attn_fixture {
    attn_shape s;
    int n_item, n_seq, n_ctx;
    float gain; /* of q and k */
    tlpi_env env;
    tlpi_cpu c;
    tlpi_rope *rope;
    tlpi_page_layout layout;
    tlpi_pages *pages;
    tlpi_kv *kv[MAX_ITEM];
    float *q_norm, *k_norm;
    float *k[MAX_ITEM], *v[MAX_ITEM]; /* [n_seq][n_ctx][n_head_kv][h] */
} attn_fixture;

static const int isas[] = { TLP_ISA_SCALAR, TLP_ISA_AVX2, TLP_ISA_AVX512 };

static bool have(int isa)
{
    bool ok = isa <= tlpi_cpu_detect();
    if (!ok)
        printf("skipped: this machine lacks instruction set %d\n", isa);
    return ok;
}

/* A number in [-1, 1) that belongs to its arguments. */
static float value(int kind, int item, int seq, int pos, int i)
{
    uint64_t x = (uint64_t)kind * 0x9E3779B97F4A7C15u ^
                 (uint64_t)item * 0xC2B2AE3D27D4EB4Fu ^
                 (uint64_t)seq * 0x165667B19E3779F9u ^
                 (uint64_t)pos * 0xD6E8FEB86659FD93u ^
                 (uint64_t)i * 0xA0761D6478BD642Fu;
    x ^= x >> 32;
    x *= 0xE7037ED1A0B428DBu;
    x ^= x >> 29;
    x *= 0x8EBC6AF09C88C6E3u;
    x ^= x >> 32;
    return (float)(x >> 40) / 8388608.0f - 1.0f;
}

static void *get(size_t n, size_t size)
{
    void *p = calloc(n, size);
    cr_assert(p);
    return p;
}

static size_t ref_at(const attn_fixture *w, int seq, int pos)
{
    return ((size_t)seq * (size_t)w->n_ctx + (size_t)pos) *
           (size_t)(w->s.n_head_kv * w->s.h);
}

static attn_fixture *fixture_open(attn_shape s, int isa, int n_thread,
                                  int n_item, int n_seq, int n_ctx)
{
    attn_fixture *w = get(1, sizeof *w);
    w->s = s;
    w->n_item = n_item;
    w->n_seq = n_seq;
    w->n_ctx = n_ctx;
    w->gain = 1;

    tlp_allocator mem = { NULL, NULL, NULL };
    cr_assert_eq(tlpi_env_init(&w->env, &mem, NULL, NULL), TLP_OK);
    tlpi_pool_options po = { .n_thread = n_thread, .n_machine = n_thread };
    w->c.base.env = &w->env;
    w->c.opts = (tlpi_backend_options){ .max_tok = MAX_TOK,
                                        .max_cols = s.n_head * s.h };
    w->c.isa = isa;
    w->c.max_tok = MAX_TOK;
    w->c.vec = tlpi_cpu_vec_get(isa);
    w->c.mm = tlpi_cpu_mm_get(isa);
    cr_assert_eq(tlpi_pool_create(&w->c.pool, &w->env, &po), TLP_OK);
    cr_assert_eq(tlpi_cpu_attn_scratch_create(&w->c), TLP_OK);

    double inv_freq[128];
    for (int i = 0; i < s.n_rot / 2; i++)
        inv_freq[i] = pow(THETA, -2.0 * i / s.n_rot);
    cr_assert_eq(tlpi_cpu_rope_create(&w->c.base, &w->rope, inv_freq, 1,
                                      s.n_rot, n_ctx, s.neox, NULL),
                 TLP_OK);
    w->layout = page_layout_make(n_seq, n_ctx);
    cr_assert_eq(tlpi_cpu_pages_create(&w->c.base, &w->pages, &w->layout),
                 TLP_OK);
    for (int i = 0; i < n_item; i++) {
        cr_assert_eq(tlpi_cpu_kv_create(&w->c.base, &w->kv[i], w->pages,
                                        s.n_head_kv, s.h, s.type),
                     TLP_OK);
        w->k[i] = get(ref_at(w, n_seq, 0), sizeof(float));
        w->v[i] = get(ref_at(w, n_seq, 0), sizeof(float));
    }
    for (int i = 0; i < w->layout.n_page; i++)
        cr_assert_eq(tlpi_cpu_pages_take(&w->c.base, w->pages, i), TLP_OK);
    w->q_norm = get((size_t)s.h, sizeof(float));
    w->k_norm = get((size_t)s.h, sizeof(float));
    for (int i = 0; i < s.h; i++) {
        w->q_norm[i] = 1 + value(10, 0, 0, 0, i) / 2;
        w->k_norm[i] = 1 + value(11, 0, 0, 0, i) / 2;
    }
    return w;
}

static void fixture_close(attn_fixture *w)
{
    for (int i = 0; i < w->n_item; i++) {
        tlpi_cpu_kv_free(&w->c.base, w->kv[i]);
        free(w->k[i]);
        free(w->v[i]);
    }
    tlpi_cpu_pages_free(&w->c.base, w->pages);
    page_layout_free(&w->layout);
    tlpi_cpu_rope_free(&w->c.base, w->rope);
    tlpi_cpu_attn_scratch_free(&w->c);
    tlpi_pool_free(w->c.pool);
    free(w->q_norm);
    free(w->k_norm);
    free(w);
}

/* One of several items is not rotated, another has a scale of its own. */
static bool rotates(int item)
{
    return item != 1;
}

static float scale_of(int item)
{
    return item == 2 ? 0.3f : 0;
}

/* The first position that a token at pos sees. */
static int begin_of(const attn_fixture *w, int pos)
{
    return w->s.window ? TLPI_MAX(0, pos + 1 - w->s.window) : 0;
}

/* ==== the equations ====================================================== */

/* x [h] -> y [h], normalised (norm not NULL) and rotated */
static void prepare(const attn_fixture *w, int item, const float *x,
                    const float *norm, int pos, double *y)
{
    int h = w->s.h, half = w->s.n_rot / 2;
    double ss = 0;
    for (int i = 0; i < h; i++)
        ss += (double)x[i] * x[i];
    for (int i = 0; i < h; i++)
        y[i] = norm ? x[i] / sqrt(ss / h + EPS) * norm[i] : x[i];
    for (int i = 0; rotates(item) && i < half; i++) {
        int ia = w->s.neox ? i : 2 * i, ib = w->s.neox ? i + half : 2 * i + 1;
        double angle = pos * pow(THETA, -2.0 * i / w->s.n_rot);
        double a = y[ia], b = y[ib];
        y[ia] = a * cos(angle) - b * sin(angle);
        y[ib] = a * sin(angle) + b * cos(angle);
    }
}

/* Element i of a head as a cache of the type keeps it. */
static float rounded(const attn_fixture *w, const float *head, int i)
{
    float x = head[i];
    if (w->s.type == TLP_KV_Q8_0) {
        float max = 0;
        for (int b = i / 32 * 32; b < w->s.h && b < i / 32 * 32 + 32; b++)
            max = fmaxf(max, fabsf(head[b]));
        return max > 0 ? rintf(x * (127 / max)) * (max / 127) : 0;
    }
    if (w->s.type == TLP_KV_F16)
        return tlpi_f16_to_f32(tlpi_f32_to_f16(x));
    if (w->s.type == TLP_KV_BF16)
        return tlpi_bf16_to_f32(tlpi_f32_to_bf16(x));
    return x;
}

/* softmax(scale q k) v of one head over the positions that pos sees */
static void attend(const attn_fixture *w, int item, int seq, int pos,
                   int kv_head, const float *q, double *y)
{
    int h = w->s.h;
    double scale = scale_of(item) != 0 ? (double)scale_of(item) : 1 / sqrt(h);
    double *p = get((size_t)pos + 1, sizeof *p), top = -INFINITY, sum = 0;
    for (int t = begin_of(w, pos); t <= pos; t++) {
        const float *k = w->k[item] + ref_at(w, seq, t) + kv_head * h;
        for (int i = 0; i < h; i++)
            p[t] += (double)q[i] * k[i] * scale;
        top = fmax(top, p[t]);
    }
    memset(y, 0, (size_t)h * sizeof *y);
    for (int t = begin_of(w, pos); t <= pos; t++)
        sum += exp(p[t] - top);
    for (int t = begin_of(w, pos); t <= pos; t++) {
        const float *v = w->v[item] + ref_at(w, seq, t) + kv_head * h;
        for (int i = 0; i < h; i++)
            y[i] += exp(p[t] - top) / sum * v[i];
    }
    free(p);
}

/* ==== a step ============================================================= */

typedef struct lanes {
    float *q, *k, *v, *y;
} lanes;

static lanes fill(const attn_fixture *w, int item, const tlpi_step *st)
{
    size_t nq = (size_t)(w->s.n_head * w->s.h);
    size_t nk = (size_t)(w->s.n_head_kv * w->s.h), n = (size_t)st->n_tok;
    lanes l = { get(n * nq, 4), get(n * nk, 4), get(n * nk, 4),
                get(n * nq, 4) };
    for (int t = 0; t < st->n_tok; t++) {
        int seq = st->seq[t], pos = st->pos[t];
        for (size_t i = 0; i < nq; i++)
            l.q[(size_t)t * nq + i] =
                w->gain * value(1, item, seq, pos, (int)i);
        for (size_t i = 0; i < nk; i++) {
            l.k[(size_t)t * nk + i] =
                w->gain * value(2, item, seq, pos, (int)i);
            l.v[(size_t)t * nk + i] = value(3, item, seq, pos, (int)i);
        }
    }
    return l;
}

static void drop(lanes l)
{
    free(l.q);
    free(l.k);
    free(l.v);
    free(l.y);
}

static void run_filled(attn_fixture *w, const tlpi_step *st, const lanes *l)
{
    tlpi_attn item[MAX_ITEM] = { 0 };
    for (int i = 0; i < w->n_item; i++) {
        item[i] = (tlpi_attn){ .q = l[i].q,
                               .k = l[i].k,
                               .v = l[i].v,
                               .q_norm = w->s.norm ? w->q_norm : NULL,
                               .k_norm = w->s.norm ? w->k_norm : NULL,
                               .kv = w->kv[i],
                               .n_head = w->s.n_head,
                               .n_head_kv = w->s.n_head_kv,
                               .y = l[i].y,
                               .rope = rotates(i) ? w->rope : NULL,
                               .window = w->s.window,
                               .scale = scale_of(i) };
    }
    tlpi_cpu_attention(&w->c.base, st, item, w->n_item, w->s.h, EPS);
}

static void run(attn_fixture *w, const tlpi_step *st, lanes *l)
{
    for (int i = 0; i < w->n_item; i++)
        l[i] = fill(w, i, st);
    run_filled(w, st, l);
}

/* In place: q and k of token t; remembers what the cache should hold. */
static void check_prepared(attn_fixture *w, int item, const tlpi_step *st,
                           int t, const lanes *l, const lanes *in)
{
    int h = w->s.h, seq = st->seq[t], pos = st->pos[t];
    size_t nq = (size_t)(w->s.n_head * h), nk = (size_t)(w->s.n_head_kv * h);
    double want[256];
    for (int g = 0; g < w->s.n_head; g++) {
        size_t at = (size_t)t * nq + (size_t)(g * h);
        prepare(w, item, in->q + at, w->s.norm ? w->q_norm : NULL, pos, want);
        for (int i = 0; i < h; i++)
            cr_assert_float_eq(l->q[at + (size_t)i], want[i], 2e-6 * w->gain,
                               "q at %d", pos);
    }
    for (int g = 0; g < w->s.n_head_kv; g++) {
        size_t at = (size_t)t * nk + (size_t)(g * h);
        size_t ref = ref_at(w, seq, pos) + (size_t)(g * h);
        prepare(w, item, in->k + at, w->s.norm ? w->k_norm : NULL, pos, want);
        for (int i = 0; i < h; i++) {
            size_t j = (size_t)i;
            cr_assert_float_eq(l->k[at + j], want[i], 2e-6 * w->gain, "k at %d",
                               pos);
            w->k[item][ref + j] = rounded(w, l->k + at, i);
            w->v[item][ref + j] = rounded(w, in->v + at, i);
        }
    }
}

static void step_and_check(attn_fixture *w, const tlpi_step *st,
                           double tolerance)
{
    lanes l[MAX_ITEM];
    int h = w->s.h, n_rep = w->s.n_head / w->s.n_head_kv;
    run(w, st, l);
    for (int item = 0; item < w->n_item; item++) {
        lanes in = fill(w, item, st);
        for (int t = 0; t < st->n_tok; t++)
            check_prepared(w, item, st, t, &l[item], &in);
        /* Of a long prompt one token in five is enough. */
        for (int t = 0; t<st->n_tok; t += st->n_tok> 50 ? 5 : 1)
            for (int g = 0; g < w->s.n_head; g++) {
                size_t at = (size_t)(t * w->s.n_head + g) * (size_t)h;
                double want[256];
                attend(w, item, st->seq[t], st->pos[t], g / n_rep,
                       l[item].q + at, want);
                for (int i = 0; i < h; i++)
                    cr_assert_float_eq(
                        l[item].y[at + (size_t)i], want[i], tolerance,
                        "isa %d type %d heads %d/%d of %d: seq %d pos %d "
                        "head %d [%d]: %g, not %g",
                        w->c.isa, w->s.type, w->s.n_head, w->s.n_head_kv, h,
                        st->seq[t], st->pos[t], g, i,
                        (double)l[item].y[at + (size_t)i], want[i]);
            }
        drop(in);
        drop(l[item]);
    }
}

/* A step of runs {seq, first position, length}. */
typedef struct tokens {
    tlpi_step st;
    int32_t id[MAX_TOK], seq[MAX_TOK], pos[MAX_TOK];
} tokens;

static void add_run(tokens *k, int seq, int pos, int n)
{
    for (int i = 0; i < n; i++) {
        k->seq[k->st.n_tok] = seq;
        k->pos[k->st.n_tok++] = pos + i;
    }
    k->st.id = k->id;
    k->st.seq = k->seq;
    k->st.pos = k->pos;
}

/* Prompts of two sequences, then a step of one, nine and five tokens; both
 * go past position 256, where a second chunk of positions begins. */
static void two_steps(attn_fixture *w, double tolerance)
{
    tokens a = { 0 }, b = { 0 };
    add_run(&a, 0, 0, 271);
    add_run(&a, 2, 0, 250);
    add_run(&b, 2, 250, 9);
    add_run(&b, 0, 271, 1);
    add_run(&b, 1, 0, 5);
    step_and_check(w, &a.st, tolerance);
    step_and_check(w, &b.st, tolerance);
}

static const attn_shape shapes[] = {
    { 3, 3, 16, 16, false, false, TLP_KV_F32, 0 },
    { 4, 2, 64, 64, true, false, TLP_KV_F32, 0 },
    { 9, 3, 64, 64, false, false, TLP_KV_F16, 0 },
    { 9, 3, 64, 64, false, false, TLP_KV_BF16, 0 },
    { 8, 1, 80, 32, true, false, TLP_KV_F16, 0 },
    { 3, 1, 96, 48, false, true, TLP_KV_F32, 0 },
    { 2, 1, 128, 128, true, true, TLP_KV_F16, 0 },
    { 4, 2, 24, 12, true, true, TLP_KV_BF16, 0 },
    { 5, 5, 10, 6, false, true, TLP_KV_F16, 0 },
    { 50, 1, 8, 8, true, false, TLP_KV_F32, 0 },
    { 2, 2, 256, 0, false, false, TLP_KV_F16, 0 },
    { 9, 3, 64, 64, false, false, TLP_KV_Q8_0, 0 },
    { 4, 1, 80, 32, true, true, TLP_KV_Q8_0, 0 },
    { 5, 5, 10, 6, false, true, TLP_KV_Q8_0, 0 },
    { 3, 3, 16, 16, false, false, TLP_KV_F32, 1 },
    { 4, 2, 64, 64, true, false, TLP_KV_F32, 20 },
    { 9, 3, 64, 64, false, false, TLP_KV_F16, 261 },
    { 4, 1, 80, 32, true, true, TLP_KV_Q8_0, 100 },
    { 4, 1, 256, 256, true, true, TLP_KV_F16, 256 },
};

Test(attention, equations)
{
    for (size_t k = 0; k < TLPI_COUNT(isas); k++)
        for (size_t i = 0; have(isas[k]) && i < TLPI_COUNT(shapes); i++) {
            attn_fixture *w = fixture_open(shapes[i], isas[k], 2, 1, 3, 280);
            two_steps(w, 3e-6);
            fixture_close(w);
        }
}

Test(attention, several_items)
{
    for (size_t k = 0; k < TLPI_COUNT(isas); k++) {
        if (!have(isas[k]))
            continue;
        attn_fixture *w = fixture_open(shapes[2], isas[k], 2, MAX_ITEM, 3, 280);
        two_steps(w, 3e-6);
        fixture_close(w);
    }
}

/* Scores in the thousands: all weight on one position, and no NaN. */
/* Heads that are parts of longer rows: the squares of the rows come from
 * outside. */
static void check_rows(int isa)
{
    enum { T = 3, H = 20, HEADS = 4, KV = 2 };
    attn_shape s = { .n_head = HEADS, .n_head_kv = KV, .h = H, .n_rot = H };
    attn_fixture *w = fixture_open(s, isa, 2, 1, 1, T);
    int32_t id[T] = { 0 }, seq[T] = { 0 }, pos[T] = { 0, 1, 2 };
    const float squares[2][T] = { { 3, 50, 7 }, { 9, 2, 80 } };
    tlpi_step step = { T, id, seq, pos };
    float weight[HEADS * H];
    lanes in = fill(w, 0, &step), l = fill(w, 0, &step);

    for (int i = 0; i < HEADS * H; i++)
        weight[i] = 1 + value(12, 0, 0, 0, i) / 2;
    tlpi_attn a = { .q = l.q,
                    .k = l.k,
                    .v = l.v,
                    .q_norm = weight,
                    .k_norm = weight + 5,
                    .kv = w->kv[0],
                    .n_head = HEADS,
                    .n_head_kv = KV,
                    .y = l.y,
                    .q_row = { squares[0], 200 },
                    .k_row = { squares[1], 90 } };
    tlpi_cpu_attention(&w->c.base, &step, &a, 1, H, EPS);
    for (int t = 0; t < T; t++) {
        double q = 1 / sqrt(squares[0][t] / 200 + EPS);
        double k = 1 / sqrt(squares[1][t] / 90 + EPS);
        for (int i = 0, at = t * HEADS * H; i < HEADS * H; i++)
            cr_assert_float_eq(l.q[at + i], in.q[at + i] * q * weight[i], 1e-5);
        for (int i = 0, at = t * KV * H; i < KV * H; i++)
            cr_assert_float_eq(l.k[at + i], in.k[at + i] * k * weight[i + 5],
                               1e-5);
    }
    drop(in);
    drop(l);
    fixture_close(w);
}

Test(attention, norms_of_rows)
{
    for (size_t k = 0; k < TLPI_COUNT(isas); k++)
        if (have(isas[k]))
            check_rows(isas[k]);
}

Test(attention, large_scores)
{
    for (size_t k = 0; k < TLPI_COUNT(isas); k++) {
        if (!have(isas[k]))
            continue;
        attn_fixture *w = fixture_open(shapes[1], isas[k], 2, 1, 3, 280);
        w->gain = 100;
        /* The scores' own rounding, 1e4 * 2^-24, is what is left. */
        two_steps(w, 2e-2);
        fixture_close(w);

        w = fixture_open(shapes[2], isas[k], 2, 1, 1, 200);
        w->gain = 1e30f; /* f16 saturates */
        tokens t = { 0 };
        lanes l;
        add_run(&t, 0, 0, 150);
        run(w, &t.st, &l);
        for (int i = 0; i < 150 * w->s.n_head * w->s.h; i++)
            cr_assert(fabsf(l.y[i]) <= 1.001f);
        drop(l);
        fixture_close(w);
    }
}

/* Keys and values whose blocks of 8 bits are zero, all the same, denormal,
 * large or small beside each other: as the scalar table has it. */
static float *hard_blocks(int isa, int n)
{
    static const float scale[] = { 1, 0, 1e-44f, 1e-37f, 1e-30f, 1e20f, -3 };
    attn_shape s = { 4, 2, 80, 80, false, false, TLP_KV_Q8_0, 0 };
    attn_fixture *w = fixture_open(s, isa, 2, 1, 1, n);
    tokens t = { 0 };
    add_run(&t, 0, 0, n);
    lanes l = fill(w, 0, &t.st);
    for (int i = 0; i < n * 2 * 80; i++) {
        int block = i / 16; /* neither 32 nor 80 */
        float f = scale[block % (int)TLPI_COUNT(scale)];
        l.v[i] = f * (block % 3 ? l.v[i] : 1);
        l.k[i] *= fabsf(f) > 3 ? 3 : f; /* scores stay moderate */
    }
    run_filled(w, &t.st, &l);
    free(l.q);
    free(l.k);
    free(l.v);
    fixture_close(w);
    return l.y;
}

Test(attention, hard_blocks_of_q8_0)
{
    enum { N = 280, H = 80, SIZE = N * 4 * H };
    float *want = hard_blocks(TLP_ISA_SCALAR, N);
    for (size_t k = 1; k < TLPI_COUNT(isas); k++) {
        if (!have(isas[k]))
            continue;
        float *got = hard_blocks(isas[k], N);
        for (int i = 0; i < SIZE; i += H) {
            float max = 0;
            for (int d = 0; d < H; d++)
                max = fmaxf(max, fabsf(want[i + d]));
            for (int d = 0; d < H; d++)
                cr_assert(fabsf(got[i + d] - want[i + d]) <= 1e-5f * max,
                          "isa %d [%d]: %g, not %g", isas[k], i + d,
                          (double)got[i + d], (double)want[i + d]);
        }
        free(got);
    }
    free(want);
}

/* ==== the same bits ====================================================== */

/* y of n tokens of sequence 1, evaluated in steps of the given lengths. */
static float *in_steps(attn_shape s, int isa, int n_thread, int n_pos,
                       const int *len)
{
    attn_fixture *w = fixture_open(s, isa, n_thread, 1, 2, n_pos);
    size_t row = (size_t)(s.n_head * s.h);
    float *y = get((size_t)n_pos * row, sizeof(float));
    for (int pos = 0, i = 0; pos < n_pos; i += len[i + 1] != 0) {
        tokens t = { 0 };
        lanes l;
        int n = TLPI_MIN(len[i], n_pos - pos);
        add_run(&t, 1, pos, n);
        if (n < 200) /* company must not matter */
            add_run(&t, 0, 0, 1 + n % 5);
        run(w, &t.st, &l);
        memcpy(y + (size_t)pos * row, l.y, (size_t)n * row * sizeof(float));
        drop(l);
        pos += n;
    }
    fixture_close(w);
    return y;
}

Test(attention, same_bits_in_any_steps_on_any_threads)
{
    static const int lengths[][6] = {
        { MAX_TOK }, { 1 }, { 7, 100, 1, 150, 42 }, { 255, 1, 1, 2, 64 }, { 16 }
    };
    static const struct {
        int shape, n_pos;
    } picks[] = { { 0, 600 },  { 2, 280 },  { 4, 280 },  { 5, 280 },
                  { 7, 280 },  { 11, 280 }, { 12, 280 }, { 14, 600 },
                  { 15, 600 }, { 16, 600 } };

    for (size_t k = 0; k < TLPI_COUNT(isas); k++)
        for (size_t p = 0; have(isas[k]) && p < TLPI_COUNT(picks); p++) {
            attn_shape s = shapes[picks[p].shape];
            int n = picks[p].n_pos;
            size_t size = (size_t)(n * s.n_head * s.h) * sizeof(float);
            float *want = in_steps(s, isas[k], 1, n, lengths[0]);
            for (size_t i = 0; i < TLPI_COUNT(lengths); i++)
                for (int n_thread = 1; n_thread <= 3; n_thread++) {
                    float *y = in_steps(s, isas[k], n_thread, n, lengths[i]);
                    cr_assert(!memcmp(y, want, size),
                              "isa %d shape %d steps %zu threads %d", isas[k],
                              picks[p].shape, i, n_thread);
                    free(y);
                }
            free(want);
        }
}

/* ==== the cache ========================================================== */

/* A sequence goes on from a copied page as from its own, and the source of the
 * copy stays as it is. */
Test(attention, cache_copy)
{
    for (int type = TLP_KV_F32; type <= TLP_KV_Q8_0; type++) {
        attn_shape s = { 4, 2, 24, 24, false, false, type, 0 };
        attn_fixture *w = fixture_open(s, TLP_ISA_SCALAR, 1, 2, 3, 300);
        tokens t = { 0 }, u = { 0 };
        size_t n = (ref_at(w, 0, 290) - ref_at(w, 0, 0)) * sizeof(float);
        add_run(&t, 0, 0, 290);
        step_and_check(w, &t.st, 3e-6);

        for (int pos = 0; pos < 300; pos += TLPI_PAGE)
            tlpi_cpu_pages_copy(&w->c.base, w->pages,
                                page_layout_at(&w->layout, 2, pos),
                                page_layout_at(&w->layout, 0, pos));
        for (int i = 0; i < w->n_item; i++) {
            memcpy(w->k[i] + ref_at(w, 2, 0), w->k[i], n);
            memcpy(w->v[i] + ref_at(w, 2, 0), w->v[i], n);
        }
        add_run(&u, 2, 290, 4);
        add_run(&u, 0, 290, 4);
        step_and_check(w, &u.st, 3e-6);
        fixture_close(w);
    }
}

/* Bytes of a page with one more cache. */
static size_t added(attn_fixture *w, int n_ctx, int n_head_kv, int h, int type)
{
    tlpi_page_layout l = page_layout_make(1, n_ctx);
    tlpi_pages *pages = NULL;
    tlpi_kv *kv = NULL;
    tlpi_backend *b = &w->c.base;

    cr_assert_eq(tlpi_cpu_pages_create(b, &pages, &l), TLP_OK);
    cr_assert_eq(tlpi_cpu_kv_create(b, &kv, pages, n_head_kv, h, type), TLP_OK);
    size_t n = tlpi_cpu_pages_bytes(pages);
    tlpi_cpu_kv_free(b, kv);
    tlpi_cpu_pages_free(b, pages);
    page_layout_free(&l);
    return n;
}

Test(attention, cache_limits)
{
    attn_fixture *w = fixture_open(shapes[2], TLP_ISA_SCALAR, 1, 1, 2, 100);
    tlpi_backend *b = &w->c.base;
    tlpi_kv *kv = w->kv[0];
    /* 3 heads, 112 positions of 64 + 64 halves */
    cr_assert_eq(tlpi_cpu_pages_bytes(w->pages), 3 * 112 * 128 * 2);
    cr_assert_eq(w->layout.n_page, 2);

    cr_assert_eq(tlpi_cpu_kv_create(b, &kv, w->pages, 0, 64, TLP_KV_F16),
                 TLP_EINVAL);
    cr_assert_null(kv);
    cr_assert_eq(tlpi_cpu_kv_create(b, &kv, w->pages, 1, 64, 9), TLP_EINVAL);
    cr_assert_eq(
        tlpi_cpu_kv_create(b, &kv, w->pages, INT32_MAX, INT32_MAX, TLP_KV_F16),
        TLP_EINVAL);
    cr_assert_null(kv);
    cr_assert_eq(tlpi_cpu_pages_bytes(w->pages), 3 * 112 * 128 * 2);

    /* 2 heads, 32 positions: 40 + 48 bytes, 2 scales for either */
    cr_assert_eq(added(w, 20, 2, 40, TLP_KV_Q8_0), 2 * 32 * (40 + 48 + 4 * 4));
    /* no more than 256 positions in a page */
    cr_assert_eq(added(w, 1000, 1, 16, TLP_KV_F32), 256 * 32 * 4);
    w->c.f32 = true;
    cr_assert_eq(added(w, 16, 1, 16, TLP_KV_DEFAULT), 16 * 32 * 4);
    fixture_close(w);
}
