/*
 * bench_attention.c - time of attention alone: prompts and single tokens at
 * several context lengths, in the shape of a small model.
 *
 *   bench_attention [threads [isa [heads [kv_heads [head_dim [layers
 *                   [kv_type]]]]]]]       kv_type 1 f32, 2 f16, 3 bf16, 4 q8_0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cpu.h"
#include "support/page_layout.h"

#define MAX_CTX 8192

typedef struct attn_bench {
    int n_head, n_head_kv, h, n_layer, kv_type;
    tlpi_env env;
    tlpi_cpu c;
    tlpi_rope *rope;
    tlpi_page_layout layout;
    tlpi_pages *pages;
    tlpi_kv **kv; /* [n_layer] */
    float *q, *k, *v, *y;
    int32_t *seq, *pos;
} attn_bench;

static void must(bool ok)
{
    if (!ok) {
        fprintf(stderr, "bench_attention: %s\n", tlp_last_error());
        exit(1);
    }
}

static float *random_floats(size_t n)
{
    float *x = malloc(n * sizeof *x);
    must(x != NULL);
    uint32_t s = 1;
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)(s >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

static void open_bench(attn_bench *b, int n_thread, int isa)
{
    tlp_allocator mem = { NULL, NULL, NULL };
    must(!tlpi_env_init(&b->env, &mem, NULL, NULL));
    tlpi_pool_options po = { .n_thread = n_thread, .n_machine = n_thread };
    b->c.base.env = &b->env;
    b->c.opts = (tlpi_backend_options){ .max_tok = MAX_CTX,
                                        .max_cols = b->n_head * b->h };
    b->c.isa = isa;
    b->c.vec = tlpi_cpu_vec_get(isa);
    b->c.mm = tlpi_cpu_mm_get(isa);
    must(!tlpi_pool_create(&b->c.pool, &b->env, &po));
    must(!tlpi_cpu_attn_scratch_create(&b->c));

    double inv_freq[256];
    for (int i = 0; i < b->h / 2; i++)
        inv_freq[i] = 1.0 / (1 + i);
    must(!tlpi_cpu_rope_create(&b->c.base, &b->rope, inv_freq, 1, b->h, MAX_CTX,
                               false, NULL));
    b->kv = calloc((size_t)b->n_layer, sizeof(tlpi_kv *));
    must(b->kv != NULL);
    b->layout = page_layout_make(1, MAX_CTX);
    must(b->layout.table != NULL);
    must(!tlpi_cpu_pages_create(&b->c.base, &b->pages, &b->layout));
    for (int l = 0; l < b->n_layer; l++)
        must(!tlpi_cpu_kv_create(&b->c.base, &b->kv[l], b->pages, b->n_head_kv,
                                 b->h, b->kv_type));
    for (int i = 0; i < b->layout.n_page; i++)
        must(!tlpi_cpu_pages_take(&b->c.base, b->pages, i));
    size_t h = (size_t)b->h;
    b->q = random_floats(MAX_CTX * (size_t)b->n_head * h);
    b->k = random_floats(MAX_CTX * (size_t)b->n_head_kv * h);
    b->v = random_floats(MAX_CTX * (size_t)b->n_head_kv * h);
    b->y = random_floats(MAX_CTX * (size_t)b->n_head * h);
    b->seq = calloc(MAX_CTX, sizeof *b->seq);
    b->pos = calloc(MAX_CTX, sizeof *b->pos);
    must(b->seq && b->pos);
    for (int i = 0; i < MAX_CTX; i++)
        b->pos[i] = i;
}

static void close_bench(attn_bench *b)
{
    for (int l = 0; l < b->n_layer; l++)
        tlpi_cpu_kv_free(&b->c.base, b->kv[l]);
    tlpi_cpu_pages_free(&b->c.base, b->pages);
    page_layout_free(&b->layout);
    free(b->kv);
    tlpi_cpu_rope_free(&b->c.base, b->rope);
    tlpi_cpu_attn_scratch_free(&b->c);
    tlpi_pool_free(b->c.pool);
    free(b->q);
    free(b->k);
    free(b->v);
    free(b->y);
    free(b->seq);
    free(b->pos);
}

/* All layers' attention for n tokens from pos. */
static void all_layers(attn_bench *b, int pos, int n)
{
    tlpi_step s = { n, b->seq, b->seq, b->pos + pos };
    for (int l = 0; l < b->n_layer; l++) {
        tlpi_attn a = { .q = b->q,
                        .k = b->k,
                        .v = b->v,
                        .kv = b->kv[l],
                        .n_head = b->n_head,
                        .n_head_kv = b->n_head_kv,
                        .y = b->y,
                        .rope = b->rope };
        tlpi_cpu_attention(&b->c.base, &s, &a, 1, b->h, 1e-5f);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Wall time, and the processor time of all threads (waiting included), which
 * others on the machine disturb less. */
static void report(attn_bench *b, const char *what, int pos, int n, int n_run)
{
    double wall[64], cpu[64];
    for (int i = 0; i < n_run; i++) {
        double t0 = tlpi_now();
        clock_t c0 = clock();
        all_layers(b, pos, n);
        wall[i] = (tlpi_now() - t0) * 1e3;
        cpu[i] = (double)(clock() - c0) * 1e3 / CLOCKS_PER_SEC;
    }
    qsort(wall, (size_t)n_run, sizeof *wall, compare);
    qsort(cpu, (size_t)n_run, sizeof *cpu, compare);
    printf("%-8s %5d  ms: median %9.3f  best %9.3f  cpu %9.3f\n", what, pos + n,
           wall[n_run / 2], wall[0], cpu[0]);
}

int main(int argc, char **argv)
{
    attn_bench b = { .n_head = 9, .n_head_kv = 3, .h = 64, .n_layer = 30 };
    int n_thread = argc > 1 ? atoi(argv[1]) : 2;
    int isa = TLP_ISA_AVX512;
    if (argc > 2)
        isa = !strcmp(argv[2], "scalar") ? TLP_ISA_SCALAR
              : !strcmp(argv[2], "avx2") ? TLP_ISA_AVX2
                                         : TLP_ISA_AVX512;
    if (argc > 5) {
        b.n_head = atoi(argv[3]);
        b.n_head_kv = atoi(argv[4]);
        b.h = atoi(argv[5]);
    }
    if (argc > 6)
        b.n_layer = atoi(argv[6]);
    b.kv_type = argc > 7 ? atoi(argv[7]) : TLP_KV_DEFAULT;

    open_bench(&b, n_thread, isa);
    printf("%d threads, %d heads on %d of %d, %d layers\n", n_thread, b.n_head,
           b.n_head_kv, b.h, b.n_layer);
    report(&b, "prefill", 0, 512, 9);
    report(&b, "prefill", 0, 2048, 1);
    report(&b, "prefill", 0, 4096, 1);
    report(&b, "prefill", 4096, 4096, 1);
    report(&b, "decode", 15, 1, 63);
    report(&b, "decode", 127, 1, 63);
    report(&b, "decode", 1023, 1, 63);
    report(&b, "decode", 4095, 1, 31);
    report(&b, "decode", 8191, 1, 15);
    close_bench(&b);
    return 0;
}
