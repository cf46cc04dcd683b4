/*
 * scratch.c - allocate and grow the working memory of a rank.
 */
#include "rank/scratch.h"

static tlp_status buffer(tlpi_scratch *s, float **out, size_t n)
{
    tlp_status st = s->b->ops->buffer_create(s->b, out, n);

    if (st == TLP_OK)
        s->n_bytes += n * sizeof(float);
    return st;
}

static tlp_status exchanged_buffer(tlpi_scratch *s, tlpi_exchange *x,
                                   float **out, size_t n)
{
    tlp_status st = tlpi_exchange_buffer(x, out, n);

    if (st == TLP_OK)
        s->n_bytes += n * sizeof(float);
    return st;
}

static tlp_status create_activations(tlpi_scratch *s, tlpi_exchange *x,
                                     const tlpi_needs *n)
{
    tlp_status st = TLP_OK;

    TLP_TRY(buffer(s, &s->x, n->x));
    TLP_TRY(exchanged_buffer(s, x, &s->delta, n->x));
    TLP_TRY(exchanged_buffer(s, x, &s->acc, n->acc));
    if (n->track)
        TLP_TRY(buffer(s, &s->track, n->track));
    TLP_TRY(buffer(s, &s->norm, n->norm));
    TLP_TRY(buffer(s, &s->qkv, n->qkv));
    if (n->squares)
        TLP_TRY(exchanged_buffer(s, x, &s->squares, n->squares));
    if (n->scores)
        TLP_TRY(buffer(s, &s->scores, n->scores));
    TLP_TRY(buffer(s, &s->hidden, n->hidden));
    TLP_TRY(buffer(s, &s->rows, n->rows));
done:
    return st;
}

static tlp_status create_lists(tlpi_scratch *s, const tlpi_needs *n)
{
    size_t terms = (size_t)n->terms, parts = (size_t)n->parts;

    s->term = tlpi_calloc(s->env, 2 * terms, sizeof(*s->term));
    s->mm = tlpi_calloc(s->env, terms, sizeof(*s->mm));
    s->low_term = tlpi_calloc(s->env, terms, sizeof(*s->low_term));
    s->low_mm = tlpi_calloc(s->env, terms, sizeof(*s->low_mm));
    s->gate_up = tlpi_calloc(s->env, parts, sizeof(*s->gate_up));
    s->attn = tlpi_calloc(s->env, parts, sizeof(*s->attn));
    s->square = tlpi_calloc(s->env, 2 * parts, sizeof(*s->square));
    s->norms = tlpi_calloc(s->env, (size_t)n->members, sizeof(*s->norms));
    return s->term && s->mm && s->low_term && s->low_mm && s->gate_up &&
                   s->attn && s->square && s->norms
               ? TLP_OK
               : tlpi_fail_nomem_for("activations");
}

/* A part of a stage chooses its own experts. */
static tlp_status create_routes(tlpi_scratch *s, const tlpi_route_rule *rule,
                                int n)
{
    tlp_status st = TLP_OK;

    s->route = tlpi_calloc(s->env, (size_t)n, sizeof(*s->route));
    if (!s->route)
        return tlpi_fail_nomem_for("activations");
    for (; s->n_route < n; s->n_route++)
        TLP_TRY(
            s->b->ops->routes_create(s->b, &s->route[s->n_route].routes, rule));
done:
    return st;
}

static tlp_status create_host(tlpi_scratch *s, int n_vocab, int n_rank)
{
    size_t t = (size_t)s->n_batch;

    s->host = tlpi_alloc_array(s->env, (size_t)n_vocab, sizeof(float));
    s->step.id = tlpi_alloc_array(s->env, 5 * t, sizeof(*s->step.id));
    s->wire = tlpi_alloc_array(s->env, 5 * t, sizeof(*s->wire));
    s->score = tlpi_alloc_array(s->env, t, sizeof(*s->score));
    s->gather_bytes = tlpi_calloc(s->env, (size_t)n_rank, sizeof(size_t));
    if (!s->host || !s->step.id || !s->wire || !s->score || !s->gather_bytes)
        return tlpi_fail_nomem_for("activations");
    s->step.seq = s->step.id + t;
    s->step.pos = s->step.id + 2 * t;
    s->step.row = s->step.id + 3 * t;
    s->step.target = s->step.id + 4 * t;
    return TLP_OK;
}

tlp_status tlpi_scratch_create(tlpi_scratch *s, const tlpi_scratch_setup *setup)
{
    tlpi_exchange *x = setup->exchange;
    tlp_status st = TLP_OK;

    *s = (tlpi_scratch){ .env = setup->env,
                         .b = x->b,
                         .n_batch = setup->n_batch,
                         .n_embd = setup->n_embd,
                         .logit_cols = setup->logit_cols };
    TLP_TRY(create_activations(s, x, setup->needs));
    TLP_TRY(create_lists(s, setup->needs));
    if (setup->rule)
        TLP_TRY(create_routes(s, setup->rule, setup->needs->parts));
    TLP_TRY(create_host(s, setup->n_vocab, x->comm->size));
    st = tlpi_scratch_fit_logits(s, TLPI_LOGIT_CHUNK);
done:
    return st;
}

void tlpi_scratch_free(tlpi_scratch *s)
{
    float *all[] = { s->x,      s->delta, s->acc,     s->track,
                     s->norm,   s->qkv,   s->squares, s->scores,
                     s->hidden, s->low,   s->rows,    s->logits };

    for (size_t i = 0; s->b && i < TLPI_COUNT(all); i++)
        s->b->ops->buffer_free(s->b, all[i]);
    for (int i = 0; i < s->n_route; i++)
        s->b->ops->routes_free(s->b, s->route[i].routes);
    if (s->env) {
        tlpi_free(s->env, s->route);
        tlpi_free(s->env, s->term);
        tlpi_free(s->env, s->mm);
        tlpi_free(s->env, s->low_term);
        tlpi_free(s->env, s->low_mm);
        tlpi_free(s->env, s->gate_up);
        tlpi_free(s->env, s->attn);
        tlpi_free(s->env, s->square);
        tlpi_free(s->env, s->norms);
        tlpi_free(s->env, s->seen);
        tlpi_free(s->env, s->host);
        tlpi_free(s->env, s->step.id);
        tlpi_free(s->env, s->wire);
        tlpi_free(s->env, s->score);
        tlpi_free(s->env, s->gather_bytes);
    }
    *s = (tlpi_scratch){ 0 };
}

/* ==== room that changes ================================================== */

/* A buffer of n floats in the place of *old, which held n_old. */
static tlp_status replace(tlpi_scratch *s, float **old, size_t n_old, size_t n)
{
    float *fresh = NULL;
    tlp_status st = buffer(s, &fresh, n);

    if (st != TLP_OK)
        return st;
    s->b->ops->buffer_free(s->b, *old);
    s->n_bytes -= n_old * sizeof(float);
    *old = fresh;
    return TLP_OK;
}

tlp_status tlpi_scratch_fit_logits(tlpi_scratch *s, size_t rows)
{
    size_t cols = (size_t)TLPI_MAX(1, s->logit_cols), n = 0;

    rows = TLPI_MAX(rows, TLPI_LOGIT_CHUNK);
    if (rows == s->logit_cap)
        return TLP_OK;
    tlp_status st = tlpi_mul(rows, cols, &n)
                        ? replace(s, &s->logits, s->logit_cap * cols, n)
                        : tlpi_fail_nomem_for("activations");
    if (st == TLP_OK)
        s->logit_cap = rows;
    else
        st = tlpi_fail_prefix(st, "%zu rows of logits: ", rows);
    return st;
}

tlp_status tlpi_scratch_reserve_low(tlpi_scratch *s, int cols)
{
    size_t t = (size_t)s->n_batch;

    if (cols <= s->low_cols)
        return TLP_OK;
    tlp_status st =
        replace(s, &s->low, t * (size_t)s->low_cols, t * (size_t)cols);
    if (st == TLP_OK)
        s->low_cols = cols;
    return st;
}

tlp_status tlpi_scratch_reserve_seen(tlpi_scratch *s)
{
    if (!s->seen)
        s->seen = tlpi_alloc_array(
            s->env, (size_t)s->n_batch * (size_t)s->n_embd, sizeof(*s->seen));
    return s->seen ? TLP_OK : tlpi_fail_nomem_for("activations");
}
