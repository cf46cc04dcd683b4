/*
 * train_target.c - run the serial model over windows, and keep its likeliest
 * tokens.
 */
#include "train/train_target.h"

#include "rank/forward.h"

static const char purpose[] = "the targets of training";

static size_t n_vocab(const tlpi_train_targets *t)
{
    return (size_t)t->serial.rank->model->hp.n_vocab;
}

tlp_status tlpi_train_targets_create(tlpi_train_targets *t, tlp_model *model,
                                     const tlpi_session_config *cfg,
                                     const tlpi_windows *text,
                                     const tlpi_train_ops *ops)
{
    const tlpi_env *env = &model->env;
    tlp_plan *serial = NULL;
    tlp_status st;

    *t = (tlpi_train_targets){ .env = env,
                               .text = text,
                               .ops = ops,
                               .k = TLPI_MIN(TLPI_TRAIN_TOP,
                                             model->hp.n_vocab) };
    t->id = tlpi_calloc(env, (size_t)text->n, sizeof(*t->id));
    t->p = tlpi_calloc(env, (size_t)text->n, sizeof(*t->p));
    t->rows = tlpi_alloc_array(
        env, 2 * TLPI_LOGIT_CHUNK * (size_t)model->hp.n_vocab, sizeof(float));
    if (!t->id || !t->p || !t->rows)
        TLP_TRY(tlpi_fail_nomem_for(purpose));
    TLP_TRY(tlp_plan_parse(&serial, model, "serial"));
    st = tlpi_runner_create(&t->serial, serial, cfg);
done:
    tlp_plan_free(serial);
    if (st != TLP_OK)
        tlpi_train_targets_free(t);
    return st;
}

void tlpi_train_targets_free(tlpi_train_targets *t)
{
    if (!t->env)
        return;
    for (int i = 0; i < t->text->n; i++) {
        tlpi_free(t->env, t->id ? t->id[i] : NULL);
        tlpi_free(t->env, t->p ? t->p[i] : NULL);
    }
    tlpi_free(t->env, t->id);
    tlpi_free(t->env, t->p);
    tlpi_free(t->env, t->rows);
    tlpi_runner_free(&t->serial);
    *t = (tlpi_train_targets){ 0 };
}

static tlp_status run(tlpi_train_targets *t, int window)
{
    tlpi_step step = tlpi_window_step(t->text, &t->text->window[window]);
    tlpi_rank *r = t->serial.rank;

    tlpi_forward_begin(r, &step, NULL);
    return tlpi_forward_stages(r, r->program, &step, 0,
                               t->serial.plan->n_stage);
}

static tlp_status compute(tlpi_train_targets *t, int window)
{
    int n = t->text->window[window].n - 1;
    size_t k = (size_t)t->k;
    int32_t *id = tlpi_alloc_array(t->env, (size_t)n * k, sizeof(*id));
    float *p = tlpi_alloc_array(t->env, (size_t)n * k, sizeof(*p));
    tlp_status st;

    if (!id || !p)
        TLP_TRY(tlpi_fail_nomem_for(purpose));
    TLP_TRY(run(t, window));
    for (int at = 0; at < n; at += TLPI_LOGIT_CHUNK) {
        int rows = TLPI_MIN(TLPI_LOGIT_CHUNK, n - at);

        tlpi_runner_rows(&t->serial, at, rows, t->rows);
        tlpi_train_take_top(t->ops, t->rows, rows, (int)n_vocab(t), t->k,
                            id + (size_t)at * k, p + (size_t)at * k);
    }
    t->id[window] = id;
    t->p[window] = p;
    return TLP_OK;
done:
    tlpi_free(t->env, id);
    tlpi_free(t->env, p);
    return st;
}

tlp_status tlpi_train_targets_get(tlpi_train_targets *t, int window,
                                  tlpi_train_target *out)
{
    tlp_status st = TLP_OK;

    if (!t->id[window])
        TLP_TRY(compute(t, window));
    *out = (tlpi_train_target){ .k = t->k,
                                .id = t->id[window],
                                .p = t->p[window],
                                .next = t->text->window[window].ids + 1 };
done:
    return st;
}

tlp_status tlpi_train_targets_compare(tlpi_train_targets *t, int window,
                                      const float *logits,
                                      tlpi_train_loss *loss)
{
    const tlpi_window *w = &t->text->window[window];
    tlp_divergence div[TLPI_LOGIT_CHUNK];
    tlp_status st;

    TLP_TRY(run(t, window));
    for (int at = 0; at < w->n - 1; at += TLPI_LOGIT_CHUNK) {
        int n = TLPI_MIN(TLPI_LOGIT_CHUNK, w->n - 1 - at);
        const float *mine = logits + (size_t)at * n_vocab(t);
        const tlpi_row_comparison c = { .reference = t->rows,
                                        .rows = mine,
                                        .n_vocab = n_vocab(t),
                                        .n = n,
                                        .at = at,
                                        .div = div };

        tlpi_runner_rows(&t->serial, at, n, t->rows);
        TLP_TRY(tlpi_rows_compare(t->ops->pool, &c));
        for (int i = 0; i < n; i++) {
            const float *row = mine + (size_t)i * n_vocab(t);

            loss->kl += div[i].kl;
            loss->nll += div[i].lse - (double)row[w->ids[at + i + 1]];
            loss->top1 += div[i].top1 == div[i].reference_top1;
            loss->n++;
        }
    }
done:
    return st;
}
