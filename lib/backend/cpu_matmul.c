/*
 * cpu_matmul.c - grouped matmuls: one parallel region for a list of items.
 *
 * The row groups of all items form one list, which is cut into blocks of nearly
 * equal work.  Threads claim the blocks, so neighbouring blocks are read by
 * one thread unless another thread is late.  A thread multiplies a group with
 * all its terms, for one chunk of entries at a time: the group's weights then
 * stay in the L1 cache, and the chunk's activations in the L2 cache.
 *
 * With routes, a chunk has the entries of some experts, and only these experts'
 * matrices are read.  A group of gate_up belongs to one expert.  A group of
 * matmul goes through all experts of the chunk and adds each entry to the row
 * of its token, in the order of terms and entries; terms that do not fit into
 * one chunk are multiplied one after the other, so that a token's sum has one
 * order however many tokens a step has.
 */
#include <string.h>

#include "backend/cpu_mm_job.h"

enum {
    /* Blocks of a thread, and the bytes times entries that a block should have:
     * claiming a smaller one takes time. */
    BLOCKS = 8,
    BLOCK_BYTES = 16 * 1024
};

/* ==== one group of rows ================================================== */

/* sum[i][16] = rows of the group times rounded x[i], over the piece */
static void sum_rounded(tlpi_mm_worker *w, const tlpi_weight *weight,
                        int64_t group, const void *src, tlpi_mm_form form,
                        float *sum)
{
    const tlpi_cpu_mm *mm = w->mm;
    int64_t n_block = (weight->n_col + TLPI_MM_BLOCK - 1) / TLPI_MM_BLOCK;
    int n = w->piece.n;

    if (form == TLPI_MM_XQ && tlpi_mm_is_wide(mm, n))
        mm->unpack(weight, group, w->level);
    for (int t = 0, T; t < n; t += T, sum += T * TLPI_GROUP) {
        const tlpi_xq *q = (const tlpi_xq *)src + t * n_block;
        T = tlpi_mm_next_tile(mm, form, n - t);
        if (form == TLPI_MM_XB)
            mm->dot_b(weight, group, (const tlpi_xb *)src + t * n_block, T,
                      sum);
        else if (tlpi_mm_is_wide(mm, T))
            mm->dot_w(weight, group, w->level, q, T, sum);
        else
            mm->dot_q(weight, group, q, T, sum);
    }
}

/* Entries of the next tile for dot_f when n remain; the last two tiles are of
 * near-equal size. */
static int next_tile(const tlpi_cpu_mm *mm, int n)
{
    return n <= mm->tile ? n : n < 2 * mm->tile_f ? (n + 1) / 2 : mm->tile_f;
}

/* sum[i][16] = rows of the group times f32 x[i], over the piece */
static void sum_f32(tlpi_mm_worker *w, const tlpi_weight *weight, int64_t group,
                    const float *x, float *sum)
{
    int64_t n_col = weight->n_col;
    int n_entry = w->piece.n;

    memset(sum, 0, (size_t)n_entry * TLPI_GROUP * sizeof *sum);
    for (int64_t k = 0; k < n_col; k += TLPI_SUPER) {
        int n = (int)TLPI_MIN(n_col - k, (int64_t)TLPI_SUPER);
        tlpi_panel p = w->mm->panel(weight, group, k, n, n_entry, w->panel);
        for (int t = 0, T; t < n_entry; t += T) {
            T = next_tile(w->mm, n_entry - t);
            w->mm->dot_f(p, n, x + t * n_col + k, n_col, T,
                         sum + t * TLPI_GROUP);
        }
    }
}

static void sum_group(tlpi_mm_worker *w, const tlpi_weight *weight,
                      int64_t group, tlpi_mm_source from, float *sum)
{
    tlpi_mm_form form = tlpi_mm_form_of(w->job->c, weight, &from);
    int64_t row = from.order == TLPI_MM_ONE ? 0 : w->piece.first;

    if (form == TLPI_MM_F32)
        sum_f32(w, weight, group, from.x + row * weight->n_col, sum);
    else if (form == TLPI_MM_ROWS)
        sum_f32(w, weight, group, tlpi_mm_rounded(w, weight, &from), sum);
    else
        sum_rounded(w, weight, group, tlpi_mm_rounded(w, weight, &from), form,
                    sum);
}

/* sum[i][16] += scale times the rows of the group times the term's x; part:
 * room for such a sum. */
static void add_term(tlpi_mm_worker *w, const tlpi_term *t, int64_t group,
                     float *part, float *sum)
{
    sum_group(w, t->w, group, tlpi_mm_term_source(t), part);
    for (int i = 0; i < w->piece.n; i++)
        for (int r = i * TLPI_GROUP; r < (i + 1) * TLPI_GROUP; r++)
            sum[r] += t->scale * part[r];
}

/* w->a = sum of the item's terms; the scale of the first term is usually 1. */
static void sum_terms(tlpi_mm_worker *w, const tlpi_matmul *m, int64_t group)
{
    const tlpi_term *term = m->term;
    bool first = term->scale == 1.0f;

    if (first)
        sum_group(w, term->w, group, tlpi_mm_term_source(term), w->a);
    else
        memset(w->a, 0, (size_t)w->piece.n * TLPI_GROUP * sizeof *w->a);
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
static void put_group(const tlpi_mm_worker *w, float *y, int64_t n_row,
                      int64_t group, const float *bias, bool add)
{
    int64_t row0 = group * TLPI_GROUP;
    int n = (int)TLPI_MIN(n_row - row0, (int64_t)TLPI_GROUP);
    float b[TLPI_GROUP] = { 0 };

    if (bias)
        memcpy(b, bias + row0, (size_t)n * sizeof *b);
    y += w->piece.first * n_row + row0;
    for (int t = 0; t < w->piece.n; t++, y += n_row) {
        const float *v = w->a + t * TLPI_GROUP;
        if (n < TLPI_GROUP)
            put_row(y, v, b, add, n);
        else if (add)
            put_row(y, v, b, true, TLPI_GROUP);
        else
            put_row(y, v, b, false, TLPI_GROUP);
    }
}

static void matmul_group(tlpi_mm_worker *w, const tlpi_matmul *m, int64_t group)
{
    sum_terms(w, m, group);
    put_group(w, m->y, m->term->w->n_row, group, m->bias, m->add);
}

/* sum[i][16] += the rows' elements of the bias of the piece's expert; bias
 * NULL: there is none. */
static void add_expert_bias(const tlpi_mm_worker *w, const float *bias,
                            int64_t n_row, int64_t group, float *sum)
{
    int64_t row0 = group * TLPI_GROUP;
    int n = (int)TLPI_MIN(n_row - row0, (int64_t)TLPI_GROUP);

    if (!bias)
        return;
    bias += w->piece.expert * n_row + row0;
    for (int i = 0; i < w->piece.n; i++, sum += TLPI_GROUP)
        for (int r = 0; r < n; r++)
            sum[r] += bias[r];
}

static void gate_up_group(tlpi_mm_worker *w, const tlpi_gate_up *m,
                          int64_t group)
{
    tlpi_mm_source x = tlpi_mm_gate_source(w->job, m);
    const tlpi_weight *gate = tlpi_cpu_expert(m->gate, w->piece.expert);
    const tlpi_weight *up = tlpi_cpu_expert(m->up, w->piece.expert);

    sum_group(w, gate, group, x, w->a);
    sum_group(w, up, group, x, w->b);
    if (m->gate_more.w)
        add_term(w, &m->gate_more, group, w->c, w->a);
    if (m->up_more.w)
        add_term(w, &m->up_more, group, w->c, w->b);
    add_expert_bias(w, m->gate_bias, gate->n_row, group, w->a);
    add_expert_bias(w, m->up_bias, gate->n_row, group, w->b);
    w->mm->gate_mul[m->gate_fn](w->a, w->b, w->a, w->piece.n * TLPI_GROUP);
    put_group(w, m->y, gate->n_row, group, NULL, false);
}

/* ==== one group of rows of experts ======================================= */

/* y[token] += scale * weight * w->a, for the entries of the piece. */
static void scatter(const tlpi_mm_worker *w, const tlpi_term *t, float *y,
                    int64_t n_row, int n)
{
    for (int i = 0; i < w->piece.n; i++) {
        int entry = w->piece.first + i;
        float share = t->scale * t->routes->weight[entry];
        float *row = y + t->routes->token[entry] * n_row;
        const float *v = w->a + i * TLPI_GROUP;

        for (int r = 0; r < n; r++)
            row[r] += share * v[r];
    }
}

static void experts_group(tlpi_mm_worker *w, const tlpi_matmul *m,
                          int64_t group)
{
    const tlpi_mm_job *job = w->job;
    int64_t n_row = m->term->w->n_row, row0 = group * TLPI_GROUP;
    int n = (int)TLPI_MIN(n_row - row0, (int64_t)TLPI_GROUP);
    float *y = m->y + row0;

    for (int t = 0; t < job->n_tok && !m->add && !job->t0 && !job->term0; t++)
        memset(y + t * n_row, 0, (size_t)n * sizeof *y);
    for (int j = job->term0; j < TLPI_MIN(job->term1, m->n_term); j++) {
        const tlpi_term *t = &m->term[j];

        for (int at = job->t0; tlpi_mm_piece_at(job, t->routes, at, &w->piece);
             at += w->piece.n) {
            sum_group(w, tlpi_cpu_expert(t->w, w->piece.expert), group,
                      tlpi_mm_term_source(t), w->a);
            add_expert_bias(w, t->expert_bias, n_row, group, w->a);
            scatter(w, t, y, n_row, n);
        }
    }
}

/* ==== one call =========================================================== */

/* Bytes of a group of a term that may be none. */
static uint64_t more_bytes(const tlpi_term *t)
{
    return t->w ? t->w->group_bytes : 0;
}

/* Row groups of an item's piece, and the bytes that one group reads, times the
 * entries that read them. */
static int64_t piece_groups(const tlpi_mm_job *job, int i,
                            const tlpi_mm_piece *p, uint64_t *n_byte)
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
    *n_byte *= (uint64_t)p->n;
    return first ? (first->n_row + TLPI_GROUP - 1) / TLPI_GROUP : 0;
}

/* The routes by which an item's groups are apart: a group of matmul goes
 * through all experts itself. */
static const tlpi_routes *routes_of(const tlpi_mm_job *job, int i)
{
    return job->gate_up ? job->gate_up[i].routes : NULL;
}

/* Number of groups that start before `end`, for groups that start at `at`, at
 * + size, ... */
static int64_t groups_before(uint64_t end, uint64_t at, uint64_t size,
                             int64_t n_group)
{
    uint64_t n = end > at ? (end - at + size - 1) / size : 0;
    return (int64_t)TLPI_MIN(n, (uint64_t)n_group);
}

static void run_group(tlpi_mm_worker *w, int i, const tlpi_mm_piece *p,
                      int64_t group)
{
    const tlpi_mm_job *job = w->job;

    w->piece = *p;
    if (job->gate_up)
        gate_up_group(w, &job->gate_up[i], group);
    else if (job->routed)
        experts_group(w, &job->matmul[i], group);
    else
        matmul_group(w, &job->matmul[i], group);
}

/* Run the groups that start inside a block of all bytes. */
static void run_block(tlpi_mm_worker *w, int block)
{
    const tlpi_mm_job *job = w->job;
    uint64_t n = (uint64_t)job->n_block, i_block = (uint64_t)block;
    uint64_t lo = job->n_byte * i_block / n;
    uint64_t hi = job->n_byte * (i_block + 1) / n;
    uint64_t at = 0, size;
    tlpi_mm_piece p;

    for (int i = 0; i < job->n; i++)
        for (int e = job->t0; tlpi_mm_piece_at(job, routes_of(job, i), e, &p);
             e += p.n) {
            int64_t n_group = piece_groups(job, i, &p, &size);
            int64_t g1 = groups_before(hi, at, size, n_group);

            for (int64_t g = groups_before(lo, at, size, n_group); g < g1; g++)
                run_group(w, i, &p, g);
            at += size * (uint64_t)n_group;
        }
}

static void run_blocks(void *arg, tlpi_turn *turn)
{
    const tlpi_mm_job *job = arg;
    tlpi_mm_worker w;

    tlpi_mm_begin_worker(&w, job, turn->slot);
    if (job->set_up)
        w.mm->begin();
    do
        run_block(&w, turn->task);
    while (tlpi_turn_next(turn));
    if (job->set_up)
        w.mm->end();
}

/* Cut the chunk's groups into blocks. */
static void cut_blocks(tlpi_mm_job *job)
{
    int n_thread = tlpi_pool_in_use(job->c->pool);
    int64_t n_group = 0;
    tlpi_mm_piece p;

    job->n_byte = 0;
    for (int i = 0; i < job->n; i++)
        for (int e = job->t0; tlpi_mm_piece_at(job, routes_of(job, i), e, &p);
             e += p.n) {
            uint64_t size;
            int64_t n = piece_groups(job, i, &p, &size);

            job->n_byte += size * (uint64_t)n;
            n_group += n;
        }
    uint64_t n_block = job->n_byte / BLOCK_BYTES;
    n_block = TLPI_MIN(n_block, (uint64_t)(n_thread * BLOCKS));
    n_block = TLPI_MAX(n_block, (uint64_t)n_thread);
    n_block = TLPI_MIN(n_block, (uint64_t)n_group);
    job->n_block = n_thread == 1 ? (n_group > 0) : (int)n_block;
}

/* All entries, with the inputs that were added. */
static void run_pass(tlpi_mm_job *job)
{
    job->own = job->n_entry <= TLPI_MM_OWN;
    for (job->t0 = 0; job->t0 < job->n_entry; job->t0 += TLPI_MM_CHUNK) {
        job->n_chunk = TLPI_MIN(job->n_entry - job->t0, (int)TLPI_MM_CHUNK);
        cut_blocks(job);
        if (job->n_block == 0)
            return;
        tlpi_mm_round_inputs(job);
        tlpi_pool_run(job->c->pool, job->n_block, run_blocks, job);
    }
}

static tlpi_mm_job make_job(tlpi_backend *b, int n_tok, int n,
                            const tlpi_routes *routes)
{
    tlpi_cpu *c = tlpi_cpu_of(b);

    return (tlpi_mm_job){ .c = c,
                          .s = c->mm_scratch,
                          .n = n,
                          .n_tok = n_tok,
                          .routed = routes != NULL,
                          .n_entry = routes ? routes->n_entry : n_tok };
}

static void add_term_input(tlpi_mm_job *job, const tlpi_term *t)
{
    if (t->w)
        tlpi_mm_add_input(job, tlpi_cpu_expert(t->w, 0),
                          tlpi_mm_term_source(t));
}

/* Terms [term0, term1) of all items. */
static void run_terms(tlpi_mm_job *job, int term0, int term1)
{
    job->term0 = term0;
    job->term1 = term1;
    job->n_input = 0;
    job->input_bytes = 0;
    for (int i = 0; i < job->n; i++)
        for (int j = term0; j < TLPI_MIN(term1, job->matmul[i].n_term); j++)
            add_term_input(job, &job->matmul[i].term[j]);
    run_pass(job);
}

void tlpi_cpu_matmul(tlpi_backend *b, int n_tok, const tlpi_matmul *item, int n)
{
    tlpi_mm_job job =
        make_job(b, n_tok, n, n > 0 ? item[0].term[0].routes : NULL);
    int most = 0, step;

    job.matmul = item;
    for (int i = 0; i < n; i++)
        most = TLPI_MAX(most, item[i].n_term);
    step = job.routed && job.n_entry > TLPI_MM_CHUNK ? 1 : most;
    for (int j = 0; j < most; j += step)
        run_terms(&job, j, j + step);
}

void tlpi_cpu_gate_up(tlpi_backend *b, int n_tok, const tlpi_gate_up *item,
                      int n)
{
    tlpi_mm_job job = make_job(b, n_tok, n, n > 0 ? item[0].routes : NULL);

    job.gate_up = item;
    for (int i = 0; i < n; i++) {
        tlpi_mm_source x = tlpi_mm_gate_source(&job, &item[i]);

        tlpi_mm_add_input(&job, tlpi_cpu_expert(item[i].gate, 0), x);
        tlpi_mm_add_input(&job, tlpi_cpu_expert(item[i].up, 0), x);
        add_term_input(&job, &item[i].gate_more);
        add_term_input(&job, &item[i].up_more);
    }
    run_pass(&job);
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
