/*
 * comm_group.c - groups and families of ranks: making, ending, aborting.
 */
#include "comm/comm_threads.h"

/* Further than any wait's target: nobody waits for more than two phases. */
#define FAR (UINT32_C(1) << 30)

static void free_group(const tlpi_env *env, tlpi_group *g)
{
    if (!g)
        return;
    tlpi_free(env, g->handle);
    tlpi_free(env, g->station);
    tlpi_free(env, g);
}

static void free_family(tlpi_family *f)
{
    while (f->groups) { /* with handles that were never taken */
        tlpi_group *g = f->groups;
        f->groups = g->next;
        free_group(f->env, g);
    }
    pthread_mutex_destroy(&f->lock);
    tlpi_free(f->env, f);
}

tlp_status tlpi_group_create(tlpi_group **out, tlpi_family *f, int first,
                             int size, const tlpi_comm_ops *ops)
{
    *out = NULL;
    tlpi_group *g = tlpi_calloc(f->env, 1, sizeof *g);
    if (!g)
        return tlpi_fail_nomem();
    g->family = f;
    g->first = first;
    g->size = size;
    g->n_left = size;
    g->station = tlpi_calloc(f->env, (size_t)size, sizeof *g->station);
    g->handle = tlpi_calloc(f->env, (size_t)size, sizeof *g->handle);
    if (!g->station || !g->handle) {
        free_group(f->env, g);
        return tlpi_fail_nomem();
    }
    for (int r = 0; r < size; r++) {
        g->handle[r].group = g;
        g->handle[r].base =
            (tlpi_comm){ .ops = ops, .env = f->env, .rank = r, .size = size };
    }
    pthread_mutex_lock(&f->lock);
    g->next = f->groups;
    f->groups = g;
    pthread_mutex_unlock(&f->lock);
    *out = g;
    return TLP_OK;
}

tlp_status tlpi_family_create(tlpi_group **root, const tlpi_env *env, int size,
                              int n_machine, int timeout_ms,
                              const tlpi_comm_ops *ops)
{
    *root = NULL;
    tlpi_family *f = tlpi_calloc(env, 1, sizeof *f);
    if (!f)
        return tlpi_fail_nomem();
    f->env = env;
    f->timeout_ms = timeout_ms;
    f->spin_ns = tlpi_spin_ns(TLPI_MAX(size, n_machine));
    if (pthread_mutex_init(&f->lock, NULL) != 0) {
        tlpi_free(env, f);
        return tlpi_fail_nomem();
    }
    tlp_status st = tlpi_group_create(root, f, 0, size, ops);
    if (st != TLP_OK)
        free_family(f);
    return st;
}

tlpi_comm *tlpi_group_take(tlpi_group *g, int rank)
{
    tlpi_family *f = g->family;

    pthread_mutex_lock(&f->lock);
    f->n_handle++;
    pthread_mutex_unlock(&f->lock);
    return &g->handle[rank].base;
}

void tlpi_group_put(tlpi_comm_threads *c)
{
    tlpi_group *g = c->group;
    tlpi_family *f = g->family;
    const tlpi_env *env = f->env; /* f may go once the lock is open */

    pthread_mutex_lock(&f->lock);
    bool last_of_group = --g->n_left == 0;
    bool last_of_family = --f->n_handle == 0;
    if (last_of_group) {
        tlpi_group **link = &f->groups;
        while (*link != g)
            link = &(*link)->next;
        *link = g->next;
    }
    pthread_mutex_unlock(&f->lock);

    if (last_of_group)
        free_group(env, g);
    if (last_of_family)
        free_family(f);
}

/*
 * Waiters look for the culprit after every wait, so it is enough to let all
 * words jump ahead: whoever spins or sleeps on one finds its target reached.
 */
void tlpi_family_abort(tlpi_family *f, int rank)
{
    int none = 0;
    if (!atomic_compare_exchange_strong(&f->culprit, &none, rank + 1))
        return;

    pthread_mutex_lock(&f->lock);
    for (tlpi_group *g = f->groups; g; g = g->next) {
        for (int r = 0; r < g->size; r++) {
            tlpi_word_add(&g->station[r].phase, FAR);
            tlpi_word_add(&g->station[r].sent, FAR);
            tlpi_word_add(&g->station[r].taken, FAR);
        }
    }
    pthread_mutex_unlock(&f->lock);
}
