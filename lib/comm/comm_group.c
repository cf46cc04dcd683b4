/*
 * comm_group.c - groups of ranks in threads and their roots: create, free,
 * abort.
 */
#include "base/cores.h"
#include "comm/comm_threads.h"

static void free_group(const tlpi_env *env, tlpi_group *g)
{
    if (!g)
        return;
    tlpi_free(env, g->handle);
    tlpi_free(env, g->mailbox);
    tlpi_free(env, g);
}

static void free_root(tlpi_comm_root *root)
{
    while (root->groups) { /* these have handles that were never taken */
        tlpi_group *g = root->groups;
        root->groups = g->next;
        free_group(root->env, g);
    }
    pthread_mutex_destroy(&root->lock);
    tlpi_free(root->env, root);
}

tlp_status tlpi_group_create(tlpi_group **out, tlpi_comm_root *root, int first,
                             int size, const tlpi_comm_ops *ops)
{
    *out = NULL;
    tlpi_group *g = tlpi_calloc(root->env, 1, sizeof *g);
    if (!g)
        return tlpi_fail_nomem_for("a communicator");
    g->root = root;
    g->first = first;
    g->size = size;
    g->n_left = size;
    g->mailbox = tlpi_calloc(root->env, (size_t)size, sizeof *g->mailbox);
    g->handle = tlpi_calloc(root->env, (size_t)size, sizeof *g->handle);
    if (!g->mailbox || !g->handle) {
        free_group(root->env, g);
        return tlpi_fail_nomem_for("a communicator");
    }
    for (int r = 0; r < size; r++) {
        g->handle[r].group = g;
        g->handle[r].spin = root->spin;
        g->handle[r].base = (tlpi_comm){ .ops = ops,
                                         .env = root->env,
                                         .rank = r,
                                         .size = size,
                                         .link = "threads" };
    }
    pthread_mutex_lock(&root->lock);
    g->next = root->groups;
    root->groups = g;
    pthread_mutex_unlock(&root->lock);
    *out = g;
    return TLP_OK;
}

tlp_status tlpi_comm_root_create(tlpi_group **out, const tlpi_env *env,
                                 int size, int n_machine, int timeout_ms,
                                 const tlpi_comm_ops *ops)
{
    *out = NULL;
    tlpi_comm_root *root = tlpi_calloc(env, 1, sizeof *root);
    if (!root)
        return tlpi_fail_nomem_for("a communicator");
    root->env = env;
    root->timeout_ms = timeout_ms;
    root->n_machine = TLPI_MAX(size, n_machine);
    root->spin = tlpi_spin_make(0, root->n_machine, tlpi_n_cores());
    if (pthread_mutex_init(&root->lock, NULL) != 0) {
        tlpi_free(env, root);
        return tlpi_fail_nomem_for("a communicator");
    }
    tlp_status st = tlpi_group_create(out, root, 0, size, ops);
    if (st != TLP_OK)
        free_root(root);
    return st;
}

tlpi_comm *tlpi_group_take(tlpi_group *g, int rank)
{
    tlpi_comm_root *root = g->root;

    pthread_mutex_lock(&root->lock);
    root->n_handle++;
    pthread_mutex_unlock(&root->lock);
    return &g->handle[rank].base;
}

void tlpi_group_put(tlpi_comm_threads *c)
{
    tlpi_group *g = c->group;
    tlpi_comm_root *root = g->root;
    /* root may be freed after the lock is released */
    const tlpi_env *env = root->env;

    pthread_mutex_lock(&root->lock);
    bool last_of_group = --g->n_left == 0;
    bool last_of_root = --root->n_handle == 0;
    if (last_of_group) {
        tlpi_group **link = &root->groups;
        while (*link != g)
            link = &(*link)->next;
        *link = g->next;
    }
    pthread_mutex_unlock(&root->lock);

    if (last_of_group)
        free_group(env, g);
    if (last_of_root)
        free_root(root);
}

/*
 * Waiters check for a failed rank after every wait.  Advancing all words by
 * TLPI_ABORT_STEP therefore ends every wait, spinning or sleeping, because its
 * target is reached.
 */
void tlpi_comm_root_abort(tlpi_comm_root *root, int rank)
{
    int none = 0;
    if (!atomic_compare_exchange_strong(&root->failed_rank, &none, rank + 1))
        return;

    pthread_mutex_lock(&root->lock);
    for (tlpi_group *g = root->groups; g; g = g->next) {
        for (int r = 0; r < g->size; r++) {
            tlpi_word_add(&g->mailbox[r].phase, TLPI_ABORT_STEP);
            tlpi_word_add(&g->mailbox[r].sent, TLPI_ABORT_STEP);
            tlpi_word_add(&g->mailbox[r].taken, TLPI_ABORT_STEP);
        }
    }
    pthread_mutex_unlock(&root->lock);
}
