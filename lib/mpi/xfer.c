/*
 * xfer.c - messages and their memory.
 */
#include "mpi_transport.h"

#include <limits.h>
#include <stdlib.h>

struct tlpi_xfer {
    MPI_Request request;
    bool receives;
    tlpi_xfer *next; /* of the spare ones, or of one retired memory */
};

/* Stands before memory from alloc; used once that was given back while
 * transfers still use it. */
typedef struct tlpi_retired {
    tlpi_xfer *xfers;
    struct tlpi_retired *next;
} tlpi_retired;

#define HEADER ((size_t)64) /* of alloc's memory, which stays aligned */

static tlpi_xfer *take(tlpi_endpoint *e)
{
    tlpi_xfer *x = e->spare;

    if (!x)
        return malloc(sizeof *x);
    e->spare = x->next;
    return x;
}

static void put_back(tlpi_endpoint *e, tlpi_xfer *x)
{
    x->next = e->spare;
    e->spare = x;
}

static const char *what(const tlpi_xfer *x)
{
    return x->receives ? "MPI_Irecv" : "MPI_Isend";
}

/* What sending and receiving begin with; on success the lock is held and *out
 * is without a request. */
static tlp_status begin(tlpi_transport *t, tlpi_xfer **out, int rank, int tag,
                        size_t bytes, char *err, size_t cap)
{
    *out = NULL;
    if (rank < 0 || rank >= t->size)
        return tlpi_mpi_fail(err, cap, TLP_EINVAL, "rank %d of %d", rank,
                             t->size);
    if (tag < 0 || tag >= TLPI_TAG_END)
        return tlpi_mpi_fail(err, cap, TLP_EINVAL, "tag %d", tag);
    if (bytes > INT_MAX)
        return tlpi_mpi_fail(err, cap, TLP_EINVAL,
                             "message of %zu bytes, at most %d", bytes,
                             INT_MAX);

    tlp_status st = tlpi_mpi_enter(err, cap);

    if (st != TLP_OK)
        return st;
    *out = take((tlpi_endpoint *)t);
    if (*out)
        return TLP_OK;
    tlpi_mpi_exit();
    return tlpi_mpi_fail(err, cap, TLP_ENOMEM, "out of memory");
}

/* ... and end with; rc is MPI's answer. */
static tlp_status begun(tlpi_transport *t, tlpi_xfer **out, int rc, char *err,
                        size_t cap)
{
    tlp_status st = tlpi_mpi_check(err, cap, rc, what(*out));

    if (st != TLP_OK) {
        put_back((tlpi_endpoint *)t, *out);
        *out = NULL;
    }
    tlpi_mpi_exit();
    return st;
}

tlp_status tlpi_mpi_send(tlpi_transport *t, tlpi_xfer **out, int to, int tag,
                         const void *data, size_t bytes, char *err, size_t cap)
{
    tlp_status st = begin(t, out, to, tag, bytes, err, cap);

    if (st != TLP_OK)
        return st;
    (*out)->receives = false;

    int rc = MPI_Isend(data, (int)bytes, MPI_BYTE, to, tag,
                       ((tlpi_endpoint *)t)->comm, &(*out)->request);

    return begun(t, out, rc, err, cap);
}

tlp_status tlpi_mpi_recv(tlpi_transport *t, tlpi_xfer **out, int from, int tag,
                         void *data, size_t bytes, char *err, size_t cap)
{
    bool any = from == TLPI_ANY_RANK;
    tlp_status st = begin(t, out, any ? 0 : from, tag, bytes, err, cap);

    if (st != TLP_OK)
        return st;
    (*out)->receives = true;

    int rc = MPI_Irecv(data, (int)bytes, MPI_BYTE, any ? MPI_ANY_SOURCE : from,
                       tag, ((tlpi_endpoint *)t)->comm, &(*out)->request);

    return begun(t, out, rc, err, cap);
}

int tlpi_mpi_poll(tlpi_transport *t, tlpi_xfer **x, size_t *got, int *from,
                  char *err, size_t cap)
{
    tlpi_endpoint *e = (tlpi_endpoint *)t;
    MPI_Status status;
    int done = 0;
    tlp_status st = tlpi_mpi_enter(err, cap);

    if (st != TLP_OK) {
        *x = NULL;
        return st;
    }
    st = tlpi_mpi_check(err, cap, MPI_Test(&(*x)->request, &done, &status),
                        what(*x));
    if (done && (*x)->receives && st == TLP_OK) {
        int n;

        MPI_Get_count(&status, MPI_BYTE, &n);
        if (got)
            *got = (size_t)n;
        if (from)
            *from = status.MPI_SOURCE;
    }
    if (done || st != TLP_OK) {
        put_back(e, *x);
        *x = NULL;
    }
    tlpi_mpi_exit();
    return st != TLP_OK ? st : done;
}

/* Free what is done with; what is not stays on the list. */
static void sweep(tlpi_endpoint *e)
{
    for (tlpi_retired **at = &e->retired; *at;) {
        tlpi_retired *r = *at;

        for (tlpi_xfer **p = &r->xfers; *p;) {
            tlpi_xfer *x = *p;
            int done = 0;

            if (MPI_Test(&x->request, &done, MPI_STATUS_IGNORE) !=
                    MPI_SUCCESS ||
                done) {
                *p = x->next;
                put_back(e, x);
            } else {
                p = &x->next;
            }
        }
        if (r->xfers) {
            at = &r->next;
        } else {
            *at = r->next;
            free(r);
        }
    }
}

void *tlpi_mpi_alloc(tlpi_transport *t, size_t bytes)
{
    void *block;
    size_t size;

    (void)t;
    if (!tlpi_add(bytes, HEADER, &size) || posix_memalign(&block, 64, size))
        return NULL;
    return (char *)block + HEADER;
}

/* MPI has no way to call off what it is receiving already, nor a send. */
void tlpi_mpi_retire(tlpi_transport *t, void *memory, tlpi_xfer **x, int n)
{
    tlpi_endpoint *e = (tlpi_endpoint *)t;
    char none[1];

    if (!memory)
        return;

    tlpi_retired *r = (void *)((char *)memory - HEADER);

    r->xfers = NULL;
    for (int i = 0; i < n; i++) {
        if (!x[i])
            continue;
        x[i]->next = r->xfers;
        r->xfers = x[i];
        x[i] = NULL;
    }
    if (!r->xfers) {
        free(r);
        return;
    }
    /* Without MPI nobody knows when they are done: the memory is lost. */
    if (tlpi_mpi_enter(none, 0) != TLP_OK)
        return;
    for (tlpi_xfer *p = r->xfers; p; p = p->next)
        if (p->receives)
            MPI_Cancel(&p->request);
    r->next = e->retired;
    e->retired = r;
    sweep(e);
    tlpi_mpi_exit();
}
