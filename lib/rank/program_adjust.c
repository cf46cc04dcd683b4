/*
 * program_adjust.c - a stage's adjustments on one rank: norms and gains take
 * the place of those that were loaded, low-rank corrections are added.
 *
 * A rank takes what belongs to members of which it holds something.
 * Corrections are not cut between ranks: they are small, and a cut would cost
 * an all-reduce.
 */
#include <math.h>
#include <string.h>

#include "rank/program.h"

/* ==== low-rank corrections =============================================== */

static bool holds_ffn(const tlpi_rank_stage *s, int member)
{
    for (int i = 0; i < s->n_ffn; i++)
        if (s->ffn[i].member == member)
            return true;
    return false;
}

/* From a copy, since the views' memory is the caller's and not aligned. */
static tlp_status make_weight(tlpi_program *p, tlpi_rank_adjust *a,
                              const tlpi_tensor *t, tlpi_weight **out)
{
    size_t n = (size_t)t->ne[1] * tlpi_row_bytes(t->type, t->ne[0]);
    void *data = tlpi_alloc(p->store->env, p->store->dry ? 0 : n);
    tlpi_tensor copy = *t;
    bool copied = false;

    if (!data)
        return tlpi_fail_nomem_for("adjustments");
    if (!p->store->dry)
        memcpy(data, t->data, n);
    copy.data = data;
    tlp_status st = p->store->b->ops->weight_create(
        p->store->b, out, &copy, 0, t->ne[1], 0, t->ne[0], &copied);
    if (st == TLP_OK)
        a->n_bytes += p->store->b->ops->weight_bytes(*out);
    if (st == TLP_OK && !copied)
        a->kept[a->n_kept++] = data;
    else
        tlpi_free(p->store->env, data);
    return st;
}

static tlp_status make_lowrank(tlpi_program *p, tlpi_rank_adjust *a,
                               const tlpi_lowrank *from, tlpi_rank_lowrank *to)
{
    tlp_status st = TLP_OK;

    if (from->rank == 0)
        return TLP_OK;
    TLP_TRY(make_weight(p, a, &from->down, &to->down));
    TLP_TRY(make_weight(p, a, &from->up, &to->up));
    to->rank = from->rank;
done:
    return st;
}

static void free_adjust(tlpi_program *p, tlpi_rank_adjust *a, int n_member)
{
    if (!a)
        return;
    for (int m = 0; m < n_member; m++) {
        const tlpi_rank_lowrank *low[] = { a->attn_in, a->ffn_in };

        for (size_t i = 0; i < TLPI_COUNT(low); i++) {
            p->store->b->ops->weight_free(low[i] ? low[i][m].down : NULL);
            p->store->b->ops->weight_free(low[i] ? low[i][m].up : NULL);
        }
        p->store->b->ops->weight_free(a->out_down ? a->out_down[m] : NULL);
    }
    p->store->b->ops->weight_free(a->out_up);
    for (size_t i = 0; i < a->n_kept; i++)
        tlpi_free(p->store->env, a->kept[i]);
    tlpi_free(p->store->env, a->kept);
    tlpi_free(p->store->env, a->out_down);
    tlpi_free(p->store->env, a->ffn_in);
    tlpi_free(p->store->env, a->attn_in);
    tlpi_free(p->store->env, a);
}

static bool has_lowrank(const tlpi_stage_adjust *from, int n_member)
{
    bool any = from && from->out_rank > 0;

    for (int m = 0; from && from->member && m < n_member; m++)
        any |=
            from->member[m].attn_in.rank > 0 || from->member[m].ffn_in.rank > 0;
    return any;
}

static tlp_status fill_adjust(tlpi_program *p, const tlpi_rank_stage *s,
                              const tlpi_stage_adjust *from,
                              tlpi_rank_adjust *a)
{
    tlp_status st = TLP_OK;

    for (int m = 0; m < s->n_member; m++) {
        const tlpi_member_adjust *f = &from->member[m];

        if (s->attn_norm[m].used)
            TLP_TRY(make_lowrank(p, a, &f->attn_in, &a->attn_in[m]));
        if (s->ffn_norm[m].used)
            TLP_TRY(make_lowrank(p, a, &f->ffn_in, &a->ffn_in[m]));
        if (from->out_rank &&
            (holds_ffn(s, m) || tlpi_rank_counts(p->rank, s, m)))
            TLP_TRY(make_weight(p, a, &f->out_down, &a->out_down[m]));
    }
    if (from->out_rank)
        TLP_TRY(make_weight(p, a, &from->out_up, &a->out_up));
    a->out_rank = from->out_rank;
done:
    return st;
}

/* NULL where a stage has nothing of low rank. */
static tlp_status create_adjust(tlpi_program *p, const tlpi_rank_stage *s,
                                const tlpi_stage_adjust *from,
                                tlpi_rank_adjust **out)
{
    size_t n = (size_t)s->n_member;

    *out = NULL;
    if (!has_lowrank(from, s->n_member))
        return TLP_OK;
    tlpi_rank_adjust *a = tlpi_calloc(p->store->env, 1, sizeof(*a));
    if (!a)
        return tlpi_fail_nomem_for("adjustments");
    a->attn_in = tlpi_calloc(p->store->env, n, sizeof(*a->attn_in));
    a->ffn_in = tlpi_calloc(p->store->env, n, sizeof(*a->ffn_in));
    a->out_down = tlpi_calloc(p->store->env, n, sizeof(*a->out_down));
    a->kept = tlpi_calloc(p->store->env, 5 * n + 1, sizeof(*a->kept));
    tlp_status st = a->attn_in && a->ffn_in && a->out_down && a->kept
                        ? fill_adjust(p, s, from, a)
                        : tlpi_fail_nomem_for("adjustments");
    if (st == TLP_OK)
        *out = a;
    else
        free_adjust(p, a, s->n_member);
    return st;
}

/* Room in scratch.low for what stands between down and up. */
static tlp_status reserve_low(tlpi_program *p, const tlpi_rank_stage *s,
                              const tlpi_rank_adjust *a)
{
    int attn = 0, ffn = 0;

    for (int m = 0; a && m < s->n_member; m++) {
        attn += a->attn_in[m].rank;
        ffn += a->ffn_in[m].rank;
    }
    int cols = a ? TLPI_MAX(a->out_rank, TLPI_MAX(attn, ffn)) : 0;
    return tlpi_scratch_reserve_low(p->scratch, cols);
}

/* ==== norms and gains ==================================================== */

/* norm = the weights of `other`, or of the model, times scale */
static void put_norm(tlpi_program *p, const tlpi_tensor *model,
                     const tlpi_tensor *other, float scale, float *host,
                     float *norm)
{
    const tlpi_tensor *t = other ? other : model;

    if (!norm || p->store->dry)
        return;
    tlpi_dequantize(t->type, t->data, host, t->ne[0]);
    for (int64_t i = 0; scale != 1 && i < t->ne[0]; i++)
        host[i] *= scale;
    p->store->b->ops->write(p->store->b, norm, host, (size_t)t->ne[0]);
}

/* A half of a stage's members. */
typedef struct adjusted_half {
    tlpi_layer_id post;
    bool apart;                /* of tracks: their outputs are not summed */
    float *gain, *const *norm; /* of the stage */
} adjusted_half;

static const tlpi_tensor *post_of(const tlpi_member_adjust *f, tlpi_layer_id id)
{
    if (!f)
        return NULL;
    return id == TLPI_ATTN_POST_NORM ? f->attn_post : f->ffn_post;
}

static float gain_of(const tlpi_member_adjust *f, tlpi_layer_id id)
{
    if (!f)
        return 1;
    return id == TLPI_ATTN_POST_NORM ? f->attn_gain : f->ffn_gain;
}

/* A gain is in the norm of a member's output, or in front of the norm of a sum
 * over tracks, which track 0 has.  Models without norms of outputs have it in
 * the terms of the output alone. */
static void put_outputs(tlpi_program *p, int index, const adjusted_half *h,
                        const tlpi_member_adjust *from, float *scratch)
{
    const tlpi_rank_stage *s = &p->stage[index];
    bool tracks = tlpi_stage_has_tracks(s);
    float root = tracks ? sqrtf((float)s->n_member) : 1;

    for (int m = 0; m < s->n_member; m++) {
        const tlpi_member_adjust *f = from ? &from[m] : NULL;
        const tlpi_tensor *model =
            p->store->model->w
                .layer[tlpi_stage_layer(&p->plan->stage[index], m)]
                .t[h->post];
        float gain = p->store->model->hp.residual_scale * gain_of(f, h->post);

        h->gain[m] = gain;
        if (h->norm && (!tracks || h->apart)) {
            put_norm(p, model, post_of(f, h->post), gain / root, scratch,
                     h->norm[tracks ? TLPI_POST_OWN + m : m]);
            h->gain[m] = 1;
        } else if (h->norm && m == 0) {
            put_norm(p, model, post_of(f, h->post), 1, scratch,
                     h->norm[TLPI_POST_SUM]);
        }
    }
}

/* A gain is a scale of the term whose weight is the output projection; its
 * bias has to follow. */
static void put_biases(tlpi_program *p, const tlpi_stage *stage,
                       const tlpi_rank_stage *s, float *host, float *sum)
{
    size_t d = (size_t)p->store->model->hp.n_embd;

    if (p->store->dry)
        return;
    memset(sum, 0, d * sizeof(*sum));
    for (int i = 0; i < s->n_attn; i++) {
        const tlpi_rank_attn *a = &s->attn[i];
        const tlpi_tensor *t =
            p->store->model->w.layer[tlpi_stage_layer(stage, a->member)]
                .t[TLPI_ATTN_OUTPUT_BIAS];

        if (!a->t.v[TLPI_ATTN_OUTPUT_BIAS])
            continue;
        tlpi_dequantize(t->type, t->data, host, t->ne[0]);
        for (size_t j = 0; j < d; j++) {
            host[j] *= s->attn_gain[a->member];
            sum[j] += host[j];
        }
        p->store->b->ops->write(p->store->b, a->t.v[TLPI_ATTN_OUTPUT_BIAS],
                                host, d);
    }
    if (s->o_bias)
        p->store->b->ops->write(p->store->b, s->o_bias, sum, d);
}

/* ==== a stage ============================================================ */

/* The only track of a rank. */
static int only_track(int rank, const tlpi_rank_stage *s)
{
    int n = 0, found = -1;

    for (int m = 0; m < s->n_member; m++)
        if (tlpi_span_has(s->span[m], rank)) {
            found = m;
            n++;
        }
    return n == 1 ? found : -1;
}

/* par: the first of the members that this rank hands on; asym: the last
 * member, unless all sums are needed side by side; tracks: the only track of
 * the rank.  None where a correction of the output has to read the sums
 * first. */
int tlpi_rank_carried(int rank, const tlpi_rank_stage *s)
{
    int last = s->n_member - 1;

    if (s->attn_post || (s->adjust && s->adjust->out_rank))
        return -1;
    if (tlpi_stage_has_tracks(s))
        return only_track(rank, s);
    if (s->mode == TLP_MODE_ASYM)
        return !s->shared_members && tlpi_rank_counts(rank, s, last) ? last
                                                                     : -1;
    for (int m = 0; s->mode == TLP_MODE_PAR && m < s->n_member; m++)
        if (tlpi_rank_counts(rank, s, m))
            return m;
    return -1;
}

void tlpi_program_adjust_free(tlpi_program *p, tlpi_rank_stage *s)
{
    if (s->adjust)
        p->bytes.weights -= s->adjust->n_bytes;
    free_adjust(p, s->adjust, s->n_member);
    s->adjust = NULL;
}

/* Nothing here fails. */
static void put_adjust(tlpi_program *p, int index,
                       const tlpi_member_adjust *from, tlpi_rank_adjust *a,
                       float *scratch)
{
    tlpi_rank_stage *s = &p->stage[index];
    const tlpi_stage *stage = &p->plan->stage[index];
    const adjusted_half attn = { TLPI_ATTN_POST_NORM,
                                 s->nosync & TLP_NOSYNC_ATTN, s->attn_gain,
                                 s->attn_post };
    const adjusted_half ffn = { TLPI_FFN_POST_NORM, s->nosync & TLP_NOSYNC_FFN,
                                s->ffn_gain, s->ffn_post };

    for (int m = 0; m < s->n_member; m++) {
        const tlpi_layer *l =
            &p->store->model->w.layer[tlpi_stage_layer(stage, m)];
        const tlpi_member_adjust *f = from ? &from[m] : NULL;

        put_norm(p, l->t[TLPI_ATTN_NORM], f ? f->attn_norm : NULL, 1, scratch,
                 s->attn_norm[m].w);
        put_norm(p, l->t[TLPI_FFN_NORM], f ? f->ffn_norm : NULL, 1, scratch,
                 s->ffn_norm[m].w);
    }
    put_outputs(p, index, &attn, from, scratch);
    put_outputs(p, index, &ffn, from, scratch);
    put_biases(p, stage, s, scratch, scratch + p->store->model->hp.n_embd);
    tlpi_program_adjust_free(p, s);
    s->adjust = a;
    if (a)
        p->bytes.weights += a->n_bytes;
    s->carried = tlpi_rank_carried(p->rank, s);
    tlpi_program_renew(p);
}

tlp_status tlpi_program_adjust_stage(tlpi_program *p, int index,
                                     const tlpi_stage_adjust *adjust)
{
    tlpi_rank_stage *s = &p->stage[index];
    const tlpi_stage_adjust *from = adjust && adjust->member ? adjust : NULL;
    tlpi_rank_adjust *a = NULL;
    float *scratch = NULL;
    tlp_status st = TLP_OK;

    if (s->mode == TLP_MODE_MERGE)
        return from ? tlpi_fail(TLP_ENOTSUP,
                                "stage %d: a merged stage cannot be adjusted",
                                index)
                    : TLP_OK;
    scratch =
        tlpi_alloc_array(p->store->env, 2 * (size_t)p->store->model->hp.n_embd,
                         sizeof(*scratch));
    if (!scratch)
        return tlpi_fail_nomem_for("adjustments");
    TLP_TRY(create_adjust(p, s, from, &a));
    TLP_TRY(reserve_low(p, s, a));
    put_adjust(p, index, from ? from->member : NULL, a, scratch);
    a = NULL;
done:
    free_adjust(p, a, s->n_member);
    tlpi_free(p->store->env, scratch);
    return st;
}
