/*
 * train_net.c - build what training sees of a plan, and the parameters.
 */
#include "train/train_net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"

static const char purpose[] = "a plan in training";

typedef struct builder {
    tlpi_train_net *net;
    const tlpi_train_choice *choice;
    uint64_t random;
} builder;

bool tlpi_train_touches(const tlp_plan *plan, int stage)
{
    return plan->stage[stage].n_member > 1 || tlpi_plan_has_tracks(plan, stage);
}

/* ==== numbers of the model =============================================== */

static void load_layer(builder *b, int l, float **at)
{
    const tlpi_layer *from = &b->net->model->w.layer[l];
    tlpi_train_layer *to = &b->net->layer[l];

    for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
        const tlpi_tensor *t = from->t[i];

        if (!t)
            continue;
        if (tlpi_row_is_matrix(&tlpi_layer_table[i])) {
            to->w[i].tensor = t;
            continue;
        }
        to->v[i] = *at;
        tlpi_dequantize(t->type, t->data, to->v[i], t->ne[0]);
        *at += t->ne[0];
    }
}

static tlp_status load_vectors(builder *b)
{
    tlpi_train_net *net = b->net;
    const tlpi_weights *w = &net->model->w;
    size_t n = (size_t)net->model->hp.n_embd;

    for (int l = 0; l < net->model->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++)
            if (w->layer[l].t[i] && !tlpi_row_is_matrix(&tlpi_layer_table[i]))
                n += (size_t)w->layer[l].t[i]->ne[0];
    net->vector = tlpi_alloc_array(net->env, n, sizeof(float));
    if (!net->vector)
        return tlpi_fail_nomem_for(purpose);
    float *at = net->vector;

    net->output.tensor = w->t[TLPI_OUTPUT];
    net->output_norm = at;
    tlpi_dequantize(w->t[TLPI_OUTPUT_NORM]->type, w->t[TLPI_OUTPUT_NORM]->data,
                    at, net->model->hp.n_embd);
    at += net->model->hp.n_embd;
    for (int l = 0; l < net->model->hp.n_layer; l++)
        load_layer(b, l, &at);
    return TLP_OK;
}

/* ==== parameters ========================================================= */

static void fill(tlpi_train_param *p, const tlpi_tensor *t)
{
    tlpi_dequantize(t->type, t->data, p->value,
                    (int64_t)tlpi_train_param_size(p));
}

/* A parameter "PREFIX.NAME" with the numbers of a tensor, or `value`. */
static tlp_status add(builder *b, const char *prefix, const char *name,
                      const tlpi_tensor *from, float value, int64_t rows,
                      int64_t cols, bool trained, tlpi_train_param **out)
{
    char text[TLPI_TRAIN_NAME];
    tlp_status st;

    snprintf(text, sizeof(text), "%s.%s", prefix, name);
    TLP_TRY(
        tlpi_train_param_add(&b->net->param, text, rows, cols, trained, out));
    if (from)
        fill(*out, from);
    else
        for (size_t i = 0; i < tlpi_train_param_size(*out); i++)
            (*out)->value[i] = value;
done:
    return st;
}

static tlp_status add_lowrank(builder *b, const char *prefix, const char *name,
                              const tlpi_lowrank *from, tlpi_train_lowrank *to)
{
    bool trained = b->choice->corrections;
    int64_t d = b->net->model->hp.n_embd;
    char text[TLPI_TRAIN_NAME];
    tlp_status st = TLP_OK;

    if (!from || from->rank == 0)
        return TLP_OK;
    to->rank = from->rank;
    b->net->max_rank = TLPI_MAX(b->net->max_rank, to->rank);
    snprintf(text, sizeof(text), "%s.down", name);
    TLP_TRY(add(b, prefix, text, &from->down, 0, from->rank, d, trained,
                &to->down));
    snprintf(text, sizeof(text), "%s.up", name);
    TLP_TRY(
        add(b, prefix, text, &from->up, 0, d, from->rank, trained, &to->up));
done:
    return st;
}

/* A norm of the member's layer, with the plan's weights where it has its own.
 */
static tlp_status add_norm(builder *b, const char *prefix, int layer,
                           tlpi_layer_id id, const tlpi_tensor *own,
                           bool trained, tlpi_train_param **out)
{
    const tlpi_tensor *model = b->net->model->w.layer[layer].t[id];

    if (!model)
        return TLP_OK;
    return add(b, prefix, tlpi_layer_table[id].name, own ? own : model, 0, 1,
               b->net->model->hp.n_embd, trained, out);
}

/* Of the output of a sum over tracks there is one norm, that of track 0. */
static bool lacks_norm(const tlpi_train_stage *s, const tlpi_train_member *m,
                       tlpi_layer_id id)
{
    return (id == TLPI_ATTN_POST_NORM || id == TLPI_FFN_POST_NORM) &&
           m != s->member && tlpi_train_joins(s, tlpi_layer_table[id].half);
}

static tlp_status add_norms(builder *b, const char *prefix, bool trained,
                            const tlpi_member_adjust *a,
                            const tlpi_train_stage *s, tlpi_train_member *m)
{
    const struct {
        tlpi_layer_id id;
        const tlpi_tensor *own;
        tlpi_train_param **to;
    } norm[] = {
        { TLPI_ATTN_NORM, a ? a->attn_norm : NULL, &m->attn_norm },
        { TLPI_ATTN_POST_NORM, a ? a->attn_post : NULL, &m->attn_post },
        { TLPI_FFN_NORM, a ? a->ffn_norm : NULL, &m->ffn_norm },
        { TLPI_FFN_POST_NORM, a ? a->ffn_post : NULL, &m->ffn_post },
    };
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < TLPI_COUNT(norm); i++)
        if (!lacks_norm(s, m, norm[i].id))
            TLP_TRY(add_norm(b, prefix, m->layer, norm[i].id, norm[i].own,
                             trained, norm[i].to));
done:
    return st;
}

static tlp_status add_member(builder *b, const char *prefix, bool touched,
                             const tlpi_member_adjust *a,
                             const tlpi_train_stage *s, tlpi_train_member *m)
{
    bool gains = touched && b->choice->gains;
    tlp_status st;

    TLP_TRY(add_norms(b, prefix, touched && b->choice->norms, a, s, m));
    TLP_TRY(add(b, prefix, "attn_gain", NULL, a ? a->attn_gain : 1, 1, 1, gains,
                &m->attn_gain));
    TLP_TRY(add(b, prefix, "ffn_gain", NULL, a ? a->ffn_gain : 1, 1, 1, gains,
                &m->ffn_gain));
    TLP_TRY(
        add_lowrank(b, prefix, "attn_in", a ? &a->attn_in : NULL, &m->attn_in));
    TLP_TRY(
        add_lowrank(b, prefix, "ffn_in", a ? &a->ffn_in : NULL, &m->ffn_in));
done:
    return st;
}

/* The plan's LoRA of a matrix.  Where it has none: small random numbers in
 * `down` and zeros in `up`, so that the matrix begins as it was (Hu et al.,
 * arXiv 2106.09685). */
static tlp_status add_lora(builder *b, const char *prefix, const char *name,
                           const tlpi_lowrank *from, bool trained,
                           tlpi_train_matrix *w)
{
    int64_t cols = w->tensor->ne[0], rows = w->tensor->ne[1];
    int rank = from ? from->rank : b->choice->rank;
    double range = sqrt(3.0 / (double)cols);
    char text[TLPI_TRAIN_NAME];
    tlp_status st;

    if (trained && rank != b->choice->rank)
        return tlpi_fail(TLP_EINVAL,
                         "plan: the LoRA of %s.%s has rank %d, %d expected",
                         prefix, name, rank, b->choice->rank);
    b->net->max_rank = TLPI_MAX(b->net->max_rank, rank);
    snprintf(text, sizeof(text), "%s.lora_a", name);
    TLP_TRY(add(b, prefix, text, from ? &from->down : NULL, 0, rank, cols,
                trained, &w->down));
    for (size_t i = 0; !from && i < tlpi_train_param_size(w->down); i++)
        w->down->value[i] = (float)(range * (2 * tlpi_uniform(&b->random) - 1));
    snprintf(text, sizeof(text), "%s.lora_b", name);
    TLP_TRY(add(b, prefix, text, from ? &from->up : NULL, 0, rows, rank,
                trained, &w->up));
    w->down->decay = w->up->decay = trained;
done:
    return st;
}

static tlp_status add_full(builder *b, const char *prefix, const char *name,
                           tlpi_train_matrix *w)
{
    tlp_status st = add(b, prefix, name, w->tensor, 0, w->tensor->ne[1],
                        w->tensor->ne[0], true, &w->full);

    if (st == TLP_OK)
        w->full->decay = true;
    return st;
}

/* A layer's matrices: those that are trained, and the plan's LoRA, trained or
 * not. */
static tlp_status add_matrices(builder *b, int layer, bool trained)
{
    const tlpi_adjust *a = b->net->plan->adjust;
    bool lora = trained && b->choice->rank > 0;
    char prefix[TLPI_TRAIN_NAME];
    tlp_status st = TLP_OK;

    snprintf(prefix, sizeof(prefix), "blk.%d", layer);
    for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
        const char *name = tlpi_layer_table[i].name;
        tlpi_train_matrix *w = &b->net->layer[layer].w[i];
        const tlpi_lowrank *from =
            a && a->lora && a->lora[layer].pair[i].rank > 0
                ? &a->lora[layer].pair[i]
                : NULL;

        if (!w->tensor)
            continue;
        if (trained && !lora)
            TLP_TRY(add_full(b, prefix, name, w));
        if (lora || from)
            TLP_TRY(add_lora(b, prefix, name, from, lora, w));
    }
done:
    return st;
}

/* ==== stages ============================================================= */

static void widen(int *begin, int *end, int from, int to)
{
    if (*begin == *end)
        *begin = from;
    *end = to;
}

/* The parts of a member are neighbours: together they are a range of heads and
 * a range of hidden units. */
static void give_parts(tlpi_train_stage *s, const tlpi_stage_shard *shard)
{
    for (int i = 0; i < shard->n_attn; i++) {
        const tlpi_attn_part *part = &shard->attn[i];
        tlpi_train_member *m = &s->member[part->member];

        widen(&m->q0, &m->q1, part->q0, part->q1);
        widen(&m->kv0, &m->kv1, part->kv0, part->kv1);
    }
    for (int i = 0; i < shard->n_ffn; i++) {
        const tlpi_ffn_part *part = &shard->ffn[i];
        tlpi_train_member *m = &s->member[part->member];

        widen(&m->ff0, &m->ff1, part->ff0, part->ff1);
    }
}

static tlp_status add_out(builder *b, const char *prefix,
                          const tlpi_stage_adjust *a, tlpi_train_stage *s)
{
    int64_t d = b->net->model->hp.n_embd;
    char text[TLPI_TRAIN_NAME];
    tlp_status st = TLP_OK;

    s->out_rank = a->out_rank;
    b->net->max_rank = TLPI_MAX(b->net->max_rank, s->out_rank);
    TLP_TRY(add(b, prefix, "out.up", &a->out_up, 0, d, a->out_rank,
                b->choice->corrections, &s->out_up));
    for (int i = 0; i < s->n_member; i++) {
        snprintf(text, sizeof(text), "blk.%d", s->member[i].layer);
        TLP_TRY(add(b, text, "out.down", &a->member[i].out_down, 0, a->out_rank,
                    d, b->choice->corrections, &s->member[i].out_down));
    }
done:
    return st;
}

static tlp_status build_stage(builder *b, const tlpi_shards *shards, int index)
{
    const tlp_plan *plan = b->net->plan;
    const tlpi_stage *from = &plan->stage[index];
    const tlpi_stage_adjust *a =
        plan->adjust ? &plan->adjust->stage[index] : NULL;
    tlpi_train_stage *s = &b->net->stage[index];
    bool tracks = tlpi_plan_has_tracks(plan, index);
    bool touched = tlpi_train_touches(plan, index);
    char prefix[TLPI_TRAIN_NAME];
    tlp_status st = TLP_OK;

    s->mode = from->mode;
    s->nosync = from->nosync;
    s->open = tlpi_plan_is_open(plan, index);
    give_parts(s, tlpi_shard_at(shards, index, 0));
    for (int i = 0; i < s->n_member; i++) {
        tlpi_train_member *m = &s->member[i];

        m->layer = tlpi_stage_layer(from, i);
        if (tracks)
            snprintf(prefix, sizeof(prefix), "blk.%d.track.%d", m->layer, i);
        else
            snprintf(prefix, sizeof(prefix), "blk.%d", m->layer);
        TLP_TRY(add_member(b, prefix, touched,
                           a && a->member ? &a->member[i] : NULL, s, m));
        if (i == 0 || !tracks)
            TLP_TRY(add_matrices(b, m->layer, touched && b->choice->matrices));
    }
    snprintf(prefix, sizeof(prefix), "blk.%d", from->layers[0]);
    if (a && a->out_rank > 0)
        TLP_TRY(add_out(b, prefix, a, s));
done:
    return st;
}

static void find_angles(tlpi_train_net *net)
{
    for (int l = 0; l < net->model->hp.n_layer; l++) {
        tlpi_rope_kind kind = net->model->w.layer[l].rope;

        if (kind != TLPI_ROPE_NONE)
            net->has_angles[kind] = true;
    }
}

static tlp_status build(builder *b)
{
    tlpi_train_net *net = b->net;
    tlpi_shards *shards = NULL;
    const tlp_plan *plan = net->plan;
    size_t n_member = 0;
    tlp_status st = TLP_OK;

    for (int i = 0; i < plan->n_stage; i++)
        n_member += (size_t)tlpi_plan_n_member(plan, i);
    net->layer = tlpi_calloc(net->env, (size_t)net->model->hp.n_layer,
                             sizeof(*net->layer));
    net->stage =
        tlpi_calloc(net->env, (size_t)plan->n_stage, sizeof(*net->stage));
    net->member = tlpi_calloc(net->env, n_member, sizeof(*net->member));
    if (!net->layer || !net->stage || !net->member)
        return tlpi_fail_nomem_for(purpose);
    TLP_TRY(load_vectors(b));
    find_angles(net);
    TLP_TRY(tlpi_shards_create(&shards, plan, 1));
    net->first = plan->n_stage;
    n_member = 0;
    for (int i = 0; i < plan->n_stage; i++) {
        uint64_t before = net->param.n_trained;

        net->stage[i].n_member = tlpi_plan_n_member(plan, i);
        net->stage[i].member = net->member + n_member;
        n_member += (size_t)net->stage[i].n_member;
        TLP_TRY(build_stage(b, shards, i));
        if (net->param.n_trained > before)
            net->first = TLPI_MIN(net->first, i);
    }
done:
    tlpi_shards_free(shards);
    return st;
}

tlp_status tlpi_train_net_create(tlpi_train_net *net, tlp_plan *plan,
                                 const tlpi_train_choice *choice)
{
    const tlpi_env *env = &plan->model->env;
    builder b = { net, choice, choice->seed };

    for (int i = 0; i < plan->n_stage; i++) {
        int mode = plan->stage[i].mode;

        if (mode == TLP_MODE_LP_CODE || mode == TLP_MODE_MERGE)
            return tlpi_fail(TLP_ENOTSUP,
                             "a plan with a stage in mode %s: training knows "
                             "serial, lp, par, asym and nosync",
                             tlpi_mode_name(mode));
    }
    *net = (tlpi_train_net){ .env = env,
                             .plan = tlpi_plan_retain(plan),
                             .model = plan->model,
                             .param.env = env };
    tlp_status st = build(&b);

    if (st != TLP_OK)
        tlpi_train_net_free(net);
    return st;
}

void tlpi_train_net_free(tlpi_train_net *net)
{
    if (!net->env)
        return;
    tlpi_train_params_free(&net->param);
    tlpi_free(net->env, net->vector);
    tlpi_free(net->env, net->layer);
    tlpi_free(net->env, net->member);
    tlpi_free(net->env, net->stage);
    tlp_plan_free((tlp_plan *)(uintptr_t)net->plan);
    *net = (tlpi_train_net){ 0 };
}
