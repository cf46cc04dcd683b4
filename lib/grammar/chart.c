/*
 * chart.c - states: the runs that are open, and how they change with a byte or
 * a token.
 *
 * A step moves every run by the byte; pops runs that reached the end of their
 * rule, so that what follows their frame becomes a run; then opens runs of the
 * rules that are called now, callers before the rules that they call.
 */
#include "grammar/chart.h"
#include "grammar/mask.h"

#include <stdlib.h>
#include <string.h>

/* ==== lifetime =========================================================== */

tlp_status tlpi_chart_init(tlpi_chart *c, const tlpi_env *env,
                           const tlpi_automaton *m)
{
    static const int32_t open[] = { -1 };
    size_t n_rule = (size_t)m->n_rule, n_bits = (n_rule + 63) / 64;
    tlpi_ints *ints[] = { &c->popped, &c->next,   &c->table,
                          &c->call,   &c->run_of, &c->to_pop,
                          &c->merged, &c->row,    &c->todo };

    memset(c, 0, sizeof *c);
    c->env = env;
    c->m = m;
    c->locals.env = c->frames.env = c->states.env = env;
    for (size_t i = 0; i < TLPI_COUNT(ints); i++)
        ints[i]->env = env;
    c->start = tlpi_alloc_array(env, n_rule, sizeof *c->start);
    c->first_pending = tlpi_alloc_array(env, n_rule, sizeof *c->first_pending);
    c->rules = tlpi_calloc(env, n_bits, sizeof *c->rules);
    c->seen = tlpi_calloc(env, m->n, sizeof *c->seen);
    if (!c->start || !c->first_pending || !c->rules || !c->seen)
        return tlpi_fail_nomem_for("a matcher");
    memset(c->start, 0xff, n_rule * sizeof *c->start);
    memset(c->first_pending, 0xff, n_rule * sizeof *c->first_pending);
    if (tlpi_intern(&c->frames, NULL, 0) != TLPI_FRAME_ROOT ||
        tlpi_intern(&c->frames, open, 1) != TLPI_FRAME_OPEN)
        return tlpi_fail_nomem_for("a matcher");
    return TLP_OK;
}

void tlpi_chart_free(tlpi_chart *c)
{
    tlpi_ints *ints[] = { &c->popped, &c->next,   &c->table,
                          &c->call,   &c->run_of, &c->to_pop,
                          &c->merged, &c->row,    &c->todo };

    for (size_t i = 0; i < c->locals.n && i < c->cap_local; i++)
        tlpi_mask_release(c->env, c->local[i].mask);
    tlpi_interner_free(&c->locals);
    tlpi_interner_free(&c->frames);
    tlpi_interner_free(&c->states);
    for (size_t i = 0; i < TLPI_COUNT(ints); i++)
        tlpi_free(c->env, ints[i]->data);
    tlpi_free(c->env, c->local);
    tlpi_free(c->env, c->start);
    tlpi_free(c->env, c->run);
    tlpi_free(c->env, c->pending);
    tlpi_free(c->env, c->first_pending);
    tlpi_free(c->env, c->rules);
    tlpi_free(c->env, c->seen);
    memset(c, 0, sizeof *c);
}

void tlpi_chart_begin(tlpi_chart *c)
{
    c->st = TLP_OK;
    c->work = 0;
}

void tlpi_chart_fail(tlpi_chart *c, tlp_status st)
{
    if (c->st == TLP_OK)
        c->st = st;
}

size_t tlpi_chart_size(const tlpi_chart *c)
{
    return c->locals.n_data + c->frames.n_data + c->states.n_data + c->table.n +
           c->call.n + 8 * (c->locals.n + c->frames.n + c->states.n);
}

static void fail_nomem(tlpi_chart *c)
{
    tlpi_chart_fail(c, tlpi_fail_nomem_for("a matcher"));
}

static void check_bounds(tlpi_chart *c)
{
    if (c->n_run > TLPI_CHART_MAX_RUN)
        tlpi_chart_fail(c, tlpi_fail(TLP_ENOTSUP,
                                     "grammar: more than %d rules are open at "
                                     "one place of the text",
                                     TLPI_CHART_MAX_RUN));
    if (c->work > TLPI_CHART_MAX_WORK)
        tlpi_chart_fail(c, tlpi_fail(TLP_ENOTSUP,
                                     "grammar: a token needs more than %d "
                                     "steps",
                                     TLPI_CHART_MAX_WORK));
    if (tlpi_chart_size(c) > TLPI_CHART_MAX_INTS)
        tlpi_chart_fail(c, tlpi_fail(TLP_ENOTSUP,
                                     "grammar: a token needs more than %d MB "
                                     "of states",
                                     TLPI_CHART_MAX_INTS >> 18));
}

/* ==== runs of the state that is being made =============================== */

static void begin_runs(tlpi_chart *c)
{
    c->n_run = 0;
    c->flags = 0;
    c->to_pop.n = 0;
    c->n_pending = 0;
    if (++c->run_stamp == INT32_MAX) {
        c->run_of.n = 0;
        c->run_stamp = 1;
    }
}

/* The place of a frame's run and its stamp in run_of. */
static int32_t *run_slot(tlpi_chart *c, int32_t frame)
{
    size_t need = 2 * ((size_t)frame + 1);

    if (c->run_of.n < need &&
        tlpi_ints_add(&c->run_of, NULL,
                      TLPI_MAX(need, c->run_of.n * 2) - c->run_of.n) < 0) {
        fail_nomem(c);
        return NULL;
    }
    return &c->run_of.data[need - 2];
}

static bool push_run(tlpi_chart *c, tlpi_run run)
{
    if (c->n_run == c->cap_run) {
        size_t cap = c->cap_run ? 2 * c->cap_run : 32;
        tlpi_run *p = tlpi_realloc_array(c->env, c->run, cap, sizeof *p);
        if (!p) {
            fail_nomem(c);
            return false;
        }
        c->run = p;
        c->cap_run = cap;
    }
    c->run[c->n_run++] = run;
    return true;
}

/* Add a local set to the run of a frame. */
static void add_run(tlpi_chart *c, int32_t local, int32_t frame)
{
    int32_t *slot = local >= 0 && c->st == TLP_OK ? run_slot(c, frame) : NULL;

    if (!slot)
        return;
    c->work++;
    if (slot[1] != c->run_stamp) {
        slot[0] = (int32_t)c->n_run;
        slot[1] = c->run_stamp;
        if (!push_run(c, (tlpi_run){ local, frame, false }))
            return;
        check_bounds(c);
    } else {
        int32_t both = tlpi_local_union(c, c->run[slot[0]].local, local);
        if (both < 0)
            return;
        c->run[slot[0]].local = both;
    }
    tlpi_run *run = &c->run[slot[0]];
    if (!run->popped && tlpi_local_ends(c, run->local) &&
        tlpi_ints_add(&c->to_pop, slot, 1) < 0)
        fail_nomem(c);
}

/* What follows the frames of runs that reached their end. */
static void pop_runs(tlpi_chart *c)
{
    while (c->to_pop.n > 0 && c->st == TLP_OK) {
        tlpi_run *run = &c->run[c->to_pop.data[--c->to_pop.n]];
        int32_t frame = run->frame;
        if (run->popped)
            continue;
        run->popped = true;
        if (frame == TLPI_FRAME_ROOT)
            c->flags |= TLPI_STATE_ACCEPT;
        else if (frame == TLPI_FRAME_OPEN)
            c->flags |= TLPI_STATE_EXIT;
        else {
            size_t n;
            const int32_t *pair = tlpi_interner_row(&c->frames, frame, &n);
            for (size_t i = 0; i < n; i += 2)
                add_run(c, pair[i + 1], pair[i]);
        }
    }
}

/* ==== calls ============================================================== */

static void add_pending(tlpi_chart *c, int32_t rule, tlpi_pending p)
{
    if (c->n_pending == c->cap_pending) {
        size_t cap = c->cap_pending ? 2 * c->cap_pending : 32;
        tlpi_pending *all =
            tlpi_realloc_array(c->env, c->pending, cap, sizeof *all);
        if (!all) {
            fail_nomem(c);
            return;
        }
        c->pending = all;
        c->cap_pending = cap;
    }
    p.next = c->first_pending[rule];
    c->first_pending[rule] = (int32_t)c->n_pending;
    c->pending[c->n_pending++] = p;
    c->rules[rule / 64] |= UINT64_C(1) << (rule % 64);
}

/* The calls of a local set wait for their frames. */
static void add_calls(tlpi_chart *c, int32_t local, int32_t frame)
{
    tlpi_local_find_calls(c, local);
    int32_t at = c->local[local].call, n = c->local[local].n_call;

    c->work += (uint64_t)n;
    for (int32_t i = 0; i < n && c->st == TLP_OK; i++)
        add_pending(c, c->call.data[at + 2 * i],
                    (tlpi_pending){ c->call.data[at + 2 * i + 1], frame, -1 });
}

static int compare_pairs(const void *pa, const void *pb)
{
    const int32_t *a = pa, *b = pb;

    return a[0] != b[0] ? (a[0] > b[0]) - (a[0] < b[0])
                        : (a[1] > b[1]) - (a[1] < b[1]);
}

/* The frame of the calls of a rule that wait. */
static int32_t make_frame(tlpi_chart *c, int32_t rule)
{
    tlpi_ints *m = &c->merged;
    size_t n = 0;

    m->n = 0;
    for (int32_t i = c->first_pending[rule]; i >= 0; i = c->pending[i].next) {
        const int32_t pair[] = { c->pending[i].frame, c->pending[i].local };
        if (tlpi_ints_add(m, pair, 2) < 0)
            fail_nomem(c);
    }
    c->first_pending[rule] = -1;
    c->rules[rule / 64] &= ~(UINT64_C(1) << (rule % 64));
    if (c->st != TLP_OK)
        return TLPI_DEAD;
    qsort(m->data, m->n / 2, 2 * sizeof *m->data, compare_pairs);
    for (size_t i = 0; i < m->n; i += 2) {
        if (n > 0 && m->data[n - 2] == m->data[i]) {
            m->data[n - 1] =
                tlpi_local_union(c, m->data[n - 1], m->data[i + 1]);
        } else {
            m->data[n++] = m->data[i];
            m->data[n++] = m->data[i + 1];
        }
    }
    if (c->st != TLP_OK)
        return TLPI_DEAD;
    int32_t frame = tlpi_intern(&c->frames, m->data, n);
    if (frame < 0)
        fail_nomem(c);
    return frame;
}

/* The first rule with waiting calls; -1: none. */
static int32_t first_rule(const tlpi_chart *c, int32_t from)
{
    int32_t n_word = (c->m->n_rule + 63) / 64;

    for (int32_t i = from / 64; i < n_word; i++)
        if (c->rules[i])
            return 64 * i + __builtin_ctzll(c->rules[i]);
    return -1;
}

/* Open runs of all rules that are called before anything is read.  A rule that
 * may be empty is a fork of its callers, so its end is not popped here. */
static void open_runs(tlpi_chart *c)
{
    size_t n = c->n_run;
    int32_t rule = 0;

    for (size_t i = 0; i < n && c->st == TLP_OK; i++)
        add_calls(c, c->run[i].local, c->run[i].frame);
    while ((rule = first_rule(c, rule)) >= 0) {
        int32_t frame = make_frame(c, rule);
        int32_t start = frame >= 0 ? tlpi_local_start(c, rule) : TLPI_DEAD;

        if (start < 0) /* also clears what waits after a failure */
            continue;
        add_run(c, start, frame);
        add_calls(c, start, frame);
    }
}

/* The number of the state that has been made.  Runs that read nothing are left
 * out: their calls have runs of their own, and their ends were popped. */
static int32_t end_runs(tlpi_chart *c)
{
    tlpi_ints *m = &c->merged;
    size_t n = 0;

    pop_runs(c);
    open_runs(c);
    if (c->st != TLP_OK)
        return TLPI_DEAD;
    m->n = 0;
    bool ok = tlpi_ints_add(m, &c->flags, 1) >= 0;
    for (size_t i = 0; i < c->n_run && ok; i++) {
        const int32_t pair[] = { c->run[i].frame, c->run[i].local };
        if (tlpi_local_reads(c, pair[1]) == 0)
            continue;
        ok = tlpi_ints_add(m, pair, 2) >= 0;
        n++;
    }
    if (ok && n == 0 && c->flags == 0)
        return TLPI_DEAD;
    int32_t state = TLPI_DEAD;
    if (ok) {
        qsort(m->data + 1, n, 2 * sizeof *m->data, compare_pairs);
        state = tlpi_intern(&c->states, m->data, m->n);
    }
    if (state < 0)
        fail_nomem(c);
    return state;
}

/* ==== steps ============================================================== */

/* The value of an array that grows with ids; new ones are -2. */
static int32_t *memo(tlpi_chart *c, tlpi_ints *a, int32_t id)
{
    size_t need = (size_t)id + 1;

    if (a->n < need && tlpi_ints_add(a, NULL, need - a->n) < 0) {
        fail_nomem(c);
        return NULL;
    }
    return &a->data[id];
}

int32_t tlpi_chart_first(tlpi_chart *c)
{
    begin_runs(c);
    add_run(c, tlpi_local_start(c, c->m->root), TLPI_FRAME_ROOT);
    return end_runs(c);
}

int32_t tlpi_chart_alone(tlpi_chart *c, int32_t local)
{
    const int32_t row[] = { 0, TLPI_FRAME_OPEN, local };
    int32_t state = tlpi_intern(&c->states, row, 3);

    if (state < 0)
        fail_nomem(c);
    return state;
}

static int32_t step(tlpi_chart *c, int32_t state, int cls)
{
    size_t n;

    tlpi_chart_runs(c, state, &n);
    begin_runs(c);
    for (size_t i = 0; i < n && c->st == TLP_OK; i++) {
        /* States may move while local sets are made. */
        const int32_t *pair = tlpi_chart_runs(c, state, &n) + 2 * i;
        add_run(c, tlpi_local_step(c, pair[1], cls), pair[0]);
    }
    return end_runs(c);
}

int32_t tlpi_chart_step(tlpi_chart *c, int32_t state, int cls)
{
    int32_t *table = memo(c, &c->next, state);

    if (table && *table < 0) {
        int64_t at = tlpi_ints_add(&c->table, NULL, (size_t)c->m->n_class);
        if (at < 0)
            fail_nomem(c);
        *table = (int32_t)at;
    }
    if (c->st != TLP_OK)
        return TLPI_DEAD;
    size_t at = (size_t)*table + (size_t)cls;
    int32_t next = c->table.data[at];
    if (next == -2) {
        next = step(c, state, cls);
        if (c->st == TLP_OK)
            c->table.data[at] = next;
    }
    return next;
}

int32_t tlpi_chart_popped(tlpi_chart *c, int32_t frame)
{
    int32_t *known = memo(c, &c->popped, frame);
    size_t n;

    if (!known || *known != -2)
        return known ? *known : TLPI_DEAD;
    if (frame <= TLPI_FRAME_OPEN)
        return *known = TLPI_DEAD;
    begin_runs(c);
    tlpi_interner_row(&c->frames, frame, &n);
    for (size_t i = 0; i < n; i += 2) {
        const int32_t *pair = tlpi_interner_row(&c->frames, frame, &n) + i;
        add_run(c, pair[1], pair[0]);
    }
    int32_t state = end_runs(c);
    if (c->st == TLP_OK)
        c->popped.data[frame] = state;
    return state;
}

int32_t tlpi_chart_token(tlpi_chart *c, int32_t state, int32_t token,
                         const char *bytes, size_t n)
{
    int32_t by_text = n > 0 ? state : TLPI_DEAD;
    size_t n_run;
    bool reads = false;

    for (size_t i = 0; i < n && by_text >= 0; i++)
        by_text =
            tlpi_chart_step(c, by_text, c->m->class_of[(uint8_t)bytes[i]]);
    const int32_t *pair = tlpi_chart_runs(c, state, &n_run);
    for (size_t i = 0; i < n_run; i++)
        reads |=
            (tlpi_local_reads(c, pair[2 * i + 1]) & TLPI_READS_TOKENS) != 0;
    if (!reads || c->st != TLP_OK)
        return by_text;
    begin_runs(c);
    for (size_t i = 0; i < n_run; i++) {
        pair = tlpi_chart_runs(c, state, &n_run) + 2 * i;
        add_run(c, tlpi_local_token(c, pair[1], token), pair[0]);
    }
    if (by_text >= 0) {
        c->flags = tlpi_chart_flags(c, by_text);
        pair = tlpi_chart_runs(c, by_text, &n_run);
        for (size_t i = 0; i < n_run; i++)
            add_run(c, pair[2 * i + 1], pair[2 * i]);
    }
    return end_runs(c);
}
