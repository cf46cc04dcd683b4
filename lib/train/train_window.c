/*
 * train_window.c - the memory of a pass, and its way through the stages.
 */
#include <math.h>
#include <string.h>

#include "train/train_pass.h"

static const char purpose[] = "a window in training";

/* ==== memory ============================================================= */

/* A block of floats that is measured first and handed out then. */
typedef struct carver {
    float *at; /* NULL: measure */
    size_t n;
} carver;

static float *carve(carver *c, size_t rows, size_t cols)
{
    float *x = c->at ? c->at + c->n : NULL;

    c->n += (rows * cols + 15) / 16 * 16;
    return x;
}

static bool has_qk_norm(const tlpi_train_layer *l)
{
    return l->v[TLPI_ATTN_Q_NORM] || l->v[TLPI_ATTN_Q_ROW_NORM];
}

/* What needs no memory of its own is left NULL. */
static void lay_trace(carver *c, const tlpi_train_pass *p,
                      const tlpi_train_member *m, bool open,
                      tlpi_train_trace *t)
{
    const tlpi_hparams *hp = &p->net->model->hp;
    size_t n = (size_t)p->max_tok, d = (size_t)hp->n_embd;
    size_t q = (size_t)(m->q1 - m->q0) * (size_t)hp->head_dim;
    size_t kv = (size_t)(m->kv1 - m->kv0) * (size_t)hp->head_dim;
    size_t ff = (size_t)(m->ff1 - m->ff0);

    t->stream = open ? carve(c, n, d) : NULL;
    t->mid = carve(c, n, d);
    t->attn_raw = m->attn_norm ? carve(c, n, d) : NULL;
    t->ffn_raw = m->ffn_norm ? carve(c, n, d) : NULL;
    t->attn_in = m->attn_in.rank > 0 ? carve(c, n, d) : NULL;
    t->ffn_in = m->ffn_in.rank > 0 ? carve(c, n, d) : NULL;
    t->q = carve(c, n, q);
    t->o = carve(c, n, q);
    t->k = carve(c, n, kv);
    t->v = carve(c, n, kv);
    t->lse = carve(c, n, (size_t)(m->q1 - m->q0));
    t->q_raw = t->k_raw = NULL;
    if (has_qk_norm(&p->net->layer[m->layer])) {
        t->q_raw = carve(c, n, q);
        t->k_raw = carve(c, n, kv);
    }
    t->attn_out = carve(c, n, d);
    t->ffn_out = carve(c, n, d);
    t->attn = m->attn_post ? carve(c, n, d) : NULL;
    t->ffn = m->ffn_post ? carve(c, n, d) : NULL;
    t->gate = carve(c, n, ff);
    t->up = carve(c, n, ff);
}

static size_t lay_stage(const tlpi_train_pass *p, int stage, float *block,
                        tlpi_train_trace *t)
{
    const tlpi_train_stage *s = &p->net->stage[stage];
    tlpi_train_trace unused;
    carver c = { block, 0 };

    for (int j = 0; j < s->n_member; j++)
        lay_trace(&c, p, &s->member[j], s->open, t ? &t[j] : &unused);
    return c.n;
}

static void share(float **x, float *with)
{
    if (!*x)
        *x = with;
}

tlpi_train_trace *tlpi_train_trace_of(tlpi_train_pass *p, int stage,
                                      bool *shared)
{
    int i = stage - p->net->first;

    *shared = i < 0 || i >= p->n_tape - 1;
    const tlpi_train_tape *tape = &p->tape[*shared ? p->n_tape - 1 : i];

    lay_stage(p, stage, tape->block, tape->trace);
    for (int j = 0; j < p->net->stage[stage].n_member; j++) {
        tlpi_train_trace *t = &tape->trace[j];

        share(&t->stream, p->border[stage].x);
        share(&t->attn_raw, t->stream);
        share(&t->attn_in, t->attn_raw);
        share(&t->attn, t->attn_out);
        share(&t->ffn_raw, t->mid);
        share(&t->ffn_in, t->ffn_raw);
        share(&t->ffn, t->ffn_out);
    }
    return tape->trace;
}

static void lay_angles(carver *c, size_t n, tlpi_train_angles *a)
{
    a->cos = carve(c, n, 1);
    a->sin = carve(c, n, 1);
    a->sin_back = carve(c, n, 1);
}

static void lay_scratch(tlpi_train_pass *p, carver *c)
{
    const tlpi_hparams *hp = &p->net->model->hp;
    size_t n = (size_t)p->max_tok, d = (size_t)hp->n_embd;
    size_t q = (size_t)hp->n_head * (size_t)hp->head_dim;
    size_t kv = (size_t)hp->n_head_kv * (size_t)hp->head_dim;
    size_t rank = (size_t)p->net->max_rank;

    for (int j = 0; j < p->max_member; j++) {
        p->feed[j] = carve(c, n, d);
        p->attn[j] = carve(c, n, d);
    }
    p->mid = carve(c, n, d);
    p->part = carve(c, n, d);
    p->slope_in = carve(c, n, d);
    p->joined = carve(c, n, d);
    p->square = carve(c, n, 1);
    p->dot = carve(c, n, 1);
    p->hidden = carve(c, n, (size_t)hp->n_ff);
    p->wide = carve(c, n, (size_t)hp->n_ff);
    p->dq = carve(c, n, q);
    p->d_o = carve(c, n, q);
    p->dk = carve(c, n, kv);
    p->dv = carve(c, n, kv);
    p->low = carve(c, n, rank);
    p->low_back = carve(c, n, rank);
    for (int i = 0; i < TLPI_N_ROPE; i++)
        if (p->net->has_angles[i])
            lay_angles(c, n * (size_t)hp->n_rot / 2, &p->angle[i]);
}

/* Does the stream differ between tracks before stage i? */
static bool is_open(const tlpi_train_pass *p, int i)
{
    return tlpi_plan_is_open(p->net->plan, i);
}

static void lay_streams(tlpi_train_pass *p, carver *c)
{
    size_t n = (size_t)p->max_tok, d = (size_t)p->net->model->hp.n_embd;
    int n_track = p->net->plan->n_track;

    for (int i = 0; i <= p->net->plan->n_stage; i++) {
        tlpi_train_stream *b = &p->border[i];

        b->x = carve(c, n, d);
        for (int t = 0; is_open(p, i) && t < n_track; t++)
            b->track[t] = carve(c, n, d);
    }
    p->slope.x = carve(c, n, d);
    for (int t = 0; t < n_track; t++)
        p->slope.track[t] = carve(c, n, d);
}

static tlp_status create_lists(tlpi_train_pass *p)
{
    int n_stage = p->net->plan->n_stage, n_track = p->net->plan->n_track;
    size_t n = (size_t)p->max_member;

    p->border = tlpi_calloc(p->env, (size_t)n_stage + 1, sizeof(*p->border));
    p->feed = tlpi_calloc(p->env, n, sizeof(*p->feed));
    p->attn = tlpi_calloc(p->env, n, sizeof(*p->attn));
    p->slope.track = tlpi_calloc(p->env, (size_t)n_track + 1, sizeof(float *));
    if (!p->border || !p->feed || !p->attn || !p->slope.track)
        return tlpi_fail_nomem_for(purpose);
    for (int i = 0; i <= n_stage; i++) {
        if (!is_open(p, i))
            continue;
        p->border[i].track =
            tlpi_calloc(p->env, (size_t)n_track, sizeof(float *));
        if (!p->border[i].track)
            return tlpi_fail_nomem_for(purpose);
    }
    return TLP_OK;
}

static tlp_status create_scratch(tlpi_train_pass *p)
{
    carver c = { NULL, 0 };

    lay_scratch(p, &c);
    lay_streams(p, &c);
    p->block = tlpi_alloc_huge(p->env, c.n * sizeof(float));
    if (!p->block)
        return tlpi_fail_nomem_for(purpose);
    p->n_bytes += c.n * sizeof(float);
    c = (carver){ p->block, 0 };
    lay_scratch(p, &c);
    lay_streams(p, &c);
    return TLP_OK;
}

static tlp_status create_tape(tlpi_train_pass *p, int i)
{
    p->tape[i].trace =
        tlpi_calloc(p->env, (size_t)p->max_member, sizeof(*p->tape[i].trace));
    p->tape[i].block = tlpi_alloc_huge(p->env, p->tape_size * sizeof(float));
    if (!p->tape[i].trace || !p->tape[i].block)
        return tlpi_fail_nomem_for(purpose);
    p->n_bytes += p->tape_size * sizeof(float);
    return TLP_OK;
}

static tlp_status create_tapes(tlpi_train_pass *p, uint64_t budget)
{
    int n_stage = p->net->plan->n_stage;
    uint64_t fit;
    tlp_status st = TLP_OK;

    for (int i = 0; i < n_stage; i++)
        p->tape_size = TLPI_MAX(p->tape_size, lay_stage(p, i, NULL, NULL));
    fit = budget / (p->tape_size * sizeof(float));
    p->n_tape = 1 + (int)TLPI_MIN(fit, (uint64_t)(n_stage - p->net->first));
    p->tape = tlpi_calloc(p->env, (size_t)p->n_tape, sizeof(*p->tape));
    if (!p->tape)
        return tlpi_fail_nomem_for(purpose);
    for (int i = 0; i < p->n_tape; i++)
        TLP_TRY(create_tape(p, i));
done:
    return st;
}

/* As a session of max_tok positions rotates. */
static tlp_status fill_angles(const tlpi_train_pass *p, tlpi_rope_kind kind)
{
    const tlp_model *m = p->net->model;
    const tlpi_train_angles *a = &p->angle[kind];
    double gain = tlpi_rope_gain(&m->hp, kind), *inv = NULL;
    int half = m->hp.n_rot / 2;
    tlp_status st;

    TLP_TRY(tlpi_rope_inv_freq(&inv, p->env, &m->hp, kind,
                               tlpi_rope_divisors(m, p->max_tok)));
    for (int t = 0; t < p->max_tok; t++)
        for (int i = 0; i < half; i++) {
            double angle = t * inv[i];

            a->cos[t * half + i] = (float)(gain * cos(angle));
            a->sin[t * half + i] = (float)(gain * sin(angle));
            a->sin_back[t * half + i] = -a->sin[t * half + i];
        }
done:
    tlpi_free(p->env, inv);
    return st;
}

static tlp_status create(tlpi_train_pass *p, tlpi_pool *pool, int isa,
                         uint64_t tapes)
{
    const tlpi_hparams *hp = &p->net->model->hp;
    const tlpi_train_attn_sizes most = { p->max_tok, hp->n_head, hp->n_head_kv,
                                         hp->head_dim };
    tlp_status st;

    TLP_TRY(tlpi_train_ops_init(&p->ops, pool, isa));
    TLP_TRY(create_lists(p));
    TLP_TRY(create_scratch(p));
    TLP_TRY(create_tapes(p, tapes));
    TLP_TRY(tlpi_gemm_create(&p->gemm, p->env, pool, isa));
    TLP_TRY(tlpi_train_attn_create(&p->attention, p->env, pool, isa, &most));
    p->n_bytes +=
        tlpi_gemm_bytes(p->gemm) + tlpi_train_attn_bytes(p->attention);
    for (int i = 0; i < TLPI_N_ROPE; i++)
        if (p->net->has_angles[i])
            TLP_TRY(fill_angles(p, (tlpi_rope_kind)i));
    TLP_TRY(tlpi_rope_query_gains(&p->query_gain, p->env, hp, p->max_tok));
    if (p->query_gain)
        p->n_bytes += (size_t)p->max_tok * sizeof(*p->query_gain);
done:
    return st;
}

tlp_status tlpi_train_pass_create(tlpi_train_pass *p, const tlpi_train_net *net,
                                  tlpi_pool *pool, int isa, int max_tok,
                                  uint64_t tapes)
{
    *p = (tlpi_train_pass){ .env = net->env,
                            .net = net,
                            .max_tok = max_tok,
                            .max_member = tlpi_plan_max_members(net->plan) };
    tlp_status st = create(p, pool, isa, tapes);

    if (st != TLP_OK)
        tlpi_train_pass_free(p);
    return st;
}

void tlpi_train_pass_free(tlpi_train_pass *p)
{
    const tlpi_env *env = p->env;

    if (!env)
        return;
    tlpi_free(env, p->query_gain);
    tlpi_train_attn_free(p->attention);
    tlpi_gemm_free(p->gemm);
    for (int i = 0; p->tape && i < p->n_tape; i++) {
        tlpi_free(env, p->tape[i].block);
        tlpi_free(env, p->tape[i].trace);
    }
    tlpi_free(env, p->tape);
    for (int i = 0; p->border && i <= p->net->plan->n_stage; i++)
        tlpi_free(env, p->border[i].track);
    tlpi_free(env, p->slope.track);
    tlpi_free(env, p->attn);
    tlpi_free(env, p->feed);
    tlpi_free(env, p->border);
    tlpi_free(env, p->block);
    *p = (tlpi_train_pass){ 0 };
}

/* ==== a window =========================================================== */

void tlpi_train_embed(tlpi_train_pass *p, const int32_t *ids, int n)
{
    const tlpi_tensor *t = p->net->model->w.t[TLPI_TOKEN_EMBD];
    size_t d = (size_t)p->net->model->hp.n_embd;

    p->n_tok = n;
    for (int i = 0; i < n; i++) {
        float *x = p->border[0].x + (size_t)i * d;

        tlpi_read_row(t, ids[i], x, (int64_t)d);
        for (size_t j = 0; j < d; j++)
            x[j] *= p->net->model->hp.embedding_scale;
    }
}

void tlpi_train_forward(tlpi_train_pass *p, int first, int end)
{
    for (int i = first; i < end; i++)
        tlpi_train_stage_forward(p, i);
}

void tlpi_train_back(tlpi_train_pass *p)
{
    for (int i = p->net->plan->n_stage - 1; i >= p->net->first; i--)
        tlpi_train_stage_back(p, i);
}
