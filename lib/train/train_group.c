/*
 * train_group.c - what the ranks of a training send each other.
 */
#include "train/train_group.h"

#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "group/handshake.h"

static const char purpose[] = "a training on several ranks";

#define PIECE ((size_t)1 << 20)  /* bytes at a time */
#define BUFFER ((size_t)1 << 18) /* floats */

/* Seconds between two signs of life: several for each timeout. */
#define PERIOD 0.25
#define PER_TIMEOUT 8

/* ==== joining and leaving ================================================ */

/* A step may take longer than the timeout, so a rank that computes tells the
 * other ranks that it works. */
static void *beat(void *arg)
{
    tlpi_train_group *g = arg;
    double period = TLPI_MIN(PERIOD, g->cfg.timeout_ms * 1e-3 / PER_TIMEOUT);
    double last = 0;

    while (!atomic_load(&g->stop)) {
        double now = tlpi_now();

        if (now - last >= period) {
            g->comm->ops->busy(g->comm);
            last = now;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    return NULL;
}

tlp_status tlpi_train_group_join(tlpi_train_group *g, tlpi_comm *comm,
                                 const tlpi_session_config *cfg)
{
    tlp_status st = TLP_OK;

    g->comm = comm;
    g->cfg = *cfg;
    g->buffer = tlpi_alloc_array(comm->env, BUFFER, sizeof(*g->buffer));
    if (!g->buffer)
        return tlpi_fail_nomem_for(purpose);
    comm->patient = true;
    atomic_store(&g->stop, false);
    if (comm->ops->busy) {
        TLP_TRY(tlpi_thread_start(&g->beat, beat, g));
        g->beats = true;
    }
done:
    return st;
}

tlp_status tlpi_train_group_lead(tlpi_train_group *g, tlp_plan *plan,
                                 const tlp_session_options *o)
{
    tlpi_process_group group = { 0 };
    tlpi_session_config cfg = { 0 };
    tlpi_comm *comm = NULL;
    tlp_status st;

    TLP_TRY(tlpi_config_check(o));
    if (o->wire != TLP_WIRE_F32)
        return tlpi_fail(TLP_EINVAL, "session option wire: gradients are "
                                     "summed in f32");
    if (o->backend != TLP_BACKEND_CPU)
        return tlpi_fail(TLP_ENOTSUP,
                         "session option backend: training works on CPUs");
    TLP_TRY(tlpi_process_group_find(&group, o));
    TLP_TRY(tlpi_process_group_check(&group, o));
    if (!group.ops && group.n_rank > 1)
        return tlpi_fail(TLP_EINVAL,
                         "session option n_rank %d: the ranks of a training "
                         "are processes",
                         group.n_rank);
    if (group.rank != 0)
        return tlpi_fail(TLP_ESTATE,
                         "this is rank %d of %d, which serves the training of "
                         "rank 0",
                         group.rank, group.n_rank);
    tlpi_config_init(&cfg, o, plan->model, &group);
    g->cfg = cfg;
    if (!cfg.remote)
        return TLP_OK;
    TLP_TRY(tlpi_handshake_lead(&comm, &group, plan, &cfg, TLPI_TASK_TRAINING));
    st = tlpi_train_group_join(g, comm, &cfg);
done:
    return st;
}

void tlpi_train_group_leave(tlpi_train_group *g, tlp_status st)
{
    bool ends = st == TLP_OK || st == TLP_ECANCELED || st == TLP_ENOGAIN;
    tlpi_train_order end = { .op = TLPI_TRAIN_END };

    if (!g->comm)
        return;
    if (ends && g->comm->rank == 0)
        ends = tlpi_train_share_order(g, &end) == TLP_OK;
    if (!ends)
        tlpi_rank_give_up(&g->cfg, g->comm, st);
    if (g->beats) {
        atomic_store(&g->stop, true);
        pthread_join(g->beat, NULL);
    }
    tlpi_free(g->comm->env, g->buffer);
    tlpi_comm_free(g->comm);
    g->comm = NULL;
    g->buffer = NULL;
    g->beats = false;
}

/* ==== from rank 0 ======================================================== */

tlp_status tlpi_train_share(const tlpi_train_group *g, void *data, size_t n)
{
    char *at = data;
    tlp_status st = TLP_OK;

    for (size_t done = 0; g->comm && done < n && st == TLP_OK; done += PIECE)
        st = g->comm->ops->bcast(g->comm, at + done, TLPI_MIN(PIECE, n - done),
                                 false);
    return st;
}

tlp_status tlpi_train_share_order(const tlpi_train_group *g,
                                  tlpi_train_order *order)
{
    return g->comm ? g->comm->ops->bcast(g->comm, order, sizeof(*order), true)
                   : TLP_OK;
}

tlp_status tlpi_train_share_params(const tlpi_train_group *g,
                                   const tlpi_train_params *list)
{
    tlp_status st = TLP_OK;

    for (size_t i = 0; g->comm && i < list->n; i++) {
        const tlpi_train_param *p = list->item[i];
        size_t n = tlpi_train_param_size(p) * sizeof(float);

        if (!p->grad)
            continue;
        TLP_TRY(tlpi_train_share(g, p->value, n));
        TLP_TRY(tlpi_train_share(g, p->first, n));
        TLP_TRY(tlpi_train_share(g, p->second, n));
    }
done:
    return st;
}

/* ==== between all ======================================================== */

/* Gradients that wait in the buffer for one sum of all. */
typedef struct grad_sum {
    const tlpi_train_group *g;
    const tlpi_train_params *list;
    size_t param, at; /* the next number to be taken back */
    size_t n;         /* in the buffer */
} grad_sum;

/* The numbers of the buffer return in the order in which they came. */
static tlp_status flush(grad_sum *s)
{
    tlpi_comm *c = s->g->comm;
    tlp_status st = TLP_OK;

    if (s->n == 0)
        return TLP_OK;
    TLP_TRY(c->ops->allreduce(c, s->g->buffer, s->n, NULL));
    for (size_t done = 0; done < s->n;) {
        tlpi_train_param *p = s->list->item[s->param];
        size_t size = p->grad ? tlpi_train_param_size(p) : 0;
        size_t n = TLPI_MIN(size - s->at, s->n - done);

        if (n > 0)
            memcpy(p->grad + s->at, s->g->buffer + done, n * sizeof(float));
        done += n;
        s->at += n;
        if (s->at == size) {
            p->fresh = false;
            s->param++;
            s->at = 0;
        }
    }
    s->n = 0;
done:
    return st;
}

tlp_status tlpi_train_sum_grads(const tlpi_train_group *g,
                                const tlpi_train_params *list)
{
    grad_sum s = { .g = g, .list = list };
    tlp_status st = TLP_OK;

    for (size_t i = 0; g->comm && i < list->n; i++) {
        const tlpi_train_param *p = list->item[i];
        size_t size = p->grad ? tlpi_train_param_size(p) : 0;

        for (size_t at = 0; at < size;) {
            size_t n = TLPI_MIN(size - at, BUFFER - s.n);

            if (p->fresh)
                memset(g->buffer + s.n, 0, n * sizeof(float));
            else
                memcpy(g->buffer + s.n, p->grad + at, n * sizeof(float));
            s.n += n;
            at += n;
            if (s.n == BUFFER)
                TLP_TRY(flush(&s));
        }
    }
    if (g->comm)
        st = flush(&s);
done:
    return st;
}

/* How many of n things rank r gets, dealt out one by one. */
static int share_of(int n, int r, int n_rank)
{
    return (n - r + n_rank - 1) / n_rank;
}

tlp_status tlpi_train_collect(const tlpi_train_group *g, int n,
                              const tlpi_train_loss *own, tlpi_train_loss *all)
{
    size_t bytes[TLPI_MAX_RANK];
    tlpi_train_loss *by_rank = NULL;
    int n_rank = tlpi_train_n_rank(g), at = 0;
    tlp_status st = TLP_OK;

    if (!g->comm) {
        memcpy(all, own, (size_t)n * sizeof(*own));
        return TLP_OK;
    }
    for (int r = 0; r < n_rank; r++)
        bytes[r] = (size_t)share_of(n, r, n_rank) * sizeof(*own);
    if (all) {
        by_rank = tlpi_calloc(g->comm->env, (size_t)n, sizeof(*by_rank));
        if (!by_rank)
            return tlpi_fail_nomem_for(purpose);
    }
    TLP_TRY(g->comm->ops->gather(g->comm, own, bytes, by_rank));
    for (int r = 0; all && r < n_rank; r++)
        for (int i = r; i < n; i += n_rank)
            all[i] = by_rank[at++];
done:
    tlpi_free(g->comm->env, by_rank);
    return st;
}
