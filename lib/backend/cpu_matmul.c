/*
 * cpu_matmul.c - grouped matmuls: one parallel region for a list of items.
 *
 * The row groups of all items form one list, which is cut into blocks of nearly
 * equal bytes.  Threads claim the blocks, so neighbouring blocks are read by
 * one thread unless another thread is late.  A thread multiplies a group with
 * all its terms, for one chunk of tokens at a time: the group's weights then
 * stay in the L1 cache, and the chunk's activations in the L2 cache.
 *
 * Activations may have to be rounded, to 8 bits or bf16.  For a few tokens
 * every thread rounds them itself at first use.  For a longer chunk the threads
 * round them together, in a region of its own.
 */
#include <assert.h>
#include <limits.h>
#include <stdalign.h>
#include <string.h>

#include "backend/cpu_mm.h"

enum {
    CHUNK = 128, /* tokens at a time */
    OWN = 8,     /* up to this many tokens every thread rounds for itself */
    LINE = 64,   /* bytes of a cache line */
    /* Blocks of a thread, and the bytes times tokens that a block should have:
     * claiming a smaller one takes time. */
    BLOCKS = 8,
    BLOCK_BYTES = 16 * 1024,
    /* Bytes that kernels may read behind the rounded activations. */
    BEHIND = TLPI_WIDE_TILE * sizeof(tlpi_xb)
};

/* Number format of activations in a product. */
enum activation_form { AS_F32, AS_XQ, AS_XB };

/* A distinct x of a call that needs rounding. */
struct matmul_input {
    const float *x;
    int64_t n_col;
    enum activation_form form;
    size_t at; /* offset of the result, in own or all */
};

struct scratch {
    int max_input;
    size_t own_bytes;           /* per thread: OWN tokens of all inputs */
    size_t level_bytes;         /* per thread: an unpacked group */
    uint8_t *own;               /* [n_thread][own_bytes] */
    uint8_t *all;               /* CHUNK tokens of all inputs */
    int8_t *level;              /* [n_thread][level_bytes] */
    struct matmul_input *input; /* [max_input] inputs of the call */
    /* [n_thread][max_input]: the call whose input was rounded in own */
    uint64_t *ready;
    uint64_t call; /* number of calls */
};

/* One call; exactly one of matmul and gate_up is set. */
struct matmul_job {
    const tlpi_cpu *c;
    struct scratch *s;
    const tlpi_matmul *matmul;
    const tlpi_gate_up *gate_up;
    int n, n_tok, n_input;
    int t0, n_chunk; /* tokens of the chunk: [t0, t0 + n_chunk) */
    int n_block;
    size_t input_bytes;
    bool own;
    bool set_up; /* the machine must be set up for tile registers */
    uint64_t n_byte;
};

struct matmul_worker {
    const struct matmul_job *job;
    const tlpi_cpu_mm *mm;
    int t0, n_tok;    /* the chunk */
    uint8_t *rounded; /* the chunk's rounded inputs */
    int8_t *level;    /* an unpacked group */
    uint64_t *ready;
    alignas(64) float panel[TLPI_SUPER * TLPI_GROUP];
    alignas(64) float a[CHUNK * TLPI_GROUP]; /* [token][16], and b */
    alignas(64) float b[CHUNK * TLPI_GROUP];
    alignas(64) float c[CHUNK * TLPI_GROUP];
};

/* ==== activations ======================================================== */

static enum activation_form form_for(const tlpi_cpu *c, const tlpi_weight *w)
{
    if (w->type == TLPI_BF16 && c->bf16)
        return AS_XB;
    return !c->f32 && tlpi_mm_shape_of(w->type).bits > 0 ? AS_XQ : AS_F32;
}

static size_t block_bytes(enum activation_form form)
{
    return form == AS_XB ? sizeof(tlpi_xb) : sizeof(tlpi_xq);
}

static int64_t blocks_of(int64_t n_col)
{
    return (n_col + TLPI_MM_BLOCK - 1) / TLPI_MM_BLOCK;
}

/* Bytes of n_tok rounded tokens, in whole cache lines, because threads write
 * next to each other. */
static size_t rounded_bytes(enum activation_form form, int64_t n_col, int n_tok)
{
    size_t n = (size_t)blocks_of(n_col) * (size_t)n_tok * block_bytes(form);
    return (n + LINE - 1) / LINE * LINE;
}

static int find_input(const struct matmul_job *job, const tlpi_weight *w,
                      const float *x)
{
    enum activation_form form = form_for(job->c, w);
    const struct matmul_input *in = job->s->input;
    int i = 0;

    while (i < job->n_input &&
           (in[i].x != x || in[i].n_col != w->n_col || in[i].form != form))
        i++;
    return i;
}

/* Whether tile registers are faster for n tokens of 8-bit activations. */
static bool is_wide(const tlpi_cpu_mm *mm, int n)
{
    return mm->dot_w && n >= mm->wide_from;
}

static void add_input(struct matmul_job *job, const tlpi_weight *w,
                      const float *x)
{
    enum activation_form form = form_for(job->c, w);
    const tlpi_cpu_mm *mm = job->c->mm;

    if (form == AS_F32 || find_input(job, w, x) < job->n_input)
        return;
    assert(job->n_input < job->s->max_input);
    job->set_up |= mm->begin && (form == AS_XB || is_wide(mm, job->n_tok));
    job->s->input[job->n_input++] =
        (struct matmul_input){ x, w->n_col, form, job->input_bytes };
    job->input_bytes +=
        rounded_bytes(form, w->n_col, TLPI_MIN(job->n_tok, (int)CHUNK));
}

/* Tokens of the next tile of rounded x when n tokens remain. */
static int next_rounded(const tlpi_cpu_mm *mm, enum activation_form form, int n)
{
    return TLPI_MIN(n, form == AS_XB    ? mm->tile_b
                       : is_wide(mm, n) ? (int)TLPI_WIDE_TILE
                                        : mm->tile);
}

/* Round tiles [first, first + n) of the chunk, of one input. */
static void round_tiles(const struct matmul_worker *w, int input, int first,
                        int n)
{
    const struct matmul_input *in = &w->job->s->input[input];
    int64_t n_block = blocks_of(in->n_col);
    const float *x = in->x + w->t0 * in->n_col;
    void *dst = w->rounded + in->at;

    for (int t = 0, T, i = 0; t < w->n_tok; t += T, i++) {
        T = next_rounded(w->mm, in->form, w->n_tok - t);
        if (i < first || i - first >= n)
            continue;
        for (int k = 0; k < T; k++) {
            const float *row = x + (t + k) * in->n_col;
            if (in->form == AS_XB)
                w->mm->narrow(row, in->n_col, (tlpi_xb *)dst + t * n_block + k,
                              T);
            else
                w->mm->quantize(row, (int)n_block,
                                (tlpi_xq *)dst + t * n_block + k, T);
        }
    }
}

static const void *rounded(struct matmul_worker *w, const tlpi_weight *weight,
                           const float *x)
{
    int i = find_input(w->job, weight, x);

    if (w->job->own && w->ready[i] != w->job->s->call) {
        round_tiles(w, i, 0, INT_MAX);
        w->ready[i] = w->job->s->call;
    }
    return w->rounded + w->job->s->input[i].at;
}

/* ==== one group of rows ================================================== */

/* sum[t][16] = rows of the group times rounded x[t], over the chunk */
static void sum_rounded(struct matmul_worker *w, const tlpi_weight *weight,
                        int64_t group, const float *x, float *sum)
{
    const tlpi_cpu_mm *mm = w->mm;
    enum activation_form form = form_for(w->job->c, weight);
    int64_t n_block = blocks_of(weight->n_col);
    const void *src = rounded(w, weight, x);

    if (form == AS_XQ && is_wide(mm, w->n_tok))
        mm->unpack(weight, group, w->level);
    for (int t = 0, T; t < w->n_tok; t += T, sum += T * TLPI_GROUP) {
        const tlpi_xq *q = (const tlpi_xq *)src + t * n_block;
        T = next_rounded(mm, form, w->n_tok - t);
        if (form == AS_XB)
            mm->dot_b(weight, group, (const tlpi_xb *)src + t * n_block, T,
                      sum);
        else if (is_wide(mm, T))
            mm->dot_w(weight, group, w->level, q, T, sum);
        else
            mm->dot_q(weight, group, q, T, sum);
    }
}

/* Tokens of the next tile for dot_f when n remain; the last two tiles are of
 * near-equal size. */
static int next_tile(const tlpi_cpu_mm *mm, int n)
{
    return n <= mm->tile ? n : n < 2 * mm->tile_f ? (n + 1) / 2 : mm->tile_f;
}

/* sum[t][16] = rows of the group times f32 x[t], over the chunk */
static void sum_f32(struct matmul_worker *w, const tlpi_weight *weight,
                    int64_t group, const float *x, float *sum)
{
    int64_t n_col = weight->n_col;

    memset(sum, 0, (size_t)w->n_tok * TLPI_GROUP * sizeof *sum);
    for (int64_t k = 0; k < n_col; k += TLPI_SUPER) {
        int n = (int)TLPI_MIN(n_col - k, (int64_t)TLPI_SUPER);
        tlpi_panel p = w->mm->panel(weight, group, k, n, w->n_tok, w->panel);
        for (int t = 0, T; t < w->n_tok; t += T) {
            T = next_tile(w->mm, w->n_tok - t);
            w->mm->dot_f(p, n, x + (w->t0 + t) * n_col + k, n_col, T,
                         sum + t * TLPI_GROUP);
        }
    }
}

static void sum_group(struct matmul_worker *w, const tlpi_weight *weight,
                      int64_t group, const float *x, float *sum)
{
    if (form_for(w->job->c, weight) == AS_F32)
        sum_f32(w, weight, group, x, sum);
    else
        sum_rounded(w, weight, group, x, sum);
}

/* sum[t][16] += scale times the rows of the group times the term's x; part:
 * room for such a sum. */
static void add_term(struct matmul_worker *w, const tlpi_term *t, int64_t group,
                     float *part, float *sum)
{
    sum_group(w, t->w, group, t->x, part);
    for (int i = 0; i < w->n_tok; i++)
        for (int r = i * TLPI_GROUP; r < (i + 1) * TLPI_GROUP; r++)
            sum[r] += t->scale * part[r];
}

/* w->a = sum of the item's terms; the scale of the first term is usually 1. */
static void sum_terms(struct matmul_worker *w, const tlpi_matmul *m,
                      int64_t group)
{
    const tlpi_term *term = m->term;
    bool first = term->scale == 1.0f;

    if (first)
        sum_group(w, term->w, group, term->x, w->a);
    else
        memset(w->a, 0, (size_t)w->n_tok * TLPI_GROUP * sizeof *w->a);
    for (int j = first; j < m->n_term; j++)
        add_term(w, &term[j], group, w->b, w->a);
}

static inline void put_row(float *y, const float *v, const float *bias,
                           bool add, int n)
{
    for (int r = 0; r < n; r++)
        y[r] = (add ? y[r] : 0.0f) + (v[r] + bias[r]);
}

/* Copy rows of the group from w->a to y; whole groups use a constant 16. */
static void put_group(const struct matmul_worker *w, float *y, int64_t n_row,
                      int64_t group, const float *bias, bool add)
{
    int64_t row0 = group * TLPI_GROUP;
    int n = (int)TLPI_MIN(n_row - row0, (int64_t)TLPI_GROUP);
    float b[TLPI_GROUP] = { 0 };

    if (bias)
        memcpy(b, bias + row0, (size_t)n * sizeof *b);
    y += w->t0 * n_row + row0;
    for (int t = 0; t < w->n_tok; t++, y += n_row) {
        const float *v = w->a + t * TLPI_GROUP;
        if (n < TLPI_GROUP)
            put_row(y, v, b, add, n);
        else if (add)
            put_row(y, v, b, true, TLPI_GROUP);
        else
            put_row(y, v, b, false, TLPI_GROUP);
    }
}

static void matmul_group(struct matmul_worker *w, const tlpi_matmul *m,
                         int64_t group)
{
    sum_terms(w, m, group);
    put_group(w, m->y, m->term->w->n_row, group, m->bias, m->add);
}

static void gate_up_group(struct matmul_worker *w, const tlpi_gate_up *m,
                          int64_t group)
{
    sum_group(w, m->gate, group, m->x, w->a);
    sum_group(w, m->up, group, m->x, w->b);
    if (m->gate_more.w)
        add_term(w, &m->gate_more, group, w->c, w->a);
    if (m->up_more.w)
        add_term(w, &m->up_more, group, w->c, w->b);
    w->mm->gate_mul[m->gate_fn](w->a, w->b, w->a, w->n_tok * TLPI_GROUP);
    put_group(w, m->y, m->gate->n_row, group, NULL, false);
}

/* ==== one call =========================================================== */

/* Bytes of a group of a term that may be none. */
static uint64_t more_bytes(const tlpi_term *t)
{
    return t->w ? t->w->group_bytes : 0;
}

/* Row groups of an item, and the bytes that one group reads. */
static int64_t item_groups(const struct matmul_job *job, int i,
                           uint64_t *n_byte)
{
    const tlpi_weight *first = NULL;

    *n_byte = 1; /* a group without columns still writes rows */
    if (job->gate_up) {
        first = job->gate_up[i].gate;
        *n_byte += first->group_bytes + job->gate_up[i].up->group_bytes;
        *n_byte += more_bytes(&job->gate_up[i].gate_more);
        *n_byte += more_bytes(&job->gate_up[i].up_more);
    }
    for (int j = 0; job->matmul && j < job->matmul[i].n_term; j++) {
        first = job->matmul[i].term[0].w;
        *n_byte += job->matmul[i].term[j].w->group_bytes;
    }
    return first ? (first->n_row + TLPI_GROUP - 1) / TLPI_GROUP : 0;
}

/* Number of groups that start before `end`, for groups that start at `at`, at
 * + size, ... */
static int64_t groups_before(uint64_t end, uint64_t at, uint64_t size,
                             int64_t n_group)
{
    uint64_t n = end > at ? (end - at + size - 1) / size : 0;
    return (int64_t)TLPI_MIN(n, (uint64_t)n_group);
}

/* Run the groups that start inside a block of all bytes. */
static void run_block(struct matmul_worker *w, int block)
{
    const struct matmul_job *job = w->job;
    uint64_t n = (uint64_t)job->n_block, i_block = (uint64_t)block;
    uint64_t lo = job->n_byte * i_block / n;
    uint64_t hi = job->n_byte * (i_block + 1) / n;
    uint64_t at = 0, size;

    for (int i = 0; i < job->n; i++) {
        int64_t n_group = item_groups(job, i, &size);
        int64_t g1 = groups_before(hi, at, size, n_group);
        for (int64_t g = groups_before(lo, at, size, n_group); g < g1; g++)
            if (job->matmul)
                matmul_group(w, &job->matmul[i], g);
            else
                gate_up_group(w, &job->gate_up[i], g);
        at += size * (uint64_t)n_group;
    }
}

/* The members that every function of a region reads. */
static void begin_worker(struct matmul_worker *w, const struct matmul_job *job,
                         int slot)
{
    const struct scratch *s = job->s;
    size_t i = (size_t)slot;

    w->job = job;
    w->mm = job->c->mm;
    w->t0 = job->t0;
    w->n_tok = job->n_chunk;
    w->ready = s->ready + i * (size_t)s->max_input;
    w->rounded = job->own ? s->own + i * s->own_bytes : s->all;
    w->level = s->level + i * s->level_bytes;
}

static void run_blocks(void *arg, tlpi_turn *turn)
{
    const struct matmul_job *job = arg;
    struct matmul_worker w;

    begin_worker(&w, job, turn->slot);
    if (job->set_up)
        w.mm->begin();
    do
        run_block(&w, turn->task);
    while (tlpi_turn_next(turn));
    if (job->set_up)
        w.mm->end();
}

/* A task is one tile of one input.  A task past the last tile of its input has
 * nothing to do. */
static void round_some(void *arg, tlpi_turn *turn)
{
    const struct matmul_job *job = arg;
    struct matmul_worker w;

    begin_worker(&w, job, turn->slot);
    do
        round_tiles(&w, turn->task % job->n_input, turn->task / job->n_input,
                    1);
    while (tlpi_turn_next(turn));
}

/* Tiles of the input that has the most. */
static int most_tiles(const struct matmul_job *job)
{
    int most = 0;

    for (int i = 0; i < job->n_input; i++) {
        enum activation_form form = job->s->input[i].form;
        int n = 0;

        for (int t = 0; t < job->n_chunk; n++)
            t += next_rounded(job->c->mm, form, job->n_chunk - t);
        most = TLPI_MAX(most, n);
    }
    return most;
}

static void run_chunk(struct matmul_job *job)
{
    tlpi_pool *pool = job->c->pool;

    job->s->call++;
    if (!job->own && job->n_input)
        tlpi_pool_run(pool, most_tiles(job) * job->n_input, round_some, job);
    tlpi_pool_run(pool, job->n_block, run_blocks, job);
}

static void run_job(struct matmul_job *job)
{
    int n_thread = tlpi_pool_in_use(job->c->pool);
    int64_t n_group = 0;

    for (int i = 0; i < job->n; i++) {
        uint64_t size;
        int64_t n = item_groups(job, i, &size);
        job->n_byte += size * (uint64_t)n;
        n_group += n;
    }
    if (n_group == 0)
        return;
    job->own = job->n_tok <= OWN;
    uint64_t n_block = job->n_byte * (uint64_t)job->n_tok / BLOCK_BYTES;
    n_block = TLPI_MIN(n_block, (uint64_t)(n_thread * BLOCKS));
    n_block = TLPI_MAX(n_block, (uint64_t)n_thread);
    n_block = TLPI_MIN(n_block, (uint64_t)n_group);
    job->n_block = n_thread == 1 ? 1 : (int)n_block;
    for (job->t0 = 0; job->t0 < job->n_tok; job->t0 += CHUNK) {
        job->n_chunk = TLPI_MIN(job->n_tok - job->t0, (int)CHUNK);
        run_chunk(job);
    }
}

void tlpi_cpu_matmul(tlpi_backend *b, int n_tok, const tlpi_matmul *item, int n)
{
    tlpi_cpu *c = tlpi_cpu_of(b);
    struct matmul_job job = {
        .c = c, .s = c->mm_scratch, .matmul = item, .n = n, .n_tok = n_tok
    };

    for (int i = 0; i < n; i++)
        for (int j = 0; j < item[i].n_term; j++)
            add_input(&job, item[i].term[j].w, item[i].term[j].x);
    run_job(&job);
}

void tlpi_cpu_gate_up(tlpi_backend *b, int n_tok, const tlpi_gate_up *item,
                      int n)
{
    tlpi_cpu *c = tlpi_cpu_of(b);
    struct matmul_job job = {
        .c = c, .s = c->mm_scratch, .gate_up = item, .n = n, .n_tok = n_tok
    };

    for (int i = 0; i < n; i++) {
        add_input(&job, item[i].gate, item[i].x);
        add_input(&job, item[i].up, item[i].x);
        if (item[i].gate_more.w)
            add_input(&job, item[i].gate_more.w, item[i].gate_more.x);
        if (item[i].up_more.w)
            add_input(&job, item[i].up_more.w, item[i].up_more.x);
    }
    run_job(&job);
}

void tlpi_cpu_embed(tlpi_backend *b, const tlpi_step *s, const tlpi_tensor *t,
                    const tlpi_weight *w, float scale, float *x)
{
    (void)b;
    (void)w;
    for (int i = 0; i < s->n_tok; i++)
        tlpi_read_row(t, s->id[i], x + i * t->ne[0], t->ne[0]);
    for (int64_t i = 0; scale != 1.0f && i < s->n_tok * t->ne[0]; i++)
        x[i] *= scale;
}

/* ==== scratch ============================================================ */

const tlpi_cpu_mm *tlpi_cpu_mm_get(int isa)
{
#if defined(__x86_64__)
    if (isa == TLP_ISA_AMX)
        return &tlpi_cpu_mm_amx;
    if (isa == TLP_ISA_AVX512)
        return &tlpi_cpu_mm_avx512;
    if (isa == TLP_ISA_AVX2)
        return &tlpi_cpu_mm_avx2;
#endif
    (void)isa;
    return &tlpi_cpu_mm_scalar;
}

/* Scratch for n_tok tokens of one x, in the largest of its formats. */
static size_t x_bytes(const tlpi_cpu *c, int n_col, int n_tok)
{
    return rounded_bytes(AS_XQ, n_col, n_tok) +
           (c->bf16 ? rounded_bytes(AS_XB, n_col, n_tok) : 0);
}

static size_t level_bytes(int n_col)
{
    return (size_t)blocks_of(n_col) * TLPI_LEVEL_BYTES;
}

tlp_status tlpi_cpu_mm_scratch_create(tlpi_cpu *c)
{
    tlp_status st = TLP_OK;
    const tlpi_backend_options *o = &c->opts;
    size_t n_thread = (size_t)tlpi_pool_size(c->pool);
    size_t n_x = (size_t)TLPI_MAX(o->max_terms, 1);
    /* x may be needed in both formats */
    size_t n_input = c->bf16 ? 2 * n_x : n_x;
    struct scratch *s = tlpi_calloc(c->base.env, 1, sizeof *s);

    if (!s)
        return tlpi_fail_nomem_for("products");
    c->mm_scratch = s;
    s->max_input = (int)n_input;
    int n_own = TLPI_MIN(o->max_tok, (int)OWN);
    int n_all = o->max_tok > OWN ? TLPI_MIN(o->max_tok, (int)CHUNK) : 0;
    s->own_bytes = n_x * x_bytes(c, o->max_cols, n_own) + BEHIND;
    s->own = tlpi_alloc_array(c->base.env, n_thread, s->own_bytes);
    s->all =
        tlpi_alloc(c->base.env, n_x * x_bytes(c, o->max_cols, n_all) + BEHIND);
    s->level_bytes = c->mm->unpack ? level_bytes(o->max_cols) : 0;
    s->level = tlpi_alloc_array(c->base.env, n_thread, s->level_bytes);
    s->input = tlpi_alloc_array(c->base.env, n_input, sizeof *s->input);
    s->ready = tlpi_calloc(c->base.env, n_thread * n_input, sizeof *s->ready);
    if (!s->own || !s->all || !s->level || !s->input || !s->ready) {
        st = tlpi_fail_nomem_for("products");
        tlpi_cpu_mm_scratch_free(c);
    }
    return st;
}

void tlpi_cpu_mm_scratch_free(tlpi_cpu *c)
{
    struct scratch *s = c->mm_scratch;

    if (!s)
        return;
    tlpi_free(c->base.env, s->ready);
    tlpi_free(c->base.env, s->input);
    tlpi_free(c->base.env, s->level);
    tlpi_free(c->base.env, s->all);
    tlpi_free(c->base.env, s->own);
    tlpi_free(c->base.env, s);
    c->mm_scratch = NULL;
}
