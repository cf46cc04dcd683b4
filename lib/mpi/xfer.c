/*
 * xfer.c - messages and their memory.
 *
 * Open MPI 4 writes a long message whole, even when the receive is shorter:
 * beyond the end of the receiver's memory.  A receive that is shorter than the
 * largest message of our ranks therefore waits on a list until a probe has
 * found a message that fits.  Full-size receives, on which the speed depends,
 * go to MPI at once.
 */
#include "mpi_transport.h"

#include <limits.h>
#include <stdlib.h>

struct tlpi_xfer {
    MPI_Request request;
    bool receives;
    tlpi_xfer *next; /* link in a list of spare, waiting or retired transfers */
    /* Of a receive only: */
    bool waits; /* no message found yet, so no request */
    int from, tag;
    void *data;
    int cap;
    int rc; /* result of the probe */
};

/* Header before memory from alloc.  Used after the memory was given back while
 * transfers still use it. */
typedef struct tlpi_retired {
    tlpi_xfer *xfers;
    struct tlpi_retired *next;
} tlpi_retired;

#define HEADER ((size_t)64) /* bytes; keeps the memory aligned */

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

/* Common start of send and recv.  On success the lock is held and *out has no
 * request yet. */
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

/* Common end of send and recv; rc is MPI's result. */
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

static void wait_in_line(tlpi_endpoint *e, tlpi_xfer *x)
{
    tlpi_xfer **end = &e->waiting;

    while (*end)
        end = &(*end)->next;
    *end = x;
}

static void wait_no_more(tlpi_endpoint *e, tlpi_xfer *x)
{
    tlpi_xfer **at = &e->waiting;

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    x->waits = false;
}

tlp_status tlpi_mpi_recv(tlpi_transport *t, tlpi_xfer **out, int from, int tag,
                         void *data, size_t bytes, char *err, size_t cap)
{
    bool any = from == TLPI_ANY_RANK;
    int rc = MPI_SUCCESS;
    tlp_status st = begin(t, out, any ? 0 : from, tag, bytes, err, cap);

    if (st != TLP_OK)
        return st;
    tlpi_endpoint *e = (tlpi_endpoint *)t;
    tlpi_xfer *x = *out;

    *x = (tlpi_xfer){
        .receives = true,
        .waits = bytes < TLPI_EAGER_BYTES,
        .from = any ? MPI_ANY_SOURCE : from,
        .tag = tag,
        .data = data,
        .cap = (int)bytes,
    };
    if (x->waits)
        wait_in_line(e, x);
    else
        rc = MPI_Irecv(data, x->cap, MPI_BYTE, x->from, tag, e->comm,
                       &x->request);
    return begun(t, out, rc, err, cap);
}

/* ==== messages for waiting receives ====================================== */

/* Whether one message could match both receives. */
static bool compete(const tlpi_xfer *a, const tlpi_xfer *b)
{
    return a->tag == b->tag &&
           (a->from == b->from || a->from == MPI_ANY_SOURCE ||
            b->from == MPI_ANY_SOURCE);
}

/* A message that does not fit stays in MPI. */
static void look_for(tlpi_endpoint *e, tlpi_xfer *x)
{
    MPI_Message message;
    MPI_Status status;
    int found = 0, n = 0;

    x->rc = MPI_Improbe(x->from, x->tag, e->comm, &found, &message, &status);
    if (x->rc == MPI_SUCCESS && !found)
        return;
    wait_no_more(e, x);
    if (x->rc == MPI_SUCCESS)
        x->rc = MPI_Get_count(&status, MPI_BYTE, &n);
    if (x->rc == MPI_SUCCESS && (n < 0 || n > x->cap))
        x->rc = MPI_ERR_TRUNCATE;
    if (x->rc == MPI_SUCCESS)
        x->rc = MPI_Imrecv(x->data, n, MPI_BYTE, &message, &x->request);
}

/* Messages go to waiting receives in the order of posting. */
static void look_for_all_up_to(tlpi_endpoint *e, const tlpi_xfer *x)
{
    for (tlpi_xfer *y = e->waiting, *next; y && x->waits; y = next) {
        next = y->next;
        if (!compete(x, y))
            continue;
        look_for(e, y);
        if (y->waits)
            return;
    }
}

static tlp_status test(tlpi_endpoint *e, tlpi_xfer *x, int *done,
                       MPI_Status *status, char *err, size_t cap)
{
    int rc = MPI_SUCCESS;

    *done = 0;
    if (x->receives && x->waits)
        look_for_all_up_to(e, x);
    if (x->receives && (x->waits || x->rc != MPI_SUCCESS))
        rc = x->rc;
    else
        rc = MPI_Test(&x->request, done, status);
    return tlpi_mpi_check(err, cap, rc, what(x));
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
    st = test(e, *x, &done, &status, err, cap);
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

/* Free retired memory without running transfers. */
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

/* MPI cannot cancel a send, nor a receive whose data is arriving. */
static tlpi_xfer *on_their_way(tlpi_endpoint *e, tlpi_xfer **x, int n)
{
    tlpi_xfer *list = NULL;

    for (int i = 0; i < n; i++) {
        if (!x[i])
            continue;
        if (x[i]->receives && (x[i]->waits || x[i]->rc != MPI_SUCCESS)) {
            if (x[i]->waits)
                wait_no_more(e, x[i]);
            put_back(e, x[i]);
        } else {
            if (x[i]->receives)
                MPI_Cancel(&x[i]->request);
            x[i]->next = list;
            list = x[i];
        }
        x[i] = NULL;
    }
    return list;
}

void tlpi_mpi_retire(tlpi_transport *t, void *memory, tlpi_xfer **x, int n)
{
    tlpi_endpoint *e = (tlpi_endpoint *)t;
    char none[1];
    bool any = false;

    if (!memory)
        return;

    tlpi_retired *r = (void *)((char *)memory - HEADER);

    for (int i = 0; i < n; i++)
        any |= x[i] != NULL;
    if (!any) {
        free(r);
        return;
    }
    /* Without MPI the end of the transfers is unknown: leak the memory. */
    if (tlpi_mpi_enter(none, 0) != TLP_OK)
        return;
    r->xfers = on_their_way(e, x, n);
    r->next = e->retired;
    e->retired = r;
    sweep(e);
    tlpi_mpi_exit();
}
