/*
 * comm_self.c - the communicator of a single rank, which has nothing to
 * exchange.
 */
#include <string.h>

#include "comm/comm.h"

static tlp_status self_allreduce(tlpi_comm *c, float *x, size_t n,
                                 uint32_t *vote)
{
    (void)c;
    (void)x;
    (void)n;
    (void)vote;
    return TLP_OK;
}

static tlp_status self_send_next(tlpi_comm *c, const float *x, size_t n)
{
    (void)c;
    (void)x;
    (void)n;
    return TLP_OK;
}

static tlp_status self_recv_prev(tlpi_comm *c, float *x, size_t n)
{
    (void)c;
    (void)x;
    (void)n;
    return TLP_OK;
}

static tlp_status self_gather(tlpi_comm *c, const void *src,
                              const size_t *bytes, void *dst)
{
    (void)c;
    if (dst != src && bytes[0] > 0)
        memmove(dst, src, bytes[0]);
    return TLP_OK;
}

static tlp_status self_bcast(tlpi_comm *c, void *buf, size_t bytes, bool idle)
{
    (void)c;
    (void)buf;
    (void)bytes;
    (void)idle;
    return TLP_OK;
}

static tlp_status self_split(tlpi_comm *c, int first, int count,
                             tlpi_comm **out)
{
    *out = NULL;
    if (first != 0 || count != 1)
        return tlpi_fail(TLP_EINVAL, "ranks %d..%d: outside a group of 1",
                         first, first + count - 1);
    return tlpi_comm_self_create(out, c->env);
}

static void self_abort(tlpi_comm *c)
{
    (void)c;
}

static void self_free(tlpi_comm *c)
{
    tlpi_free(c->env, c);
}

tlp_status tlpi_comm_self_create(tlpi_comm **out, const tlpi_env *env)
{
    static const tlpi_comm_ops ops = {
        .allreduce = self_allreduce,
        .send_next = self_send_next,
        .recv_prev = self_recv_prev,
        .gather = self_gather,
        .bcast = self_bcast,
        .split = self_split,
        .abort = self_abort,
        .free = self_free,
    };

    tlpi_comm *c = tlpi_calloc(env, 1, sizeof *c);
    *out = c;
    if (!c)
        return tlpi_fail_nomem_for("a communicator");
    c->ops = &ops;
    c->link = "none";
    c->env = env;
    c->size = 1;
    return TLP_OK;
}
