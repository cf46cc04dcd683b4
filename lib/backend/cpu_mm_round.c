/*
 * cpu_mm_round.c - the activations of a call in the forms that products read:
 * rounded to 8 bits or bf16, or rows that experts read copied together.
 *
 * For a few entries every thread rounds them itself at first use.  For a longer
 * chunk the threads round them together, in a region of its own.
 */
#include <assert.h>
#include <limits.h>
#include <string.h>

#include "backend/cpu_mm_job.h"

enum {
    LINE = 64, /* bytes of a cache line */
    /* Bytes that kernels may read behind the rounded activations. */
    BEHIND = TLPI_WIDE_TILE * sizeof(tlpi_xb)
};

/* ==== forms ============================================================== */

tlpi_mm_source tlpi_mm_gate_source(const tlpi_mm_job *job,
                                   const tlpi_gate_up *m)
{
    tlpi_mm_order order = !m->routes        ? TLPI_MM_ENTRIES
                          : job->n_tok == 1 ? TLPI_MM_ONE
                                            : TLPI_MM_TOKENS;

    return (tlpi_mm_source){ m->x, m->routes, order };
}

tlpi_mm_source tlpi_mm_term_source(const tlpi_term *t)
{
    return (tlpi_mm_source){ t->x, t->routes, TLPI_MM_ENTRIES };
}

tlpi_mm_form tlpi_mm_form_of(const tlpi_cpu *c, const tlpi_weight *w,
                             const tlpi_mm_source *from)
{
    if (w->type == TLPI_BF16 && c->bf16)
        return TLPI_MM_XB;
    if (!c->f32 && tlpi_mm_shape_of(w->type).bits > 0)
        return TLPI_MM_XQ;
    return from->order == TLPI_MM_TOKENS ? TLPI_MM_ROWS : TLPI_MM_F32;
}

static int64_t blocks_of(int64_t n_col)
{
    return (n_col + TLPI_MM_BLOCK - 1) / TLPI_MM_BLOCK;
}

/* Bytes of a row. */
static size_t row_bytes(tlpi_mm_form form, int64_t n_col)
{
    size_t n = (size_t)blocks_of(n_col);

    if (form == TLPI_MM_ROWS)
        return (size_t)n_col * sizeof(float);
    return n * (form == TLPI_MM_XB ? sizeof(tlpi_xb) : sizeof(tlpi_xq));
}

/* Bytes of n rows, in whole cache lines, because threads write next to each
 * other. */
static size_t rounded_bytes(tlpi_mm_form form, int64_t n_col, int n)
{
    return (row_bytes(form, n_col) * (size_t)n + LINE - 1) / LINE * LINE;
}

static bool is_source(const tlpi_mm_source *a, const tlpi_mm_source *b)
{
    return a->x == b->x && a->routes == b->routes && a->order == b->order;
}

static int find_input(const tlpi_mm_job *job, const tlpi_weight *w,
                      const tlpi_mm_source *from)
{
    tlpi_mm_form form = tlpi_mm_form_of(job->c, w, from);
    const tlpi_mm_input *in = job->s->input;
    int i = 0;

    while (i < job->n_input && (!is_source(&in[i].from, from) ||
                                in[i].n_col != w->n_col || in[i].form != form))
        i++;
    return i;
}

void tlpi_mm_add_input(tlpi_mm_job *job, const tlpi_weight *w,
                       tlpi_mm_source from)
{
    tlpi_mm_form form = tlpi_mm_form_of(job->c, w, &from);
    const tlpi_cpu_mm *mm = job->c->mm;

    if (form == TLPI_MM_F32 || find_input(job, w, &from) < job->n_input)
        return;
    assert(job->n_input < job->s->max_input);
    job->set_up |= mm->begin &&
                   (form == TLPI_MM_XB ||
                    (form == TLPI_MM_XQ && tlpi_mm_is_wide(mm, job->n_entry)));
    job->s->input[job->n_input++] =
        (tlpi_mm_input){ from, w->n_col, form, job->input_bytes };
    job->input_bytes += rounded_bytes(
        form, w->n_col, TLPI_MIN(job->n_entry, (int)TLPI_MM_CHUNK));
}

/* ==== rounding =========================================================== */

int tlpi_mm_next_tile(const tlpi_cpu_mm *mm, tlpi_mm_form form, int n)
{
    return TLPI_MIN(n, form == TLPI_MM_XB ? mm->tile_b
                       : form == TLPI_MM_XQ && tlpi_mm_is_wide(mm, n)
                           ? (int)TLPI_WIDE_TILE
                           : mm->tile);
}

/* Entry k of a tile of T entries that begins at dst. */
static void round_row(const tlpi_cpu_mm *mm, const tlpi_mm_input *in,
                      const float *row, void *dst, int k, int T)
{
    switch (in->form) {
    case TLPI_MM_XB:
        mm->narrow(row, in->n_col, (tlpi_xb *)dst + k, T);
        break;
    case TLPI_MM_XQ:
        mm->quantize(row, (int)blocks_of(in->n_col), (tlpi_xq *)dst + k, T);
        break;
    default:
        memcpy((float *)dst + k * in->n_col, row,
               (size_t)in->n_col * sizeof *row);
    }
}

/* Where the entries from `entry` on stand. */
static uint8_t *rounded_at(const tlpi_mm_worker *w, const tlpi_mm_input *in,
                           int entry)
{
    size_t i = in->from.order == TLPI_MM_ONE ? 0 : (size_t)(entry - w->job->t0);

    return w->rounded + in->at + i * row_bytes(in->form, in->n_col);
}

static void round_tile(const tlpi_mm_worker *w, const tlpi_mm_input *in,
                       int entry, int T)
{
    void *dst = rounded_at(w, in, entry);

    for (int k = 0; k < T; k++) {
        int64_t row = entry + k;

        if (in->from.order != TLPI_MM_ENTRIES)
            row = in->from.routes->token[row];
        round_row(w->mm, in, in->from.x + row * in->n_col, dst, k, T);
    }
}

/* Round tiles [first, first + n) of the chunk, of one input; returns the number
 * of tiles up to there. */
static int round_tiles(const tlpi_mm_worker *w, int input, int first, int n)
{
    const tlpi_mm_job *job = w->job;
    const tlpi_mm_input *in = &job->s->input[input];
    tlpi_mm_piece p;
    int i = 0;

    for (int at = job->t0; tlpi_mm_piece_at(job, in->from.routes, at, &p);
         at += p.n)
        for (int t = 0, T; t < p.n; t += T, i++) {
            T = tlpi_mm_next_tile(w->mm, in->form, p.n - t);
            if (i - first >= n)
                return i;
            if (i >= first)
                round_tile(w, in, p.first + t, T);
            if (in->from.order == TLPI_MM_ONE)
                return 1;
        }
    return i;
}

/* A task is one tile of one input.  A task past the last tile of its input has
 * nothing to do. */
static void round_some(void *arg, tlpi_turn *turn)
{
    const tlpi_mm_job *job = arg;
    tlpi_mm_worker w;

    tlpi_mm_begin_worker(&w, job, turn->slot);
    do
        round_tiles(&w, turn->task % job->n_input, turn->task / job->n_input,
                    1);
    while (tlpi_turn_next(turn));
}

/* Tiles of the input that has the most. */
static int most_tiles(const tlpi_mm_job *job)
{
    tlpi_mm_worker w;
    int most = 0;

    tlpi_mm_begin_worker(&w, job, 0);
    for (int i = 0; i < job->n_input; i++)
        most = TLPI_MAX(most, round_tiles(&w, i, INT_MAX, 0));
    return most;
}

void tlpi_mm_round_inputs(tlpi_mm_job *job)
{
    job->s->call++;
    if (!job->own && job->n_input)
        tlpi_pool_run(job->c->pool, most_tiles(job) * job->n_input, round_some,
                      job);
}

const void *tlpi_mm_rounded(tlpi_mm_worker *w, const tlpi_weight *weight,
                            const tlpi_mm_source *from)
{
    int i = find_input(w->job, weight, from);

    if (w->job->own && w->ready[i] != w->job->s->call) {
        round_tiles(w, i, 0, INT_MAX);
        w->ready[i] = w->job->s->call;
    }
    return rounded_at(w, &w->job->s->input[i], w->piece.first);
}

void tlpi_mm_begin_worker(tlpi_mm_worker *w, const tlpi_mm_job *job, int slot)
{
    const tlpi_mm_scratch *s = job->s;
    size_t i = (size_t)slot;

    w->job = job;
    w->mm = job->c->mm;
    w->ready = s->ready + i * (size_t)s->max_input;
    w->rounded = job->own ? s->own + i * s->own_bytes : s->all;
    w->level = s->level + i * s->level_bytes;
}

/* ==== scratch ============================================================ */

/* Scratch for n entries of one x, in the largest of its formats. */
static size_t x_bytes(const tlpi_cpu *c, int n_col, int n)
{
    return rounded_bytes(TLPI_MM_XQ, n_col, n) +
           (c->bf16 ? rounded_bytes(TLPI_MM_XB, n_col, n) : 0) +
           (c->opts.max_used ? rounded_bytes(TLPI_MM_ROWS, n_col, n) : 0);
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
    /* x may be needed in several formats */
    size_t n_input = n_x * (1u + c->bf16 + (o->max_used > 0));
    int max_entry = o->max_tok * TLPI_MAX(o->max_used, 1);
    tlpi_mm_scratch *s = tlpi_calloc(c->base.env, 1, sizeof *s);

    if (!s)
        return tlpi_fail_nomem_for("products");
    c->mm_scratch = s;
    s->max_input = (int)n_input;
    int n_own = TLPI_MIN(max_entry, (int)TLPI_MM_OWN);
    int n_all =
        max_entry > TLPI_MM_OWN ? TLPI_MIN(max_entry, (int)TLPI_MM_CHUNK) : 0;
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
    tlpi_mm_scratch *s = c->mm_scratch;

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
