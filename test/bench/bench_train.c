/*
 * bench_train.c - time of the products and of attention for training.
 *
 *   bench_train [threads [runs [case...]]]
 *
 * A case is PRODUCT:tokens:in:out[:TYPE] with the product forward, input or
 * weight (the gradients of inputs and of weights), or
 * attention:tokens:heads:kv_heads:head_dim, forward and backward.  A line for
 * each case: median and best of the runs in ms, the least processor time of all
 * threads (waiting included), which others on the machine disturb less, and 1e9
 * multiply-adds a second of processor time.  TLP_BENCH_ISA=1 scalar, 2 avx2, 3
 * avx512.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "train/train_attn.h"
#include "train/train_gemm.h"

enum { MAX_RUNS = 999, MAX_PART = 6 };

static const char *const standard[] = {
    "forward:256:576:1536:F32",  "forward:256:576:1536:Q4_1",
    "forward:256:1536:576:Q4_K", "forward:256:576:1536:Q8_0",
    "forward:256:1536:576:F32",  "forward:256:1536:576:Q4_1",
    "forward:256:576:576:F32",   "forward:256:576:192:F32",
    "forward:256:576:49152:F32", "forward:256:576:49152:Q8_0",
    "input:256:576:1536:F32",    "input:256:576:1536:Q4_1",
    "input:256:1536:576:F32",    "input:256:1536:576:Q4_1",
    "input:256:576:49152:F32",   "weight:256:576:1536:F32",
    "weight:256:1536:576:F32",   "weight:256:576:576:F32",
    "weight:256:576:192:F32",    "weight:256:576:49152:F32",
    "attention:256:9:3:64",      "attention:512:9:3:64",
};

typedef struct train_bench {
    tlpi_env env;
    tlpi_pool *pool;
    int isa, n_run;
} train_bench;

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_train: %s: %s\n", what, tlp_last_error());
        exit(1);
    }
}

static float *random_floats(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);
    uint32_t s = 1;

    must(x != NULL, "memory");
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)(s >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct train_times {
    int n;
    double wall[MAX_RUNS], cpu[MAX_RUNS]; /* ms */
    double wall0;
    clock_t cpu0;
} train_times;

static void begin(train_times *t)
{
    t->cpu0 = clock();
    t->wall0 = tlpi_now();
}

static void end(train_times *t)
{
    t->wall[t->n] = (tlpi_now() - t->wall0) * 1e3;
    t->cpu[t->n++] = (double)(clock() - t->cpu0) * 1e3 / CLOCKS_PER_SEC;
}

static void report(const char *name, train_times *t, double macs)
{
    size_t n = (size_t)t->n;

    qsort(t->wall, n, sizeof *t->wall, compare);
    qsort(t->cpu, n, sizeof *t->cpu, compare);
    printf("%-30s ms: median %9.3f  best %9.3f  cpu %9.3f  %6.1f GMAC/s\n",
           name, t->wall[n / 2], t->wall[0], t->cpu[0], macs / t->cpu[0] / 1e6);
    fflush(stdout);
}

/* ==== products =========================================================== */

typedef struct product_case {
    char kind; /* of forward, input, weight */
    int64_t t, in, out;
    float *x, *y, *dw;
    tlpi_tensor w;
} product_case;

static void multiply(tlpi_gemm *g, const product_case *c)
{
    size_t in = (size_t)c->in, out = (size_t)c->out;
    tlpi_gemm_source w = tlpi_gemm_weight(&c->w, 0, 0);

    if (c->kind == 'f')
        tlpi_gemm_forward(g, c->t, c->in, c->out, c->x, in, w, 0, c->y, out);
    else if (c->kind == 'i')
        tlpi_gemm_input_grad(g, c->t, c->in, c->out, c->y, out, w, 0, c->x, in);
    else
        tlpi_gemm_weight_grad(g, c->t, c->in, c->out, c->y, out, c->x, in, 1,
                              c->dw, in);
}

static tlpi_dtype type_of(const char *name)
{
    for (uint32_t i = 0; name && i < 64; i++)
        if (tlpi_dtype_get(i) && !strcmp(tlpi_dtype_name(i), name))
            return (tlpi_dtype)i;
    return TLPI_F32;
}

static void bench_product(const train_bench *b, const char *name,
                          const int64_t size[3], const char *type)
{
    size_t n = (size_t)(size[1] * size[2]);
    product_case c = { *name,
                       size[0],
                       size[1],
                       size[2],
                       NULL,
                       NULL,
                       NULL,
                       { .name = "bench",
                         .type = type_of(type),
                         .n_dim = 2,
                         .ne = { size[1], size[2], 1, 1 } } };
    train_times times = { 0 };
    tlpi_gemm *g;

    c.x = random_floats((size_t)(c.t * c.in));
    c.y = random_floats((size_t)(c.t * c.out));
    c.dw = random_floats(n);
    c.w.n_bytes = tlpi_row_bytes(c.w.type, c.in) * (size_t)c.out;
    void *data = malloc(c.w.n_bytes);
    must(data != NULL, "memory");
    tlpi_quantize(c.w.type, c.dw, data, (int64_t)n);
    c.w.data = data;
    must(!tlpi_gemm_create(&g, &b->env, b->pool, b->isa), name);
    multiply(g, &c);
    for (int i = 0; i < b->n_run; i++) {
        begin(&times);
        multiply(g, &c);
        end(&times);
    }
    report(name, &times, (double)c.t * (double)n);
    tlpi_gemm_free(g);
    free(data);
    free(c.x);
    free(c.y);
    free(c.dw);
}

/* ==== attention ========================================================== */

static void bench_attention(const train_bench *b, const char *name,
                            const int64_t size[4])
{
    int T = (int)size[0], n_head = (int)size[1], n_kv = (int)size[2];
    size_t nq = (size_t)(size[1] * size[3]), nk = (size_t)(size[2] * size[3]);
    tlpi_train_heads heads = { .n_head = n_head,
                               .n_head_kv = n_kv,
                               .head_dim = (int)size[3],
                               .group = n_head / n_kv,
                               .scale = 0.125f };
    tlpi_train_attn_sizes most = { T, n_head, n_kv, (int)size[3] };
    tlpi_train_rows m[8];
    train_times forward = { 0 }, backward = { 0 };
    tlpi_train_attn *a;
    char text[160];

    for (int i = 0; i < 8; i++) {
        bool kv = i == 1 || i == 2 || i == 6 || i == 7;
        m[i].ld = kv ? nk : nq;
        m[i].x = random_floats((size_t)T * m[i].ld);
    }
    tlpi_train_qkv x = { T,    m[0], m[3],
                         m[1], m[2], random_floats((size_t)(T * n_head)) };
    tlpi_train_dqkv d = { m[4], m[5], m[6], m[7] };
    must(!tlpi_train_attn_create(&a, &b->env, b->pool, b->isa, &most), name);
    for (int i = 0; i < b->n_run; i++) {
        begin(&forward);
        tlpi_train_attn_forward(a, &heads, &x);
        end(&forward);
        begin(&backward);
        tlpi_train_attn_backward(a, &heads, &x, &d);
        end(&backward);
    }
    /* without the positions that no row sees */
    double macs = (double)T * (T + 1) / 2 * (double)nq;
    snprintf(text, sizeof text, "%s forward", name);
    report(text, &forward, 2 * macs);
    snprintf(text, sizeof text, "%s backward", name);
    report(text, &backward, 5 * macs);
    tlpi_train_attn_free(a);
    for (int i = 0; i < 8; i++)
        free(m[i].x);
    free(x.lse);
}

/* ==== running ============================================================ */

static void bench_case(const train_bench *b, const char *name)
{
    char text[128], *part[MAX_PART] = { NULL }, *next = text;
    int64_t size[4] = { 0 };

    snprintf(text, sizeof text, "%s", name);
    for (int i = 0; i < MAX_PART && next; i++)
        part[i] = strsep(&next, ":");
    for (int i = 0; i < 4 && part[i + 1]; i++)
        size[i] = atoll(part[i + 1]);
    must(size[0] > 0 && size[1] > 0 && size[2] > 0, name);
    if (*name == 'a') {
        must(size[3] > 0, name);
        bench_attention(b, name, size);
    } else {
        bench_product(b, name, size, part[4]);
    }
}

int main(int argc, char **argv)
{
    const char *isa = getenv("TLP_BENCH_ISA");
    train_bench b = { .isa = isa ? atoi(isa) : TLP_ISA_AUTO,
                      .n_run = argc > 2 ? atoi(argv[2]) : 15 };
    int n_thread = argc > 1 ? atoi(argv[1]) : 1;
    tlpi_pool_options po = { .n_thread = n_thread, .n_machine = n_thread };

    must(b.n_run > 0 && b.n_run <= MAX_RUNS, "runs");
    must(!tlpi_env_init(&b.env, NULL, NULL, NULL), "env");
    must(!tlpi_pool_create(&b.pool, &b.env, &po), "pool");
    if (argc > 3)
        for (int i = 3; i < argc; i++)
            bench_case(&b, argv[i]);
    else
        for (size_t i = 0; i < TLPI_COUNT(standard); i++)
            bench_case(&b, standard[i]);
    tlpi_pool_free(b.pool);
    return 0;
}
