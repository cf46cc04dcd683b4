/*
 * comm_failure.cu - propagation of failures: roots, and waits that end.
 */
#include "gpu_comm.h"

#include <sched.h>
#include <time.h>

/* ==== roots ============================================================== */

static void destroy(tlpi_shared_object *object)
{
    tlpi_gpu_root *root = (tlpi_gpu_root *)object;

    (void)cudaFreeHost(root->word);
    (void)cudaGetLastError();
    tlpi_gpu_free(root->env, root, sizeof *root);
}

/* Kernels of all devices may write the words. */
tlp_status tlpi_gpu_root_create(tlpi_gpu_root **out, const tlpi_env *env,
                                int size)
{
    size_t bytes = (size_t)(1 + size) * sizeof(uint64_t);
    tlpi_gpu_root *root = (tlpi_gpu_root *)tlpi_gpu_alloc(env, sizeof *root);

    *out = NULL;
    if (!root)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    tlp_status st = tlpi_gpu_status(
        cudaHostAlloc(&root->word, bytes,
                      cudaHostAllocPortable | cudaHostAllocMapped),
        "a communicator");
    if (st != TLP_OK) {
        tlpi_gpu_free(env, root, sizeof *root);
        return st;
    }
    memset(root->word, 0, bytes);
    root->env = env;
    root->size = size;
    tlpi_shared_object_publish(&root->shared, destroy);
    *out = root;
    return TLP_OK;
}

tlpi_gpu_root *tlpi_gpu_root_get(uint64_t id)
{
    return (tlpi_gpu_root *)tlpi_shared_object_get(id);
}

void tlpi_gpu_root_put(tlpi_gpu_root *root)
{
    tlpi_shared_object_put(root ? &root->shared : NULL);
}

static uint64_t root_word(const tlpi_gpu_root *root, int i)
{
    return __atomic_load_n(&root->word[i], __ATOMIC_ACQUIRE);
}

bool tlpi_gpu_root_stopped(const tlpi_gpu_root *root)
{
    return root_word(root, 0) != 0;
}

static void set_once(uint64_t *word, uint64_t value)
{
    uint64_t none = 0;

    __atomic_compare_exchange_n(word, &none, value, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
}

void tlpi_gpu_root_report(tlpi_gpu_root *root, int root_rank, uint64_t word)
{
    set_once(&root->word[1 + root_rank], word);
    set_once(&root->word[0], (uint64_t)(1 + root_rank));
}

tlp_status tlpi_gpu_root_check(const tlpi_gpu_root *root, int me,
                               int timeout_ms)
{
    uint64_t first = root_word(root, 0), mine = root_word(root, 1 + me);

    if (first == 0)
        return TLP_OK;
    if (mine >= TLPI_WAITED)
        return tlpi_gpu_fail(TLP_ETIMEDOUT,
                             "rank %d did not answer rank %d within %d ms",
                             (int)(mine - TLPI_WAITED), me, timeout_ms);
    return tlpi_gpu_fail(TLP_ECOMM, "rank %d gave up", (int)first - 1);
}

/* ==== waiting ============================================================ */

static void stop_all(tlpi_gpu_comm *list)
{
    for (tlpi_gpu_comm *c = list; c; c = c->next)
        tlpi_gpu_root_report(c->root, tlpi_gpu_root_rank(c), TLPI_GAVE_UP);
    tlpi_nccl_abort_all(list);
}

/* Check all communicators of a backend.  After the first failure all of them
 * stop. */
static tlp_status check_all(tlpi_gpu_comm *list)
{
    tlp_status st = TLP_OK;

    for (tlpi_gpu_comm *c = list; c && st == TLP_OK; c = c->next) {
        st = tlpi_gpu_root_check(c->root, tlpi_gpu_root_rank(c), c->timeout_ms);
        if (st == TLP_OK && c->nccl)
            st = tlpi_nccl_check(c);
    }
    if (st != TLP_OK)
        stop_all(list);
    return st;
}

static tlp_status check(void *arg)
{
    return check_all((tlpi_gpu_comm *)arg);
}

static double now()
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* An NCCL kernel waits for its peers without a deadline: give up when no
 * operation has ended for the timeout. */
static tlp_status give_up_waiting(tlpi_gpu_comm *list)
{
    tlp_status st = tlpi_gpu_fail(TLP_ETIMEDOUT,
                                  "rank %d: no answer from its peers within "
                                  "%d ms",
                                  tlpi_gpu_root_rank(list), list->timeout_ms);

    stop_all(list);
    return st;
}

static bool has_nccl(const tlpi_gpu_comm *list)
{
    for (; list; list = list->next)
        if (list->nccl)
            return true;
    return false;
}

/* Yield for a millisecond, in which most decoding steps end; then sleep. */
static void pause_for(double waited)
{
    const struct timespec nap = { 0, 50000 };

    if (waited < 1e-3)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

/* Replacement of cudaStreamSynchronize, or cudaEventSynchronize if there is an
 * event, that ends after a failure. */
static tlp_status wait(void *arg, cudaStream_t stream, cudaEvent_t event)
{
    tlpi_gpu_comm *list = (tlpi_gpu_comm *)arg;
    double start = now(), moved = start;

    if (!has_nccl(list)) /* one-shot kernels have a deadline of their own */
        return tlpi_gpu_status(event ? cudaEventSynchronize(event)
                                     : cudaStreamSynchronize(stream),
                               "waiting");
    for (;;) {
        cudaError_t e = event ? cudaEventQuery(event) : cudaStreamQuery(stream);
        if (e != cudaErrorNotReady)
            return tlpi_gpu_status(e, "waiting");
        tlp_status st = check_all(list);
        if (st != TLP_OK)
            return st;
        double t = now();
        for (tlpi_gpu_comm *c = list; c; c = c->next)
            if (c->nccl && tlpi_nccl_progress(c))
                moved = t;
        if (t - moved > list->timeout_ms * 1e-3)
            return give_up_waiting(list);
        pause_for(t - start);
    }
}

/* Only communicators that were not split from another hold all ranks. */
static tlp_status rendezvous(void *arg)
{
    tlp_status st = TLP_OK;

    for (tlpi_gpu_comm *c = (tlpi_gpu_comm *)arg; c; c = c->next)
        if (!c->own_host && st == TLP_OK)
            st = tlpi_gpu_rendezvous(c);
    return st;
}

void tlpi_gpu_comm_attach(tlpi_gpu_comm *c)
{
    c->next = (tlpi_gpu_comm *)c->g->check_arg;
    c->g->check_arg = c;
    c->g->check = check;
    c->g->wait = wait;
    c->g->rendezvous = rendezvous;
}

void tlpi_gpu_comm_detach(tlpi_gpu_comm *c)
{
    tlpi_gpu_comm **link = (tlpi_gpu_comm **)&c->g->check_arg;

    while (*link && *link != c)
        link = &(*link)->next;
    if (*link)
        *link = c->next;
    if (!c->g->check_arg) {
        c->g->check = NULL;
        c->g->wait = NULL;
        c->g->rendezvous = NULL;
    }
}
