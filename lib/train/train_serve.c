/*
 * train_serve.c - a rank other than 0 in a process of its own: what it does in
 * a training, and tlp_worker_run, which serves sessions and trainings.
 */
#include <math.h>

#include "group/handshake.h"
#include "train/trainer.h"

/* Rank 0 may be another process: its numbers become indices here. */
static bool is_sound(const tlpi_trainer *t, const tlpi_train_order *o)
{
    if (o->op != TLPI_TRAIN_STEP)
        return o->op == TLPI_TRAIN_END || o->op == TLPI_TRAIN_SCORE ||
               (o->op == TLPI_TRAIN_STATE && o->step >= 0);
    return o->n == t->n_list && isfinite(o->rate) &&
           (o->local == 0 || (o->local == 1 && t->n_local > 0));
}

static bool list_is_sound(const tlpi_trainer *t)
{
    for (int i = 0; i < t->n_list; i++)
        if (t->list[i] < t->text.n_held || t->list[i] >= t->text.n)
            return false;
    return true;
}

static tlp_status malformed(void)
{
    return tlpi_fail(TLP_ECOMM, "rank 0: malformed order in a training");
}

static tlp_status carry_out(tlpi_trainer *t, const tlpi_train_order *o)
{
    size_t n = (size_t)t->n_list * sizeof(*t->list);
    tlp_status st = TLP_OK;

    switch ((enum tlpi_train_op)o->op) {
    case TLPI_TRAIN_STEP:
        TLP_TRY(tlpi_train_share(&t->group, t->list, n));
        if (!list_is_sound(t))
            return malformed();
        return tlpi_trainer_step(t, o);
    case TLPI_TRAIN_SCORE:
        return tlpi_trainer_score(t, NULL);
    case TLPI_TRAIN_STATE:
        t->adam.step = o->step;
        return tlpi_train_share_params(&t->group, &t->net.param);
    case TLPI_TRAIN_END:
        break;
    }
done:
    return st;
}

static tlp_status serve(tlpi_trainer *t)
{
    tlpi_train_order order = { .op = TLPI_TRAIN_END };
    tlp_status st = TLP_OK;

    do {
        TLP_TRY(tlpi_train_share_order(&t->group, &order));
        if (!is_sound(t, &order))
            TLP_TRY(malformed());
        TLP_TRY(carry_out(t, &order));
    } while (order.op != TLPI_TRAIN_END);
done:
    return st;
}

static tlp_status take_brief(tlpi_trainer *t, const tlpi_train_brief *b)
{
    tlp_plan_train_options *o = &t->o;
    tlp_status st;

    o->session = &t->session;
    o->n_token = b->n_token;
    o->n_local_token = b->n_local_token;
    o->n_held_out_token = b->n_held_out_token;
    o->seconds = b->seconds;
    o->n_accum = b->n_accum;
    o->full = b->full;
    o->rank = b->rank;
    o->norms = b->norms;
    o->gains = b->gains;
    o->corrections = b->corrections;
    o->rate = b->rate;
    o->warm_up = b->warm_up;
    o->weight_decay = b->weight_decay;
    o->clip = b->clip;
    o->text_share = b->text_share;
    o->held_out = b->held_out;
    o->seed = b->seed;
    o->max_bytes = b->max_bytes;
    t->session.n_ctx = b->n_ctx;
    TLP_TRY(tlpi_trainer_check(t));
    if (b->n_id < 2 || b->n_id > INT32_MAX)
        st = malformed();
done:
    return st;
}

/* A tlpi_train_fn */
static tlp_status train(tlpi_comm *comm, tlp_plan *plan,
                        const tlpi_session_config *cfg,
                        const tlp_session_options *session)
{
    tlpi_trainer t = { .env = &plan->model->env,
                       .plan = plan,
                       .model = plan->model,
                       .session = *session };
    tlpi_train_brief brief = { 0 };
    int32_t *ids = NULL;
    tlp_status st;

    TLP_TRY(tlpi_train_group_join(&t.group, comm, cfg));
    t.session.n_thread = cfg->n_thread;
    t.session.n_thread_prefill = cfg->n_prefill;
    TLP_TRY(tlpi_train_share(&t.group, &brief, sizeof(brief)));
    TLP_TRY(take_brief(&t, &brief));
    ids = tlpi_alloc_array(t.env, (size_t)brief.n_id, sizeof(*ids));
    if (!ids)
        TLP_TRY(tlpi_fail_nomem_for("the text of a training"));
    TLP_TRY(tlpi_train_share(&t.group, ids, (size_t)brief.n_id * sizeof(*ids)));
    TLP_TRY(tlpi_trainer_create(&t, ids, (size_t)brief.n_id));
    st = serve(&t);
done:
    tlpi_train_group_leave(&t.group, st);
    tlpi_trainer_free(&t);
    tlpi_free(&plan->model->env, ids);
    return st;
}

tlp_status tlp_worker_run(tlp_model *model, tlp_plan *plan,
                          const tlp_session_options *opts)
{
    return tlpi_worker_run(model, plan, opts, train);
}
