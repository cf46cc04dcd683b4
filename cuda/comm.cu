/*
 * comm.cu - a communicator of activations: operations and lifetime.
 *
 * The host's communicator handles gather, bcast and busy.
 */
#include "gpu_comm.h"

/*
 * All-reduces of more floats than this use NCCL.  A one-shot exchange sends 8
 * bytes for each float to every peer; NCCL's rings and trees send about 8
 * bytes for each float in all, but start later.  `make bench-gpu` shows the
 * crossover; this value is a guess.
 */
#define CROSSOVER ((size_t)32768)

static tlpi_gpu_comm *of(tlpi_comm *c)
{
    return (tlpi_gpu_comm *)c;
}

/* ==== operations ========================================================= */

static bool by_nccl(const tlpi_gpu_comm *c, size_t n)
{
    return c->nccl && (!c->oneshot || n > CROSSOVER);
}

/* Check for failures before an operation. */
static tlp_status ready(tlpi_gpu_comm *c)
{
    tlp_status st =
        tlpi_gpu_root_check(c->root, tlpi_gpu_root_rank(c), c->timeout_ms);

    if (st == TLP_OK && c->nccl)
        st = tlpi_nccl_check(c);
    return st == TLP_OK ? tlpi_gpu_peek(c->g) : st;
}

static bool is_recording(const tlpi_gpu_comm *c)
{
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;

    return cudaStreamIsCapturing(c->g->stream, &status) == cudaSuccess &&
           status != cudaStreamCaptureStatusNone;
}

/*
 * Ranks that share a device wait for each other before and after an exchange
 * that is not recorded.  The driver and cuBLASLt load a kernel at its first
 * launch, and may wait for the device to do so, while another rank's kernel on
 * the device waits for the loading rank.
 */
static bool is_careful(const tlpi_gpu_comm *c)
{
    return tlpi_oneshot_shares(c) && !is_recording(c);
}

typedef enum host_signal { BARRIER, SEND, RECEIVE } host_signal;

/* A signal between host threads whose ranks have no work on the device.  It is
 * not an exchange of activations, so it is not counted. */
static tlp_status signal_host(tlpi_gpu_comm *c, host_signal w)
{
    tlpi_comm *host = c->host;
    tlpi_comm_stats stats = host->stats;
    float none = 0;

    tlp_status st = tlpi_gpu_wait(c->g);
    if (st == TLP_OK)
        st = w == BARRIER ? host->ops->allreduce(host, &none, 1, NULL)
             : w == SEND  ? host->ops->send_next(host, &none, 1)
                          : host->ops->recv_prev(host, &none, 1);
    host->stats = stats;
    return st;
}

tlp_status tlpi_gpu_rendezvous(tlpi_gpu_comm *c)
{
    return is_careful(c) ? signal_host(c, BARRIER) : TLP_OK;
}

/* Signals for a message between two neighbours, so that neither waits for the
 * other on the device.  A signal is sent only after the signal before was
 * received.  The first signal of a message therefore means that the message is
 * there, and the first signal of the next message means that this message was
 * taken. */
static tlp_status send_signals(tlpi_gpu_comm *c)
{
    tlp_status st = signal_host(c, SEND);

    return st == TLP_OK ? signal_host(c, SEND) : st;
}

static void count_allreduce(tlpi_comm *base, size_t n)
{
    base->stats.allreduces++;
    base->stats.bytes += n * sizeof(float);
}

static tlp_status gpu_allreduce(tlpi_comm *base, float *x, size_t n,
                                uint32_t *vote)
{
    tlpi_gpu_comm *c = of(base);
    tlp_status st = ready(c);

    if (vote)
        *vote = 0;
    if (st != TLP_OK || n == 0 || base->size == 1)
        return st;
    if (by_nccl(c, n)) {
        st = tlpi_nccl_allreduce(c, x, n);
    } else {
        TLP_TRY(tlpi_gpu_rendezvous(c));
        tlpi_oneshot_allreduce(c, x, n);
        TLP_TRY(tlpi_gpu_rendezvous(c));
    }
done:
    if (st == TLP_OK)
        count_allreduce(base, n);
    return st;
}

tlp_status tlpi_gpu_allreduce_add_norm(tlpi_comm *base, int n_tok, int cols,
                                       float *x, float *delta,
                                       const tlpi_norm *norm, int n_norm,
                                       float eps)
{
    tlpi_gpu_comm *c = of(base);
    size_t n = (size_t)n_tok * (size_t)cols;
    tlp_status st = TLP_OK;

    if (base->size == 1 || by_nccl(c, n) ||
        !tlpi_oneshot_can_norm(n_tok, cols, n_norm)) {
        st = gpu_allreduce(base, delta, n, NULL);
        if (st == TLP_OK)
            tlpi_gpu_add_norm(&c->g->base, n_tok, cols, x, delta, x, norm,
                              n_norm, eps);
        return st;
    }
    TLP_TRY(ready(c));
    TLP_TRY(tlpi_gpu_rendezvous(c));
    tlpi_oneshot_allreduce_add_norm(c, n_tok, cols, x, delta, norm, n_norm,
                                    eps);
    TLP_TRY(tlpi_gpu_rendezvous(c));
    count_allreduce(base, n);
done:
    return st;
}

static tlp_status gpu_send_next(tlpi_comm *base, const float *x, size_t n)
{
    tlpi_gpu_comm *c = of(base);
    tlp_status st = ready(c);

    if (st != TLP_OK || n == 0 || base->size == 1)
        return st;
    if (base->rank == base->size - 1)
        return tlpi_gpu_fail(TLP_EINVAL,
                             "rank %d is the last: nobody to send to",
                             tlpi_gpu_root_rank(c));
    if (c->oneshot)
        tlpi_oneshot_send(c, x, n);
    else
        st = tlpi_nccl_send(c, x, n, base->rank + 1);
    if (st == TLP_OK && is_careful(c))
        st = send_signals(c);
    if (st == TLP_OK)
        base->stats.bytes += n * sizeof *x;
    return st;
}

static tlp_status gpu_recv_prev(tlpi_comm *base, float *x, size_t n)
{
    tlpi_gpu_comm *c = of(base);
    tlp_status st = ready(c);

    if (st != TLP_OK || n == 0 || base->size == 1)
        return st;
    if (base->rank == 0)
        return tlpi_gpu_fail(TLP_EINVAL,
                             "rank %d is the first: nobody sends to it",
                             tlpi_gpu_root_rank(c));
    bool careful = is_careful(c);
    if (careful)
        TLP_TRY(signal_host(c, RECEIVE));
    if (c->oneshot)
        tlpi_oneshot_recv(c, x, n);
    else
        st = tlpi_nccl_recv(c, x, n, base->rank - 1);
    if (careful && st == TLP_OK)
        st = signal_host(c, RECEIVE);
done:
    return st;
}

static tlp_status gpu_gather(tlpi_comm *base, const void *src,
                             const size_t *bytes, void *dst)
{
    tlpi_comm *host = of(base)->host;

    return host->ops->gather(host, src, bytes, dst);
}

static tlp_status gpu_bcast(tlpi_comm *base, void *buf, size_t bytes, bool idle)
{
    tlpi_comm *host = of(base)->host;

    return host->ops->bcast(host, buf, bytes, idle);
}

static void gpu_busy(tlpi_comm *base)
{
    tlpi_comm *host = of(base)->host;

    if (host->ops->busy)
        host->ops->busy(host);
}

/* The rank's own thread aborts NCCL's communicators in its next wait. */
static void gpu_abort(tlpi_comm *base)
{
    tlpi_gpu_comm *c = of(base);

    tlpi_gpu_root_report(c->root, tlpi_gpu_root_rank(c), TLPI_GAVE_UP);
    c->host->ops->abort(c->host);
}

/* ==== lifetime =========================================================== */

static void gpu_free(tlpi_comm *base)
{
    if (!base)
        return;
    tlpi_gpu_comm *c = of(base);

    tlpi_gpu_use(c->g);
    if (c->oneshot || c->nccl) {
        /* Ends the stream's work, if necessary by aborting; the remaining work
         * then ends by itself. */
        (void)tlpi_gpu_wait(c->g);
        (void)cudaStreamSynchronize(c->g->stream);
    }
    tlpi_gpu_comm_detach(c);
    tlpi_nccl_free(c);
    tlpi_oneshot_free(c);
    tlpi_gpu_root_put(c->root);
    if (c->own_host)
        tlpi_comm_free(c->host);
    (void)cudaGetLastError();
    tlpi_gpu_free(base->env, c, sizeof *c);
}

static tlp_status gpu_split(tlpi_comm *base, int first, int count,
                            tlpi_comm **out);

static const tlpi_comm_ops *operations()
{
    static const tlpi_comm_ops ops = {
        gpu_allreduce, gpu_send_next, gpu_recv_prev, gpu_gather, gpu_bcast,
        gpu_split,     gpu_busy,      gpu_abort,     gpu_free
    };

    return &ops;
}

static tlpi_gpu_comm *new_comm(tlpi_comm *host, tlpi_gpu *g, int timeout_ms)
{
    tlpi_gpu_comm *c = (tlpi_gpu_comm *)tlpi_gpu_alloc(g->base.env, sizeof *c);

    if (!c)
        return NULL;
    c->base.ops = operations();
    c->base.env = g->base.env;
    c->base.rank = host->rank;
    c->base.size = host->size;
    c->base.link = "none";
    c->host = host;
    c->g = g;
    c->timeout_ms = timeout_ms;
    tlpi_gpu_comm_attach(c);
    return c;
}

tlp_status tlpi_gpu_agree(tlpi_comm *host, tlp_status st)
{
    uint32_t vote = st == TLP_OK ? 0 : st == TLP_ENOMEM ? 1 : 2;
    float none = 0;

    tlp_status met = host->ops->allreduce(host, &none, 1, &vote);
    if (st != TLP_OK || met != TLP_OK)
        return st != TLP_OK ? st : met;
    if (vote == 0)
        return TLP_OK;
    return vote == 1 ? tlpi_gpu_fail(TLP_ENOMEM, "another rank has no memory")
                     : tlpi_gpu_fail(TLP_ECOMM, "another rank could not join");
}

static const char *link_name(int ways)
{
    if (!(ways & TLPI_BY_NCCL))
        return "peer memory";
    return ways & TLPI_ONE_SHOT ? "peer memory, nccl" : "nccl";
}

tlp_status tlpi_gpu_comm_create(tlpi_comm **out, tlpi_comm *host,
                                tlpi_backend *b, int timeout_ms)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    tlpi_gpu_decision d = {};
    tlp_status st = TLP_OK;

    *out = NULL;
    tlpi_gpu_use(g);
    tlpi_gpu_comm *c = new_comm(host, g, timeout_ms);
    if (!c)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    if (host->size > 1) {
        TLP_TRY(tlpi_gpu_choose(c, &d));
        if (d.ways & TLPI_ONE_SHOT)
            st = tlpi_oneshot_create(c);
        if (st == TLP_OK && (d.ways & TLPI_BY_NCCL))
            st = tlpi_nccl_create(c, &d.id);
        c->base.link = link_name(d.ways);
        c->windows = (d.ways & TLPI_WINDOWS) != 0;
        TLP_TRY(tlpi_gpu_agree(host, st));
    } else {
        TLP_TRY(tlpi_gpu_root_create(&c->root, g->base.env, 1));
    }
    *out = &c->base;
    c = NULL;
done:
    if (c)
        gpu_free(&c->base);
    return st;
}

/* Join the new group, which takes a reference to the root. */
static tlp_status join(tlpi_gpu_comm **out, tlpi_gpu_comm *parent,
                       tlpi_comm *host, int first)
{
    tlpi_gpu_comm *c = new_comm(host, parent->g, parent->timeout_ms);

    *out = c;
    if (!c)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    c->own_host = true;
    c->first = parent->first + first;
    c->root = tlpi_gpu_root_get(parent->root->shared.id);
    return TLP_OK;
}

static tlp_status gpu_split(tlpi_comm *base, int first, int count,
                            tlpi_comm **out)
{
    tlpi_gpu_comm *parent = of(base), *c = NULL;
    tlpi_comm *host = NULL;
    tlp_status st = ready(parent);

    *out = NULL;
    if (st != TLP_OK)
        return st;
    tlpi_gpu_use(parent->g);
    TLP_TRY(parent->host->ops->split(parent->host, first, count, &host));
    if (host)
        st = join(&c, parent, host, first);
    if (!c)
        tlpi_comm_free(host);
    TLP_TRY(tlpi_gpu_agree(parent->host, st));
    if (c && parent->oneshot && count > 1)
        st = tlpi_oneshot_create(c);
    if (parent->nccl && count > 1) {
        tlp_status split = tlpi_nccl_split(parent, c, c ? 0 : -1);
        st = st == TLP_OK ? split : st;
    }
    TLP_TRY(tlpi_gpu_agree(parent->host, st));
    *out = c ? &c->base : NULL;
    c = NULL;
done:
    if (c)
        gpu_free(&c->base);
    return st;
}
