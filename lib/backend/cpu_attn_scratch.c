/*
 * cpu_attn_scratch.c - working memory of attention: allocated with the
 * backend, grown with its caches, so that no step allocates.
 */
#include "backend/cpu_attn.h"
#include "backend/cpu_vec.h"

typedef struct tlpi_attn_scratch scratch;
typedef struct tlpi_attn_work work;

static size_t work_size(size_t hp)
{
    return TLPI_ATTN_ROWS * (3 * hp + 4) +
           2 * TLPI_ATTN_GROUP * TLPI_ATTN_CHUNK;
}

static float *take(float **p, size_t n)
{
    float *x = *p;
    *p += n;
    return x;
}

work tlpi_attn_work_of(const scratch *s, int ith, size_t hp)
{
    float *p = s->work + (size_t)ith * work_size(hp);
    work w = { 0 };
    w.q = take(&p, TLPI_ATTN_ROWS * hp);
    w.s = take(&p, TLPI_ATTN_GROUP * TLPI_ATTN_CHUNK);
    w.t = take(&p, TLPI_ATTN_GROUP * TLPI_ATTN_CHUNK);
    w.all.x = take(&p, TLPI_ATTN_ROWS * hp);
    w.one.x = take(&p, TLPI_ATTN_ROWS * hp);
    w.all.max = take(&p, TLPI_ATTN_ROWS);
    w.all.sum = take(&p, TLPI_ATTN_ROWS);
    w.one.max = take(&p, TLPI_ATTN_ROWS);
    w.one.sum = take(&p, TLPI_ATTN_ROWS);
    return w;
}

tlp_status tlpi_cpu_attn_scratch_create(tlpi_cpu *c)
{
    scratch *s = tlpi_calloc(c->base.env, 1, sizeof *s);
    c->attn_scratch = s;
    if (!s)
        return tlpi_fail_nomem_for("attention");
    s->max_cols = (size_t)c->opts.max_cols;
    s->blocks = tlpi_alloc_array(c->base.env, (size_t)c->opts.max_tok,
                                 sizeof *s->blocks);
    return s->blocks ? TLP_OK : tlpi_fail_nomem_for("attention");
}

void tlpi_cpu_attn_scratch_free(tlpi_cpu *c)
{
    scratch *s = c->attn_scratch;
    if (!s)
        return;
    tlpi_free(c->base.env, s->part);
    tlpi_free(c->base.env, s->work);
    tlpi_free(c->base.env, s->blocks);
    tlpi_free(c->base.env, s);
    c->attn_scratch = NULL;
}

static tlp_status grow(const tlpi_env *env, float **p, size_t *cap, size_t n)
{
    if (n <= *cap)
        return TLP_OK;
    float *bigger = tlpi_alloc_array(env, n, sizeof(float));
    if (!bigger)
        return tlpi_fail_nomem_for("attention");
    tlpi_free(env, *p);
    *p = bigger;
    *cap = n;
    return TLP_OK;
}

tlp_status tlpi_attn_scratch_share(tlpi_cpu *c, int n_thread)
{
    scratch *s = c->attn_scratch;

    return grow(c->base.env, &s->work, &s->work_cap,
                (size_t)n_thread * s->work_each);
}

tlp_status tlpi_attn_scratch_fit(tlpi_cpu *c, int n_chunk, int head_dim)
{
    tlp_status st = TLP_OK;
    scratch *s = c->attn_scratch;
    size_t hp = tlpi_padded(head_dim);

    s->work_each = TLPI_MAX(s->work_each, work_size(hp));
    TLP_TRY(tlpi_attn_scratch_share(c, tlpi_pool_size(c->pool)));
    /* One token of four layers; with more tokens there are enough units. */
    size_t n_row = 4 * (s->max_cols / (size_t)head_dim + 1);
    TLP_TRY(grow(c->base.env, &s->part, &s->part_cap,
                 (size_t)n_chunk * tlpi_attn_part_size(n_row, hp)));
done:
    return st;
}
