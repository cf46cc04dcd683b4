/*
 * comm_nccl.cu - sums and messages between GPUs by NCCL.
 *
 * Communicators are non-blocking: no call waits for a peer, and this file
 * polls whether a call has finished.  A call with a dead peer can therefore be
 * given up.  When operations are recorded into a graph, NCCL registers their
 * buffers by itself.  The graph then holds the communicator, and destroying
 * the communicator waits for the graph, so graphs are destroyed first.
 *
 * An event (mark) follows each operation outside of graphs, up to N_MARK
 * events at a time.  From these a waiting host sees that operations still end.
 */
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "nccl_api.h"

/* Creating a communicator takes NCCL seconds, also when timeout_ms is short. */
#define CREATE_SECONDS 60.0

enum { N_MARK = 64 };

struct tlpi_nccl {
    tlpi_nccl_comm comm; /* NULL once aborted */
    bool failed;
    pthread_t ending; /* thread that aborts the communicator, if has_thread */
    bool has_thread;
    cudaEvent_t mark[N_MARK];
    /* number of marked operations; number of these that have ended */
    unsigned marked, passed;
};

static double now()
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

tlp_status tlpi_nccl_new_id(tlpi_nccl_id *id)
{
    const tlpi_nccl_lib *lib = tlpi_nccl_get();
    int e = lib->GetUniqueId(id);

    return e == TLPI_NCCL_SUCCESS
               ? TLP_OK
               : tlpi_gpu_fail(TLP_ECOMM, "NCCL, unique id: %s",
                               lib->GetErrorString(e));
}

/* Status and text for this communicator after "what" failed with e. */
static tlp_status failed(tlpi_nccl *n, int e, const char *what)
{
    const tlpi_nccl_lib *lib = tlpi_nccl_get();
    const char *more = n->comm ? lib->GetLastError(n->comm) : NULL;

    n->failed = true;
    return tlpi_gpu_fail(TLP_ECOMM, "NCCL, %s: %s%s%s", what,
                         lib->GetErrorString(e), more && *more ? ": " : "",
                         more ? more : "");
}

/* NCCL's state of the last call on the communicator, which returned e. */
static int state_of(const tlpi_nccl *n, int e)
{
    int state = TLPI_NCCL_SUCCESS;

    if (e != TLPI_NCCL_SUCCESS && e != TLPI_NCCL_IN_PROGRESS)
        return e;
    if (!n->comm) /* the call that creates the communicator is still running */
        return TLPI_NCCL_IN_PROGRESS;
    e = tlpi_nccl_get()->CommGetAsyncError(n->comm, &state);
    return e == TLPI_NCCL_SUCCESS ? state : e;
}

/* Wait for the last call, which returned e. */
static tlp_status settle(tlpi_gpu_comm *c, tlpi_nccl *n, int e,
                         const char *what, double seconds)
{
    const struct timespec nap = { 0, 50000 };
    double end = now() + seconds;

    while ((e = state_of(n, e)) == TLPI_NCCL_IN_PROGRESS) {
        if (tlpi_gpu_root_stopped(c->root))
            return tlpi_gpu_fail(TLP_ECOMM, "another rank gave up");
        if (now() > end)
            return tlpi_gpu_fail(TLP_ETIMEDOUT,
                                 "NCCL, %s: not done within %.1f s", what,
                                 seconds);
        nanosleep(&nap, NULL);
    }
    return e == TLPI_NCCL_SUCCESS ? TLP_OK : failed(n, e, what);
}

/* ==== lifetime =========================================================== */

static tlpi_nccl_config config()
{
    tlpi_nccl_config c = { sizeof c,         TLPI_NCCL_MAGIC,
                           TLPI_NCCL_NEEDED, 0,
                           TLPI_NCCL_UNSET,  TLPI_NCCL_UNSET,
                           TLPI_NCCL_UNSET,  NULL,
                           TLPI_NCCL_UNSET };

    return c;
}

static tlp_status allocate(tlpi_gpu_comm *c)
{
    tlp_status st = TLP_OK;

    c->nccl = (tlpi_nccl *)tlpi_gpu_alloc(c->base.env, sizeof *c->nccl);
    if (!c->nccl)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    for (int i = 0; i < N_MARK && st == TLP_OK; i++)
        st = tlpi_gpu_status(
            cudaEventCreateWithFlags(&c->nccl->mark[i], cudaEventDisableTiming),
            "an event");
    return st;
}

tlp_status tlpi_nccl_create(tlpi_gpu_comm *c, const tlpi_nccl_id *id)
{
    tlpi_nccl_config cfg = config();
    tlp_status st = allocate(c);

    if (st != TLP_OK)
        return st;
    int e = tlpi_nccl_get()->CommInitRankConfig(&c->nccl->comm, c->base.size,
                                                *id, c->base.rank, &cfg);
    return settle(c, c->nccl, e, "making a communicator", CREATE_SECONDS);
}

static void *abort_one(void *arg)
{
    tlpi_nccl *n = (tlpi_nccl *)arg;

    n->failed = true;
    if (n->comm)
        (void)tlpi_nccl_get()->CommAbort(n->comm);
    n->comm = NULL;
    return NULL;
}

static void abort_only(tlpi_gpu_comm *c)
{
    tlpi_gpu_graphs_clear(c->g);
    (void)abort_one(c->nccl);
}

/* Abort each communicator in its own thread: the first abort would wait for a
 * running graph, and that for a peer in an exchange of another communicator.
 * The threads block the program's signals. */
void tlpi_nccl_abort_all(tlpi_gpu_comm *list)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (tlpi_gpu_comm *c = list; c; c = c->next) {
        if (!c->nccl || !c->nccl->comm)
            continue;
        tlpi_gpu_graphs_clear(c->g);
        c->nccl->has_thread =
            pthread_create(&c->nccl->ending, NULL, abort_one, c->nccl) == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (tlpi_gpu_comm *c = list; c; c = c->next) {
        if (!c->nccl)
            continue;
        if (c->nccl->has_thread)
            (void)pthread_join(c->nccl->ending, NULL);
        c->nccl->has_thread = false;
        (void)abort_one(c->nccl);
    }
}

tlp_status tlpi_nccl_split(tlpi_gpu_comm *parent, tlpi_gpu_comm *c, int color)
{
    static const char what[] = "splitting a communicator";
    tlpi_nccl_config cfg = config();
    tlpi_nccl_comm out = NULL;
    tlp_status own = c ? allocate(c) : TLP_OK;

    int e = tlpi_nccl_get()->CommSplit(parent->nccl->comm, color,
                                       parent->base.rank, &out, &cfg);
    tlp_status st = settle(parent, parent->nccl, e, what, CREATE_SECONDS);
    if (st != TLP_OK)
        abort_only(parent); /* before `out` is freed */
    if (c && c->nccl) {
        c->nccl->comm = out;
        if (st == TLP_OK)
            st = settle(c, c->nccl, TLPI_NCCL_SUCCESS, what, CREATE_SECONDS);
    } else if (out) {
        (void)tlpi_nccl_get()->CommAbort(out);
    }
    return st != TLP_OK ? st : own;
}

static bool is_healthy(const tlpi_gpu_comm *c)
{
    return c->nccl->comm && !c->nccl->failed && !tlpi_gpu_root_stopped(c->root);
}

/* A healthy communicator is finalized, which needs live peers; a failed one is
 * aborted. */
void tlpi_nccl_free(tlpi_gpu_comm *c)
{
    tlpi_nccl *n = c->nccl;

    if (!n)
        return;
    tlpi_gpu_graphs_clear(c->g);
    tlpi_gpu_close_windows(c);
    if (is_healthy(c)) {
        const tlpi_nccl_lib *lib = tlpi_nccl_get();
        int e = lib->CommFinalize(n->comm);
        if (settle(c, n, e, "ending", c->timeout_ms * 1e-3) == TLP_OK) {
            (void)lib->CommDestroy(n->comm);
            n->comm = NULL;
        }
    }
    abort_only(c);
    for (int i = 0; i < N_MARK; i++)
        if (n->mark[i])
            (void)cudaEventDestroy(n->mark[i]);
    tlpi_gpu_free(c->base.env, n, sizeof *n);
    c->nccl = NULL;
}

/* ==== windows ============================================================ */

tlp_status tlpi_nccl_open_window(tlpi_gpu_comm *c, void *memory, size_t bytes,
                                 tlpi_nccl_win *out)
{
    *out = NULL;
    int e = tlpi_nccl_get()->CommWindowRegister(
        c->nccl->comm, memory, bytes, out, TLPI_NCCL_WIN_COLL_SYMMETRIC);
    tlp_status st = settle(c, c->nccl, e, "opening a window", CREATE_SECONDS);
    if (st != TLP_OK)
        abort_only(c); /* before the memory is freed */
    return st;
}

void tlpi_nccl_close_window(tlpi_gpu_comm *c, tlpi_nccl_win win)
{
    if (win && is_healthy(c))
        (void)tlpi_nccl_get()->CommWindowDeregister(c->nccl->comm, win);
}

/* ==== operations ========================================================= */

bool tlpi_nccl_progress(tlpi_gpu_comm *c)
{
    tlpi_nccl *n = c->nccl;
    bool moved = false;

    while (n->passed != n->marked &&
           cudaEventQuery(n->mark[n->passed % N_MARK]) == cudaSuccess) {
        n->passed++;
        moved = true;
    }
    return moved;
}

tlp_status tlpi_nccl_check(tlpi_gpu_comm *c)
{
    tlpi_nccl *n = c->nccl;

    if (!n->comm)
        return tlpi_gpu_fail(TLP_ECOMM, "NCCL: the communicator was aborted");
    int e = state_of(n, TLPI_NCCL_SUCCESS);
    return e == TLPI_NCCL_SUCCESS || e == TLPI_NCCL_IN_PROGRESS
               ? TLP_OK
               : failed(n, e, "an exchange");
}

/* Record a mark after an operation, if one is free.  Without a free mark, a
 * wait counts several operations as one. */
static void mark(tlpi_gpu_comm *c)
{
    tlpi_nccl *n = c->nccl;
    cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;

    if (cudaStreamIsCapturing(c->g->stream, &capturing) != cudaSuccess ||
        capturing != cudaStreamCaptureStatusNone)
        return;
    (void)tlpi_nccl_progress(c);
    if (n->marked - n->passed < N_MARK &&
        cudaEventRecord(n->mark[n->marked % N_MARK], c->g->stream) ==
            cudaSuccess)
        n->marked++;
}

static tlp_status done(tlpi_gpu_comm *c, int e, const char *what)
{
    tlp_status st = settle(c, c->nccl, e, what, c->timeout_ms * 1e-3);

    if (st == TLP_OK)
        mark(c);
    return st;
}

tlp_status tlpi_nccl_allreduce(tlpi_gpu_comm *c, float *x, size_t n)
{
    int e = tlpi_nccl_get()->AllReduce(
        x, x, n, TLPI_NCCL_FLOAT32, TLPI_NCCL_SUM, c->nccl->comm, c->g->stream);

    return done(c, e, "an all-reduce");
}

tlp_status tlpi_nccl_send(tlpi_gpu_comm *c, const float *x, size_t n, int to)
{
    int e = tlpi_nccl_get()->Send(x, n, TLPI_NCCL_FLOAT32, to, c->nccl->comm,
                                  c->g->stream);

    return done(c, e, "a message");
}

tlp_status tlpi_nccl_recv(tlpi_gpu_comm *c, float *x, size_t n, int from)
{
    int e = tlpi_nccl_get()->Recv(x, n, TLPI_NCCL_FLOAT32, from, c->nccl->comm,
                                  c->g->stream);

    return done(c, e, "a message");
}
