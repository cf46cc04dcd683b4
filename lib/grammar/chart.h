/*
 * chart.h - where a text is in a grammar.
 *
 * A local set is a set of positions of one automaton run.  A frame is what
 * follows such a run: pairs of a local set and the frame that the local set
 * runs in, one pair for each caller.  Calls of one rule at one place of the
 * text share a frame, so that an ambiguous grammar has at most one open run of
 * a rule for each place of the text, however many ways there are to read it.
 * A state is the set of all runs that are open: pairs of a frame and a local
 * set.  Local sets, frames and states are interned, and steps are remembered;
 * so a grammar becomes a table as it is used.
 *
 * One thread at a time uses a chart.
 */
#ifndef TLPI_CHART_H
#define TLPI_CHART_H

#include "grammar/automaton.h"
#include "grammar/interner.h"

/* Bounds on what a grammar may need; a chart that reaches one of them fails. */
enum {
    TLPI_CHART_MAX_RUN = 4096,     /* open runs of rules in a state */
    TLPI_CHART_MAX_INTS = 1 << 25, /* integers in a chart */
    TLPI_CHART_MAX_WORK = 1 << 27  /* positions looked at for one token */
};

/* The frame behind the whole text, and the frame behind a local set whose
 * callers are left open (tlpi_chart_alone). */
enum { TLPI_FRAME_ROOT, TLPI_FRAME_OPEN };

/* Flags of a state: the text may end here; the local set may end here. */
enum { TLPI_STATE_ACCEPT = 1, TLPI_STATE_EXIT = 2 };

#define TLPI_DEAD (-1) /* no state: the text does not match */

struct tlpi_mask;

/* What the positions of a local set read, besides what they call. */
enum { TLPI_READS_BYTES = 1, TLPI_READS_TOKENS = 2 };

/* What is remembered of a local set. */
typedef struct tlpi_local {
    int32_t table; /* steps by class of bytes in `table`; -1 = none yet */
    int32_t call;  /* pairs (rule, local set behind it) in `call`; -1 */
    int32_t n_call;
    int8_t reads;           /* TLPI_READS_*; -1 = unknown */
    struct tlpi_mask *mask; /* tokens that it reads, retained; or NULL */
} tlpi_local;

typedef struct tlpi_run {
    int32_t local, frame;
    bool popped;
} tlpi_run;

/* A call that waits for its frame. */
typedef struct tlpi_pending {
    int32_t local, frame, next;
} tlpi_pending;

/* A growing array of integers. */
typedef struct tlpi_ints {
    const tlpi_env *env;
    int32_t *data;
    size_t n, cap;
} tlpi_ints;
/* Add n values, copied from `from` or -2; returns where they begin, -1 when out
 * of memory. */
int64_t tlpi_ints_add(tlpi_ints *a, const int32_t *from, size_t n);

typedef struct tlpi_chart {
    const tlpi_env *env;
    const tlpi_automaton *m;
    tlp_status st; /* of the first failure since tlpi_chart_begin */
    uint64_t work; /* positions looked at since then */

    tlpi_interner locals; /* sorted positions; the end of a rule is 0 */
    tlpi_interner frames; /* pairs (frame, local set), sorted */
    tlpi_interner states; /* flags, then pairs (frame, local set), sorted */
    tlpi_local *local;    /* [cap_local] */
    size_t cap_local;
    tlpi_ints popped; /* by frame: the state behind its runs, -2 = unknown */
    tlpi_ints next;   /* by state: steps in `table`, -2 = none yet */
    tlpi_ints table, call;
    int32_t
        *start; /* [n_rule] local set at the start of a rule; -1 = unknown */

    /* scratch of a step */
    tlpi_run *run;
    size_t n_run, cap_run;
    int32_t flags;
    tlpi_ints run_of; /* by frame: its run, valid with the stamp behind it */
    int32_t run_stamp;
    tlpi_ints to_pop; /* runs that reached their end */
    tlpi_pending *pending;
    size_t n_pending, cap_pending;
    int32_t *first_pending; /* [n_rule] */
    uint64_t *rules;        /* bits of rules with pending calls */
    tlpi_ints row, merged;
    uint32_t *seen; /* [m->n] positions of the closure with that stamp */
    uint32_t seen_stamp;
    tlpi_ints todo;
} tlpi_chart;

tlp_status tlpi_chart_init(tlpi_chart *c, const tlpi_env *env,
                           const tlpi_automaton *m);
void tlpi_chart_free(tlpi_chart *c);

/* Begin a piece of work whose amount is bounded, and forget failures. */
void tlpi_chart_begin(tlpi_chart *c);
/* Record a failure.  Functions below that return TLPI_DEAD may have failed. */
void tlpi_chart_fail(tlpi_chart *c, tlp_status st);

/* The state before any text. */
int32_t tlpi_chart_first(tlpi_chart *c);
/* The state after a byte of a class. */
int32_t tlpi_chart_step(tlpi_chart *c, int32_t state, int cls);
/* The state after a token: n bytes, or none for a token that is no text. */
int32_t tlpi_chart_token(tlpi_chart *c, int32_t state, int32_t token,
                         const char *bytes, size_t n);
/* The state of a local set alone, whose callers are TLPI_FRAME_OPEN.  Rules
 * that it calls first are left out: they are runs of their own. */
int32_t tlpi_chart_alone(tlpi_chart *c, int32_t local);
/* The state of what follows the runs of a frame. */
int32_t tlpi_chart_popped(tlpi_chart *c, int32_t frame);

/* Flags of a state, and its runs as pairs (frame, local set). */
static inline int32_t tlpi_chart_flags(const tlpi_chart *c, int32_t state)
{
    return c->states.data[c->states.begin[state]];
}
static inline const int32_t *tlpi_chart_runs(const tlpi_chart *c, int32_t state,
                                             size_t *n)
{
    const int32_t *row = tlpi_interner_row(&c->states, state, n);

    *n = (*n - 1) / 2;
    return row + 1;
}

/* Integers in the chart. */
size_t tlpi_chart_size(const tlpi_chart *c);
/* Copy a state of another chart of this automaton to a new chart
 * (chart_import.c). */
int32_t tlpi_chart_import(tlpi_chart *c, const tlpi_chart *from, int32_t state);

/* ==== local sets (chart_local.c) ========================================= */

/* All functions return a local set, or TLPI_DEAD. */

/* The positions on `todo` and those that they reach without reading. */
int32_t tlpi_local_close(tlpi_chart *c);
int32_t tlpi_local_start(tlpi_chart *c, int32_t rule);
int32_t tlpi_local_step(tlpi_chart *c, int32_t local, int cls);
int32_t tlpi_local_token(tlpi_chart *c, int32_t local, int32_t token);
int32_t tlpi_local_union(tlpi_chart *c, int32_t a, int32_t b);
/* Find the calls of a local set: local->call and local->n_call. */
void tlpi_local_find_calls(tlpi_chart *c, int32_t local);
int tlpi_local_reads(tlpi_chart *c, int32_t local); /* TLPI_READS_* */
/* Does the local set hold the end of its rule? */
static inline bool tlpi_local_ends(const tlpi_chart *c, int32_t local)
{
    return c->locals.data[c->locals.begin[local]] == 0;
}
/* The number of a row of positions. */
int32_t tlpi_local_intern(tlpi_chart *c, const int32_t *row, size_t n);

#endif
