/*
 * engine_life.c - an engine's lifetime, its thread and its counters.
 */
#include <string.h>
#include <unistd.h>

#include "base/pool.h"
#include "engine/engine_state.h"

#define DEFAULT_REQUESTS 256
#define DEFAULT_CHUNK 64
#define DEFAULT_SEQS 8
#define DEFAULT_DRAFT 8
#define CHECK_MS 1000 /* between two looks at idle ranks */

/* Numbers of requests have 16 bits for a slot. */
enum { MAX_REQUESTS = 1 << 16 };

/* ==== creating =========================================================== */

static tlp_status check_options(const tlp_engine_options *o)
{
    if (o->n_request < 0 || o->n_request > MAX_REQUESTS)
        return tlpi_fail(TLP_EINVAL,
                         "engine option n_request: %d is outside 0 to %d",
                         o->n_request, MAX_REQUESTS);
    if (o->n_chunk < 0)
        return tlpi_fail(TLP_EINVAL, "engine option n_chunk: %d is negative",
                         o->n_chunk);
    if (o->n_draft < -1 || o->n_draft > TLPI_MAX_DRAFT)
        return tlpi_fail(TLP_EINVAL,
                         "engine option n_draft: %d is outside -1 to %d",
                         o->n_draft, TLPI_MAX_DRAFT);
    return TLP_OK;
}

static tlp_status create_session(tlp_engine *e, const tlp_engine_options *o)
{
    tlp_session_options s = TLP_SESSION_OPTIONS_INIT;
    tlp_status st;

    TLP_TRY(
        tlpi_options_read(&s, sizeof(s), o->session, "tlp_session_options"));
    if (s.n_seq == 0)
        s.n_seq = DEFAULT_SEQS;
    TLP_TRY(tlp_session_create(&e->session, e->plan, &s));
    e->n_seq = e->session->cfg.n_seq;
    e->n_ctx = e->session->cfg.n_ctx;
    e->n_batch = e->session->cfg.n_batch;
    e->n_chunk = TLPI_MIN(o->n_chunk ? o->n_chunk : DEFAULT_CHUNK, e->n_batch);
    e->n_draft = o->n_draft ? TLPI_MAX(o->n_draft, 0) : DEFAULT_DRAFT;
    e->n_request = o->n_request ? o->n_request : DEFAULT_REQUESTS;
done:
    return st;
}

static tlp_status alloc_tables(tlp_engine *e)
{
    size_t n_seq = (size_t)e->n_seq;
    size_t n = n_seq * (size_t)(1 + e->n_draft) + (size_t)e->n_batch;
    size_t n_request = (size_t)e->n_request;

    e->seq = tlpi_calloc(e->env, n_seq, sizeof(*e->seq));
    e->cost.plain = tlpi_calloc(e->env, n_seq + 1, sizeof(*e->cost.plain));
    e->token = tlpi_alloc_array(e->env, n, sizeof(*e->token));
    e->token_seq = tlpi_alloc_array(e->env, n, sizeof(*e->token_seq));
    e->want = tlpi_alloc_array(e->env, n, sizeof(*e->want));
    e->row = tlpi_alloc_array(e->env, n, sizeof(*e->row));
    e->pool = tlpi_calloc(e->env, n_seq, sizeof(*e->pool));
    e->slot = tlpi_calloc(e->env, n_seq, sizeof(*e->slot));
    e->free_slot = tlpi_alloc_array(e->env, n_request, sizeof(*e->free_slot));
    e->cancel = tlpi_calloc(e->env, n_request, sizeof(*e->cancel));
    if (!e->seq || !e->cost.plain || !e->token || !e->token_seq || !e->want ||
        !e->row || !e->pool || !e->slot || !e->free_slot || !e->cancel)
        return tlpi_fail_nomem_for("an engine");
    while (e->n_free < e->n_request) {
        e->free_slot[e->n_free] = e->n_request - 1 - e->n_free;
        e->n_free++;
    }
    return TLP_OK;
}

static void init_locks(tlp_engine *e)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->step_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&e->work, &attr);
    pthread_cond_init(&e->news, &attr);
    pthread_cond_init(&e->between, &attr);
    pthread_condattr_destroy(&attr);
}

static void release(tlp_engine *e)
{
    const tlpi_env *env = e->env;
    tlp_plan *plan = e->plan;

    while (e->first_event) {
        tlpi_event *event = e->first_event;

        e->first_event = event->next;
        tlpi_event_free(event);
    }
    tlp_session_free(e->session);
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->step_lock);
    pthread_cond_destroy(&e->work);
    pthread_cond_destroy(&e->news);
    pthread_cond_destroy(&e->between);
    tlpi_free(env, e->seq);
    tlpi_free(env, e->cost.plain);
    tlpi_free(env, e->token);
    tlpi_free(env, e->token_seq);
    tlpi_free(env, e->want);
    tlpi_free(env, e->row);
    tlpi_free(env, e->pool);
    tlpi_free(env, e->slot);
    tlpi_free(env, e->free_slot);
    tlpi_free(env, e->cancel);
    tlpi_free(env, e);
    tlp_plan_free(plan); /* last: env lives in its model */
}

tlp_status tlp_engine_create(tlp_engine **out, tlp_plan *plan,
                             const tlp_engine_options *opts)
{
    tlp_engine_options o = { 0 };
    tlp_engine *e = NULL;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !plan)
        return tlpi_fail(TLP_EINVAL, "out and plan are required");
    TLP_TRY(tlpi_options_read(&o, sizeof(o), opts, "tlp_engine_options"));
    TLP_TRY(check_options(&o));
    e = tlpi_calloc(&plan->model->env, 1, sizeof(*e));
    if (!e)
        return tlpi_fail_nomem_for("an engine");
    e->env = &plan->model->env;
    e->plan = tlpi_plan_retain(plan);
    e->pid = getpid();
    e->event_end = &e->first_event;
    e->waiting.end = &e->waiting.first;
    e->running.end = &e->running.first;
    init_locks(e);
    TLP_TRY(create_session(e, &o));
    TLP_TRY(alloc_tables(e));
    tlpi_engine_count_session(e);
    tlpi_engine_count_slots(e);
    *out = e;
    e = NULL;
done:
    if (e)
        release(e);
    return st;
}

tlp_status tlpi_engine_check(const tlp_engine *e)
{
    if (!e)
        return tlpi_fail(TLP_EINVAL, "engine is required");
    if (e->pid != getpid())
        return tlpi_fail(TLP_ESTATE,
                         "the engine belongs to process %ld, this is a child "
                         "of it",
                         (long)e->pid);
    return TLP_OK;
}

tlp_status tlpi_engine_check_seq(const tlp_engine *e, int32_t seq)
{
    if (seq < 0 || seq >= e->n_seq)
        return tlpi_fail(TLP_EINVAL, "sequence %d: the engine has 0 to %d", seq,
                         e->n_seq - 1);
    return TLP_OK;
}

tlpi_request *tlpi_engine_run(tlp_engine *e, tlpi_request **place)
{
    tlpi_request *r = tlpi_request_take(&e->waiting, place);

    tlpi_request_push(&e->running, r);
    e->stats.n_choice += r->o.n_choice;
    return r;
}

/* ==== stepping =========================================================== */

void tlpi_engine_leave(tlp_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->no_step = false;
    pthread_mutex_unlock(&e->step_lock);
    pthread_cond_broadcast(&e->between);
    pthread_mutex_unlock(&e->lock);
}

/* Take step_lock, waiting for a caller's tasks; false: another thread steps. */
static bool enter(tlp_engine *e)
{
    pthread_mutex_lock(&e->lock);
    bool got = pthread_mutex_trylock(&e->step_lock) == 0;
    bool tasks = e->no_step;
    pthread_mutex_unlock(&e->lock);
    if (!got && tasks)
        got = pthread_mutex_lock(&e->step_lock) == 0;
    return got;
}

/* One step, unless the engine was stopped; holds step_lock. */
static tlp_status step(tlp_engine *e, int32_t *n_left)
{
    tlp_status st = TLP_OK;

    pthread_mutex_lock(&e->lock);
    bool stopping = e->stopping;
    if (e->broken)
        st = tlpi_fail(e->broken, "%s", e->broken_text);
    pthread_mutex_unlock(&e->lock);
    if (st == TLP_OK && !stopping)
        st = tlpi_engine_step(e);
    pthread_mutex_lock(&e->lock);
    *n_left = e->waiting.n + e->running.n;
    pthread_mutex_unlock(&e->lock);
    return st;
}

tlp_status tlp_engine_step(int32_t *n_left, tlp_engine *e)
{
    int32_t n = 0;
    tlp_status st = tlpi_engine_check(e);

    if (n_left)
        *n_left = 0;
    if (st != TLP_OK)
        return st;
    if (!enter(e))
        return tlpi_fail(TLP_ESTATE, "another thread steps the engine");
    st = step(e, &n);
    tlpi_engine_leave(e);
    if (n_left)
        *n_left = n;
    return st;
}

static bool is_idle(const tlp_engine *e)
{
    return !e->stopping && e->waiting.n + e->running.n == 0 && !e->task;
}

/* Wait under lock for a request, a task or the end.  With ranks in other
 * processes the wait ends after CHECK_MS, and the function returns false. */
static bool wait_for_work(tlp_engine *e)
{
    struct timespec end = tlpi_engine_in_ms(CHECK_MS);
    int err = 0;

    while (is_idle(e) && err == 0) {
        if (e->session->cfg.remote)
            err = pthread_cond_timedwait(&e->work, &e->lock, &end);
        else
            pthread_cond_wait(&e->work, &e->lock);
    }
    return err == 0;
}

/* Wait for work; false when the engine is to stop. */
static bool has_work(tlp_engine *e)
{
    bool more, found;

    do {
        pthread_mutex_lock(&e->lock);
        found = wait_for_work(e);
        more = !e->stopping;
        pthread_mutex_unlock(&e->lock);
        if (!found && tlpi_engine_check_ranks(e) != TLP_OK)
            return false;
    } while (!found);
    return more;
}

static void *run(void *arg)
{
    tlp_engine *e = arg;
    int32_t n;

    pthread_mutex_lock(&e->step_lock);
    while (has_work(e) && step(e, &n) == TLP_OK)
        ;
    tlpi_engine_leave(e);
    return NULL;
}

tlp_status tlp_engine_start(tlp_engine *e)
{
    tlp_status st = tlpi_engine_check(e);

    if (st != TLP_OK)
        return st;
    pthread_mutex_lock(&e->lock);
    if (e->started || e->stopping)
        st = tlpi_fail(TLP_ESTATE, "the engine was %s before",
                       e->started ? "started" : "stopped");
    else
        st = tlpi_thread_start(&e->thread, run, e);
    e->started |= st == TLP_OK;
    pthread_mutex_unlock(&e->lock);
    return st;
}

/* ==== ending ============================================================= */

void tlp_engine_stop(tlp_engine *e)
{
    if (!e || e->pid != getpid())
        return;
    pthread_mutex_lock(&e->lock);
    bool join = e->started;
    e->started = false;
    e->stopping = true;
    pthread_cond_broadcast(&e->work);
    pthread_mutex_unlock(&e->lock);
    if (join)
        pthread_join(e->thread, NULL);
    pthread_mutex_lock(&e->step_lock);
    tlpi_engine_end_all(e, TLP_STOP_CANCEL, TLP_OK, "");
    tlpi_engine_leave(e);
    pthread_mutex_lock(&e->lock);
    e->stopped = true;
    pthread_cond_broadcast(&e->news);
    pthread_mutex_unlock(&e->lock);
}

void tlp_engine_free(tlp_engine *e)
{
    if (!e || e->pid != getpid())
        return;
    tlp_engine_stop(e);
    release(e);
}

/* ==== counters =========================================================== */

tlp_status tlp_engine_get_stats(tlp_engine_stats *out, tlp_engine *e)
{
    tlp_engine_stats s;
    tlp_status st = tlpi_engine_check(e);

    if (st != TLP_OK)
        return st;
    if (!out)
        return tlpi_fail(TLP_EINVAL, "out is required");
    pthread_mutex_lock(&e->lock);
    s = e->stats;
    s.n_seq = e->n_seq;
    s.n_ctx = e->n_ctx;
    s.n_waiting = e->waiting.n;
    s.n_running = e->running.n;
    pthread_mutex_unlock(&e->lock);
    return tlpi_struct_write(out, &s, sizeof(s), "tlp_engine_stats");
}

tlp_status tlp_engine_get_session_stats(tlp_session_stats *out, tlp_engine *e)
{
    tlp_session_stats s;
    tlp_status st = tlpi_engine_check(e);

    if (st != TLP_OK)
        return st;
    if (!out)
        return tlpi_fail(TLP_EINVAL, "out is required");
    pthread_mutex_lock(&e->lock);
    s = e->session_stats;
    pthread_mutex_unlock(&e->lock);
    return tlpi_struct_write(out, &s, sizeof(s), "tlp_session_stats");
}

tlp_status tlp_engine_get_slot(tlp_slot *out, tlp_engine *e, int32_t seq)
{
    tlp_slot s;
    tlp_status st = tlpi_engine_check(e);

    if (st != TLP_OK)
        return st;
    if (!out)
        return tlpi_fail(TLP_EINVAL, "out is required");
    st = tlpi_engine_check_seq(e, seq);
    if (st != TLP_OK)
        return st;
    pthread_mutex_lock(&e->lock);
    s = e->slot[seq];
    pthread_mutex_unlock(&e->lock);
    return tlpi_struct_write(out, &s, sizeof(s), "tlp_slot");
}
