/*
 * comm.cu - the communicator of activations on devices.
 */
#include "gpu.h"

static tlp_status allreduce(tlpi_comm *c, float *x, size_t n, uint32_t *vote)
{
    (void)x;
    if (vote)
        *vote = 0;
    c->stats.allreduces++;
    c->stats.bytes += n * sizeof *x;
    return TLP_OK;
}

static tlp_status send_next(tlpi_comm *c, const float *x, size_t n)
{
    (void)c;
    (void)x;
    (void)n;
    return tlpi_gpu_fail(TLP_EINVAL, "the last rank has nobody to send to");
}

static tlp_status recv_prev(tlpi_comm *c, float *x, size_t n)
{
    return send_next(c, x, n);
}

static void destroy(tlpi_comm *c)
{
    tlpi_gpu_free(c->env, c, sizeof *c);
}

tlp_status tlpi_gpu_comm_create(tlpi_comm **out, tlpi_comm *host,
                                tlpi_backend *b, int timeout_ms)
{
    static const tlpi_comm_ops ops = [] {
        tlpi_comm_ops o = {};
        o.allreduce = allreduce;
        o.send_next = send_next;
        o.recv_prev = recv_prev;
        o.free = destroy;
        return o;
    }();

    (void)timeout_ms;
    *out = NULL;
    if (host->size > 1)
        return tlpi_gpu_fail(TLP_ENOTSUP, "one rank only");
    tlpi_comm *c = (tlpi_comm *)tlpi_gpu_alloc(b->env, sizeof *c);
    if (!c)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    c->ops = &ops;
    c->env = b->env;
    c->size = 1;
    *out = c;
    return TLP_OK;
}
