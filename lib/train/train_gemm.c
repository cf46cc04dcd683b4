/*
 * train_gemm.c - products over the threads of a pool.
 *
 * k is cut into pieces of equal length.  The threads first pack rows of A for
 * as many pieces as the memory holds.  Then every task forms a block of C: for
 * each piece it packs its columns of B into memory of its thread, which stays
 * in the second cache, and multiplies them with its rows of A.  So B is
 * converted once, unless A's rows do not fit.
 */
#include "train/train_gemm.h"

#include "backend/cpu.h"
#include "train/train_pack.h"

enum {
    A_FLOATS = 1 << 20, /* packed rows of A */
    MOST_K = 2048,      /* of k that is packed at once */
    PACK_PANELS = 8,    /* panels of A that a task packs */
    NEAR_ROWS = 96,     /* rows of A that stay in the second cache */
    WANTED_TASKS = 16,  /* blocks of columns that make a product */
    FEW_TASKS = 12,     /* fewer blocks are cut by rows too */
    LEAST_ROWS = 96,    /* of a block of a cut by rows */
    COLS_UNIT = 32,     /* blocks of columns are whole units */
    ALONE = 1 << 16,    /* multiply-adds that are not worth waking a thread */
    LINE = 16           /* floats of a cache line */
};

struct tlpi_gemm {
    const tlpi_env *env;
    tlpi_pool *pool;
    const tlpi_gemm_kernel *kernel;
    size_t n_bytes;
    float *a; /* [A_FLOATS] */
    float *b; /* [n_thread][b_floats] */
    size_t b_floats;
    tlpi_gemm_args last; /* whose whole A is packed; a NULL: none */
    bool again;          /* the promise of tlpi_gemm_again */
};

/* The part of a product between two packings of A. */
typedef struct gemm_part {
    const tlpi_gemm *g;
    const tlpi_gemm_args *x;
    int64_t m0, m, k0, k; /* rows of A and columns of A that are packed */
    int kc;               /* length of a piece of k */
    float beta;           /* of the first piece */
    int nb;               /* columns of a block */
    int n_part;           /* cuts of the rows */
    bool has_a;           /* A is packed already */
} gemm_part;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* ==== packing A ========================================================== */

/* Panel i of the piece that begins at column k of the part. */
static float *panel_of(const gemm_part *p, int64_t i, int64_t k)
{
    int mr = p->g->kernel->mr;
    int64_t here = TLPI_MIN(p->k - k, p->kc);

    return p->g->a + ceil_div(p->m, mr) * mr * k + i * mr * here;
}

static void pack_rows_of_a(const gemm_part *p, int64_t panel, int64_t k, int n)
{
    const tlpi_gemm_args *x = p->x;
    const tlpi_gemm_kernel *kernel = p->g->kernel;
    int mr = kernel->mr, here = (int)TLPI_MIN(p->k - k, p->kc);
    int64_t row = p->m0 + panel * mr;
    size_t step = (size_t)mr * (size_t)here;
    float *dst = panel_of(p, panel, k);

    if (x->a_trans) {
        kernel->pack_cols(x->a + (size_t)(p->k0 + k) * x->lda + row, x->lda, n,
                          here, mr, step, dst);
        return;
    }
    for (int i = 0; i < n; i += mr, dst += step)
        kernel->pack_rows(x->a + (size_t)(row + i) * x->lda + p->k0 + k, x->lda,
                          TLPI_MIN(n - i, mr), here, mr, (size_t)mr, dst);
}

static void pack_a(void *arg, tlpi_turn *t)
{
    const gemm_part *p = arg;
    int mr = p->g->kernel->mr;

    do {
        int64_t panel = (int64_t)t->task * PACK_PANELS;
        int n = (int)TLPI_MIN(p->m - panel * mr, PACK_PANELS * mr);
        for (int64_t k = 0; k < p->k; k += p->kc)
            pack_rows_of_a(p, panel, k, n);
    } while (tlpi_turn_next(t));
}

/* ==== blocks of C ======================================================== */

typedef struct gemm_block {
    int64_t row, n_row; /* of the part; row is a multiple of mr */
    int64_t col;
    int n_col;
} gemm_block;

/* Begin to load part i of n of the panel behind `panel`, which has `size`
 * floats. */
static void prefetch_next(const float *panel, size_t size, int64_t i, int64_t n)
{
    const float *next = panel + size;

    for (size_t at = size * (size_t)i / (size_t)n / LINE * LINE;
         at < size * (size_t)(i + 1) / (size_t)n; at += LINE)
        __builtin_prefetch(next + at, 0, 2);
}

/* The packed columns with rows [row, row + n) of one piece. */
static void multiply_rows(const gemm_part *p, const gemm_block *b,
                          const float *packed, int64_t k, int64_t row,
                          int64_t n)
{
    const tlpi_gemm_kernel *kernel = p->g->kernel;
    int mr = kernel->mr, nr = kernel->nr;
    int here = (int)TLPI_MIN(p->k - k, p->kc);
    tlpi_gemm_tile t = { .k = here,
                         .alpha = p->x->alpha,
                         .beta = k == 0 ? p->beta : 1,
                         .ldc = p->x->ldc };

    /* Panels that many products share come from memory. */
    bool far = p->x->b.panels && row == b->row;

    for (int j = 0; j < b->n_col; j += nr) {
        t.b = packed + (size_t)j * (size_t)here;
        t.a = panel_of(p, row / mr, k);
        t.c = p->x->c + (size_t)(p->m0 + row) * t.ldc + b->col + j;
        for (int64_t i = 0; i < n; i += mr) {
            if (far)
                prefetch_next(t.b, (size_t)nr * (size_t)here, i / mr,
                              ceil_div(n, mr));
            kernel->tile(&t, (int)TLPI_MIN(n - i, mr),
                         TLPI_MIN(b->n_col - j, nr));
            t.a += (size_t)mr * (size_t)here;
            t.c += (size_t)mr * t.ldc;
        }
    }
}

/* Columns of B from `col` on, of the piece that begins at row k; the panels of
 * all columns of a piece are together. */
static size_t panels_at(const tlpi_gemm *g, int64_t n, int64_t k, int piece,
                        int64_t col)
{
    int64_t width = ceil_div(n, g->kernel->nr) * g->kernel->nr;

    return (size_t)(k * width + col * piece);
}

static const float *panels_of(const gemm_part *p, const gemm_block *b,
                              int64_t k, float *memory)
{
    const tlpi_gemm_source *from = &p->x->b;
    int piece = (int)TLPI_MIN(p->k - k, p->kc);

    if (from->panels)
        return from->panels +
               panels_at(p->g, p->x->n, p->k0 + k, piece, b->col);
    tlpi_pack_source(p->g->kernel, from, p->k0 + k, piece, b->col, b->n_col,
                     memory, memory + TLPI_PACK_ROWS);
    return memory + TLPI_PACK_ROWS;
}

static void multiply_block(const gemm_part *p, const gemm_block *b,
                           float *memory)
{
    int64_t near = NEAR_ROWS / p->g->kernel->mr * p->g->kernel->mr;

    for (int64_t k = 0; k < p->k; k += p->kc) {
        const float *packed = panels_of(p, b, k, memory);

        for (int64_t i = 0; i < b->n_row; i += near)
            multiply_rows(p, b, packed, k, b->row + i,
                          TLPI_MIN(b->n_row - i, near));
    }
}

/* The first row of part i of the rows: whole panels. */
static int64_t first_row(const gemm_part *p, int64_t i)
{
    int mr = p->g->kernel->mr;

    return TLPI_MIN(ceil_div(p->m, mr) * i / p->n_part * mr, p->m);
}

static void multiply(void *arg, tlpi_turn *t)
{
    const gemm_part *p = arg;
    float *memory = p->g->b + (size_t)t->slot * p->g->b_floats;

    do {
        int64_t i = t->task % p->n_part;
        gemm_block b = { .row = first_row(p, i),
                         .col = (int64_t)(t->task / p->n_part) * p->nb };
        b.n_row = first_row(p, i + 1) - b.row;
        b.n_col = (int)TLPI_MIN(p->x->n - b.col, p->nb);
        multiply_block(p, &b, memory);
    } while (tlpi_turn_next(t));
}

/* ==== a product ========================================================== */

static void run_region(const gemm_part *p, int64_t n_task, tlpi_turn_fn fn)
{
    if ((double)p->m * (double)p->x->n * (double)p->k < ALONE) {
        tlpi_turn t = { .n_alone = (int)n_task };
        fn((void *)(uintptr_t)p, &t);
    } else {
        tlpi_pool_run(p->g->pool, (int)n_task, fn, (void *)(uintptr_t)p);
    }
}

static void run_part(gemm_part *p)
{
    int64_t n_panel = ceil_div(p->m, p->g->kernel->mr);
    int64_t n_block = ceil_div(p->x->n, p->nb);
    int64_t most = TLPI_MAX(p->m / LEAST_ROWS, 1);

    p->n_part = n_block >= FEW_TASKS
                    ? 1
                    : (int)TLPI_MIN(ceil_div(FEW_TASKS, n_block), most);
    if (!p->has_a)
        run_region(p, ceil_div(n_panel, PACK_PANELS), pack_a);
    run_region(p, n_block * p->n_part, multiply);
}

static void scale_c(const tlpi_gemm_args *x)
{
    for (int64_t i = 0; i < x->m; i++)
        for (int64_t j = 0; j < x->n; j++) {
            float *c = x->c + (size_t)i * x->ldc + j;
            *c = x->beta != 0 ? x->beta * *c : 0;
        }
}

/* Length of the pieces of k. */
static int piece_of(const tlpi_gemm *g, int64_t k)
{
    int64_t piece = ceil_div(k, ceil_div(k, g->kernel->kc));

    return (int)(ceil_div(piece, TLPI_GEMM_UNIT) * TLPI_GEMM_UNIT);
}

void tlpi_gemm_again(tlpi_gemm *g)
{
    g->again = true;
}

/* Is A packed already?  Remembers A if all of it will be. */
static bool take_promise(tlpi_gemm *g, const tlpi_gemm_args *x, bool again,
                         int64_t most_k)
{
    const tlpi_gemm_args *y = &g->last;
    bool whole = x->k <= most_k &&
                 x->m <= A_FLOATS / x->k / g->kernel->mr * g->kernel->mr;
    bool has = again && y->a == x->a && y->lda == x->lda && y->m == x->m &&
               y->k == x->k && y->a_trans == x->a_trans;

    g->last = *x;
    if (!whole)
        g->last.a = NULL;
    return whole && has;
}

void tlpi_gemm_run(tlpi_gemm *g, const tlpi_gemm_args *x)
{
    int mr = g->kernel->mr, nr = g->kernel->nr;
    int unit = TLPI_MAX(COLS_UNIT, nr);
    bool again = g->again;

    g->again = false;
    if (x->m < 1 || x->n < 1)
        return;
    if (x->k < 1 || x->alpha == 0) {
        scale_c(x);
        return;
    }

    gemm_part p = { .g = g, .x = x, .kc = piece_of(g, x->k) };
    p.nb = (int)TLPI_MIN(x->n / WANTED_TASKS, TLPI_PACK_COLS) / unit * unit;
    p.nb = TLPI_MAX(p.nb, unit);
    int64_t most_k = MOST_K / p.kc * p.kc;
    p.has_a = take_promise(g, x, again, most_k);
    for (p.k0 = 0; p.k0 < x->k; p.k0 += p.k) {
        p.k = TLPI_MIN(x->k - p.k0, most_k);
        p.beta = p.k0 == 0 ? x->beta : 1;
        int64_t most_m = A_FLOATS / p.k / mr * mr;
        for (p.m0 = 0; p.m0 < x->m; p.m0 += p.m) {
            p.m = TLPI_MIN(x->m - p.m0, most_m);
            run_part(&p);
        }
    }
}

/* ==== panels for many products =========================================== */

size_t tlpi_gemm_panel_floats(const tlpi_gemm *g, int64_t k, int64_t n)
{
    return panels_at(g, n, k, 0, 0);
}

typedef struct gemm_packing {
    const tlpi_gemm *g;
    const tlpi_gemm_source *b;
    int64_t k, n;
    int kc, n_block; /* blocks of TLPI_PACK_COLS columns */
    float *panels;
} gemm_packing;

static void pack_b(void *arg, tlpi_turn *t)
{
    const gemm_packing *p = arg;
    float *memory = p->g->b + (size_t)t->slot * p->g->b_floats;

    do {
        int64_t k = (int64_t)(t->task / p->n_block) * p->kc;
        int64_t col = (int64_t)(t->task % p->n_block) * TLPI_PACK_COLS;
        int piece = (int)TLPI_MIN(p->k - k, p->kc);

        tlpi_pack_source(p->g->kernel, p->b, k, piece, col,
                         (int)TLPI_MIN(p->n - col, TLPI_PACK_COLS), memory,
                         p->panels + panels_at(p->g, p->n, k, piece, col));
    } while (tlpi_turn_next(t));
}

void tlpi_gemm_pack(tlpi_gemm *g, const tlpi_gemm_source *b, int64_t k,
                    int64_t n, float *panels)
{
    gemm_packing p = { .g = g,
                       .b = b,
                       .k = k,
                       .n = n,
                       .kc = piece_of(g, k),
                       .n_block = (int)ceil_div(n, TLPI_PACK_COLS),
                       .panels = panels };

    tlpi_pool_run(g->pool, (int)(ceil_div(k, p.kc) * p.n_block), pack_b, &p);
}

/* ==== the products of a layer ============================================ */

void tlpi_gemm_forward(tlpi_gemm *g, int64_t t, int64_t in, int64_t out,
                       const float *x, size_t ldx, tlpi_gemm_source w,
                       float beta, float *y, size_t ldy)
{
    w.trans = true;
    tlpi_gemm_run(g, &(tlpi_gemm_args){ .m = t,
                                        .n = out,
                                        .k = in,
                                        .alpha = 1,
                                        .beta = beta,
                                        .a = x,
                                        .lda = ldx,
                                        .b = w,
                                        .c = y,
                                        .ldc = ldy });
}

void tlpi_gemm_input_grad(tlpi_gemm *g, int64_t t, int64_t in, int64_t out,
                          const float *dy, size_t lddy, tlpi_gemm_source w,
                          float beta, float *dx, size_t lddx)
{
    w.trans = false;
    tlpi_gemm_run(g, &(tlpi_gemm_args){ .m = t,
                                        .n = in,
                                        .k = out,
                                        .alpha = 1,
                                        .beta = beta,
                                        .a = dy,
                                        .lda = lddy,
                                        .b = w,
                                        .c = dx,
                                        .ldc = lddx });
}

void tlpi_gemm_weight_grad(tlpi_gemm *g, int64_t t, int64_t in, int64_t out,
                           const float *dy, size_t lddy, const float *x,
                           size_t ldx, float beta, float *dw, size_t lddw)
{
    tlpi_gemm_run(g, &(tlpi_gemm_args){ .m = out,
                                        .n = in,
                                        .k = t,
                                        .alpha = 1,
                                        .beta = beta,
                                        .a = dy,
                                        .lda = lddy,
                                        .a_trans = true,
                                        .b = tlpi_gemm_floats(x, ldx),
                                        .c = dw,
                                        .ldc = lddw });
}

/* ==== lifetime =========================================================== */

const tlpi_gemm_kernel *tlpi_gemm_kernel_of(int isa)
{
#if defined(__x86_64__)
    if (isa >= TLP_ISA_AVX512)
        return &tlpi_gemm_avx512;
    if (isa == TLP_ISA_AVX2)
        return &tlpi_gemm_avx2;
#endif
    (void)isa;
    return &tlpi_gemm_scalar;
}

tlp_status tlpi_train_isa(int asked, int *isa)
{
    if (asked < TLP_ISA_AUTO || asked > TLP_ISA_AMX)
        return tlpi_fail(TLP_EINVAL, "isa %d: %d to %d expected", asked,
                         TLP_ISA_AUTO, TLP_ISA_AMX);
    return tlpi_cpu_choose_isa(asked, isa);
}

tlp_status tlpi_gemm_create(tlpi_gemm **out, const tlpi_env *env,
                            tlpi_pool *pool, int isa)
{
    tlp_status st = TLP_OK;
    tlpi_gemm *g = NULL;
    size_t n_thread = (size_t)tlpi_pool_size(pool);

    *out = NULL;
    TLP_TRY(tlpi_train_isa(isa, &isa));
    g = tlpi_calloc(env, 1, sizeof *g);
    if (!g) {
        st = tlpi_fail_nomem_for("products");
        goto done;
    }
    g->env = env;
    g->pool = pool;
    g->kernel = tlpi_gemm_kernel_of(isa);
    g->b_floats = TLPI_PACK_ROWS + (size_t)g->kernel->kc * TLPI_PACK_COLS;
    g->a = tlpi_alloc_huge(env, A_FLOATS * sizeof(float));
    g->b = tlpi_alloc_array(env, n_thread * g->b_floats, sizeof(float));
    if (!g->a || !g->b) {
        st = tlpi_fail_nomem_for("packed blocks of products");
        goto done;
    }
    g->n_bytes =
        sizeof *g + (A_FLOATS + n_thread * g->b_floats) * sizeof(float);
    *out = g;
    g = NULL;
done:
    tlpi_gemm_free(g);
    return st;
}

void tlpi_gemm_free(tlpi_gemm *g)
{
    if (!g)
        return;
    tlpi_free(g->env, g->a);
    tlpi_free(g->env, g->b);
    tlpi_free(g->env, g);
}

size_t tlpi_gemm_bytes(const tlpi_gemm *g)
{
    return g->n_bytes;
}
