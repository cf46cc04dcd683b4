/*
 * test_cuda_attention.c - attention of the CUDA backend against the CPU's: of
 * prompts, of single tokens, of many sequences.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/both.h"
#include "support/check.h"
#include "support/gpu_plugin.h"
#include "support/page_layout.h"
#include "support/random_weights.h"

TestSuite(cuda_attention, .init = both_open, .fini = both_close,
          .timeout = 300);

typedef struct heads {
    int n_head, n_head_kv, h, n_rot;
    bool neox;
    int norm; /* 0: none; 1: of each head; 2: of rows that are longer */
    int kv_type;
    int window; /* of the second item */
} heads;

enum { N_SEQ = GPU_N_SEQ, N_CTX = 400, N_ITEM = 2 };

/* One backend's caches and buffers. */
typedef struct side {
    tlpi_backend *b;
    tlpi_rope *rope;
    tlpi_page_layout layout;
    tlpi_pages *pages;
    tlpi_kv *kv[N_ITEM];
    float *norm;   /* long enough for a row */
    float *square; /* [N_CTX] of the rows, which are longer */
} side;

static side side_open(tlpi_backend *b, const heads *s)
{
    side x = { .b = b };
    double inv[128];
    float w[1024], square[N_CTX];

    for (int i = 0; i < s->n_rot / 2; i++)
        inv[i] = pow(10000, -2.0 * i / s->n_rot);
    for (int i = 0; i < 1024; i++)
        w[i] = 0.5f + (float)(i % 7) / 4;
    for (int i = 0; i < N_CTX; i++)
        square[i] = 100 + (float)(i % 5) * 50;
    CHECK_OK(b->ops->rope_create(b, &x.rope, inv, 1, s->n_rot, N_CTX, s->neox,
                                 NULL));
    x.layout = page_layout_make(N_SEQ, N_CTX);
    CHECK_OK(b->ops->pages_create(b, &x.pages, &x.layout));
    for (int i = 0; i < N_ITEM; i++)
        CHECK_OK(b->ops->kv_create(b, &x.kv[i], x.pages, s->n_head_kv + i, s->h,
                                   s->kv_type));
    for (int i = 0; i < x.layout.n_page; i++)
        CHECK_OK(b->ops->pages_take(b, x.pages, i));
    x.norm = put(b, w, 1024);
    x.square = put(b, square, N_CTX);
    return x;
}

static void side_close(side *x)
{
    x->b->ops->buffer_free(x->b, x->norm);
    x->b->ops->buffer_free(x->b, x->square);
    for (int i = 0; i < N_ITEM; i++)
        x->b->ops->kv_free(x->b, x->kv[i]);
    x->b->ops->pages_free(x->b, x->pages);
    page_layout_free(&x->layout);
    x->b->ops->rope_free(x->b, x->rope);
}

/* The second item has a kv head more, no rotation, and a window and a scale of
 * its own. */
static size_t n_q(const heads *s, int i)
{
    return (size_t)(s->n_head / s->n_head_kv * (s->n_head_kv + i) * s->h);
}

static size_t n_kv(const heads *s, int i)
{
    return (size_t)((s->n_head_kv + i) * s->h);
}

/* A step on one side; what it gives for both items. */
static void attend(side *x, const heads *s, const tlpi_step *step,
                   float *const q[N_ITEM], float *const k[N_ITEM],
                   float *const v[N_ITEM], float *out[N_ITEM])
{
    size_t n = (size_t)step->n_tok;
    tlpi_backend *b = x->b;
    tlpi_attn a[N_ITEM];

    for (int i = 0; i < N_ITEM; i++) {
        int kv = s->n_head_kv + i;
        a[i] = (tlpi_attn){ .q = put(b, q[i], n * n_q(s, i)),
                            .k = put(b, k[i], n * n_kv(s, i)),
                            .v = put(b, v[i], n * n_kv(s, i)),
                            .q_norm = s->norm ? x->norm : NULL,
                            .k_norm = s->norm ? x->norm : NULL,
                            .kv = x->kv[i],
                            .n_head = s->n_head / s->n_head_kv * kv,
                            .n_head_kv = kv,
                            .y = put(b, q[i], n * n_q(s, i)),
                            .rope = i == 1 ? NULL : x->rope,
                            .window = i == 1 ? s->window : 0,
                            .scale = i == 1 ? 0.3f : 0 };
        if (s->norm == 2) {
            a[i].q_row = (tlpi_row_square){ x->square, 700 };
            a[i].k_row = (tlpi_row_square){ x->square + 1, 300 };
        }
    }
    b->ops->begin_step(b, step, NULL);
    b->ops->attention(b, step, a, N_ITEM, s->h, 1e-5f);
    CHECK_OK(b->ops->end_step(b, TLP_OK));
    for (int i = 0; i < N_ITEM; i++) {
        out[i] = take(b, a[i].y, n * n_q(s, i));
        b->ops->buffer_free(b, a[i].q);
        b->ops->buffer_free(b, a[i].k);
        b->ops->buffer_free(b, (float *)(uintptr_t)a[i].v);
    }
}

static void step_both(side x[2], const heads *s, int n_tok, const int32_t *seq,
                      const int32_t *pos)
{
    int32_t id[64] = { 0 };
    tlpi_step step = { n_tok, id, seq, pos };
    float *q[N_ITEM], *k[N_ITEM], *v[N_ITEM], *out[2][N_ITEM];
    size_t n = (size_t)n_tok;

    for (int i = 0; i < N_ITEM; i++) {
        q[i] = random_floats(n * n_q(s, i));
        k[i] = random_floats(n * n_kv(s, i));
        v[i] = random_floats(n * n_kv(s, i));
    }
    for (int i = 0; i < 2; i++)
        attend(&x[i], s, &step, q, k, v, out[i]);
    for (int i = 0; i < N_ITEM; i++) {
        expect_equal(out[0][i], out[1][i], n * n_q(s, i), 3e-5, "attention");
        free(q[i]);
        free(k[i]);
        free(v[i]);
    }
}

/* The pages of n_pos positions of a sequence, to another one. */
static void copy(side *x, int dst, int src, int n_pos)
{
    for (int pos = 0; pos < n_pos; pos += TLPI_PAGE)
        x->b->ops->pages_copy(x->b, x->pages,
                              page_layout_at(&x->layout, dst, pos),
                              page_layout_at(&x->layout, src, pos));
}

/* A prompt in sequence 1, another behind it in both, single tokens; a copy of
 * a sequence goes on as the first does; a token more for every sequence. */
static void check_attention(heads s, int n_long)
{
    side x[2] = { side_open(cpu, &s), side_open(gpu, &s) };
    int32_t seq[64], pos[64];
    int at = 0;

    for (; at < n_long; at += 50) { /* of one sequence: tiles are cut */
        for (int t = 0; t < 50; t++) {
            seq[t] = 1;
            pos[t] = at + t;
        }
        step_both(x, &s, 50, seq, pos);
    }
    for (int t = 0; t < 20; t++) {
        seq[t] = t < 7 ? 0 : 1;
        pos[t] = t < 7 ? t : at + t - 7;
    }
    step_both(x, &s, 20, seq, pos);
    at += 13;
    for (int t = 0; t < 5; t++) {
        seq[t] = t < 2 ? 0 : 1;
        pos[t] = t < 2 ? 7 + t : at + t - 2;
    }
    step_both(x, &s, 5, seq, pos);
    for (int i = 0; i < 2; i++)
        copy(&x[i], 0, 1, at);
    seq[0] = 0;
    pos[0] = at;
    step_both(x, &s, 1, seq, pos);
    for (int k = 0; k < 2; k++) { /* single tokens of all sequences */
        for (int t = 0; t < N_SEQ; t++) {
            seq[t] = N_SEQ - 1 - t;
            pos[t] = seq[t] > 1 ? k : at + 1 + k - seq[t];
        }
        step_both(x, &s, N_SEQ, seq, pos);
    }
    side_close(&x[0]);
    side_close(&x[1]);
}

Test(cuda_attention, of_equal_heads)
{
    check_attention((heads){ 2, 2, 64, 64, true, 0, TLP_KV_F32, 0 }, 50);
    check_attention((heads){ 3, 3, 20, 12, false, 0, TLP_KV_F16, 7 }, 50);
}

Test(cuda_attention, of_grouped_heads)
{
    check_attention((heads){ 4, 2, 16, 16, false, 1, TLP_KV_F32, 30 }, 50);
    check_attention((heads){ 7, 1, 64, 64, true, 1, TLP_KV_BF16, 0 }, 50);
    check_attention((heads){ 6, 2, 128, 64, true, 0, TLP_KV_F16, 33 }, 0);
    check_attention((heads){ 2, 1, 256, 256, true, 0, TLP_KV_F32, 5 }, 0);
}

Test(cuda_attention, with_norms_of_rows)
{
    check_attention((heads){ 6, 2, 20, 20, true, 2, TLP_KV_F32, 0 }, 50);
    check_attention((heads){ 5, 5, 64, 64, true, 2, TLP_KV_F16, 7 }, 0);
}

/* More positions than one block takes. */
Test(cuda_attention, over_long_caches)
{
    check_attention((heads){ 3, 1, 32, 32, true, 0, TLP_KV_F32, 100 }, 350);
}

/* Single tokens of many sequences go through the kernels of a few: their bits
 * are those of two steps, since a short cache is one part in each. */
Test(cuda_attention, of_many_sequences_at_once)
{
    enum { N = 12, HALF = N / 2, N_PROMPT = 40 };
    heads s = { 4, 2, 64, 64, true, 0, TLP_KV_F16, 0 };
    side x = side_open(gpu, &s);
    int32_t id[N_PROMPT] = { 0 }, seq[N_PROMPT] = { 0 }, pos[N_PROMPT];
    float *in[3][N_ITEM], *out[3][N_ITEM];
    tlpi_step step = { N_PROMPT, id, seq, pos };

    for (int t = 0; t < N_PROMPT; t++)
        pos[t] = t;
    for (int i = 0; i < N_ITEM; i++)
        for (int j = 0; j < 3; j++)
            in[j][i] = random_floats(N_PROMPT * n_q(&s, i));
    attend(&x, &s, &step, in[0], in[1], in[2], out[0]);
    for (int i = 0; i < N_ITEM; i++) {
        free(out[0][i]);
    }
    for (int t = 1; t < N; t++)
        copy(&x, t, 0, N_PROMPT);
    for (int t = 0; t < N; t++) {
        seq[t] = t;
        pos[t] = N_PROMPT - t;
    }
    step.n_tok = N;
    attend(&x, &s, &step, in[0], in[1], in[2], out[2]);
    for (int part = 0; part < 2; part++) {
        int at = part * HALF;
        float *some[3][N_ITEM];
        for (int i = 0; i < N_ITEM; i++) {
            some[0][i] = in[0][i] + (size_t)at * n_q(&s, i);
            some[1][i] = in[1][i] + (size_t)at * n_kv(&s, i);
            some[2][i] = in[2][i] + (size_t)at * n_kv(&s, i);
        }
        step = (tlpi_step){ HALF, id, seq + at, pos + at };
        attend(&x, &s, &step, some[0], some[1], some[2], out[part]);
    }
    for (int i = 0; i < N_ITEM; i++) {
        size_t n = HALF * n_q(&s, i) * sizeof(float);
        cr_assert_eq(memcmp(out[2][i], out[0][i], n), 0);
        cr_assert_eq(memcmp((char *)out[2][i] + n, out[1][i], n), 0);
        for (int j = 0; j < 3; j++) {
            free(in[j][i]);
            free(out[j][i]);
        }
    }
    side_close(&x);
}
