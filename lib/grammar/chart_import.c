/*
 * chart_import.c - copy a state, with the frames and local sets that it needs,
 * to another chart of the automaton.
 */
#include "grammar/chart.h"

/* A frame refers to frames with smaller numbers alone, so two passes over the
 * numbers do without recursion. */
typedef struct import {
    tlpi_chart *to;
    const tlpi_chart *from;
    int32_t *frame; /* [frames] -1: not needed; needed: the new number */
    tlpi_ints row;
} import;

static int32_t import_local(import *m, int32_t local)
{
    size_t n;
    const int32_t *row = tlpi_interner_row(&m->from->locals, local, &n);

    return tlpi_local_intern(m->to, row, n);
}

/* Pairs (frame, local set) with new numbers, in m->row. */
static void import_pairs(import *m, const int32_t *pair, size_t n)
{
    for (size_t i = 0; i < 2 * n && m->to->st == TLP_OK; i += 2) {
        const int32_t made[] = { m->frame[pair[i]],
                                 import_local(m, pair[i + 1]) };
        if (tlpi_ints_add(&m->row, made, 2) < 0)
            tlpi_chart_fail(m->to, tlpi_fail_nomem_for("a matcher"));
    }
}

static void mark_needed(import *m, int32_t state)
{
    size_t n, n_frame = m->from->frames.n;
    const int32_t *pair = tlpi_chart_runs(m->from, state, &n);

    for (size_t i = 0; i < n_frame; i++)
        m->frame[i] = -1;
    for (size_t i = 0; i < n; i++)
        m->frame[pair[2 * i]] = 0;
    for (size_t f = n_frame; f-- > TLPI_FRAME_OPEN + 1;) {
        if (m->frame[f] < 0)
            continue;
        pair = tlpi_interner_row(&m->from->frames, (int32_t)f, &n);
        for (size_t i = 0; i < n; i += 2)
            m->frame[pair[i]] = 0;
    }
}

static void import_frames(import *m)
{
    m->frame[TLPI_FRAME_ROOT] = TLPI_FRAME_ROOT;
    m->frame[TLPI_FRAME_OPEN] = TLPI_FRAME_OPEN;
    for (size_t f = TLPI_FRAME_OPEN + 1; f < m->from->frames.n; f++) {
        size_t n;
        if (m->frame[f] < 0)
            continue;
        const int32_t *pair =
            tlpi_interner_row(&m->from->frames, (int32_t)f, &n);
        m->row.n = 0;
        import_pairs(m, pair, n / 2);
        /* New numbers have the order of the old ones: pairs stay sorted. */
        m->frame[f] = m->to->st == TLP_OK
                          ? tlpi_intern(&m->to->frames, m->row.data, m->row.n)
                          : 0;
        if (m->frame[f] < 0)
            tlpi_chart_fail(m->to, tlpi_fail_nomem_for("a matcher"));
    }
}

int32_t tlpi_chart_import(tlpi_chart *c, const tlpi_chart *from, int32_t state)
{
import m = {.to = c, .from = from, .row = {.env = c->env } };
    int32_t flags = tlpi_chart_flags(from, state), made = TLPI_DEAD;
    size_t n;

    m.frame = tlpi_alloc_array(c->env, from->frames.n, sizeof *m.frame);
    if (!m.frame) {
        tlpi_chart_fail(c, tlpi_fail_nomem_for("a matcher"));
        return TLPI_DEAD;
    }
    mark_needed(&m, state);
    import_frames(&m);
    m.row.n = 0;
    if (c->st == TLP_OK && tlpi_ints_add(&m.row, &flags, 1) >= 0) {
        const int32_t *pair = tlpi_chart_runs(from, state, &n);
        import_pairs(&m, pair, n);
    }
    if (c->st == TLP_OK && m.row.n > 0)
        made = tlpi_intern(&c->states, m.row.data, m.row.n);
    if (made < 0)
        tlpi_chart_fail(c, tlpi_fail_nomem_for("a matcher"));
    tlpi_free(c->env, m.row.data);
    tlpi_free(c->env, m.frame);
    return made;
}
