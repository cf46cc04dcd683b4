/*
 * program.c - load the stages of a plan: take one rank's parts from the store,
 * and make what belongs to the plan alone.
 */
#include "rank/program.h"

#include <math.h>

/* The tensors of one stage member: a layer's own, or the mean of a merged
 * group. */
typedef struct source {
    tlpi_program *p;
    const tlpi_stage *stage;
    int member;
} source;

/* ==== tensors ============================================================ */

static bool is_merged(const source *src)
{
    return src->stage->mode == TLP_MODE_MERGE;
}

static int layer_of(const source *src)
{
    return tlpi_stage_layer(src->stage, src->member);
}

static const tlpi_tensor *tensor_of(const source *src, tlpi_layer_id id)
{
    return src->p->store->model->w.layer[layer_of(src)].t[id];
}

/* The mean of one tensor over the stage's layers; for a dry store a tensor
 * without data that keeps a layer's n_bytes, by which work is counted. */
static tlp_status merge_tensor(const source *src, tlpi_layer_id id,
                               tlpi_tensor *out)
{
    if (!src->p->store->dry)
        return tlpi_merge_tensor(src->p->store->model, src->stage, id, out);
    *out = *tensor_of(src, id);
    out->type = TLPI_F32;
    out->data = NULL;
    return TLP_OK;
}

tlp_status tlpi_program_own_weight(tlpi_program *p, const tlpi_tensor *t,
                                   tlpi_slice s, tlpi_weight **out)
{
    tlpi_backend *b = p->store->b;
    void *data = (void *)(uintptr_t)t->data;
    void **list = NULL;
    bool copied = false;
    tlp_status st;

    TLP_TRY(b->ops->weight_create(b, out, t, s.r0, s.r1, s.c0, s.c1, &copied));
    p->bytes.weights += b->ops->weight_bytes(*out);
    if (copied)
        goto done;
    list =
        tlpi_realloc_array(p->store->env, p->own, p->n_own + 1, sizeof(*list));
    if (!list) {
        b->ops->weight_free(*out);
        *out = NULL;
        st = tlpi_fail_nomem_for("the stages of a plan");
        goto done;
    }
    p->own = list;
    p->own[p->n_own++] = data;
    data = NULL;
done:
    tlpi_free(p->store->env, data);
    return st;
}

/* A merged matrix belongs to this program alone: its source is no file's. */
static tlp_status merged_weight(const source *src, tlpi_layer_id id,
                                tlpi_slice s, tlpi_weight **out)
{
    tlpi_tensor t;
    tlp_status st = merge_tensor(src, id, &t);

    return st == TLP_OK ? tlpi_program_own_weight(src->p, &t, s, out) : st;
}

static tlp_status load_matrix(const source *src, tlpi_layer_id id, tlpi_slice s,
                              tlpi_weight **out)
{
    return is_merged(src) ? merged_weight(src, id, s, out)
                          : tlpi_store_take(src->p->store, layer_of(src),
                                            tensor_of(src, id), s, out);
}

/* Elements [i0, i1) of a vector, or of each of a list, times scale, if the
 * layer has it. */
static tlp_status load_scaled(const source *src, tlpi_layer_id id, int64_t i0,
                              int64_t i1, float scale, float **out)
{
    tlpi_store *store = src->p->store;
    uint64_t *bytes = &src->p->bytes.buffers;
    const tlpi_tensor *t = tensor_of(src, id);
    tlpi_tensor mean;
    tlp_status st = TLP_OK;

    if (!t)
        return TLP_OK;
    if (!is_merged(src))
        return tlpi_store_elements(store, t, i0, i1, scale, out, bytes);
    TLP_TRY(merge_tensor(src, id, &mean));
    st = tlpi_store_elements(store, &mean, i0, i1, scale, out, bytes);
    tlpi_free(store->env, (void *)(uintptr_t)mean.data);
done:
    return st;
}

/* A bias of what goes to the residual stream is scaled as the terms that it is
 * added to. */
static tlp_status load_elements(const source *src, tlpi_layer_id id, int64_t i0,
                                int64_t i1, float **out)
{
    float scale = id == TLPI_ATTN_OUTPUT_BIAS
                      ? src->p->store->model->hp.residual_scale
                      : 1.0f;

    return load_scaled(src, id, i0, i1, scale, out);
}

/* ==== parts ============================================================== */

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
        tlpi_slice s = tlpi_row_slice(row, &src->p->store->model->hp, part);

        if (row->half != half || row->owner == TLPI_OWNER_MEMBER ||
            (row->owner == TLPI_OWNER_FIRST && !first) || !tensor_of(src, id))
            continue;
        TLP_TRY(tlpi_row_is_matrix(row)
                    ? load_matrix(src, id, s, &out->w[i])
                    : load_elements(src, id, s.c0, s.c1, &out->v[i]));
    }
    st = tlpi_program_load_lora(src->p, layer_of(src), half, part, out);
done:
    return st;
}

static tlp_status load_attn(const source *src, const tlpi_attn_part *part,
                            tlpi_rank_attn *a)
{
    tlpi_store *store = src->p->store;
    const tlpi_layer *layer = &store->model->w.layer[layer_of(src)];
    tlpi_part units = tlpi_attn_units(part);
    tlp_status st = TLP_OK;

    a->member = part->member;
    a->n_head_kv = part->kv1 - part->kv0;
    a->n_head = part->q1 - part->q0;
    a->rope = store->rope[layer->rope];
    a->window = layer->window;
    TLP_TRY(load_part(src, TLPI_HALF_ATTN, &units, part->q0 == 0, &a->t));
    const tlpi_kv_key key = { part->kv0, part->kv1,
                              src->stage->n_member > 1 ? 0 : part->member,
                              is_merged(src) };
    st = tlpi_store_take_kv(store, layer_of(src), &key, &a->kv);
done:
    return st;
}

static tlp_status load_ffn(const source *src, const tlpi_ffn_part *part,
                           tlpi_rank_ffn *f)
{
    tlpi_part units = tlpi_ffn_units(part);

    f->member = part->member;
    f->norm = part->norm;
    f->n_ff = part->ff1 - part->ff0;
    return load_part(src, TLPI_HALF_FFN, &units, part->ff0 == 0, &f->t);
}

static tlp_status load_parts(tlpi_program *p, const tlpi_stage *stage,
                             const tlpi_stage_shard *shard, tlpi_rank_stage *s)
{
    size_t h = (size_t)p->store->model->hp.head_dim, at = 0;
    tlp_status st = TLP_OK;

    for (int i = 0; i < shard->n_attn; i++) {
        tlpi_rank_attn *a = &s->attn[s->n_attn++];
        source src = { p, stage, shard->attn[i].member };

        TLP_TRY(load_attn(&src, &shard->attn[i], a));
        a->at = at;
        at += 2 * h * (size_t)(a->n_head + a->n_head_kv);
    }
    at = 0;
    for (int i = 0; i < shard->n_ffn; i++) {
        tlpi_rank_ffn *f = &s->ffn[s->n_ffn++];
        source src = { p, stage, shard->ffn[i].member };

        TLP_TRY(load_ffn(&src, &shard->ffn[i], f));
        f->at = at;
        at += (size_t)f->n_ff * (size_t)tlpi_n_used(&p->store->model->hp);
    }
done:
    return st;
}

/* ==== what a plan may change ============================================= */

/* Sum of the parts' output biases, for modes that sum their projections. */
static tlp_status sum_biases(tlpi_program *p, tlpi_rank_stage *s)
{
    tlpi_store *store = p->store;
    size_t d = (size_t)store->model->hp.n_embd;
    float *sum = NULL, *one = NULL;
    tlp_status st = TLP_OK;

    for (int i = 0; i < s->n_attn; i++) {
        const float *bias = s->attn[i].t.v[TLPI_ATTN_OUTPUT_BIAS];

        if (!bias)
            continue;
        if (!sum) {
            sum = tlpi_calloc(store->env, d, sizeof(float));
            one = tlpi_calloc(store->env, d, sizeof(float));
        }
        if (!sum || !one) {
            st = tlpi_fail_nomem_for("the stages of a plan");
            goto done;
        }
        TLP_TRY(store->b->ops->read(store->b, one, bias, d));
        for (size_t j = 0; j < d; j++)
            sum[j] += one[j];
    }
    if (sum && !s->span)
        TLP_TRY(
            tlpi_store_vector(store, sum, d, &s->o_bias, &p->bytes.buffers));
done:
    tlpi_free(store->env, one);
    tlpi_free(store->env, sum);
    return st;
}

static int n_post(const tlpi_rank_stage *s)
{
    return s->n_member + (tlpi_stage_has_tracks(s) ? TLPI_POST_OWN : 0);
}

/* The norms of the outputs of one half: of all members, because every rank may
 * normalise any member's.  T tracks' parts of an output are about as long as
 * the output divided by the root of T. */
static tlp_status load_post(tlpi_program *p, const tlpi_stage *stage,
                            const tlpi_rank_stage *s, tlpi_layer_id id,
                            float ***out)
{
    int64_t d = p->store->model->hp.n_embd;
    source src = { p, stage, 0 };
    tlp_status st = TLP_OK;

    *out = tlpi_calloc(p->store->env, (size_t)n_post(s), sizeof(float *));
    if (!*out)
        return tlpi_fail_nomem_for("the stages of a plan");
    if (tlpi_stage_has_tracks(s)) {
        float root = sqrtf((float)s->n_member);
        TLP_TRY(load_scaled(&src, id, 0, d, 1, &(*out)[TLPI_POST_SUM]));
        for (int t = 0; t < s->n_member; t++)
            TLP_TRY(load_scaled(&src, id, 0, d, 1 / root,
                                &(*out)[TLPI_POST_OWN + t]));
        return TLP_OK;
    }
    for (; src.member < s->n_member; src.member++)
        TLP_TRY(load_scaled(&src, id, 0, d, 1, &(*out)[src.member]));
done:
    return st;
}

static tlp_status load_posts(tlpi_program *p, const tlpi_stage *stage,
                             tlpi_rank_stage *s)
{
    tlp_status st = TLP_OK;

    if (!tlpi_arch_get(&p->store->model->hp)->post_norm)
        return TLP_OK;
    TLP_TRY(load_post(p, stage, s, TLPI_ATTN_POST_NORM, &s->attn_post));
    st = load_post(p, stage, s, TLPI_FFN_POST_NORM, &s->ffn_post);
done:
    return st;
}

/* The norm of a member's input, or a mark that the input has none. */
static tlp_status load_input(const source *src, tlpi_layer_id id,
                             tlpi_rank_input *out)
{
    if (out->used)
        return TLP_OK;
    out->used = true;
    return load_elements(src, id, 0, src->p->store->model->hp.n_embd, &out->w);
}

/* A rank makes inputs for the members it holds parts of, no others. */
static tlp_status load_norms(tlpi_program *p, const tlpi_stage *stage,
                             const tlpi_stage_shard *shard, tlpi_rank_stage *s)
{
    size_t n = (size_t)s->n_member;
    tlp_status st = TLP_OK;

    s->attn_norm = tlpi_calloc(p->store->env, n, sizeof(*s->attn_norm));
    s->ffn_norm = tlpi_calloc(p->store->env, n, sizeof(*s->ffn_norm));
    if (!s->attn_norm || !s->ffn_norm)
        return tlpi_fail_nomem_for("the stages of a plan");
    for (int i = 0; i < shard->n_attn; i++) {
        int m = shard->attn[i].member;
        source src = { p, stage, m };
        TLP_TRY(load_input(&src, TLPI_ATTN_NORM, &s->attn_norm[m]));
    }
    for (int i = 0; i < shard->n_ffn; i++) {
        int m = shard->ffn[i].norm;
        source src = { p, stage, m };
        TLP_TRY(load_input(&src, TLPI_FFN_NORM, &s->ffn_norm[m]));
    }
done:
    return st;
}

static tlp_status load_gains(tlpi_program *p, tlpi_rank_stage *s)
{
    const tlpi_env *env = p->store->env;
    size_t n = (size_t)s->n_member;

    s->attn_gain = tlpi_alloc_array(env, n, sizeof(float));
    s->ffn_gain = tlpi_alloc_array(env, n, sizeof(float));
    if (!s->attn_gain || !s->ffn_gain)
        return tlpi_fail_nomem_for("the stages of a plan");
    for (size_t m = 0; m < n; m++)
        s->attn_gain[m] = s->ffn_gain[m] = p->store->model->hp.residual_scale;
    return TLP_OK;
}

/* ==== stages ============================================================= */

static tlp_status load_stage(tlpi_program *p, int index)
{
    const tlpi_stage *stage = &p->plan->stage[index];
    const tlpi_stage_shard *shard = tlpi_shard_at(p->shards, index, p->rank);
    const tlpi_adjust *adjust = p->plan->adjust;
    const tlpi_env *env = p->store->env;
    tlpi_rank_stage *s = &p->stage[index];
    tlp_status st = TLP_OK;

    s->mode = stage->mode;
    s->n_member = tlpi_plan_n_member(p->plan, index);
    s->nosync = stage->nosync;
    s->open = tlpi_plan_is_open(p->plan, index);
    s->span = p->shards->span[index];
    for (int m = 0; s->span && m < s->n_member; m++)
        s->shared_members |= s->span[m].count > 1;
    s->attn = tlpi_calloc(env, (size_t)shard->n_attn, sizeof(*s->attn));
    s->ffn = tlpi_calloc(env, (size_t)shard->n_ffn, sizeof(*s->ffn));
    if (!s->attn || !s->ffn)
        return tlpi_fail_nomem_for("the stages of a plan");
    TLP_TRY(load_norms(p, stage, shard, s));
    TLP_TRY(load_posts(p, stage, s));
    s->carried = tlpi_rank_carried(p->rank, s);
    TLP_TRY(load_gains(p, s));
    TLP_TRY(load_parts(p, stage, shard, s));
    tlpi_program_set_rows(p, index);
    TLP_TRY(sum_biases(p, s));
    TLP_TRY(tlpi_scratch_reserve_low(p->scratch, tlpi_program_lora_cols(s)));
    if (adjust)
        TLP_TRY(tlpi_program_adjust_stage(p, index, &adjust->stage[index]));
done:
    return st;
}

tlp_status tlpi_loading_say(const tlpi_loading *l)
{
    if (l->fn && l->fn((double)l->done / l->total, l->arg))
        return tlpi_fail(TLP_ECANCELED, "loading was canceled");
    return TLP_OK;
}

tlp_status tlpi_program_load(tlpi_program *p, tlpi_loading *loading)
{
    size_t n = (size_t)p->plan->n_stage;
    tlp_status st = TLP_OK;

    tlpi_program_renew(p);
    p->stage = tlpi_calloc(p->store->env, n, sizeof(*p->stage));
    if (!p->stage)
        return tlpi_fail_nomem_for("the stages of a plan");
    for (int i = 0; i < p->plan->n_stage; i++) {
        TLP_TRY(tlpi_loading_say(loading));
        tlpi_store_busy(p->store);
        TLP_TRY(load_stage(p, i));
        loading->done++;
    }
done:
    return st;
}

/* ==== teardown =========================================================== */

static void unload_part(tlpi_program *p, const tlpi_stage *stage, int member,
                        tlpi_rank_tensors *t)
{
    tlpi_store *store = p->store;

    tlpi_program_free_lora(p, t);
    for (size_t i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
        if (stage->mode == TLP_MODE_MERGE)
            store->b->ops->weight_free(t->w[i]);
        else
            tlpi_store_put(store, tlpi_stage_layer(stage, member), t->w[i]);
        store->b->ops->buffer_free(store->b, t->v[i]);
    }
}

static void free_norms(tlpi_program *p, float **norm, int n)
{
    tlpi_backend *b = p->store->b;

    for (int m = 0; norm && m < n; m++)
        b->ops->buffer_free(b, norm[m]);
    tlpi_free(p->store->env, norm);
}

static void free_inputs(tlpi_program *p, tlpi_rank_input *input, int n)
{
    tlpi_backend *b = p->store->b;

    for (int m = 0; input && m < n; m++)
        b->ops->buffer_free(b, input[m].w);
    tlpi_free(p->store->env, input);
}

static void unload_stage(tlpi_program *p, int index)
{
    const tlpi_stage *stage = &p->plan->stage[index];
    const tlpi_env *env = p->store->env;
    tlpi_backend *b = p->store->b;
    tlpi_rank_stage *s = &p->stage[index];

    for (int i = 0; i < s->n_attn; i++) {
        tlpi_rank_attn *a = &s->attn[i];

        unload_part(p, stage, a->member, &a->t);
        tlpi_store_put_kv(p->store, tlpi_stage_layer(stage, a->member), a->kv);
    }
    for (int i = 0; i < s->n_ffn; i++)
        unload_part(p, stage, s->ffn[i].member, &s->ffn[i].t);
    free_inputs(p, s->attn_norm, s->n_member);
    free_inputs(p, s->ffn_norm, s->n_member);
    free_norms(p, s->attn_post, n_post(s));
    free_norms(p, s->ffn_post, n_post(s));
    b->ops->buffer_free(b, s->o_bias);
    tlpi_program_adjust_free(p, s);
    tlpi_free(env, s->attn_gain);
    tlpi_free(env, s->ffn_gain);
    tlpi_free(env, s->attn);
    tlpi_free(env, s->ffn);
}

void tlpi_program_free(tlpi_program *p)
{
    if (!p->store)
        return;
    for (int i = 0; p->stage && i < p->plan->n_stage; i++)
        unload_stage(p, i);
    tlpi_free(p->store->env, p->stage);
    for (size_t i = 0; i < p->n_own; i++)
        tlpi_free(p->store->env, p->own[i]);
    tlpi_free(p->store->env, p->own);
    tlpi_free(p->store->env, p->step_stats);
    *p = (tlpi_program){ 0 };
}
