/*
 * train_cache.c - keep the residual stream before the first trained stage.
 */
#include "train/train_cache.h"

#include <string.h>

/* A stream that differs between tracks there is not kept. */
static float *border_of(const tlpi_train_cache *c)
{
    const tlpi_train_pass *p = c->pass;
    const tlpi_train_stream *b = &p->border[p->net->first];

    return p->net->first == 0 || b->track ? NULL : b->x;
}

static uint64_t window_bytes(const tlpi_train_cache *c, int n_tok)
{
    return (uint64_t)n_tok * (uint64_t)c->pass->net->model->hp.n_embd *
           sizeof(float);
}

tlp_status tlpi_train_cache_create(tlpi_train_cache *c, tlpi_train_pass *pass,
                                   int n_window, uint64_t budget,
                                   uint64_t *rest)
{
    *c = (tlpi_train_cache){ .env = pass->env,
                             .pass = pass,
                             .n_window = n_window };
    if (border_of(c))
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
    uint64_t n_byte = window_bytes(c, c->pass->n_tok);

    if (n_byte > c->budget)
        return TLP_OK; /* the window is run again */
    c->border[window] = tlpi_alloc_huge(c->env, n_byte);
    if (!c->border[window])
        return tlpi_fail_nomem_for("a window of a training");
    memcpy(c->border[window], border_of(c), n_byte);
    c->budget -= n_byte;
    return TLP_OK;
}

tlp_status tlpi_train_cache_run(tlpi_train_cache *c, int window,
                                const int32_t *ids, int n)
{
    tlpi_train_pass *p = c->pass;
    int first = p->net->first;
    tlp_status st = TLP_OK;

    if (c->border[window]) {
        p->n_tok = n;
        memcpy(border_of(c), c->border[window], window_bytes(c, n));
    } else {
        tlpi_train_embed(p, ids, n);
        tlpi_train_forward(p, 0, first);
        if (border_of(c))
            TLP_TRY(keep(c, window));
    }
    tlpi_train_forward(p, first, p->net->plan->n_stage);
done:
    return st;
}
