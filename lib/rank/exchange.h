/*
 * exchange.h - how a rank sums and passes activations with the other ranks.
 *
 * On the CPU activations travel through the communicator of commands.  On a
 * device they travel through a communicator of the device, whose operations
 * are enqueued behind the work of the rank's backend.  The equations
 * (forward.c) call the functions of this header and know of no device.
 *
 * A vote rides on every sum over all ranks: rank 0 gives the session's abort
 * flag, and every rank reads the flag in that sum, so all ranks leave at one
 * place.  Votes do not travel on devices: there a step that has begun runs to
 * its end, and rank 0 looks at the flag before it begins one.
 */
#ifndef TLPI_EXCHANGE_H
#define TLPI_EXCHANGE_H

#include <stdatomic.h>

#include "backend/backend.h"
#include "comm/comm.h"
#include "device/device.h"
#include "plan/plan.h"
#include "plan/shard.h"

typedef struct tlpi_exchange tlpi_exchange;

/* What differs between host and device. */
typedef struct tlpi_exchange_ops {
    bool votes; /* travel with sums */
    tlp_status (*buffer)(tlpi_exchange *x, float **out, size_t n);
    tlp_status (*sum_norm)(tlpi_exchange *x, int n_tok, int cols, float *stream,
                           float *delta, const tlpi_norm *norm, int n_norm,
                           float eps);
} tlpi_exchange_ops;

/* NULL on ranks outside the span. */
typedef struct tlpi_span_comm {
    tlpi_span span;
    tlpi_comm *comm;
} tlpi_span_comm;

struct tlpi_exchange {
    const tlpi_exchange_ops *ops;
    const tlpi_device_ops *device; /* NULL on the CPU */
    tlpi_backend *b;               /* borrowed, as is comm */
    tlpi_comm *comm;               /* commands; host memory */
    tlpi_comm *data;      /* activations of all ranks; comm itself on the CPU */
    tlpi_span_comm *span; /* [n_span] split from data, in the order in which
                             the stages need them */
    int n_span;
    const _Atomic int *abort; /* rank 0: the session's flag; else NULL */
};

/* What an exchange is made from.  All ranks call tlpi_exchange_create. */
typedef struct tlpi_exchange_setup {
    const tlpi_device_ops *device; /* NULL: activations stay on the host */
    tlpi_backend *b;
    tlpi_comm *comm;
    const _Atomic int *abort;
    int timeout_ms;
} tlpi_exchange_setup;

/* x is zero before the call.  After a failure the caller frees x, which may be
 * half-made. */
tlp_status tlpi_exchange_create(tlpi_exchange *x,
                                const tlpi_exchange_setup *setup);

/* A communicator for every span of several ranks that the plan's stages have.
 * All ranks call. */
tlp_status tlpi_exchange_add_spans(tlpi_exchange *x, const tlp_plan *plan,
                                   const tlpi_shards *shards);

/* x may be zero or half-made.  On a device the function also ends all running
 * work, because freeing memory would wait for it without an end. */
void tlpi_exchange_free(tlpi_exchange *x);

/* End the calls of all ranks in communicators that commands do not use. */
void tlpi_exchange_abort(tlpi_exchange *x);

/* TLP_ECANCELED if a step must not begin because the abort flag is set and no
 * vote could end the step. */
tlp_status tlpi_exchange_check_abort(const tlpi_exchange *x);

/* A buffer of n floats that is summed or passed often; the backend's
 * buffer_free frees it.  All ranks call, with equal n. */
static inline tlp_status tlpi_exchange_buffer(tlpi_exchange *x, float **out,
                                              size_t n)
{
    return x->ops->buffer(x, out, n);
}

/* v = sum of all ranks' v, n floats; TLP_ECANCELED on all ranks if one of them
 * voted for it. */
tlp_status tlpi_exchange_sum(tlpi_exchange *x, float *v, size_t n);

/* delta = sum of all ranks' delta; stream += delta; norm[i].y =
 * rms_norm(stream) * norm[i].w.  stream, delta [n_tok][cols]. */
static inline tlp_status tlpi_exchange_sum_norm(tlpi_exchange *x, int n_tok,
                                                int cols, float *stream,
                                                float *delta,
                                                const tlpi_norm *norm,
                                                int n_norm, float eps)
{
    return x->ops->sum_norm(x, n_tok, cols, stream, delta, norm, n_norm, eps);
}

/* v = sum over the ranks of a span, of several ranks with this one. */
tlp_status tlpi_exchange_sum_span(tlpi_exchange *x, tlpi_span span, float *v,
                                  size_t n);

/* n floats to the next rank, or from the previous rank. */
tlp_status tlpi_exchange_send_next(tlpi_exchange *x, const float *v, size_t n);
tlp_status tlpi_exchange_recv_prev(tlpi_exchange *x, float *v, size_t n);

/* The communicators of activations.  Communicator 0 connects all ranks, each
 * later one the ranks of a span; it is NULL for a span without this rank. */
static inline int tlpi_exchange_n_comm(const tlpi_exchange *x)
{
    return 1 + x->n_span;
}

static inline tlpi_comm *tlpi_exchange_comm(const tlpi_exchange *x, int i)
{
    return i == 0 ? x->data : x->span[i - 1].comm;
}

#endif
