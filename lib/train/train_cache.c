/*
 * train_cache.c - keep the residual stream before the first trained stage.
 */
#include "train/train_cache.h"

#include <string.h>

/* Array i of the border before the first trained stage: x, then the tracks. */
static float *part(const tlpi_train_cache *c, int i)
{
    const tlpi_train_pass *p = c->pass;
    const tlpi_train_stream *b = &p->border[p->net->first];

    return i == 0 ? b->x : b->track[i - 1];
}

static int n_part(const tlpi_train_cache *c)
{
    const tlpi_train_pass *p = c->pass;

    return p->border[p->net->first].track ? 1 + p->net->plan->n_track : 1;
}

static uint64_t window_bytes(const tlpi_train_cache *c, int n_tok)
{
    return (uint64_t)n_tok * (uint64_t)c->pass->net->model->hp.n_embd *
           (uint64_t)n_part(c) * sizeof(float);
}

tlp_status tlpi_train_cache_create(tlpi_train_cache *c, tlpi_train_pass *pass,
                                   int n_window, uint64_t budget,
                                   uint64_t *rest)
{
    *c = (tlpi_train_cache){ .env = pass->env,
                             .pass = pass,
                             .n_window = n_window };
    if (pass->net->first > 0)
        c->budget = TLPI_MIN(budget, (uint64_t)n_window *
                                         window_bytes(c, pass->max_tok));
    *rest = budget - c->budget;
    c->border = tlpi_calloc(c->env, (size_t)n_window, sizeof(*c->border));
    return c->border ? TLP_OK
                     : tlpi_fail_nomem_for("the windows of a training");
}

void tlpi_train_cache_free(tlpi_train_cache *c)
{
    if (!c->env)
        return;
    for (int i = 0; c->border && i < c->n_window; i++)
        tlpi_free(c->env, c->border[i]);
    tlpi_free(c->env, c->border);
    *c = (tlpi_train_cache){ 0 };
}

static tlp_status keep(tlpi_train_cache *c, int window)
{
    size_t n = tlpi_train_n_stream(c->pass);
    uint64_t n_byte = window_bytes(c, c->pass->n_tok);

    if (n_byte > c->budget)
        return TLP_OK; /* the window is run again */
    float *x = tlpi_alloc_huge(c->env, n_byte);

    if (!x)
        return tlpi_fail_nomem_for("a window of a training");
    for (int i = 0; i < n_part(c); i++)
        memcpy(x + (size_t)i * n, part(c, i), n * sizeof(*x));
    c->budget -= n_byte;
    c->border[window] = x;
    return TLP_OK;
}

tlp_status tlpi_train_cache_run(tlpi_train_cache *c, int window,
                                const int32_t *ids, int n)
{
    tlpi_train_pass *p = c->pass;
    const float *x = c->border[window];
    int first = p->net->first;
    tlp_status st = TLP_OK;

    if (x) {
        p->n_tok = n;
        for (int i = 0; i < n_part(c); i++, x += tlpi_train_n_stream(p))
            memcpy(part(c, i), x, tlpi_train_n_stream(p) * sizeof(*x));
    } else {
        tlpi_train_embed(p, ids, n);
        tlpi_train_forward(p, 0, first);
        if (first > 0)
            TLP_TRY(keep(c, window));
    }
    tlpi_train_forward(p, first, p->net->plan->n_stage);
done:
    return st;
}
