/*
 * rank_threads.c - the ranks of a session that live in rank 0's process: rank 0
 * on the caller's thread; each other, unless these are other processes, on a
 * thread of its own that builds itself, serves and ends.
 */
#include <pthread.h>
#include <string.h>

#include "base/pool.h"
#include "group/command.h"
#include "group/rank_threads.h"

typedef struct rank_thread {
    tlpi_rank_threads *threads;
    int index;
    tlpi_comm *comm; /* until the rank takes it over */
    pthread_t thread;
    bool started;
    tlp_status status; /* of building or serving; read after joining */
    char text[512];
} rank_thread;

struct tlpi_rank_threads {
    const tlpi_env *env;
    tlpi_rank_setup setup; /* of rank 0; other ranks do not use its hooks */
    tlpi_cores *cores;     /* of the caller's thread; NULL = do not bind */
    tlpi_rank *rank0;
    tlpi_rank_sizes total; /* memory of all ranks */
    bool ended;      /* the other threads are joined: the text of a failure must
                        outlive them */
    int n;           /* ranks in this process */
    rank_thread m[]; /* [n]; m[0] is the caller's */
};

static void report(rank_thread *m, tlp_status st)
{
    m->status = st;
    m->text[0] = '\0';
    if (st != TLP_OK)
        strncat(m->text, tlp_last_error(), sizeof(m->text) - 1);
}

static tlp_status build(rank_thread *m, tlpi_rank **out)
{
    tlpi_rank_setup setup = m->threads->setup;

    setup.comm = m->comm;
    m->comm = NULL;
    if (m->index > 0) {
        setup.abort = NULL;
        setup.progress = NULL;
    }
    tlp_status st =
        tlpi_rank_create(out, &setup, m->index ? NULL : &m->threads->total);
    report(m, st);
    return st;
}

static void *rank_thread_main(void *arg)
{
    rank_thread *m = arg;
    const tlpi_session_config *cfg = m->threads->setup.cfg;
    tlpi_rank *r = NULL;

    if (m->threads->cores)
        tlpi_cores_bind(m->threads->cores, m->threads->env, pthread_self(),
                        m->index * TLPI_MAX(cfg->n_thread, cfg->n_prefill));
    if (build(m, &r) == TLP_OK) {
        tlp_status st = tlpi_command_loop(r);
        if (st != TLP_OK) {
            report(m, st);
            tlpi_rank_abort(r, st);
        }
    }
    tlpi_rank_free(r);
    return NULL;
}

static tlp_status start(rank_thread *m)
{
    tlp_status st = tlpi_thread_start(&m->thread, rank_thread_main, m);

    if (st != TLP_OK)
        return tlpi_fail_prefix(st, "rank %d: ", m->index);
    m->started = true;
    return TLP_OK;
}

static void join_all(tlpi_rank_threads *c)
{
    for (int i = 1; i < c->n; i++) {
        if (c->m[i].started)
            pthread_join(c->m[i].thread, NULL);
        c->m[i].started = false;
    }
    c->ended = true;
}

/* The failure behind "a peer failed": the first rank that says more. */
static tlp_status explain(const tlpi_rank_threads *c, tlp_status st)
{
    if (st != TLP_ECOMM)
        return st;
    for (int i = 0; i < c->n; i++) {
        const rank_thread *m = &c->m[i];
        if (m->status != TLP_OK && m->status != TLP_ECOMM)
            return tlpi_fail(m->status, "rank %d: %s", i, m->text);
    }
    return st;
}

tlp_status tlpi_rank_threads_fail(tlpi_rank_threads *c, tlp_status st)
{
    tlpi_rank_abort(c->rank0, st);
    join_all(c);
    return explain(c, st);
}

static tlp_status create_comms(tlpi_rank_threads *c)
{
    const tlpi_session_config *cfg = c->setup.cfg;
    int n = c->n;

    if (c->setup.comm) {
        c->m[0].comm = c->setup.comm;
        return TLP_OK;
    }
    if (n == 1)
        return tlpi_comm_self_create(&c->m[0].comm, c->env);
    tlpi_comm **comm = tlpi_calloc(c->env, (size_t)n, sizeof(*comm));
    if (!comm)
        return tlpi_fail_nomem_for("rank threads");
    tlp_status st = tlpi_comm_threads_create(comm, c->env, n, cfg->n_machine,
                                             cfg->timeout_ms);
    if (st == TLP_OK)
        tlpi_comm_threads_set_spin(comm[0], cfg->spin_us);
    if (st == TLP_OK && cfg->link_delay_us > 0)
        tlpi_comm_threads_set_delay(comm[0], cfg->link_delay_us * 1e-6);
    for (int i = 0; i < n && st == TLP_OK; i++)
        c->m[i].comm = comm[i];
    tlpi_free(c->env, comm);
    return st;
}

tlp_status tlpi_rank_threads_create(tlpi_rank_threads **out, tlpi_rank **rank0,
                                    const tlpi_rank_setup *setup)
{
    const tlpi_env *env = &setup->plan->model->env;
    int n = setup->comm ? 1 : setup->cfg->n_rank;
    tlpi_rank_threads *c =
        tlpi_calloc(env, 1, sizeof(*c) + (size_t)n * sizeof(*c->m));
    tlp_status st = TLP_OK;

    *out = NULL;
    if (!c) {
        st = tlpi_fail_nomem_for("rank threads");
        if (setup->comm)
            tlpi_rank_give_up(setup->cfg, setup->comm, st);
        tlpi_comm_free(setup->comm);
        return st;
    }
    c->env = env;
    c->setup = *setup;
    c->n = n;
    for (int i = 0; i < n; i++) {
        c->m[i].threads = c;
        c->m[i].index = i;
    }
    TLP_TRY(create_comms(c));
    if (setup->cfg->pin)
        TLP_TRY(tlpi_cores_create(&c->cores, env));
    c->setup.cores = c->cores;
    for (int i = 1; i < c->n; i++)
        TLP_TRY(start(&c->m[i]));
    TLP_TRY(build(&c->m[0], &c->rank0));
    *rank0 = c->rank0;
    *out = c;
    c = NULL;
done:
    if (c && c->m[0].comm) /* ranks that started wait for rank 0 */
        c->m[0].comm->ops->abort(c->m[0].comm);
    if (c) {
        join_all(c);
        st = explain(c, st);
    }
    tlpi_rank_threads_free(c);
    return st;
}

void tlpi_rank_threads_free(tlpi_rank_threads *c)
{
    if (!c)
        return;
    if (c->rank0 && !c->ended) {
        tlpi_command quit = { .op = TLPI_OP_QUIT };
        tlp_status st = tlpi_command_run(c->rank0, &quit, NULL);
        if (st != TLP_OK)
            tlpi_rank_abort(c->rank0, st);
    }
    for (int i = 0; i < c->n; i++) {
        if (i > 0 && c->m[i].started)
            pthread_join(c->m[i].thread, NULL);
        tlpi_comm_free(c->m[i].comm);
    }
    tlpi_rank_free(c->rank0);
    tlpi_cores_free(c->cores);
    tlpi_free(c->env, c);
}

const tlpi_rank_sizes *tlpi_rank_threads_sizes(const tlpi_rank_threads *c)
{
    return &c->total;
}
