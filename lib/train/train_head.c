/*
 * train_head.c - logits of a window, their loss, and its gradient.
 */
#include "train/train_head.h"

#include <math.h>
#include <string.h>

tlp_status tlpi_train_head_create(tlpi_train_head *h, tlpi_train_pass *pass)
{
    const tlpi_hparams *hp = &pass->net->model->hp;
    size_t n = (size_t)pass->max_tok;

    *h = (tlpi_train_head){ .pass = pass, .max_tok = pass->max_tok };
    h->norm =
        tlpi_alloc_array(pass->env, n, (size_t)hp->n_embd * sizeof(float));
    h->logits =
        tlpi_alloc_huge(pass->env, n * (size_t)hp->n_vocab * sizeof(float));
    if (hp->logit_cap > 0)
        h->slopes =
            tlpi_alloc_array(pass->env, (size_t)tlpi_pool_size(pass->ops.pool),
                             (size_t)hp->n_vocab * sizeof(float));
    if (h->norm && h->logits && (h->slopes || hp->logit_cap == 0))
        return TLP_OK;
    tlpi_train_head_free(h);
    return tlpi_fail_nomem_for("logits in training");
}

void tlpi_train_head_free(tlpi_train_head *h)
{
    if (!h->pass)
        return;
    tlpi_free(h->pass->env, h->slopes);
    tlpi_free(h->pass->env, h->logits);
    tlpi_free(h->pass->env, h->norm);
    *h = (tlpi_train_head){ 0 };
}

static tlpi_train_norm output_norm(const tlpi_train_head *h, int n)
{
    const tlpi_train_net *net = h->pass->net;
    const tlpi_hparams *hp = &net->model->hp;

    return (tlpi_train_norm){ .n = n,
                              .d = hp->n_embd,
                              .ld = (size_t)hp->n_embd,
                              .x = h->pass->border[net->plan->n_stage].x,
                              .w = net->output_norm,
                              .eps = hp->norm_eps };
}

static tlpi_gemm_source output_weight(const tlpi_train_head *h, bool back)
{
    const tlpi_train_matrix *w = &h->pass->net->output;
    tlpi_gemm_source x = tlpi_gemm_weight(w->tensor, 0, 0);

    x.trans = !back;
    x.panels = back ? w->panels_back : w->panels;
    return x;
}

static float *logits_of(const tlpi_train_head *h, int t)
{
    return h->logits + (size_t)t * (size_t)h->pass->net->model->hp.n_vocab;
}

static void cap_row(void *arg, int t, int n_row)
{
    const tlpi_train_head *h = arg;
    const tlpi_hparams *hp = &h->pass->net->model->hp;

    (void)n_row;
    h->pass->ops.row->soft_cap(logits_of(h, t), (size_t)hp->n_vocab,
                               hp->logit_cap);
}

void tlpi_train_logits(tlpi_train_head *h, int n)
{
    const tlpi_hparams *hp = &h->pass->net->model->hp;
    tlpi_train_norm norm = output_norm(h, n);
    int64_t d = hp->n_embd, v = hp->n_vocab;
    const tlpi_gemm_args product = { .m = n,
                                     .n = v,
                                     .k = d,
                                     .alpha = 1 / hp->logit_scale,
                                     .a = h->norm,
                                     .lda = (size_t)d,
                                     .b = output_weight(h, false),
                                     .c = h->logits,
                                     .ldc = (size_t)v };

    tlpi_train_norm_run(&h->pass->ops, &norm, h->norm);
    tlpi_gemm_run(h->pass->gemm, &product);
    if (hp->logit_cap > 0)
        tlpi_pool_map(h->pass->ops.pool, n, cap_row, h);
}

/* ==== rows of logits ===================================================== */

typedef struct top_sweep {
    const tlpi_train_vec *vec;
    float *logits;
    int n_vocab, k;
    int32_t *id;
    float *p;
} top_sweep;

typedef struct row_sweep {
    tlpi_train_head *h;
    const tlpi_train_target *target;
    double kl_share;
    bool slope;
    tlpi_train_loss *loss; /* [n] of each row */
} row_sweep;

/* The k largest of x, largest first; of equal ones the lower index. */
static void take_row(void *arg, int t, int n_row)
{
    const top_sweep *j = arg;
    size_t n = (size_t)j->n_vocab, k = (size_t)j->k, got = 0;
    float *x = j->logits + (size_t)t * n;
    int32_t *id = j->id + (size_t)t * k;
    float *p = j->p + (size_t)t * k;

    (void)n_row;
    for (size_t i = 0; i < n; i++) {
        if (got == k)
            i = j->vec->find_above(x, i, n, x[id[k - 1]]);
        if (i == n)
            break;
        size_t at = got < k ? got++ : k - 1;

        for (; at > 0 && x[i] > x[id[at - 1]]; at--)
            id[at] = id[at - 1];
        id[at] = (int32_t)i;
    }
    double sum = j->vec->exponentials(x, x[id[0]], n);

    for (size_t i = 0; i < got; i++)
        p[i] = (float)((double)x[id[i]] / sum);
}

void tlpi_train_take_top(const tlpi_train_ops *ops, float *logits, int n,
                         int n_vocab, int k, int32_t *id, float *p)
{
    top_sweep j = { ops->vec, logits, n_vocab, k, id, p };

    tlpi_pool_map(ops->pool, n, take_row, &j);
}

/*
 * With a share w of KL and 1 - w of nll, the gradient by the logit of token i
 * is q_i - w p_i - (1 - w) [i is the text's token], and for a token that is
 * none of the k, q_i (1 - w r / s) - ...
 */
static void loss_row(const row_sweep *j, int t, float *slopes)
{
    const tlpi_train_target *want = j->target;
    const tlpi_train_ops *ops = &j->h->pass->ops;
    int n = j->h->pass->net->model->hp.n_vocab, k = want->k;
    const int32_t *id = want->id + (size_t)t * (size_t)k;
    const float *p = want->p + (size_t)t * (size_t)k;
    int32_t next = want->next[t];
    float *x = logits_of(j->h, t);
    float top = ops->vec->top(x, (size_t)n);
    tlpi_train_loss *loss = &j->loss[t];
    double w = j->kl_share, rest = 1, kept = 0;

    if (slopes)
        tlpi_train_cap_slopes(x, j->h->pass->net->model->hp.logit_cap, slopes,
                              (size_t)n);
    *loss = (tlpi_train_loss){ .n = 1, .top1 = x[id[0]] == top };
    double next_logit = (double)x[next] - (double)top;
    double sum = ops->vec->exponentials(x, top, (size_t)n);

    loss->nll = log(sum) - next_logit;
    for (int i = 0; i < k; i++) {
        double q = fmax((double)x[id[i]] / sum, 1e-30);

        rest -= (double)p[i];
        kept += q;
        if (p[i] > 0)
            loss->kl += (double)p[i] * log((double)p[i] / q);
    }
    double other = fmax(1 - kept, 1e-30);

    rest = fmax(rest, 0);
    if (rest > 1e-7 && k < n)
        loss->kl += rest * log(rest / other);
    if (!j->slope)
        return;
    float q_scale = (float)(1 / sum);
    float other_scale = (float)((1 - w * rest / other) / sum);

    /* The k tokens are put back to q after the sweep over all. */
    float saved[TLPI_TRAIN_TOP];

    for (int i = 0; i < k; i++)
        saved[i] = x[id[i]];
    ops->row->scale(x, x, NULL, other_scale, (size_t)n);
    for (int i = 0; i < k; i++)
        x[id[i]] = saved[i] * q_scale - (float)w * p[i];
    x[next] -= (float)(1 - w);
    for (int i = 0; slopes && i < n; i++)
        x[i] *= slopes[i];
}

static void loss_rows(void *arg, tlpi_turn *turn)
{
    const row_sweep *j = arg;
    size_t n = (size_t)j->h->pass->net->model->hp.n_vocab;
    float *slopes = j->h->slopes;

    do
        loss_row(j, turn->task,
                 slopes ? slopes + (size_t)turn->slot * n : NULL);
    while (tlpi_turn_next(turn));
}

static tlp_status sum_rows(const tlpi_train_loss *row, int n,
                           tlpi_train_loss *loss)
{
    for (int t = 0; t < n; t++) {
        if (!isfinite(row[t].kl) || !isfinite(row[t].nll))
            return tlpi_fail(TLP_ERROR,
                             "token %d of a window: logits that are not "
                             "finite in training",
                             t);
        loss->kl += row[t].kl;
        loss->nll += row[t].nll;
        loss->top1 += row[t].top1;
        loss->n++;
    }
    return TLP_OK;
}

static void slope_of_stream(tlpi_train_head *h, int n)
{
    tlpi_train_pass *p = h->pass;
    const tlpi_hparams *hp = &p->net->model->hp;
    int64_t d = hp->n_embd, v = hp->n_vocab;
    const tlpi_gemm_args product = { .m = n,
                                     .n = d,
                                     .k = v,
                                     .alpha = 1 / hp->logit_scale,
                                     .a = h->logits,
                                     .lda = (size_t)v,
                                     .b = output_weight(h, true),
                                     .c = h->norm,
                                     .ldc = (size_t)d };
    tlpi_train_norm norm = output_norm(h, n);

    tlpi_gemm_run(p->gemm, &product);
    memset(p->slope.x, 0, tlpi_train_n_stream(p) * sizeof(float));
    tlpi_train_norm_back(&p->ops, &norm, h->norm, p->slope.x, true, NULL);
}

tlp_status tlpi_train_head_loss(tlpi_train_head *h,
                                const tlpi_train_target *target, int n,
                                double kl_share, bool slope,
                                tlpi_train_loss *loss)
{
    row_sweep j = {
        .h = h, .target = target, .kl_share = kl_share, .slope = slope
    };
    tlp_status st;

    j.loss = tlpi_calloc(h->pass->env, (size_t)n, sizeof(*j.loss));
    if (!j.loss)
        return tlpi_fail_nomem_for("a step of training");
    tlpi_train_logits(h, n);
    tlpi_pool_run(h->pass->ops.pool, n, loss_rows, &j);
    TLP_TRY(sum_rows(j.loss, n, loss));
    if (slope)
        slope_of_stream(h, n);
done:
    tlpi_free(h->pass->env, j.loss);
    return st;
}
