/*
 * rank_weights.c - load one rank's parts of every stage into its backend.
 *
 * Matrices go through the model's weight cache, so that sessions which cut a
 * tensor alike share one packed copy; norms and biases are small and copied.
 */
#include "backend/weight_key.h"
#include "rank/rank.h"

/* One stage member's tensors: a layer's own, or the mean of a merged group. */
typedef struct source {
    tlpi_rank *r;
    const tlpi_stage *stage;
    int member;
} source;

typedef tlpi_slice slice;

#define FIELD(name) offsetof(tlpi_layer, name)

/* ==== vectors ============================================================ */

static tlp_status device_vector(tlpi_rank *r, const float *host, size_t n,
                                float **out)
{
    tlp_status st = r->b->ops->buffer_create(r->b, out, n);

    if (st != TLP_OK)
        return st;
    r->b->ops->write(r->b, *out, host, n);
    r->bytes.buffers += n * sizeof(float);
    return TLP_OK;
}

/* Elements [i0, i1) of a tensor to the device. */
static tlp_status load_vector(tlpi_rank *r, const tlpi_tensor *t, int64_t i0,
                              int64_t i1, float **out)
{
    if (r->dry)
        return device_vector(r, NULL, (size_t)(i1 - i0), out);
    float *host = tlpi_alloc_array(r->env, (size_t)t->ne[0], sizeof(float));

    if (!host)
        return tlpi_fail_nomem();
    tlpi_dequantize(t->type, t->data, host, t->ne[0]);
    tlp_status st = device_vector(r, host + i0, (size_t)(i1 - i0), out);
    tlpi_free(r->env, host);
    return st;
}

/* ==== matrices =========================================================== */

typedef struct make_arg {
    tlpi_backend *b;
    const tlpi_tensor *t;
    slice s;
    bool copied;
} make_arg;

static tlp_status make_weight(void **object, void *arg)
{
    make_arg *a = arg;
    tlpi_weight *w = NULL;
    tlp_status st = a->b->ops->weight_create(a->b, &w, a->t, a->s.r0, a->s.r1,
                                             a->s.c0, a->s.c1, &a->copied);

    *object = w;
    return st;
}

static tlp_status take_weight(tlpi_rank *r, const tlpi_tensor *t, slice s,
                              tlpi_weight **out)
{
    make_arg arg = { r->b, t, s, false };
    tlpi_weight_cache_key key =
        tlpi_weight_key(r->b->layout, t, s.r0, s.r1, s.c0, s.c1);
    void *object = NULL;

    tlpi_rank_busy(r);
    tlp_status st =
        r->dry
            ? make_weight(&object, &arg)
            : tlpi_weight_cache_take(r->model->weight_cache, &key, make_weight,
                                     &arg, r->b->ops->weight_free, &object);
    if (st != TLP_OK)
        return st;
    *out = object;
    if (arg.copied && !r->dry)
        tlpi_model_drop_pages(r->model, t);
    r->bytes.weights += r->b->ops->weight_bytes(*out);
    return TLP_OK;
}

/* The mean of one tensor over the stage's layers; for a dry rank a tensor
 * without data that keeps a layer's n_bytes, by which work is counted. */
static tlp_status merge_tensor(const source *src, size_t field,
                               tlpi_tensor *out)
{
    const tlp_model *m = src->r->model;

    if (!src->r->dry)
        return tlpi_merge_tensor(m, src->stage, field, out);
    *out = *tlpi_layer_tensor(m, src->stage->layers[0], field);
    out->type = TLPI_F32;
    out->data = NULL;
    return TLP_OK;
}

/* A merged matrix belongs to this rank alone: its source is no file's. */
static tlp_status merged_weight(const source *src, size_t field, slice s,
                                tlpi_weight **out)
{
    tlpi_rank *r = src->r;
    tlpi_tensor t;
    tlp_status st = merge_tensor(src, field, &t);
    void *data = (void *)(uintptr_t)t.data;
    void **list = NULL;
    bool copied = false;

    TLP_TRY(st);
    TLP_TRY(r->b->ops->weight_create(r->b, out, &t, s.r0, s.r1, s.c0, s.c1,
                                     &copied));
    r->bytes.weights += r->b->ops->weight_bytes(*out);
    if (copied)
        goto done;
    list =
        tlpi_realloc_array(r->env, r->merged, r->n_merged + 1, sizeof(*list));
    if (!list) {
        r->b->ops->weight_free(*out);
        *out = NULL;
        st = tlpi_fail_nomem();
        goto done;
    }
    r->merged = list;
    r->merged[r->n_merged++] = data;
    data = NULL;
done:
    tlpi_free(r->env, data);
    return st;
}

/* ==== parts ============================================================== */

static const tlpi_tensor *tensor_of(const source *src, size_t field)
{
    return tlpi_layer_tensor(src->r->model, src->stage->layers[src->member],
                             field);
}

static bool is_merged(const source *src)
{
    return src->stage->mode == TLP_MODE_MERGE;
}

static tlp_status load_matrix(const source *src, size_t field, slice s,
                              tlpi_weight **out)
{
    return is_merged(src) ? merged_weight(src, field, s, out)
                          : take_weight(src->r, tensor_of(src, field), s, out);
}

/* Elements [i0, i1) of an optional vector. */
static tlp_status load_part(const source *src, size_t field, int64_t i0,
                            int64_t i1, float **out)
{
    const tlpi_tensor *t = tensor_of(src, field);

    if (!t)
        return TLP_OK;
    if (!is_merged(src))
        return load_vector(src->r, t, i0, i1, out);
    tlpi_tensor mean;
    tlp_status st = merge_tensor(src, field, &mean);
    if (st != TLP_OK)
        return st;
    st = load_vector(src->r, &mean, i0, i1, out);
    tlpi_free(src->r->env, (void *)(uintptr_t)mean.data);
    return st;
}

static tlp_status load_attn(tlpi_rank *r, const tlpi_stage *stage,
                            const tlpi_attn_part *p, tlpi_rank_attn *a)
{
    const tlpi_hparams *hp = &r->model->hp;
    source src = { r, stage, p->member };
    int64_t h = hp->head_dim, d = hp->n_embd;
    int64_t q0 = p->q0 * h, q1 = p->q1 * h;
    int64_t k0 = p->kv0 * h, k1 = p->kv1 * h;
    tlp_status st = TLP_OK;

    a->member = p->member;
    a->n_head_kv = p->kv1 - p->kv0;
    a->n_head = p->q1 - p->q0;
    TLP_TRY(load_matrix(&src, FIELD(attn_q), (slice){ q0, q1, 0, d }, &a->q));
    TLP_TRY(load_matrix(&src, FIELD(attn_k), (slice){ k0, k1, 0, d }, &a->k));
    TLP_TRY(load_matrix(&src, FIELD(attn_v), (slice){ k0, k1, 0, d }, &a->v));
    TLP_TRY(
        load_matrix(&src, FIELD(attn_output), (slice){ 0, d, q0, q1 }, &a->o));
    TLP_TRY(load_part(&src, FIELD(attn_q_bias), q0, q1, &a->q_bias));
    TLP_TRY(load_part(&src, FIELD(attn_k_bias), k0, k1, &a->k_bias));
    TLP_TRY(load_part(&src, FIELD(attn_v_bias), k0, k1, &a->v_bias));
    TLP_TRY(load_part(&src, FIELD(attn_q_norm), 0, h, &a->q_norm));
    TLP_TRY(load_part(&src, FIELD(attn_k_norm), 0, h, &a->k_norm));
    if (p->q0 == 0)
        TLP_TRY(load_part(&src, FIELD(attn_output_bias), 0, d, &a->o_bias));
    TLP_TRY(r->b->ops->kv_create(r->b, &a->kv, r->cfg->n_seq, r->cfg->n_ctx,
                                 a->n_head_kv, hp->head_dim, r->cfg->kv_type));
    r->bytes.kv += r->b->ops->kv_bytes(a->kv);
done:
    return st;
}

static tlp_status load_ffn(tlpi_rank *r, const tlpi_stage *stage,
                           const tlpi_ffn_part *p, tlpi_rank_ffn *f)
{
    source src = { r, stage, p->member };
    int64_t d = r->model->hp.n_embd;
    slice rows = { p->ff0, p->ff1, 0, d }, cols = { 0, d, p->ff0, p->ff1 };
    tlp_status st = TLP_OK;

    f->member = p->member;
    f->norm = p->norm;
    f->n_ff = p->ff1 - p->ff0;
    TLP_TRY(load_matrix(&src, FIELD(ffn_gate), rows, &f->gate));
    TLP_TRY(load_matrix(&src, FIELD(ffn_up), rows, &f->up));
    TLP_TRY(load_matrix(&src, FIELD(ffn_down), cols, &f->down));
done:
    return st;
}

/* Sum of the parts' output biases, for modes that sum their projections. */
static tlp_status sum_biases(tlpi_rank *r, const tlpi_stage *stage,
                             tlpi_rank_stage *s)
{
    size_t d = (size_t)r->model->hp.n_embd;
    float *sum = NULL, *one = NULL;
    tlp_status st = TLP_OK;

    for (int i = 0; i < s->n_attn; i++) {
        if (!s->attn[i].o_bias)
            continue;
        if (!sum) {
            sum = tlpi_calloc(r->env, d, sizeof(float));
            one = tlpi_calloc(r->env, d, sizeof(float));
        }
        if (!sum || !one) {
            st = tlpi_fail_nomem();
            goto done;
        }
        TLP_TRY(r->b->ops->read(r->b, one, s->attn[i].o_bias, d));
        for (size_t j = 0; j < d; j++)
            sum[j] += one[j];
    }
    if (sum && stage->mode != TLP_MODE_PAR && stage->mode != TLP_MODE_ASYM)
        TLP_TRY(device_vector(r, sum, d, &s->o_bias));
done:
    tlpi_free(r->env, one);
    tlpi_free(r->env, sum);
    return st;
}

/* ==== stages ============================================================= */

/* A rank normalises for the members it holds parts of, no others. */
static tlp_status load_norms(tlpi_rank *r, const tlpi_stage *stage,
                             const tlpi_stage_shard *shard, tlpi_rank_stage *s)
{
    int64_t d = r->model->hp.n_embd;
    tlp_status st = TLP_OK;

    s->attn_norm = tlpi_calloc(r->env, (size_t)s->n_member, sizeof(float *));
    s->ffn_norm = tlpi_calloc(r->env, (size_t)s->n_member, sizeof(float *));
    if (!s->attn_norm || !s->ffn_norm)
        return tlpi_fail_nomem();
    for (int i = 0; i < shard->n_attn; i++) {
        int m = shard->attn[i].member;
        source src = { r, stage, m };
        if (!s->attn_norm[m])
            TLP_TRY(load_part(&src, FIELD(attn_norm), 0, d, &s->attn_norm[m]));
    }
    for (int i = 0; i < shard->n_ffn; i++) {
        int m = shard->ffn[i].norm;
        source src = { r, stage, m };
        if (!s->ffn_norm[m])
            TLP_TRY(load_part(&src, FIELD(ffn_norm), 0, d, &s->ffn_norm[m]));
    }
done:
    return st;
}

static tlp_status load_gains(tlpi_rank *r, tlpi_rank_stage *s)
{
    size_t n = (size_t)s->n_member;

    s->attn_gain = tlpi_alloc_array(r->env, n, sizeof(float));
    s->ffn_gain = tlpi_alloc_array(r->env, n, sizeof(float));
    if (!s->attn_gain || !s->ffn_gain)
        return tlpi_fail_nomem();
    for (size_t m = 0; m < n; m++)
        s->attn_gain[m] = s->ffn_gain[m] = 1;
    return TLP_OK;
}

static tlp_status load_stage(tlpi_rank *r, int index)
{
    const tlpi_stage *stage = &r->plan->stage[index];
    const tlpi_stage_shard *shard = tlpi_shard_at(r->shards, index, r->rank);
    const tlpi_adjust *adjust = r->plan->adjust;
    tlpi_rank_stage *s = &r->stage[index];
    size_t h = (size_t)r->model->hp.head_dim, at = 0;
    tlp_status st = TLP_OK;

    s->mode = stage->mode;
    s->n_member = stage->mode == TLP_MODE_MERGE ? 1 : stage->n_member;
    s->span = r->shards->span[index];
    for (int m = 0; s->span && m < s->n_member; m++)
        s->shared_members |= s->span[m].count > 1;
    s->carried = tlpi_rank_carried(r, s);
    s->attn = tlpi_calloc(r->env, (size_t)shard->n_attn, sizeof(*s->attn));
    s->ffn = tlpi_calloc(r->env, (size_t)shard->n_ffn, sizeof(*s->ffn));
    if (!s->attn || !s->ffn)
        return tlpi_fail_nomem();
    TLP_TRY(load_norms(r, stage, shard, s));
    TLP_TRY(load_gains(r, s));
    for (int i = 0; i < shard->n_attn; i++) {
        tlpi_rank_attn *a = &s->attn[s->n_attn++];
        TLP_TRY(load_attn(r, stage, &shard->attn[i], a));
        a->at = at;
        at += 2 * h * (size_t)(a->n_head + a->n_head_kv);
    }
    at = 0;
    for (int i = 0; i < shard->n_ffn; i++) {
        tlpi_rank_ffn *f = &s->ffn[s->n_ffn++];
        TLP_TRY(load_ffn(r, stage, &shard->ffn[i], f));
        f->at = at;
        at += (size_t)f->n_ff;
    }
    TLP_TRY(sum_biases(r, stage, s));
    if (adjust)
        TLP_TRY(tlpi_rank_adjust_stage(r, index, &adjust->stage[index]));
done:
    return st;
}

static tlp_status load_head(tlpi_rank *r)
{
    const tlpi_weights *w = &r->model->w;
    int64_t d = r->model->hp.n_embd;
    tlp_status st = TLP_OK;

    r->vocab0 = r->shards->vocab[r->rank];
    r->vocab1 = r->shards->vocab[r->rank + 1];
    TLP_TRY(load_vector(r, w->output_norm, 0, d, &r->output_norm));
    if (r->vocab1 > r->vocab0)
        TLP_TRY(take_weight(r, w->output, (slice){ r->vocab0, r->vocab1, 0, d },
                            &r->head));
    if (r->cfg->device) /* the head itself where that is tied and whole */
        TLP_TRY(take_weight(r, w->token_embd,
                            (slice){ 0, r->model->hp.n_vocab, 0, d },
                            &r->embd));
done:
    return st;
}

tlp_status tlpi_rank_load(tlpi_rank *r, tlp_progress_fn progress,
                          void *progress_data)
{
    int n = r->plan->n_stage;
    tlp_status st = TLP_OK;

    r->stage = tlpi_calloc(r->env, (size_t)n, sizeof(*r->stage));
    if (!r->stage)
        return tlpi_fail_nomem();
    for (int i = 0; i <= n; i++) {
        if (progress && progress((double)i / (n + 1), progress_data))
            return tlpi_fail(TLP_ECANCELED, "loading was canceled");
        tlpi_rank_busy(r);
        TLP_TRY(i < n ? load_stage(r, i) : load_head(r));
    }
    if (progress && progress(1.0, progress_data))
        return tlpi_fail(TLP_ECANCELED, "loading was canceled");
done:
    return st;
}

/* ==== teardown =========================================================== */

static void put_weight(tlpi_rank *r, const tlpi_rank_stage *s, tlpi_weight *w)
{
    if (!w)
        return;
    if (r->dry || (s && s->mode == TLP_MODE_MERGE))
        r->b->ops->weight_free(w);
    else
        tlpi_weight_cache_put(r->model->weight_cache, w);
}

static void unload_stage(tlpi_rank *r, tlpi_rank_stage *s)
{
    for (int i = 0; i < s->n_attn; i++) {
        tlpi_rank_attn *a = &s->attn[i];
        tlpi_weight *w[] = { a->q, a->k, a->v, a->o };
        float *v[] = { a->q_bias, a->k_bias, a->v_bias,
                       a->q_norm, a->k_norm, a->o_bias };

        for (size_t j = 0; j < TLPI_COUNT(w); j++)
            put_weight(r, s, w[j]);
        for (size_t j = 0; j < TLPI_COUNT(v); j++)
            r->b->ops->buffer_free(r->b, v[j]);
        r->b->ops->kv_free(r->b, a->kv);
    }
    for (int i = 0; i < s->n_ffn; i++) {
        put_weight(r, s, s->ffn[i].gate);
        put_weight(r, s, s->ffn[i].up);
        put_weight(r, s, s->ffn[i].down);
    }
    for (int m = 0; m < s->n_member; m++) {
        if (s->attn_norm)
            r->b->ops->buffer_free(r->b, s->attn_norm[m]);
        if (s->ffn_norm)
            r->b->ops->buffer_free(r->b, s->ffn_norm[m]);
    }
    r->b->ops->buffer_free(r->b, s->o_bias);
    tlpi_rank_adjust_free(r, s);
    tlpi_free(r->env, s->attn_norm);
    tlpi_free(r->env, s->ffn_norm);
    tlpi_free(r->env, s->attn_gain);
    tlpi_free(r->env, s->ffn_gain);
    tlpi_free(r->env, s->attn);
    tlpi_free(r->env, s->ffn);
}

void tlpi_rank_unload(tlpi_rank *r)
{
    for (int i = 0; r->stage && i < r->plan->n_stage; i++)
        unload_stage(r, &r->stage[i]);
    tlpi_free(r->env, r->stage);
    r->stage = NULL;
    put_weight(r, NULL, r->head);
    put_weight(r, NULL, r->embd);
    if (r->b)
        r->b->ops->buffer_free(r->b, r->output_norm);
    for (size_t i = 0; i < r->n_merged; i++)
        tlpi_free(r->env, r->merged[i]);
    tlpi_free(r->env, r->merged);
}
