/*
 * pool.c - regions of tasks, which threads claim.
 *
 * A range is one word, the next task and the end.  Its owner claims from the
 * front, other threads from the back, each with one exchange.  A thread reads
 * fn and arg only after it has claimed a task.  Since a region ends when all
 * of its claimed tasks are reported, fn and arg are then those of the task's
 * region, also for a thread that arrives late.
 *
 * A thread reports its tasks together, when no task is left to claim.
 */
#include "base/pool.h"

#include <stdalign.h>
#include <time.h>

#include "base/wait.h"

/* A wait of a caller that has nothing left to do is a stall when it lasts
 * longer than this, seconds, and longer than four of the caller's own tasks. */
#define STALL 200e-6

/* Seconds for which the caller watches its CPU time after a region that took
 * longer than a stall, because another thread may use the caller's core. */
#define WATCH 100e-3

/* Seconds for which a worker is set aside when its stalls cost more than its
 * work gains; twice as long when that happens again soon. */
#define ASIDE_LEAST 10e-3
#define ASIDE_MOST 320e-3

#define SLOTS_PER_WORD 64

typedef struct pool_slot {
    /* tasks not claimed, see pack_range */
    alignas(64) _Atomic uint64_t range;
    alignas(64) atomic_int busy; /* its thread claims or works */
    atomic_int parked; /* its worker waits for `go`, not for regions */
    tlpi_word go;
    tlpi_spin spin;
    pthread_t thread; /* of slots above 0 */
    int index;
    tlpi_pool *pool;
    /* the caller's notes */
    bool aside;        /* parked because of stalls */
    bool late;         /* in the stall that is going on */
    double ran;        /* CPU time until the end of its last stall */
    double aside_time; /* seconds, of the last time */
    double back_at;    /* end of that time */
} pool_slot;

struct tlpi_pool {
    /* First cache line: published with a region. */
    alignas(64) tlpi_word region; /* regions begun */
    tlpi_turn_fn fn;
    void *arg;
    atomic_int quit;
    /* Slots with tasks not claimed, one bit each. */
    alignas(64) _Atomic uint64_t open[TLPI_MAX_THREAD / SLOTS_PER_WORD];
    alignas(64) tlpi_word done; /* tasks done, of all regions */
    alignas(64) const tlpi_env *env;
    int n_thread;
    int n_used; /* slots that regions use */
    int n_aside;
    int n_started;      /* workers */
    double watch_until; /* the caller's CPU time is watched until then */
    tlp_pool host;
    pool_slot *slot; /* [n_thread] */
};

/* ==== claiming =========================================================== */

static uint64_t pack_range(int next, int end)
{
    return (uint64_t)(uint32_t)next << 32 | (uint32_t)end;
}

static void close_slot(tlpi_pool *pool, int slot)
{
    atomic_fetch_and(&pool->open[slot / SLOTS_PER_WORD],
                     ~(UINT64_C(1) << slot % SLOTS_PER_WORD));
}

/* Claim a task of a slot, from the front or from the back. */
static bool claim_from(tlpi_pool *pool, int slot, bool front, int *task)
{
    _Atomic uint64_t *range = &pool->slot[slot].range;
    uint64_t seen = atomic_load_explicit(range, memory_order_relaxed);
    int next, end;

    do {
        next = (int)(seen >> 32);
        end = (int)(seen & UINT32_MAX);
        if (next >= end)
            return false;
        *task = front ? next++ : --end;
    } while (
        !atomic_compare_exchange_weak(range, &seen, pack_range(next, end)));
    if (next == end)
        close_slot(pool, slot);
    return true;
}

/* The first slot in [from, to) with tasks, or -1. */
static int find_open(const tlpi_pool *pool, int from, int to)
{
    while (from < to) {
        uint64_t word = atomic_load(&pool->open[from / SLOTS_PER_WORD]);
        word >>= from % SLOTS_PER_WORD;
        if (word) {
            from += __builtin_ctzll(word);
            return from < to ? from : -1;
        }
        from += SLOTS_PER_WORD - from % SLOTS_PER_WORD;
    }
    return -1;
}

static bool steal(tlpi_pool *pool, int from, int to, int *task)
{
    int i = from;

    while ((i = find_open(pool, i, to)) >= 0)
        if (claim_from(pool, i++, false, task))
            return true;
    return false;
}

static bool claim(tlpi_turn *t)
{
    tlpi_pool *pool = t->pool;

    if (!claim_from(pool, t->slot, true, &t->task) &&
        !steal(pool, t->slot + 1, pool->n_thread, &t->task) &&
        !steal(pool, 0, t->slot, &t->task))
        return false;
    t->n_claimed++;
    return true;
}

bool tlpi_turn_next(tlpi_turn *t)
{
    return t->pool ? claim(t) : ++t->task < t->n_alone;
}

/* Claim and do tasks until none is left; returns their number. */
static int join(tlpi_pool *pool, int slot)
{
    tlpi_turn t = { .slot = slot, .pool = pool };

    if (claim(&t)) {
        pool->fn(pool->arg, &t);
        tlpi_word_add(&pool->done, (uint32_t)t.n_claimed);
    }
    return t.n_claimed;
}

/* ==== threads of the pool ================================================ */

static uint32_t count_of(const tlpi_word *w)
{
    return atomic_load_explicit(&w->count, memory_order_acquire);
}

static void *work(void *arg)
{
    pool_slot *self = arg;
    tlpi_pool *pool = self->pool;
    uint32_t seen = 0;

    for (;;) {
        tlpi_word_wait(&pool->region, seen + 1, &self->spin, 0);
        seen = count_of(&pool->region);
        uint32_t go = count_of(&self->go);
        if (atomic_load(&pool->quit))
            return NULL;
        if (atomic_load(&self->parked)) {
            tlpi_word_wait(&self->go, go + 1, NULL, 0);
            seen = count_of(&pool->region) - 1; /* a region may be open */
            continue;
        }
        atomic_store(&self->busy, 1);
        join(pool, self->index);
        atomic_store_explicit(&self->busy, 0, memory_order_release);
    }
}

static void unpark(pool_slot *slot)
{
    atomic_store(&slot->parked, 0);
    tlpi_word_add(&slot->go, 1);
}

static void set_aside(tlpi_pool *pool, pool_slot *slot, double now)
{
    bool soon = now - slot->back_at < 8 * slot->aside_time;

    slot->aside_time =
        soon ? TLPI_MIN(2 * slot->aside_time, ASIDE_MOST) : ASIDE_LEAST;
    slot->back_at = now + slot->aside_time;
    slot->aside = true;
    pool->n_aside++;
    atomic_store(&slot->parked, 1);
}

static void take_back(tlpi_pool *pool, pool_slot *slot)
{
    slot->aside = false;
    pool->n_aside--;
    unpark(slot);
}

/* ==== regions ============================================================ */

static void run_alone(int n_task, tlpi_turn_fn fn, void *arg)
{
    tlpi_turn t = { .n_alone = n_task };

    fn(arg, &t);
}

/* The workers whose time aside is over take part again. */
static void look_aside(tlpi_pool *pool, double now)
{
    for (int i = 1; i < pool->n_used && pool->n_aside > 0; i++)
        if (pool->slot[i].aside && now >= pool->slot[i].back_at)
            take_back(pool, &pool->slot[i]);
}

/* Give every slot in use its range; then open them. */
static void publish(tlpi_pool *pool, int n_task)
{
    int64_t n_part = pool->n_used - pool->n_aside, part = 0;
    uint64_t open[TLPI_COUNT(pool->open)] = { 0 };

    for (int i = 0; i < pool->n_used; i++) {
        if (pool->slot[i].aside)
            continue;
        int next = (int)(n_task * part / n_part);
        int end = (int)(n_task * ++part / n_part);
        if (next == end)
            continue;
        atomic_store_explicit(&pool->slot[i].range, pack_range(next, end),
                              memory_order_release);
        open[i / SLOTS_PER_WORD] |= UINT64_C(1) << i % SLOTS_PER_WORD;
    }
    for (int i = 0; i <= (pool->n_used - 1) / SLOTS_PER_WORD; i++)
        atomic_store_explicit(&pool->open[i], open[i], memory_order_release);
}

static double seconds_of(clockid_t clock)
{
    struct timespec t = { 0 };

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/*
 * All threads lost `lost` seconds because a worker was off its core, or because
 * the caller was off its core while the worker had one.  The worker has done at
 * most as much work for them as it has used CPU time since it was judged last.
 */
static void judge(tlpi_pool *pool, pool_slot *slot, double lost, double now)
{
    clockid_t clock;

    if (pthread_getcpuclockid(slot->thread, &clock) != 0)
        return;
    double ran = seconds_of(clock);
    if (lost * (pool->n_used - pool->n_aside) > ran - slot->ran)
        set_aside(pool, slot, now);
    slot->ran = ran;
}

/* The caller worked on a region from `start` to `now`, after `cpu` seconds of
 * CPU time, 0 = unknown. */
static void judge_caller(tlpi_pool *pool, double start, double now, double cpu)
{
    if (now - start < STALL)
        return;
    pool->watch_until = now + WATCH;
    double lost =
        cpu > 0 ? now - start - (seconds_of(CLOCK_THREAD_CPUTIME_ID) - cpu) : 0;
    for (int i = pool->n_used - 1; i > 0 && lost > STALL; i--)
        if (!pool->slot[i].aside) {
            judge(pool, &pool->slot[i], lost, now);
            return;
        }
}

/* Wait until all tasks are done; `pace` is the time of one task of the
 * caller. */
static void await_done(tlpi_pool *pool, uint32_t target, double now,
                       double pace)
{
    if (tlpi_word_wait(&pool->done, target, &pool->slot[0].spin,
                       now + TLPI_MAX(STALL, 4 * pace)))
        return;
    for (int i = 1; i < pool->n_used; i++)
        pool->slot[i].late =
            !pool->slot[i].aside && atomic_load(&pool->slot[i].busy);
    tlpi_word_wait(&pool->done, target, NULL, 0);
    double end = tlpi_now();
    for (int i = 1; i < pool->n_used; i++) {
        if (pool->slot[i].late)
            judge(pool, &pool->slot[i], end - now, end);
        pool->slot[i].late = false;
    }
}

/* The function that the host runs for every slot.  A second call for a slot
 * while the first one works has nothing to do, because the first one claims
 * all tasks that are left. */
static void run_slot(void *arg, int32_t slot)
{
    tlpi_pool *pool = arg;

    if (slot < 0 || slot >= pool->n_thread ||
        atomic_exchange(&pool->slot[slot].busy, 1))
        return;
    join(pool, slot);
    atomic_store_explicit(&pool->slot[slot].busy, 0, memory_order_release);
}

/* The caller does what the host left undone. */
static void run_hosted(tlpi_pool *pool, int n_task, uint32_t target)
{
    int n = TLPI_MIN(n_task, pool->n_used);

    pool->host.run(n, run_slot, pool, pool->host.user);
    while (!tlpi_word_reached(&pool->done, target)) {
        for (int i = 0; i < pool->n_thread; i++)
            run_slot(pool, i);
        tlpi_word_wait(&pool->done, target, NULL, tlpi_now() + 1e-3);
    }
}

void tlpi_pool_run(tlpi_pool *pool, int n_task, tlpi_turn_fn fn, void *arg)
{
    double start = 0;

    if (n_task < 1)
        return;
    if (pool->n_aside > 0)
        look_aside(pool, start = tlpi_now());
    if (n_task == 1 || pool->n_used - pool->n_aside == 1) {
        run_alone(n_task, fn, arg);
        return;
    }
    uint32_t target = count_of(&pool->done) + (uint32_t)n_task;
    pool->fn = fn;
    pool->arg = arg;
    publish(pool, n_task);
    if (pool->host.run) {
        run_hosted(pool, n_task, target);
        return;
    }
    if (start == 0)
        start = tlpi_now();
    double cpu =
        start < pool->watch_until ? seconds_of(CLOCK_THREAD_CPUTIME_ID) : 0;
    tlpi_word_add(&pool->region, 1);
    int n = join(pool, 0);
    double now = tlpi_now();
    judge_caller(pool, start, now, cpu);
    if (!tlpi_word_reached(&pool->done, target))
        await_done(pool, target, now, n ? (now - start) / n : now - start);
}

typedef struct mapping {
    tlpi_task_fn fn;
    void *arg;
    int n_task;
} mapping;

static void map_turn(void *arg, tlpi_turn *t)
{
    const mapping *m = arg;

    do
        m->fn(m->arg, t->task, m->n_task);
    while (tlpi_turn_next(t));
}

void tlpi_pool_map(tlpi_pool *pool, int n_task, tlpi_task_fn fn, void *arg)
{
    mapping m = { fn, arg, n_task };

    tlpi_pool_run(pool, n_task, map_turn, &m);
}

/* ==== lifetime =========================================================== */

static tlp_status start_workers(tlpi_pool *pool, const tlpi_pool_options *opts)
{
    tlp_status st = TLP_OK;

    for (int i = 1; i < pool->n_thread; i++) {
        TLP_TRY(tlpi_thread_start(&pool->slot[i].thread, work, &pool->slot[i]));
        pool->n_started++;
        if (opts->cores)
            tlpi_cores_bind(opts->cores, pool->env, pool->slot[i].thread,
                            opts->first_core + i);
    }
done:
    return st;
}

tlp_status tlpi_pool_create(tlpi_pool **out, const tlpi_env *env,
                            const tlpi_pool_options *opts)
{
    tlp_status st = TLP_OK;
    tlpi_pool *pool = NULL;
    int n = opts->n_thread;

    *out = NULL;
    if (n < 1 || n > TLPI_MAX_THREAD)
        return tlpi_fail(TLP_EINVAL, "n_thread %d: 1 to %d expected", n,
                         TLPI_MAX_THREAD);
    pool = tlpi_calloc(env, 1, sizeof *pool);
    if (!pool)
        return tlpi_fail_nomem_for("threads");
    pool->env = env;
    pool->n_thread = pool->n_used = n;
    pool->host = opts->host;
    pool->slot = tlpi_calloc(env, (size_t)n, sizeof *pool->slot);
    if (!pool->slot)
        TLP_TRY(tlpi_fail_nomem_for("threads"));
    for (int i = 0; i < n; i++) {
        pool->slot[i].index = i;
        pool->slot[i].pool = pool;
        pool->slot[i].spin =
            tlpi_spin_make(opts->spin_us, TLPI_MAX(n, opts->n_machine),
                           opts->n_core ? opts->n_core : tlpi_n_cores());
    }
    if (!opts->host.run)
        TLP_TRY(start_workers(pool, opts));
    *out = pool;
    pool = NULL;
done:
    tlpi_pool_free(pool);
    return st;
}

void tlpi_pool_free(tlpi_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->quit, 1);
    tlpi_word_add(&pool->region, 1);
    for (int i = 1; i <= pool->n_started; i++)
        tlpi_word_add(&pool->slot[i].go, 1);
    for (int i = 1; i <= pool->n_started; i++)
        pthread_join(pool->slot[i].thread, NULL);
    tlpi_free(pool->env, pool->slot);
    tlpi_free(pool->env, pool);
}

int tlpi_pool_size(const tlpi_pool *pool)
{
    return pool->n_thread;
}

int tlpi_pool_in_use(const tlpi_pool *pool)
{
    return pool->n_used;
}

void tlpi_pool_use(tlpi_pool *pool, int n)
{
    n = TLPI_MIN(TLPI_MAX(n, 1), pool->n_thread);
    for (int i = n; i < pool->n_used; i++) {
        if (pool->slot[i].aside)
            pool->n_aside--;
        pool->slot[i].aside = false;
        atomic_store(&pool->slot[i].parked, 1);
    }
    for (int i = pool->n_used; i < n; i++)
        unpark(&pool->slot[i]);
    pool->n_used = n;
}
