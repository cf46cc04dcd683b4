/*
 * seq_task.c - what a caller wants done to a sequence between two steps: saving
 * it, loading it, forgetting it.
 *
 * The caller hangs a task into the engine's list and waits.  The thread that
 * steps does the tasks at the beginning of a step; where no thread steps, the
 * caller does them itself.
 */
#include <stdio.h>

#include "engine/engine_state.h"

typedef tlp_status (*work_fn)(tlp_session *session, int32_t seq,
                              const char *path);

struct tlpi_engine_task {
    work_fn work;
    int32_t seq;
    const char *path;
    bool keep; /* the sequence holds something that later prompts may want */
    int32_t n; /* positions that were saved, loaded or forgotten */
    tlp_status status;
    char text[512];
    bool done;
    tlpi_engine_task *next;
};

/* ==== doing ============================================================== */

static tlp_status do_work(tlp_engine *e, tlpi_engine_task *t)
{
    const tlpi_request_choice *user = e->seq[t->seq].choice;
    int32_t before = tlp_session_pos(e->session, t->seq);
    tlp_status st;

    if (user)
        return tlpi_fail(TLP_EBUSY, "sequence %d: request %llu uses it", t->seq,
                         (unsigned long long)user->request->id);
    st = t->work(e->session, t->seq, t->path);
    if (st == TLP_OK) {
        e->seq[t->seq].used = t->keep ? ++e->clock : 0;
        t->n = t->keep ? tlp_session_pos(e->session, t->seq) : before;
    }
    return st;
}

/* Take one task out of the list; NULL: there is none. */
static tlpi_engine_task *take(tlp_engine *e)
{
    pthread_mutex_lock(&e->lock);
    tlpi_engine_task *t = e->task;

    if (t)
        e->task = t->next;
    pthread_mutex_unlock(&e->lock);
    return t;
}

static void finish(tlp_engine *e, tlpi_engine_task *t, tlp_status st)
{
    if (st != TLP_OK)
        snprintf(t->text, sizeof(t->text), "%s", tlp_last_error());
    pthread_mutex_lock(&e->lock);
    t->status = st;
    t->done = true; /* from here on it belongs to its caller alone */
    pthread_cond_broadcast(&e->between);
    pthread_mutex_unlock(&e->lock);
}

tlp_status tlpi_engine_do_tasks(tlp_engine *e)
{
    tlpi_engine_task *t;
    tlp_status st;

    while ((t = take(e))) {
        st = do_work(e, t);
        if (!tlpi_engine_is_fatal(st)) { /* before its caller looks */
            tlpi_engine_count_session(e);
            tlpi_engine_count_slots(e);
        }
        finish(e, t, st);
        if (tlpi_engine_is_fatal(st))
            return st;
    }
    return TLP_OK;
}

/* ==== waiting ============================================================ */

/* Do all tasks here.  The caller holds lock and step_lock. */
static void do_here(tlp_engine *e)
{
    e->no_step = true;
    pthread_mutex_unlock(&e->lock);
    (void)tlpi_engine_check_task(e, tlpi_engine_do_tasks(e));
    tlpi_engine_leave(e);
    pthread_mutex_lock(&e->lock);
}

static void hang(tlp_engine *e, tlpi_engine_task *t)
{
    tlpi_engine_task **end = &e->task;

    while (*end)
        end = &(*end)->next;
    *end = t;
}

static void unhang(tlp_engine *e, const tlpi_engine_task *t)
{
    tlpi_engine_task **place = &e->task;

    while (*place && *place != t)
        place = &(*place)->next;
    if (*place)
        *place = t->next;
}

/* step_lock is tried under lock: whoever has it announces under lock that it
 * was released (tlpi_engine_leave), so that no announcement is missed. */
static tlp_status wait_for_task(tlp_engine *e, tlpi_engine_task *t)
{
    tlp_status st = TLP_OK;

    pthread_mutex_lock(&e->lock);
    hang(e, t);
    pthread_cond_signal(&e->work);
    while (!t->done && !e->broken) {
        if (pthread_mutex_trylock(&e->step_lock) == 0)
            do_here(e);
        else
            pthread_cond_wait(&e->between, &e->lock);
    }
    if (!t->done) {
        unhang(e, t);
        st = tlpi_fail(e->broken, "%s", e->broken_text);
    }
    pthread_mutex_unlock(&e->lock);
    return st;
}

/* ==== calls ============================================================== */

static tlp_status run_task(int32_t *n_held, tlp_engine *e, tlpi_engine_task *t)
{
    tlp_status st = tlpi_engine_check(e);

    if (n_held)
        *n_held = 0;
    if (st == TLP_OK)
        st = tlpi_engine_check_seq(e, t->seq);
    if (st == TLP_OK)
        st = wait_for_task(e, t);
    if (st != TLP_OK)
        return st;
    if (t->status != TLP_OK)
        return tlpi_fail(t->status, "%s", t->text);
    if (n_held)
        *n_held = t->n;
    return TLP_OK;
}

static tlp_status forget(tlp_session *session, int32_t seq, const char *path)
{
    (void)path;
    return tlp_session_clear(session, seq);
}

tlp_status tlp_engine_save_file(int32_t *n_held, tlp_engine *engine,
                                int32_t seq, const char *path)
{
    tlpi_engine_task t = {
        .work = tlp_session_save_file, .seq = seq, .path = path, .keep = true
    };

    return run_task(n_held, engine, &t);
}

tlp_status tlp_engine_load_file(int32_t *n_held, tlp_engine *engine,
                                int32_t seq, const char *path)
{
    tlpi_engine_task t = {
        .work = tlp_session_load_file, .seq = seq, .path = path, .keep = true
    };

    return run_task(n_held, engine, &t);
}

tlp_status tlp_engine_clear(int32_t *n_held, tlp_engine *engine, int32_t seq)
{
    tlpi_engine_task t = { .work = forget, .seq = seq };

    return run_task(n_held, engine, &t);
}
