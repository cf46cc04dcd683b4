/*
 * crew.c - the ranks of a session in one process: rank 0 on the caller's
 * thread, each other on a thread of its own that builds itself, serves and
 * ends.
 */
#include <pthread.h>
#include <string.h>

#include "base/pool.h"
#include "session/session.h"

typedef struct member {
    tlpi_crew *crew;
    int index;
    tlpi_comm *comm; /* until the rank takes it over */
    pthread_t thread;
    bool started;
    tlp_status status; /* of building or serving; read after joining */
    char text[512];
    uint64_t weight_bytes, kv_bytes, buffer_bytes; /* once all are built */
} member;

struct tlpi_crew {
    const tlpi_env *env;
    tlpi_rank_setup setup; /* of rank 0; the others leave its hooks out */
    int n;
    member *m; /* [n]; m[0] is the caller's */
    tlpi_rank *rank0;
    bool ended; /* the others are joined: a failure's text must outlive them */
};

static void report(member *m, tlp_status st)
{
    m->status = st;
    m->text[0] = '\0';
    if (st != TLP_OK)
        strncat(m->text, tlp_last_error(), sizeof(m->text) - 1);
}

/* Returns TLP_OK only if every rank is built: a rank that fails aborts the
 * communicator, which wakes the others out of whatever they wait for. */
static tlp_status build(member *m, tlpi_rank **out)
{
    tlpi_rank_setup setup = m->crew->setup;
    uint32_t vote = 0;
    float none = 0;

    setup.comm = m->comm;
    m->comm = NULL;
    if (m->index > 0) {
        setup.abort = NULL;
        setup.progress = NULL;
    }
    tlp_status st = tlpi_rank_create(out, &setup);
    if (st == TLP_OK) {
        m->weight_bytes = (*out)->weight_bytes;
        m->kv_bytes = (*out)->kv_bytes;
        m->buffer_bytes = (*out)->buffer_bytes;
        st = (*out)->comm->ops->allreduce((*out)->comm, &none, 1, &vote);
    }
    report(m, st);
    return st;
}

static void *member_main(void *arg)
{
    member *m = arg;
    const tlpi_session_config *cfg = m->crew->setup.cfg;
    tlpi_rank *r = NULL;

    if (cfg->pin)
        tlpi_pin_self(m->crew->env, m->index * cfg->n_thread);
    if (build(m, &r) == TLP_OK) {
        tlp_status st = tlpi_serve(r);
        if (st != TLP_OK) {
            report(m, st);
            r->comm->ops->abort(r->comm);
        }
    }
    tlpi_rank_free(r);
    return NULL;
}

static tlp_status start(member *m)
{
    tlp_status st = tlpi_thread_start(&m->thread, member_main, m);

    if (st != TLP_OK)
        return tlpi_fail_prefix(st, "rank %d: ", m->index);
    m->started = true;
    return TLP_OK;
}

static void join_all(tlpi_crew *c)
{
    for (int i = 1; i < c->n; i++) {
        if (c->m[i].started)
            pthread_join(c->m[i].thread, NULL);
        c->m[i].started = false;
    }
    c->ended = true;
}

/* The failure behind "a peer failed": the first rank that says more. */
static tlp_status explain(const tlpi_crew *c, tlp_status st)
{
    if (st != TLP_ECOMM)
        return st;
    for (int i = 0; i < c->n; i++) {
        const member *m = &c->m[i];
        if (m->status != TLP_OK && m->status != TLP_ECOMM)
            return tlpi_fail(m->status, "rank %d: %s", i, m->text);
    }
    return st;
}

tlp_status tlpi_crew_fail(tlpi_crew *c, tlp_status st)
{
    c->rank0->comm->ops->abort(c->rank0->comm);
    join_all(c);
    return explain(c, st);
}

static tlp_status create_comms(tlpi_crew *c)
{
    const tlpi_session_config *cfg = c->setup.cfg;
    int n = c->n;

    if (n == 1)
        return tlpi_comm_self_create(&c->m[0].comm, c->env);
    tlpi_comm **comm = tlpi_calloc(c->env, (size_t)n, sizeof(*comm));
    if (!comm)
        return tlpi_fail_nomem();
    tlp_status st = tlpi_comm_threads_create(comm, c->env, n, n * cfg->n_thread,
                                             cfg->timeout_ms);
    for (int i = 0; i < n && st == TLP_OK; i++)
        c->m[i].comm = comm[i];
    tlpi_free(c->env, comm);
    return st;
}

tlp_status tlpi_crew_create(tlpi_crew **out, tlpi_rank **rank0,
                            const tlpi_rank_setup *setup)
{
    const tlpi_env *env = &setup->plan->model->env;
    tlpi_crew *c = tlpi_calloc(env, 1, sizeof(*c));
    tlp_status st = TLP_OK;

    *out = NULL;
    if (!c)
        return tlpi_fail_nomem();
    c->env = env;
    c->setup = *setup;
    c->n = setup->cfg->n_rank;
    c->m = tlpi_calloc(env, (size_t)c->n, sizeof(*c->m));
    if (!c->m) {
        st = tlpi_fail_nomem();
        goto done;
    }
    for (int i = 0; i < c->n; i++) {
        c->m[i].crew = c;
        c->m[i].index = i;
    }
    TLP_TRY(create_comms(c));
    for (int i = 1; i < c->n; i++)
        TLP_TRY(start(&c->m[i]));
    TLP_TRY(build(&c->m[0], &c->rank0));
    *rank0 = c->rank0;
    *out = c;
    c = NULL;
done:
    if (c && c->m && c->m[0].comm) /* ranks that started wait for rank 0 */
        c->m[0].comm->ops->abort(c->m[0].comm);
    if (c && c->m) {
        join_all(c);
        st = explain(c, st);
    }
    tlpi_crew_free(c);
    return st;
}

void tlpi_crew_free(tlpi_crew *c)
{
    if (!c)
        return;
    if (c->rank0 && !c->ended) {
        tlpi_command quit = { .op = TLPI_OP_QUIT };
        if (tlpi_command_run(c->rank0, &quit, NULL) != TLP_OK)
            c->rank0->comm->ops->abort(c->rank0->comm);
    }
    for (int i = 0; c->m && i < c->n; i++) {
        if (i > 0 && c->m[i].started)
            pthread_join(c->m[i].thread, NULL);
        tlpi_comm_free(c->m[i].comm);
    }
    tlpi_rank_free(c->rank0);
    tlpi_free(c->env, c->m);
    tlpi_free(c->env, c);
}

void tlpi_crew_add_sizes(const tlpi_crew *c, tlp_session_stats *stats)
{
    for (int i = 0; i < c->n; i++) {
        stats->weight_bytes += c->m[i].weight_bytes;
        stats->kv_bytes += c->m[i].kv_bytes;
        stats->buffer_bytes += c->m[i].buffer_bytes;
    }
}
