/*
 * bench_matmul.c - speed of the grouped matmul for every tensor type.
 *
 *   bench_matmul [isa [compute]]      isa 1 scalar, 2 avx2, 3 avx512
 *
 * Decode: one token through weights far larger than the caches, in GB/s of
 * packed weights.  Prefill: 512 tokens through one FFN matrix, in 1e9
 * multiply-adds a second.  Best of several runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"

enum { ROWS = 1536, COLS = 768, COPIES = 120, TOKENS = 512, RUNS = 7 };

static const tlpi_dtype types[] = {
    TLPI_F32,  TLPI_F16,    TLPI_BF16,   TLPI_Q4_0, TLPI_Q4_1, TLPI_Q5_0,
    TLPI_Q5_1, TLPI_Q8_0,   TLPI_Q2_K,   TLPI_Q3_K, TLPI_Q4_K, TLPI_Q5_K,
    TLPI_Q6_K, TLPI_IQ4_NL, TLPI_IQ4_XS, TLPI_MXFP4
};

/* Seconds of the best run of n_tok tokens through n weights, one by one. */
static double best_of(tlpi_backend *b, tlpi_weight **w, int n, const float *x,
                      int n_tok, float *y)
{
    double best = 1e9;

    for (int run = 0; run < RUNS; run++) {
        double t0 = tlpi_now();
        for (int i = 0; i < n; i++) {
            tlpi_term term = { w[i], x, 1.0f, NULL, NULL };
            tlpi_matmul item = { .term = &term, .n_term = 1, .y = y };
            b->ops->matmul(b, n_tok, &item, 1);
        }
        best = TLPI_MIN(best, tlpi_now() - t0);
    }
    return best;
}

static void bench(tlpi_backend *b, tlpi_dtype type, int n_thread,
                  const float *x, float *y)
{
    tlpi_tensor t = {
        .name = "bench", .type = type, .n_dim = 2, .ne = { COLS, ROWS, 1, 1 }
    };
    tlpi_weight *w[COPIES] = { NULL };
    bool copied;

    t.n_bytes = tlpi_row_bytes(type, COLS) * ROWS;
    void *data = malloc(t.n_bytes);
    tlpi_quantize(type, x, data, (int64_t)ROWS * COLS);
    t.data = data;
    double t0 = tlpi_now(), bytes = 0.0;
    for (int i = 0; i < COPIES; i++) {
        if (b->ops->weight_create(b, &w[i], &t, 0, ROWS, 0, COLS, &copied))
            exit(1);
        bytes += (double)b->ops->weight_bytes(w[i]);
    }
    double pack = tlpi_now() - t0;
    double macs = (double)ROWS * COLS * COPIES;
    printf("%-5s %d  %6.1f MB pack %5.0f ms ", tlpi_dtype_name(type), n_thread,
           bytes / 1e6, pack * 1e3);
    for (int n_tok = 1; n_tok <= 8; n_tok++)
        printf(" %5.1f", bytes / best_of(b, w, COPIES, x, n_tok, y) / 1e9);
    printf(" GB/s  %6.1f GMAC/s\n",
           macs / 30 * TOKENS / best_of(b, w, COPIES / 30, x, TOKENS, y) / 1e9);
    for (int i = 0; i < COPIES; i++)
        b->ops->weight_free(w[i]);
    free(data);
}

int main(int argc, char **argv)
{
    tlpi_env env;
    size_t n = (size_t)ROWS * COLS;
    float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);

    if (tlpi_env_init(&env, NULL, NULL, NULL) || !x || !y)
        return 1;
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int n_thread = 1; n_thread <= 2; n_thread++) {
        tlpi_backend *b;
        tlpi_backend_options o = { .n_thread = n_thread,
                                   .n_machine = n_thread,
                                   .isa = argc > 1 ? atoi(argv[1]) : 0,
                                   .compute = argc > 2 ? atoi(argv[2]) : 0,
                                   .max_tok = TOKENS,
                                   .max_cols = COLS,
                                   .max_terms = 1 };
        if (tlpi_backend_cpu_create(&b, &env, &o)) {
            fprintf(stderr, "%s\n", tlp_last_error());
            return 1;
        }
        for (size_t i = 0; i < TLPI_COUNT(types); i++)
            bench(b, types[i], n_thread, x, y);
        b->ops->free(b);
    }
    free(x);
    free(y);
    return 0;
}
