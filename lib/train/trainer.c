/*
 * trainer.c - the steps of training, and validation on held-out windows.
 */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "train/train_state.h"

#define LAST_RATE 0.1    /* of the first, at the end */
#define N_POINT 20       /* validations in a training */
#define N_LOCAL_POINT 10 /* and in its local phase */
#define SPEED_STEPS 4    /* whose time says how fast steps are */
#define SAVE_SECONDS 60  /* most time without saving the state */
#define SAVE_SHARE 0.05  /* most time for saving it after validations */

static const char purpose[] = "training";

/* ==== setting up ========================================================= */

static int64_t steps_of(const tlpi_trainer *t, int64_t n_token)
{
    int64_t in_step = (int64_t)t->text.n_ctx * t->n_list;

    return (n_token + in_step / 2) / in_step;
}

static tlp_status plan_steps(tlpi_trainer *t)
{
    int64_t n_window = t->text.n - t->text.n_held;
    int64_t all = n_window * t->text.n_ctx;
    int64_t n_token = t->o.n_token ? t->o.n_token : all;

    if (t->o.seconds == 0 && t->o.n_local_token > n_token)
        return tlpi_fail(TLP_EINVAL,
                         "train option n_local_token %lld: at most the %lld "
                         "tokens of the training expected",
                         (long long)t->o.n_local_token, (long long)n_token);
    t->n_step = TLPI_MAX(1, steps_of(t, n_token));
    if (t->o.n_local_token > 0)
        t->n_local = TLPI_MAX(1, steps_of(t, t->o.n_local_token));
    if (t->o.seconds > 0)
        t->n_step = TLPI_MAX(t->n_step, t->n_local + 2 * SPEED_STEPS);
    t->random = t->o.seed;
    t->next = (int)n_window; /* an epoch begins */
    t->adam = (tlpi_adam){ .beta1 = 0.9,
                           .beta2 = 0.95,
                           .eps = 1e-8,
                           .decay = t->o.weight_decay,
                           .clip = t->o.clip };
    return TLP_OK;
}

/* From the parameters to the best state, or back. */
static void copy_best(const tlpi_trainer *t, bool back)
{
    const tlpi_train_params *list = &t->net.param;

    for (size_t i = 0; i < list->n; i++) {
        tlpi_train_param *p = list->item[i];

        if (p->grad)
            memcpy(back ? p->value : t->best[i], back ? t->best[i] : p->value,
                   tlpi_train_param_size(p) * sizeof(float));
    }
}

static tlp_status create_best(tlpi_trainer *t)
{
    const tlpi_train_params *list = &t->net.param;

    t->best = tlpi_calloc(t->env, list->n, sizeof(*t->best));
    if (!t->best)
        return tlpi_fail_nomem_for(purpose);
    for (size_t i = 0; i < list->n; i++) {
        if (!list->item[i]->grad)
            continue;
        t->best[i] = tlpi_alloc_array(
            t->env, tlpi_train_param_size(list->item[i]), sizeof(float));
        if (!t->best[i])
            return tlpi_fail_nomem_for(purpose);
    }
    return TLP_OK;
}

/* Cut the text into windows, some of which are for validation. */
static tlp_status cut_text(tlpi_trainer *t, const int32_t *tokens, size_t n)
{
    size_t n_held = (size_t)t->o.n_held_out_token;
    tlp_status st;

    if (n_held > 0 && (n_held < 2 || n < n_held + 2))
        return tlpi_fail(TLP_EINVAL,
                         "train option n_held_out_token %zu: at least 2 of the "
                         "%zu tokens expected, and 2 others",
                         n_held, n);
    TLP_TRY(tlpi_windows_cut_apart(&t->text, t->env, tokens, n_held, n,
                                   t->session.n_ctx, t->o.seed));
    if (n_held == 0)
        st = tlpi_windows_hold_out(&t->text, t->o.held_out);
done:
    return st;
}

tlp_status tlpi_trainer_create(tlpi_trainer *t, const int32_t *tokens, size_t n)
{
    const tlpi_train_choice choice = { .norms = t->o.norms,
                                       .gains = t->o.gains,
                                       .corrections = t->o.corrections,
                                       .matrices = t->o.full || t->o.rank,
                                       .rank = t->o.rank,
                                       .seed = t->o.seed };
    uint64_t left;
    tlp_status st;

    TLP_TRY(tlpi_windows_check(t->model, tokens, n, t->session.n_ctx));
    TLP_TRY(tlpi_runner_config(&t->cfg, t->model, &t->session));
    TLP_TRY(cut_text(t, tokens, n));
    t->n_list = t->o.n_accum * tlpi_train_n_rank(&t->group);
    t->list = tlpi_calloc(t->env, (size_t)t->n_list, sizeof(*t->list));
    t->order = tlpi_calloc(t->env, (size_t)t->text.n, sizeof(*t->order));
    if (!t->order || !t->list)
        TLP_TRY(tlpi_fail_nomem_for(purpose));
    TLP_TRY(tlpi_runner_pool(&t->pool, t->env, &t->cfg, t->cfg.n_prefill));
    TLP_TRY(tlpi_train_net_create(&t->net, t->plan, &choice));
    if (t->net.param.n_trained == 0)
        TLP_TRY(tlpi_fail(TLP_EINVAL,
                          "plan: it has no group and leaves out no exchange, "
                          "so nothing of it can be trained"));
    TLP_TRY(tlpi_train_pass_create(&t->pass, &t->net, t->pool, t->cfg.isa,
                                   t->text.n_ctx, t->o.max_bytes));
    TLP_TRY(tlpi_train_cache_create(&t->cache, &t->pass, t->text.n,
                                    t->o.max_bytes - tlpi_train_tapes(&t->pass),
                                    &left));
    TLP_TRY(tlpi_train_panels_create(&t->panels, &t->net, &t->pass, left));
    TLP_TRY(tlpi_train_head_create(&t->head, &t->pass));
    TLP_TRY(tlpi_train_targets_create(&t->targets, t->model, &t->cfg, &t->text,
                                      &t->pass.ops));
    if (tlpi_train_rank(&t->group) == 0)
        TLP_TRY(create_best(t));
    TLP_TRY(plan_steps(t));
    if (t->n_local > 0)
        TLP_TRY(tlpi_train_local_create(&t->local, &t->pass, t->cfg.isa));
    if (t->o.resume_path)
        TLP_TRY(tlpi_train_state_load(t));
done:
    return st;
}

void tlpi_trainer_free(tlpi_trainer *t)
{
    for (size_t i = 0; t->best && i < t->net.param.n; i++)
        tlpi_free(t->env, t->best[i]);
    tlpi_free(t->env, t->best);
    tlpi_train_local_free(&t->local);
    tlpi_train_targets_free(&t->targets);
    tlpi_train_head_free(&t->head);
    tlpi_train_panels_free(&t->panels);
    tlpi_train_cache_free(&t->cache);
    tlpi_train_pass_free(&t->pass);
    tlpi_train_net_free(&t->net);
    tlpi_pool_free(t->pool);
    tlpi_free(t->env, t->point);
    tlpi_free(t->env, t->order);
    tlpi_free(t->env, t->list);
    tlpi_windows_free(&t->text);
}

/* ==== a step ============================================================= */

void tlpi_trainer_shuffle(tlpi_trainer *t)
{
    int n = t->text.n - t->text.n_held;

    t->epoch_random = t->random;
    for (int i = 0; i < n; i++)
        t->order[i] = t->text.n_held + i;
    for (int i = n; i > 1; i--) {
        int j = (int)(tlpi_random(&t->random) % (uint64_t)i);
        int last = t->order[i - 1];

        t->order[i - 1] = t->order[j];
        t->order[j] = last;
    }
}

/* The windows that are not held out, in an order of their own in each epoch. */
static int next_window(tlpi_trainer *t)
{
    if (t->next >= t->text.n - t->text.n_held) {
        tlpi_trainer_shuffle(t);
        t->next = 0;
        t->epoch++;
    }
    return t->order[t->next++];
}

/* ==== phases ============================================================= */

/* Steps [begin, begin + n) of a training.  Each phase is a training of its own:
 * the rate rises and falls, and the moments begin at zero. */
typedef struct train_phase {
    int64_t begin, n;
    bool local;
} train_phase;

static train_phase phase_of(const tlpi_trainer *t, int64_t step)
{
    if (step < t->n_local)
        return (train_phase){ 0, t->n_local, true };
    return (train_phase){ t->n_local, t->n_step - t->n_local, false };
}

/* A linear warm-up, and half a wave of cosine down to LAST_RATE. */
static double rate_of(const tlpi_trainer *t, int64_t step)
{
    train_phase phase = phase_of(t, step);
    double n_step = (double)phase.n;
    double warm = fmax(1, t->o.warm_up * n_step);
    double at = (double)(step - phase.begin) + 1;

    if (at < warm)
        return t->o.rate * at / warm;
    double part = (at - warm) / fmax(1, n_step - warm);

    return t->o.rate * (LAST_RATE + (1 - LAST_RATE) * 0.5 *
                                        (1 + cos(3.14159265358979 * part)));
}

static tlp_status take_step(tlpi_trainer *t)
{
    tlpi_train_order order = { .op = TLPI_TRAIN_STEP,
                               .n = t->n_list,
                               .local = phase_of(t, t->step).local,
                               .fresh = t->n_local > 0 && t->step == t->n_local,
                               .rate = rate_of(t, t->step) };
    tlp_status st;

    for (int i = 0; i < t->n_list; i++)
        t->list[i] = next_window(t);
    if (order.fresh)
        t->first_step = tlpi_now();
    TLP_TRY(tlpi_train_share_order(&t->group, &order));
    TLP_TRY(tlpi_train_share(&t->group, t->list,
                             (size_t)t->n_list * sizeof(*t->list)));
    st = tlpi_trainer_step(t, &order);
done:
    return st;
}

/* ==== validation ========================================================= */

static tlp_status validate(tlpi_trainer *t, tlpi_train_loss *score)
{
    tlpi_train_order order = { .op = TLPI_TRAIN_SCORE };
    tlp_status st;

    *score = (tlpi_train_loss){ 0 };
    TLP_TRY(tlpi_train_share_order(&t->group, &order));
    st = tlpi_trainer_score(t, score);
done:
    return st;
}

static double cost(const tlpi_trainer *t, const tlpi_train_loss *x)
{
    double share = t->o.text_share;

    return ((1 - share) * x->kl + share * x->nll) / (double)x->n;
}

tlp_status tlpi_trainer_add_point(tlpi_trainer *t, const tlp_train_point *p)
{
    tlp_train_point *grown =
        tlpi_realloc_array(t->env, t->point, t->n_point + 1, sizeof(*t->point));

    if (!grown)
        return tlpi_fail_nomem_for(purpose);
    t->point = grown;
    t->point[t->n_point++] = *p;
    return TLP_OK;
}

static tlp_status tell(tlpi_trainer *t, const tlpi_train_loss *score)
{
    double n = (double)score->n;
    const tlp_train_point point = {
        .struct_size = sizeof(point),
        .n_token = t->token,
        .step = t->step,
        .n_step = t->n_step,
        .loss = t->running.n ? cost(t, &t->running) : NAN,
        .kl = score->kl / n,
        .ppl = exp(score->nll / n),
        .top1_agreement = (double)score->top1 / n,
        .seconds = tlpi_now() - t->begin,
        .rate = t->adam.rate,
        .local = t->step > 0 && phase_of(t, t->step - 1).local,
    };

    tlp_status st = tlpi_trainer_add_point(t, &point);

    t->running = (tlpi_train_loss){ 0 };
    if (st == TLP_OK && t->o.point)
        t->o.point(&point, t->o.point_data);
    return st;
}

/* The points of earlier runs. */
static void tell_again(const tlpi_trainer *t)
{
    for (size_t i = 0; t->o.point && i < t->n_point; i++)
        t->o.point(&t->point[i], t->o.point_data);
}

static tlp_status check_point(tlpi_trainer *t)
{
    tlpi_train_loss score;
    tlp_status st;

    TLP_TRY(validate(t, &score));
    if (t->step == 0)
        t->first_score = t->best_score = score;
    if (t->step == 0 || cost(t, &score) < cost(t, &t->best_score)) {
        t->best_score = score;
        t->best_token = t->token;
        copy_best(t, false);
    }
    TLP_TRY(tell(t, &score));
done:
    return st;
}

/* Of a training by time, the share of the time: its steps are not known at
 * first. */
static double share_done(const tlpi_trainer *t)
{
    if (t->o.seconds > 0 && t->step < t->n_step)
        return fmin((tlpi_now() - t->begin) / t->o.seconds, 0.999);
    return (double)t->step / (double)t->n_step;
}

/* The training is canceled after its state is saved. */
static tlp_status report(tlpi_trainer *t)
{
    tlp_status st = TLP_OK;

    if (!t->o.progress || !t->o.progress(share_done(t), t->o.progress_data))
        return TLP_OK;
    TLP_TRY(tlpi_train_state_save(t));
    st = tlpi_fail(TLP_ECANCELED, "training was canceled");
done:
    return st;
}

/* How many steps the time allows, with a validation after each part. */
static void fit_time(tlpi_trainer *t)
{
    double now = tlpi_now(), step = (now - t->first_step) / SPEED_STEPS;
    double left = t->o.seconds - (now - t->begin) - N_POINT * t->score_time;

    t->n_step = t->step + (int64_t)fmax(0, left / step);
}

static tlp_status begin(tlpi_trainer *t)
{
    tlpi_train_order order = { .op = TLPI_TRAIN_STATE, .step = t->adam.step };
    tlp_status st;

    if (t->resumed) {
        tell_again(t);
        TLP_TRY(tlpi_train_share_order(&t->group, &order));
        return tlpi_train_share_params(&t->group, &t->net.param);
    }
    t->begin = tlpi_now();
    TLP_TRY(check_point(t));
    t->first_step = tlpi_now();
    t->score_time = t->first_step - t->begin;
    TLP_TRY(tlpi_train_state_save(t));
done:
    return st;
}

/* After a part of a phase, and at its end. */
static bool is_due(const tlpi_trainer *t)
{
    train_phase phase = phase_of(t, t->step - 1);
    int64_t at = t->step - phase.begin;
    int n_point = phase.local ? N_LOCAL_POINT : N_POINT;

    return at % TLPI_MAX(1, phase.n / n_point) == 0 || at == phase.n;
}

/* A state of gigabytes is not saved after each of many short parts. */
static bool must_save(const tlpi_trainer *t)
{
    double since = tlpi_now() - t->saved;

    return since > SAVE_SECONDS || t->step == t->n_step ||
           (is_due(t) && SAVE_SHARE * since > t->save_time);
}

/* The best state so far is worth keeping where the user or a rank ended the
 * training. */
static tlp_status keep(tlpi_trainer *t, tlp_status st)
{
    bool lost = st == TLP_ECOMM || st == TLP_ETIMEDOUT;

    if (!t->o.keep || t->best_token == 0 || !(lost || st == TLP_ECANCELED))
        return st;
    if (lost)
        tlpi_log(t->env, TLP_LOG_WARN,
                 "the training ends early, and its best state is kept: %s",
                 tlp_last_error());
    t->canceled = lost ? 2 : 1;
    return TLP_OK;
}

tlp_status tlpi_trainer_run(tlpi_trainer *t)
{
    tlp_status st;

    TLP_TRY(begin(t));
    while (t->step < t->n_step) {
        TLP_TRY(take_step(t));
        if (t->o.seconds > 0 && t->step == t->n_local + SPEED_STEPS)
            fit_time(t);
        if (is_due(t))
            TLP_TRY(check_point(t));
        if (must_save(t))
            TLP_TRY(tlpi_train_state_save(t));
        TLP_TRY(report(t));
    }
done:
    st = keep(t, st);
    if (st == TLP_OK)
        copy_best(t, true);
    return st;
}
