/*
 * random_weights.c - random weights and CPU backends of every kind.
 */
#include "random_weights.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

const tlpi_dtype weights_type[WEIGHTS_N_TYPE] = {
    TLPI_F32,  TLPI_F16,    TLPI_BF16,   TLPI_Q4_0, TLPI_Q4_1, TLPI_Q5_0,
    TLPI_Q5_1, TLPI_Q8_0,   TLPI_Q2_K,   TLPI_Q3_K, TLPI_Q4_K, TLPI_Q5_K,
    TLPI_Q6_K, TLPI_IQ4_NL, TLPI_IQ4_XS, TLPI_MXFP4
};

const int weights_isa[WEIGHTS_N_ISA] = { TLP_ISA_SCALAR, TLP_ISA_AVX2,
                                         TLP_ISA_AVX512, TLP_ISA_AMX };
const char *const weights_isa_name[WEIGHTS_N_ISA] = { "scalar", "avx2",
                                                      "avx512", "amx" };

static const tlpi_env *host(void)
{
    static tlpi_env env;
    cr_assert_eq(tlpi_env_init(&env, NULL, NULL, NULL), TLP_OK);
    return &env;
}

static uint64_t rng = 1;

uint32_t random_bits(void)
{
    rng += 0x9e3779b97f4a7c15u;
    uint64_t z = rng;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

/* Roughly normal, with rare outliers. */
static float random_float(void)
{
    double v = 0.0;
    for (int i = 0; i < 4; i++)
        v += (double)random_bits() / 4294967296.0 - 0.5;
    return (float)(random_bits() % 61 ? v : 8.0 * v);
}

float *random_floats(size_t n)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = random_float();
    return x;
}

tlpi_tensor random_tensor(tlpi_dtype type, int64_t rows, int64_t cols)
{
    tlpi_tensor t = {
        .name = "test", .type = type, .n_dim = 2, .ne = { cols, rows, 1, 1 }
    };
    float *x = random_floats((size_t)(rows * cols));

    t.n_bytes = tlpi_row_bytes(type, cols) * (size_t)rows;
    void *data = malloc(t.n_bytes);
    tlpi_quantize(type, x, data, rows * cols);
    t.data = data;
    free(x);
    return t;
}

tlpi_backend *weights_backend(int isa, int compute, int n_thread)
{
    tlpi_backend *b = NULL;
    tlpi_backend_options o = { .n_thread = n_thread,
                               .n_machine = n_thread,
                               .isa = isa,
                               .compute = compute,
                               .max_tok = WEIGHTS_MAX_TOK,
                               .max_cols = WEIGHTS_MAX_COLS,
                               .max_terms = 4 };
    tlp_status st = tlpi_backend_cpu_create(&b, host(), &o);

    if (st == TLP_ENOTSUP)
        printf("skipped: %s\n", tlp_last_error());
    else
        cr_assert_eq(st, TLP_OK, "%s", tlp_last_error());
    return b;
}

tlpi_weight *weigh(tlpi_backend *b, const tlpi_tensor *t, int64_t r0,
                   int64_t r1, int64_t c0, int64_t c1)
{
    tlpi_weight *w = NULL;
    bool copied;
    cr_assert_eq(b->ops->weight_create(b, &w, t, r0, r1, c0, c1, &copied),
                 TLP_OK, "%s", tlp_last_error());
    return w;
}

tlpi_weight *weigh_all(tlpi_backend *b, const tlpi_tensor *t)
{
    return weigh(b, t, 0, t->ne[1], 0, t->ne[0]);
}

void multiply(tlpi_backend *b, const tlpi_weight *w, const float *x, int n_tok,
              float *y)
{
    tlpi_term term = { w, x, 1.0f, NULL, NULL };
    tlpi_matmul item = { .term = &term, .n_term = 1, .y = y };
    b->ops->matmul(b, n_tok, &item, 1);
}

void tensor_free(const tlpi_tensor *t)
{
    free((void *)t->data);
}

float *tensor_floats(const tlpi_tensor *t)
{
    int64_t n = t->ne[0] * t->ne[1];
    float *w = malloc((size_t)n * sizeof *w);
    tlpi_dequantize(t->type, t->data, w, n);
    return w;
}
