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

/* Elements [i0, i1) of a tensor, times scale, to the device. */
static tlp_status load_vector(tlpi_rank *r, const tlpi_tensor *t, int64_t i0,
                              int64_t i1, float scale, float **out)
{
    if (r->dry)
        return device_vector(r, NULL, (size_t)(i1 - i0), out);
    float *host = tlpi_alloc_array(r->env, (size_t)t->ne[0], sizeof(float));

    if (!host)
        return tlpi_fail_nomem();
    tlpi_dequantize(t->type, t->data, host, t->ne[0]);
    for (int64_t i = i0; i < i1; i++)
        host[i] *= scale;
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
static tlp_status merge_tensor(const source *src, tlpi_layer_id id,
                               tlpi_tensor *out)
{
    const tlp_model *m = src->r->model;

    if (!src->r->dry)
        return tlpi_merge_tensor(m, src->stage, id, out);
    *out = *m->w.layer[src->stage->layers[0]].t[id];
    out->type = TLPI_F32;
    out->data = NULL;
    return TLP_OK;
}

/* A merged matrix belongs to this rank alone: its source is no file's. */
static tlp_status merged_weight(const source *src, tlpi_layer_id id, slice s,
                                tlpi_weight **out)
{
    tlpi_rank *r = src->r;
    tlpi_tensor t;
    tlp_status st = merge_tensor(src, id, &t);
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

static const tlpi_tensor *tensor_of(const source *src, tlpi_layer_id id)
{
    return src->r->model->w.layer[src->stage->layers[src->member]].t[id];
}

static bool is_merged(const source *src)
{
    return src->stage->mode == TLP_MODE_MERGE;
}

static tlp_status load_matrix(const source *src, tlpi_layer_id id, slice s,
                              tlpi_weight **out)
{
    return is_merged(src) ? merged_weight(src, id, s, out)
                          : take_weight(src->r, tensor_of(src, id), s, out);
}

/* Elements [i0, i1) of a vector, if the layer has it.  A bias of what goes to
 * the residual stream is scaled as the terms that it is added to. */
static tlp_status load_elements(const source *src, tlpi_layer_id id, int64_t i0,
                                int64_t i1, float **out)
{
    const tlpi_tensor *t = tensor_of(src, id);
    float scale =
        id == TLPI_ATTN_OUTPUT_BIAS ? src->r->model->hp.residual_scale : 1.0f;

    if (!t)
        return TLP_OK;
    if (!is_merged(src))
        return load_vector(src->r, t, i0, i1, scale, out);
    tlpi_tensor mean;
    tlp_status st = merge_tensor(src, id, &mean);
    if (st != TLP_OK)
        return st;
    st = load_vector(src->r, &mean, i0, i1, scale, out);
    tlpi_free(src->r->env, (void *)(uintptr_t)mean.data);
    return st;
}

/* A part's slices of one half of a layer; `first`: of the parts of all ranks
 * it is the one with query head 0. */
static tlp_status load_part(const source *src, tlpi_half half,
                            const tlpi_part *part, bool first,
                            tlpi_rank_tensors *out)
{
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
        const tlpi_tensor_row *row = &tlpi_layer_table[i];
        tlpi_layer_id id = (tlpi_layer_id)i;
        slice s = tlpi_row_slice(row, &src->r->model->hp, part);

        if (row->half != half || row->owner == TLPI_OWNER_MEMBER ||
            (row->owner == TLPI_OWNER_FIRST && !first))
            continue;
        TLP_TRY(tlpi_row_is_matrix(row)
                    ? load_matrix(src, id, s, &out->w[i])
                    : load_elements(src, id, s.c0, s.c1, &out->v[i]));
    }
done:
    return st;
}

static tlp_status load_attn(tlpi_rank *r, const tlpi_stage *stage,
                            const tlpi_attn_part *p, tlpi_rank_attn *a)
{
    source src = { r, stage, p->member };
    tlpi_part part = tlpi_attn_units(p);
    tlp_status st = TLP_OK;

    a->member = p->member;
    a->n_head_kv = p->kv1 - p->kv0;
    a->n_head = p->q1 - p->q0;
    a->has_rope = r->model->w.layer[stage->layers[p->member]].has_rope;
    TLP_TRY(load_part(&src, TLPI_HALF_ATTN, &part, p->q0 == 0, &a->t));
    TLP_TRY(r->b->ops->kv_create(r->b, &a->kv, r->cfg->n_seq, r->cfg->n_ctx,
                                 a->n_head_kv, r->model->hp.head_dim,
                                 r->cfg->kv_type));
    r->bytes.kv += r->b->ops->kv_bytes(a->kv);
done:
    return st;
}

static tlp_status load_ffn(tlpi_rank *r, const tlpi_stage *stage,
                           const tlpi_ffn_part *p, tlpi_rank_ffn *f)
{
    source src = { r, stage, p->member };
    tlpi_part part = tlpi_ffn_units(p);

    f->member = p->member;
    f->norm = p->norm;
    f->n_ff = p->ff1 - p->ff0;
    return load_part(&src, TLPI_HALF_FFN, &part, p->ff0 == 0, &f->t);
}

/* Sum of the parts' output biases, for modes that sum their projections. */
static tlp_status sum_biases(tlpi_rank *r, const tlpi_stage *stage,
                             tlpi_rank_stage *s)
{
    size_t d = (size_t)r->model->hp.n_embd;
    float *sum = NULL, *one = NULL;
    tlp_status st = TLP_OK;

    for (int i = 0; i < s->n_attn; i++) {
        const float *bias = s->attn[i].t.v[TLPI_ATTN_OUTPUT_BIAS];

        if (!bias)
            continue;
        if (!sum) {
            sum = tlpi_calloc(r->env, d, sizeof(float));
            one = tlpi_calloc(r->env, d, sizeof(float));
        }
        if (!sum || !one) {
            st = tlpi_fail_nomem();
            goto done;
        }
        TLP_TRY(r->b->ops->read(r->b, one, bias, d));
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
            TLP_TRY(
                load_elements(&src, TLPI_ATTN_NORM, 0, d, &s->attn_norm[m]));
    }
    for (int i = 0; i < shard->n_ffn; i++) {
        int m = shard->ffn[i].norm;
        source src = { r, stage, m };
        if (!s->ffn_norm[m])
            TLP_TRY(load_elements(&src, TLPI_FFN_NORM, 0, d, &s->ffn_norm[m]));
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
        s->attn_gain[m] = s->ffn_gain[m] = r->model->hp.residual_scale;
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
    TLP_TRY(load_vector(r, w->t[TLPI_OUTPUT_NORM], 0, d, 1, &r->output_norm));
    if (r->vocab1 > r->vocab0)
        TLP_TRY(take_weight(r, w->t[TLPI_OUTPUT],
                            (slice){ r->vocab0, r->vocab1, 0, d }, &r->head));
    if (r->cfg->device) /* the head itself where that is tied and whole */
        TLP_TRY(take_weight(r, w->t[TLPI_TOKEN_EMBD],
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

static void unload_part(tlpi_rank *r, const tlpi_rank_stage *s,
                        const tlpi_rank_tensors *t)
{
    for (size_t i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
        put_weight(r, s, t->w[i]);
        r->b->ops->buffer_free(r->b, t->v[i]);
    }
}

static void unload_stage(tlpi_rank *r, tlpi_rank_stage *s)
{
    for (int i = 0; i < s->n_attn; i++) {
        unload_part(r, s, &s->attn[i].t);
        r->b->ops->kv_free(r->b, s->attn[i].kv);
    }
    for (int i = 0; i < s->n_ffn; i++)
        unload_part(r, s, &s->ffn[i].t);
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
