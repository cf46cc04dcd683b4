/*
 * train_step.c - what every rank of a training does: its part of a step, and
 * the scores of its held-out windows.
 */
#include <string.h>

#include "train/trainer.h"

static tlp_status run_window(tlpi_trainer *t, int window)
{
    const tlpi_window *w = &t->text.window[window];

    return tlpi_train_cache_run(&t->cache, window, w->ids, w->n);
}

/* ==== a step ============================================================= */

/* Losses and gradients of a window are added. */
static tlp_status add_window(tlpi_trainer *t, int window, tlpi_train_loss *loss)
{
    int n_row = t->text.window[window].n - 1;
    tlpi_train_target target;
    tlp_status st;

    TLP_TRY(tlpi_train_targets_get(&t->targets, window, &target));
    TLP_TRY(run_window(t, window));
    TLP_TRY(tlpi_train_head_loss(&t->head, &target, n_row, 1 - t->o.text_share,
                                 true, loss));
    tlpi_train_back(&t->pass);
done:
    return st;
}

static tlp_status add_local_window(tlpi_trainer *t, int window,
                                   tlpi_train_loss *loss)
{
    const tlpi_window *w = &t->text.window[window];
    double sum = 0;
    tlp_status st;

    TLP_TRY(tlpi_train_local_window(&t->local, w->ids, w->n, &sum));
    loss->kl += sum;
    loss->nll += sum;
    loss->n += w->n;
done:
    return st;
}

/* Rank 0 adds up the losses of all ranks. */
static tlp_status add_losses(tlpi_trainer *t, const tlpi_train_loss *own)
{
    int n = tlpi_train_n_rank(&t->group);
    tlpi_train_loss all[TLPI_MAX_RANK];
    bool leads = tlpi_train_rank(&t->group) == 0;
    tlp_status st;

    TLP_TRY(tlpi_train_collect(&t->group, n, own, leads ? all : NULL));
    for (int r = 0; leads && r < n; r++)
        tlpi_train_loss_add(&t->running, &all[r]);
done:
    return st;
}

static void clear_moments(tlpi_trainer *t)
{
    for (size_t i = 0; i < t->net.param.n; i++) {
        tlpi_train_param *p = t->net.param.item[i];
        size_t n = tlpi_train_param_size(p) * sizeof(float);

        if (p->grad) {
            memset(p->first, 0, n);
            memset(p->second, 0, n);
        }
    }
    t->adam.step = 0;
}

tlp_status tlpi_trainer_step(tlpi_trainer *t, const tlpi_train_order *order)
{
    int each = t->o.n_accum, first = each * tlpi_train_rank(&t->group);
    tlpi_train_loss loss = { 0 };
    int64_t n = 0;
    double norm;
    tlp_status st = TLP_OK;

    if (order->fresh)
        clear_moments(t);
    tlpi_train_params_clear_grad(&t->net.param);
    for (int i = first; i < first + each; i++)
        TLP_TRY(order->local ? add_local_window(t, t->list[i], &loss)
                             : add_window(t, t->list[i], &loss));
    for (int i = 0; i < t->n_list; i++) {
        int n_tok = t->text.window[t->list[i]].n;

        n += n_tok - !order->local;
        t->token += n_tok;
    }
    TLP_TRY(tlpi_train_sum_grads(&t->group, &t->net.param));
    TLP_TRY(add_losses(t, &loss));
    t->adam.rate = order->rate;
    TLP_TRY(tlpi_adam_step(&t->adam, &t->net.param, &t->pass.ops,
                           1.0 / (double)n, &norm));
    t->step++;
done:
    return st;
}

/* ==== scores ============================================================= */

/* The held-out windows are dealt out to the ranks one by one. */
tlp_status tlpi_trainer_score(tlpi_trainer *t, tlpi_train_loss *sum)
{
    size_t n = (size_t)t->text.n_held;
    tlpi_train_loss *own = tlpi_calloc(t->env, 2 * n, sizeof(*own));
    tlpi_train_loss *all = own + n, *at = own;
    tlp_status st = TLP_OK;

    if (!own)
        return tlpi_fail_nomem_for("training");
    for (int i = tlpi_train_rank(&t->group); i < t->text.n_held;
         i += tlpi_train_n_rank(&t->group)) {
        TLP_TRY(run_window(t, i));
        tlpi_train_logits(&t->head, t->text.window[i].n - 1);
        TLP_TRY(
            tlpi_train_targets_compare(&t->targets, i, t->head.logits, at++));
    }
    TLP_TRY(tlpi_train_collect(&t->group, (int)n, own, sum ? all : NULL));
    for (size_t i = 0; sum && i < n; i++)
        tlpi_train_loss_add(sum, &all[i]);
done:
    tlpi_free(t->env, own);
    return st;
}
