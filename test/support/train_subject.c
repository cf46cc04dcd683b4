/*
 * train_subject.c - see train_subject.h.
 */
#include "support/train_subject.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "support/random_adjust.h"
#include "support/random_lora.h"
#include "support/ref_impl.h"
#include "support/rig.h"

#define KL_SHARE 0.7
#define STEP 1e-4      /* of a difference */
#define TOLERANCE 2e-4 /* of a gradient, relative to its length */

const grad_case grad_plans[N_GRAD_PLAN] = {
    { "lp:1-2", "0 lp:1,2 3 4" },
    { "par:1-2,3-4", "0 par:1,2 par:3,4" },
    { "par:0-2", "par:0,1,2 3 4" },
    { "asym:1-3", "0 asym:1,2,3 4" },
    { "nosync@2:1a", "@2 0 1a 2 3 4" },
    { "nosync@2:1f", "@2 0 1f 2 3 4" },
    { "nosync@2:1,2a", "@2 0 1af 2a 3 4" },
    { "nosync@2:0f;par:2-3", "@2 0f 1 par:2,3 4" },
    { "nosync@3:0a,2f,3", "@3 0a 1 2f 3af 4" },
};

/* Tracks are cut at whole blocks, and the reference cuts anywhere. */
tlpi_dtype grad_type(const grad_case *c)
{
    return strstr(c->plan, "nosync") ? TLPI_F16 : TLPI_Q8_0;
}

/* ==== a net and its reference ============================================ */

static tlp_plan *plan_of(tlp_model *model, const char *text, extras more)
{
    tlp_plan *plain = NULL, *plan = NULL;

    if (more == WITH_LORA)
        return lora_parse(model, text, FITTED_ALL, 3);
    CHECK_OK(tlp_plan_parse(&plain, model, text));
    if (more == PLAIN)
        return plain;
    CHECK_OK(fitted_plan(&plan, plain, FITTED_ALL, 5, 7));
    tlp_plan_free(plain);
    return plan;
}

static double *copy_of(const ref_array *a)
{
    double *x = malloc(a->n * sizeof(*x));

    cr_assert(x != NULL);
    memcpy(x, a->x, a->n * sizeof(*x));
    return x;
}

/* Every member of the reference gets norms of its own, because each has its
 * own in training. */
static void separate_norms(subject *s)
{
    for (int i = 0; i < s->plan->n_stage; i++)
        for (int j = 0; j < tlpi_plan_n_member(s->plan, i); j++) {
            ref_member *m = &s->ref_plan.stage[i].adjust[j];
            ref_layer *l =
                &s->ref->layer[tlpi_stage_layer(&s->plan->stage[i], j)];

            const struct {
                double **own;
                int model;
            } norm[] = { { &m->attn_norm, ATTN_NORM },
                         { &m->ffn_norm, FFN_NORM },
                         { &m->attn_post, ATTN_POST },
                         { &m->ffn_post, FFN_POST } };

            for (int k = 0; k < (int)TLPI_COUNT(norm); k++)
                if (!*norm[k].own && l->t[norm[k].model].x)
                    *norm[k].own = copy_of(&l->t[norm[k].model]);
        }
}

static void take_target(subject *s)
{
    const ref_plan serial = ref_parse("0 1 2 3 4");
    double *logits = ref_logits(s->ref, &serial, s->ids, SUBJECT_TOKENS);

    for (int t = 0; t < SUBJECT_TOKENS; t++) {
        double *x = logits + (size_t)t * s->n_vocab, sum = 0;

        for (size_t i = 0; i < s->n_vocab; i++)
            sum += exp(x[i]);
        for (int k = 0; k < SUBJECT_TOP; k++) {
            size_t best = 0;

            for (size_t i = 1; i < s->n_vocab; i++)
                if (x[i] > x[best])
                    best = i;
            s->top[t * SUBJECT_TOP + k] = (int32_t)best;
            s->prob[t * SUBJECT_TOP + k] = (float)(exp(x[best]) / sum);
            x[best] = -1e9;
        }
    }
    free(logits);
}

subject subject_open(const tiny_spec *spec, const grad_case *c, extras more,
                     const tlpi_train_choice *choice, int n_thread)
{
    const tlpi_pool_options threads = { .n_thread = n_thread,
                                        .n_machine = n_thread };
    const char *path = tiny_make(spec);
    subject s = { .ref = ref_open(path) };

    CHECK_OK(tlp_model_open(&s.model, path, NULL));
    s.n_vocab = (size_t)ref_n_vocab(s.ref);
    rig_tokens(s.ids, SUBJECT_TOKENS + 1, s.n_vocab, spec->seed);
    s.plan = plan_of(s.model, c->plan, more);
    s.ref_plan =
        more == PLAIN ? ref_parse(c->stages) : ref_adjusted(c->stages, s.plan);
    separate_norms(&s);
    take_target(&s);
    if (more == WITH_LORA)
        ref_add_lora(s.ref, s.plan->adjust->lora, 1);
    CHECK_OK(tlpi_pool_create(&s.pool, &s.model->env, &threads));
    CHECK_OK(tlpi_train_net_create(&s.net, s.plan, choice));
    return s;
}

void subject_begin(subject *s, uint64_t tapes)
{
    CHECK_OK(tlpi_train_pass_create(&s->pass, &s->net, s->pool, TLP_ISA_AUTO,
                                    SUBJECT_TOKENS + 3, tapes));
    CHECK_OK(tlpi_train_head_create(&s->head, &s->pass));
}

void subject_close(subject *s)
{
    tlpi_train_head_free(&s->head);
    tlpi_train_pass_free(&s->pass);
    tlpi_train_net_free(&s->net);
    tlpi_pool_free(s->pool);
    ref_adjust_free(&s->ref_plan);
    tlp_plan_free(s->plan);
    tlp_model_free(s->model);
    ref_close(s->ref);
}

tlpi_train_loss subject_run(subject *s, bool slope)
{
    const tlpi_train_target target = { SUBJECT_TOP, s->top, s->prob,
                                       s->ids + 1 };
    tlpi_train_loss loss = { 0 };

    tlpi_train_embed(&s->pass, s->ids, SUBJECT_TOKENS);
    tlpi_train_forward(&s->pass, 0, s->plan->n_stage);
    CHECK_OK(tlpi_train_head_loss(&s->head, &target, SUBJECT_TOKENS, KL_SHARE,
                                  slope, &loss));
    return loss;
}

static void row_loss(const subject *s, const double *x, int t, double *kl,
                     double *nll)
{
    double sum = 0, rest = 1, other = 1;

    for (size_t i = 0; i < s->n_vocab; i++)
        sum += exp(x[i]);
    *nll = log(sum) - x[s->ids[t + 1]];
    *kl = 0;
    for (int k = 0; k < SUBJECT_TOP; k++) {
        double p = (double)s->prob[t * SUBJECT_TOP + k];
        double q = exp(x[s->top[t * SUBJECT_TOP + k]]) / sum;

        *kl += p * log(p / q);
        rest -= p;
        other -= q;
    }
    *kl += rest * log(rest / other);
}

double subject_loss(const subject *s, double *kl, double *nll)
{
    double *logits = ref_logits(s->ref, &s->ref_plan, s->ids, SUBJECT_TOKENS);
    double all_kl = 0, all_nll = 0;

    for (int t = 0; t < SUBJECT_TOKENS; t++) {
        double row_kl, row_nll;

        row_loss(s, logits + (size_t)t * s->n_vocab, t, &row_kl, &row_nll);
        all_kl += row_kl;
        all_nll += row_nll;
    }
    free(logits);
    if (kl)
        *kl = all_kl;
    if (nll)
        *nll = all_nll;
    return KL_SHARE * all_kl + (1 - KL_SHARE) * all_nll;
}

double subject_mixed_loss(const subject *s)
{
    return subject_loss(s, NULL, NULL);
}

/* ==== the reference's numbers of a parameter ============================= */

static const struct {
    const char *name;
    int id;
} matrices[] = {
    { "attn_q.weight", ATTN_Q },     { "attn_k.weight", ATTN_K },
    { "attn_v.weight", ATTN_V },     { "attn_output.weight", ATTN_OUT },
    { "ffn_gate.weight", FFN_GATE }, { "ffn_up.weight", FFN_UP },
    { "ffn_down.weight", FFN_DOWN },
};

static double *member_numbers(ref_member *m, const char *name)
{
    const struct {
        const char *name;
        double *x;
    } all[] = {
        { "attn_norm.weight", m->attn_norm },
        { "ffn_norm.weight", m->ffn_norm },
        { "post_attention_norm.weight", m->attn_post },
        { "post_ffw_norm.weight", m->ffn_post },
        { "attn_gain", &m->attn_gain },
        { "ffn_gain", &m->ffn_gain },
        { "attn_in.down", m->attn_in.down },
        { "attn_in.up", m->attn_in.up },
        { "ffn_in.down", m->ffn_in.down },
        { "ffn_in.up", m->ffn_in.up },
        { "out.down", m->out.down },
    };

    for (int i = 0; i < (int)TLPI_COUNT(all); i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].x;
    return NULL;
}

/* Arrays to change together: an output's `up` has a copy in every member. */
static int find(subject *s, const char *name, double *out[REF_MAX_MEMBER])
{
    int layer = 0, track = 0, at = 0;

    if (sscanf(name, "blk.%d.track.%d.%n", &layer, &track, &at) < 2)
        sscanf(name, "blk.%d.%n", &layer, &at);
    for (int i = 0; i < (int)TLPI_COUNT(matrices); i++)
        if (strcmp(name + at, matrices[i].name) == 0) {
            out[0] = s->ref->layer[layer].t[matrices[i].id].x;
            return 1;
        }
    for (int i = 0; i < s->plan->n_stage; i++)
        for (int j = 0; j < tlpi_plan_n_member(s->plan, i); j++) {
            ref_stage *stage = &s->ref_plan.stage[i];

            if (tlpi_stage_layer(&s->plan->stage[i], j) != layer ||
                (tlpi_plan_has_tracks(s->plan, i) && j != track))
                continue;
            if (strcmp(name + at, "out.up") == 0) {
                for (int m = 0; m < stage->n_member; m++)
                    out[m] = stage->adjust[m].out.up;
                return stage->n_member;
            }
            out[0] = member_numbers(&stage->adjust[j], name + at);
            return out[0] ? 1 : 0;
        }
    return 0;
}

/* The slope of the reference's loss along `way`. */
static double slope(subject *s, double **x, int n_x, const double *way,
                    size_t n)
{
    double loss[2];

    for (int side = 0; side < 2; side++) {
        for (int k = 0; k < n_x; k++)
            for (size_t i = 0; i < n; i++)
                x[k][i] += (side ? -2 : 1) * STEP * way[i];
        loss[side] = s->loss(s);
    }
    for (int k = 0; k < n_x; k++)
        for (size_t i = 0; i < n; i++)
            x[k][i] += STEP * way[i];
    return (loss[0] - loss[1]) / (2 * STEP);
}

/* A random way of length 1. */
static double *random_way(size_t n, uint64_t seed)
{
    double *way = malloc(n * sizeof(*way)), sum = 0;

    cr_assert(way != NULL);
    for (size_t i = 0; i < n; i++) {
        way[i] = tlpi_uniform(&seed) - 0.5;
        sum += way[i] * way[i];
    }
    for (size_t i = 0; i < n; i++)
        way[i] /= sqrt(sum);
    return way;
}

static double length(const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* The way along the gradient is the one on which a gradient that is too short
 * or points elsewhere shows; a random way sees what is missing from it. */
void check_gradient(subject *s, const tlpi_train_param *p, const char *what)
{
    size_t n = tlpi_train_param_size(p);
    double *x[REF_MAX_MEMBER], size = length(p->grad, n);
    int n_x = find(s, p->name, x);

    cr_assert(n_x > 0, "%s: the reference has no %s", what, p->name);
    cr_assert(size > 0, "%s: %s has no gradient", what, p->name);
    for (int kind = 0; kind < 2; kind++) {
        double *way = random_way(n, 5), got = 0;

        for (size_t i = 0; i < n; i++) {
            if (kind)
                way[i] = (double)p->grad[i] / size;
            got += way[i] * (double)p->grad[i];
        }
        double want = slope(s, x, n_x, way, n);
        cr_expect(fabs(got - want) < TOLERANCE * size + 1e-6,
                  "%s: gradient of %s: %g, the loss has %g", what, p->name, got,
                  want);
        free(way);
    }
}
