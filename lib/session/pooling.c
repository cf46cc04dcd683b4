/*
 * pooling.c - embeddings of texts: see pooling.h.
 *
 * Sums are formed in double precision and in the order of positions, so that a
 * vector does not depend on the steps that its text was cut into.
 */
#include "session/pooling.h"

#include <math.h>
#include <string.h>

#include "rank/forward.h"

/* ==== one vector ========================================================= */

tlp_status tlpi_pooling_check(const tlp_embed_options *o)
{
    if (o->pooling < TLP_POOLING_DEFAULT || o->pooling > TLP_POOLING_MEAN)
        return tlpi_fail(TLP_EINVAL,
                         "embedding option pooling: %d is outside %d to %d",
                         o->pooling, TLP_POOLING_DEFAULT, TLP_POOLING_MEAN);
    return tlpi_flag_check("embedding option no_normalize", o->no_normalize);
}

tlp_status tlpi_pooling_create(tlpi_pooling **out, const tlp_model *m,
                               const tlp_embed_options *o, int32_t from,
                               int32_t to)
{
    size_t d = (size_t)m->hp.n_embd;
    int32_t kind = o->pooling ? o->pooling : tlpi_model_pooling(m);
    tlpi_pooling *p =
        tlpi_calloc(&m->env, 1, sizeof(*p) + d * sizeof(p->sum[0]));

    if (!p)
        return tlpi_fail_nomem_for("an embedding");
    p->from = kind == TLP_POOLING_LAST ? to - 1 : from;
    p->to = to;
    p->bad = -1;
    p->normalize = !o->no_normalize;
    p->n_embd = m->hp.n_embd;
    *out = p;
    return TLP_OK;
}

static void add_state(tlpi_pooling *p, int32_t pos, const float *state)
{
    for (int i = 0; i < p->n_embd; i++) {
        p->sum[i] += (double)state[i];
        if (!isfinite(state[i]) && p->bad < 0)
            p->bad = pos;
    }
}

/* What the sums are multiplied with.  A vector of zeros has no direction, and
 * stays. */
static double scale_of(const tlpi_pooling *p)
{
    double squares = 0;

    if (!p->normalize)
        return 1.0 / (p->to - p->from);
    for (int i = 0; i < p->n_embd; i++)
        squares += p->sum[i] * p->sum[i];
    return squares > 0 ? 1 / sqrt(squares) : 0;
}

tlp_status tlpi_pooling_finish(float *out, const tlpi_pooling *p)
{
    double scale = scale_of(p);

    if (p->bad >= 0)
        return tlpi_fail(TLP_ERROR,
                         "position %d: the state of the token has NaN or inf, "
                         "finite numbers expected",
                         p->bad);
    for (int i = 0; i < p->n_embd; i++)
        out[i] = (float)(p->sum[i] * scale);
    return TLP_OK;
}

/* ==== the states of a step =============================================== */

static bool wants(const tlpi_pooling *p, int32_t pos)
{
    return p && pos >= p->from && pos < p->to;
}

/* Of n tokens of the step, at most TLPI_LOGIT_CHUNK. */
static tlp_status add_rows(tlp_session *s, const int32_t *rows, int n,
                           tlpi_pooling *const *pool)
{
    tlpi_rank *r = s->rank0;
    const tlpi_step_arrays *a = &r->scratch.step;
    size_t d = (size_t)s->plan->model->hp.n_embd;
    const float *state = tlpi_forward_states(r, rows, n);

    for (int i = 0; i < n; i++, state += d) {
        tlp_status st = r->b->ops->read(r->b, s->state, state, d);

        if (st != TLP_OK)
            return st;
        add_state(pool[a->seq[rows[i]]], a->pos[rows[i]], s->state);
    }
    return TLP_OK;
}

tlp_status tlpi_session_pool_step(tlp_session *s, int n_tok,
                                  tlpi_pooling *const *pool)
{
    const tlpi_step_arrays *a = &s->rank0->scratch.step;
    int32_t rows[TLPI_LOGIT_CHUNK];
    int n = 0;
    tlp_status st = TLP_OK;

    for (int i = 0; i < n_tok && st == TLP_OK; i++) {
        if (!wants(pool[a->seq[i]], a->pos[i]))
            continue;
        rows[n++] = i;
        if (n == TLPI_LOGIT_CHUNK) {
            st = add_rows(s, rows, n, pool);
            n = 0;
        }
    }
    return st == TLP_OK && n > 0 ? add_rows(s, rows, n, pool) : st;
}

/* ==== a text ============================================================= */

static tlp_status check_text(const tlp_session *s, int32_t seq,
                             const int32_t *tokens, size_t n)
{
    if (n > (size_t)(s->cfg.n_ctx - s->pos[seq]))
        return tlpi_fail(TLP_EFULL,
                         "sequence %d: %zu tokens after %d do not fit in "
                         "n_ctx %d",
                         seq, n, s->pos[seq], s->cfg.n_ctx);
    return tlpi_session_check_ids(s, tokens, n);
}

/* TLP_EFULL if there are too few pages for the text. */
static tlp_status check_pages(tlp_session *s, int32_t seq, int32_t n)
{
    int32_t pos = s->pos[seq];

    tlpi_cache_plan(s);
    tlpi_cache_write(s, seq, s->cache.seq[seq].lost ? 0 : pos, pos + n);
    return tlpi_cache_check(s);
}

static tlp_status run_text(tlp_session *s, int32_t seq, tlpi_pooling *p,
                           int32_t n)
{
    int32_t at = s->pos[seq], end = at + n;
    tlpi_pooling **pool =
        tlpi_calloc(s->env, (size_t)s->cfg.n_seq, sizeof(*pool));
    tlp_status st = TLP_OK;

    if (!pool)
        return tlpi_fail_nomem_for("an embedding");
    pool[seq] = p;
    if (s->cache.seq[seq].lost)
        st = tlpi_session_recompute(s, seq);
    for (; at < end && st == TLP_OK; at += s->cfg.n_batch) {
        int k = TLPI_MIN(s->cfg.n_batch, end - at);

        st = tlpi_session_run_held(s, seq, at, k);
        if (st == TLP_OK)
            st = tlpi_session_pool_step(s, k, pool);
    }
    tlpi_free(s->env, pool);
    return st;
}

/* Extend the sequence by a text, and add its states. */
static tlp_status embed(tlp_session *s, int32_t seq, const int32_t *tokens,
                        int32_t n, tlpi_pooling *p)
{
    tlpi_session_clock clock = tlpi_session_clock_start(s);

    tlpi_session_drop_rows(s);
    memcpy(tlpi_session_history(s, seq) + s->pos[seq], tokens,
           (size_t)n * sizeof(*tokens));
    tlp_status st = run_text(s, seq, p, n);
    tlpi_session_clock_stop(s, &clock);
    if (st == TLP_OK)
        s->pos[seq] += n;
    else if (!s->broken)
        (void)tlpi_cache_settle(s);
    return st;
}

tlp_status tlpi_session_embed(float *out, tlp_session *s, int32_t seq,
                              const int32_t *tokens, size_t n,
                              const tlp_embed_options *opts)
{
    tlp_embed_options o = { 0 };
    tlpi_pooling *p = NULL;
    tlp_status st = tlpi_session_check_seq(s, seq);

    if (st != TLP_OK)
        return st;
    if (n == 0 || !tokens || !out)
        return tlpi_fail(TLP_EINVAL, "out and tokens are required");
    TLP_TRY(tlpi_options_read(&o, sizeof(o), opts, "tlp_embed_options"));
    TLP_TRY(tlpi_pooling_check(&o));
    TLP_TRY(check_text(s, seq, tokens, n));
    TLP_TRY(check_pages(s, seq, (int32_t)n));
    int32_t from = s->pos[seq];
    TLP_TRY(
        tlpi_pooling_create(&p, s->plan->model, &o, from, from + (int32_t)n));
    TLP_TRY(embed(s, seq, tokens, (int32_t)n, p));
    st = tlpi_pooling_finish(out, p);
    if (st != TLP_OK)
        st = tlpi_fail_prefix(st, "sequence %d, ", seq);
done:
    tlpi_free(s->env, p);
    return st;
}
