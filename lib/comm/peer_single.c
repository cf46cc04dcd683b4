/*
 * peer_single.c - single messages outside a communicator, for handshakes.
 */
#include <string.h>

#include "comm/peer.h"

typedef struct single {
    const tlpi_transport_ops *ops;
    tlpi_transport *t;
    char *memory;
    tlpi_xfer *x;
    double deadline; /* 0: none */
    size_t got;
    char err[TLPI_PEER_TEXT];
} single;

static tlp_status open_single(single *s, const tlpi_transport_ops *ops,
                              tlpi_transport *t, size_t bytes, double seconds)
{
    *s = (single){ .ops = ops, .t = t };
    s->deadline = seconds > 0 ? tlpi_now() + seconds : 0;
    if (bytes > TLPI_EAGER_BYTES)
        return tlpi_fail(TLP_EINVAL,
                         "message of %zu bytes: at most %zu expected", bytes,
                         TLPI_EAGER_BYTES);
    s->memory = ops->alloc(t, TLPI_MAX(bytes, 1));
    return s->memory ? TLP_OK : tlpi_fail_nomem_for("a communicator");
}

static void close_single(single *s)
{
    if (s->memory)
        s->ops->retire(s->t, s->memory, &s->x, 1);
}

static tlp_status silent(int rank)
{
    if (rank == TLPI_ANY_RANK)
        return tlpi_fail(TLP_ETIMEDOUT, "no rank answered in time");
    return tlpi_fail(TLP_ETIMEDOUT, "rank %d did not answer in time", rank);
}

static tlp_status await(single *s, int rank)
{
    double start = tlpi_now(), gone_at = 0;

    for (;;) {
        int done =
            s->ops->poll(s->t, &s->x, &s->got, NULL, s->err, sizeof s->err);
        if (done > 0)
            return TLP_OK;
        if (done < 0)
            return tlpi_fail((tlp_status)done, "%s", s->err);
        double now = tlpi_now();
        int gone = s->ops->gone(s->t, s->err, sizeof s->err);
        if (gone >= 0 && gone_at == 0)
            gone_at = now;
        if (gone >= 0 && now - gone_at > TLPI_PEER_GRACE)
            return tlpi_fail(TLP_ECOMM, "rank %d: %s", gone, s->err);
        if (s->deadline != 0 && now > s->deadline)
            return silent(rank);
        tlpi_peer_relax(now - start, false, true);
    }
}

tlp_status tlpi_peer_send(const tlpi_transport_ops *ops, tlpi_transport *t,
                          int to, int tag, const void *data, size_t bytes,
                          double seconds)
{
    single s;
    tlp_status st = open_single(&s, ops, t, bytes, seconds);

    if (st != TLP_OK)
        return st;
    if (bytes > 0)
        memcpy(s.memory, data, bytes);
    st = ops->send(t, &s.x, to, tag, s.memory, bytes, s.err, sizeof s.err);
    st = st == TLP_OK ? await(&s, to) : tlpi_fail(st, "%s", s.err);
    close_single(&s);
    return st;
}

tlp_status tlpi_peer_recv(const tlpi_transport_ops *ops, tlpi_transport *t,
                          int from, int tag, void *data, size_t cap,
                          size_t *got, double seconds)
{
    single s;
    tlp_status st = open_single(&s, ops, t, cap, seconds);

    *got = 0;
    if (st != TLP_OK)
        return st;
    st = ops->recv(t, &s.x, from, tag, s.memory, cap, s.err, sizeof s.err);
    st = st == TLP_OK ? await(&s, from) : tlpi_fail(st, "%s", s.err);
    if (st == TLP_OK) {
        *got = TLPI_MIN(s.got, cap);
        if (*got > 0)
            memcpy(data, s.memory, *got);
    }
    close_single(&s);
    return st;
}
