/*
 * exchange.c - sums and messages of activations, on the host and on devices.
 */
#include "rank/exchange.h"

/* ==== host =============================================================== */

static tlp_status host_buffer(tlpi_exchange *x, float **out, size_t n)
{
    return x->b->ops->buffer_create(x->b, out, n);
}

static tlp_status host_sum_norm(tlpi_exchange *x, int n_tok, int cols,
                                float *stream, float *delta,
                                const tlpi_norm *norm, int n_norm, float eps)
{
    tlp_status st = tlpi_exchange_sum(x, delta, (size_t)n_tok * (size_t)cols);

    if (st == TLP_OK)
        x->b->ops->add_norm(x->b, n_tok, cols, stream, delta, stream, norm,
                            n_norm, eps);
    return st;
}

static const tlpi_exchange_ops host_ops = { .votes = true,
                                            .buffer = host_buffer,
                                            .sum_norm = host_sum_norm };

/* ==== device ============================================================= */

static tlp_status device_buffer(tlpi_exchange *x, float **out, size_t n)
{
    return x->device->exchange_buffer(x->data, out, n);
}

static tlp_status device_sum_norm(tlpi_exchange *x, int n_tok, int cols,
                                  float *stream, float *delta,
                                  const tlpi_norm *norm, int n_norm, float eps)
{
    return x->device->allreduce_add_norm(x->data, n_tok, cols, stream, delta,
                                         norm, n_norm, eps);
}

static const tlpi_exchange_ops device_ops = { .votes = false,
                                              .buffer = device_buffer,
                                              .sum_norm = device_sum_norm };

/* ==== lifetime =========================================================== */

tlp_status tlpi_exchange_create(tlpi_exchange *x,
                                const tlpi_exchange_setup *setup)
{
    tlp_status st = TLP_OK;

    *x = (tlpi_exchange){ .ops = setup->device ? &device_ops : &host_ops,
                          .device = setup->device,
                          .b = setup->b,
                          .comm = setup->comm,
                          .abort = setup->abort };
    if (x->device)
        st = x->device->comm_create(&x->data, x->comm, x->b, setup->timeout_ms);
    else
        x->data = x->comm;
    return st;
}

static tlpi_span_comm *find_span(const tlpi_exchange *x, tlpi_span s)
{
    for (int i = 0; i < x->n_span; i++)
        if (x->span[i].span.first == s.first &&
            x->span[i].span.count == s.count)
            return &x->span[i];
    return NULL;
}

static tlp_status add_span(tlpi_exchange *x, tlpi_span s)
{
    tlpi_span_comm *list = tlpi_realloc_array(
        x->comm->env, x->span, (size_t)x->n_span + 1, sizeof(*x->span));

    if (!list)
        return tlpi_fail_nomem_for("communicators");
    x->span = list;
    tlpi_span_comm *added = &x->span[x->n_span++];
    *added = (tlpi_span_comm){ .span = s };
    return x->data->ops->split(x->data, s.first, s.count, &added->comm);
}

tlp_status tlpi_exchange_add_spans(tlpi_exchange *x, const tlp_plan *plan,
                                   const tlpi_shards *shards)
{
    tlp_status st = TLP_OK;

    for (int i = 0; i < plan->n_stage; i++) {
        const tlpi_span *span = shards->span[i];

        for (int m = 0; span && m < tlpi_plan_n_member(plan, i); m++)
            if (span[m].count > 1 && !find_span(x, span[m]))
                TLP_TRY(add_span(x, span[m]));
    }
done:
    return st;
}

void tlpi_exchange_free(tlpi_exchange *x)
{
    if (!x->comm)
        return;
    for (int i = tlpi_exchange_n_comm(x) - 1; i > 0; i--)
        tlpi_comm_free(tlpi_exchange_comm(x, i));
    tlpi_free(x->comm->env, x->span);
    if (x->data != x->comm)
        tlpi_comm_free(x->data);
    *x = (tlpi_exchange){ 0 };
}

void tlpi_exchange_abort(tlpi_exchange *x)
{
    if (x->data && x->data != x->comm)
        x->data->ops->abort(x->data);
}

/* ==== exchanges ========================================================== */

static bool is_aborted(const tlpi_exchange *x)
{
    return x->abort && atomic_load(x->abort);
}

static tlp_status fail_aborted(void)
{
    return tlpi_fail(TLP_ECANCELED, "evaluation was aborted");
}

tlp_status tlpi_exchange_check_abort(const tlpi_exchange *x)
{
    return !x->ops->votes && is_aborted(x) ? fail_aborted() : TLP_OK;
}

tlp_status tlpi_exchange_sum(tlpi_exchange *x, float *v, size_t n)
{
    uint32_t vote = is_aborted(x);
    tlp_status st = x->data->ops->allreduce(x->data, v, n, &vote);

    return st == TLP_OK && vote ? fail_aborted() : st;
}

tlp_status tlpi_exchange_sum_span(tlpi_exchange *x, tlpi_span span, float *v,
                                  size_t n)
{
    tlpi_comm *c = find_span(x, span)->comm;
    uint32_t vote = 0;

    return c->ops->allreduce(c, v, n, &vote);
}

tlp_status tlpi_exchange_send_next(tlpi_exchange *x, const float *v, size_t n)
{
    return x->data->ops->send_next(x->data, v, n);
}

tlp_status tlpi_exchange_recv_prev(tlpi_exchange *x, float *v, size_t n)
{
    return x->data->ops->recv_prev(x->data, v, n);
}
