/*
 * emu_collective.cc - threads of a block that wait for each other: barriers,
 * and what the lanes of a warp do together.
 */
#include <cstring>

#include "emu_runner.h"

/* ==== barriers =========================================================== */

int emu_barrier(bool predicate, emu_place at)
{
    emu_runner *r = emu_running;
    int me = r->now;
    emu_thread *t = &r->thread[me];

    if (r->n_done > 0)
        for (int i = 0; i < r->n; i++)
            if (r->thread[i].state == DONE)
                emu_fault(at, "thread %d has left the kernel", i);
    t->at = at;
    r->votes += predicate;
    if (++r->n_arrived < r->n) {
        t->state = AT_BARRIER;
        emu_run_others(r);
        return r->barrier_result;
    }
    for (int i = 0; i < r->n; i++) {
        const emu_thread *other = &r->thread[i];
        if (other->at.line != at.line ||
            (other->at.file != at.file && strcmp(other->at.file, at.file) != 0))
            emu_fault(at, "thread %d is in %s", i, emu_place_text(other->at).s);
    }
    for (int i = 0; i < r->n; i++) {
        if (i == me)
            continue;
        r->thread[i].state = YIELDING;
        emu_make_ready(r, i);
    }
    r->barrier_result = r->votes;
    r->n_arrived = 0;
    r->votes = 0;
    r->barren = 0;
    return r->barrier_result;
}

static uint64_t combine(emu_kind kind, uint64_t a, uint64_t b)
{
    unsigned x = (unsigned)a, y = (unsigned)b;

    switch (kind) {
    case EMU_ADD:
        return x + y;
    case EMU_MIN:
        return x < y ? x : y;
    case EMU_MAX:
        return x > y ? x : y;
    case EMU_MIN_S:
        return (int)x < (int)y ? x : y;
    case EMU_MAX_S:
        return (int)x > (int)y ? x : y;
    case EMU_AND:
        return x & y;
    case EMU_OR:
        return x | y;
    default:
        return x ^ y;
    }
}

/* All lanes of the mask are there: their results. */
static void complete(emu_thread *lane, unsigned mask, emu_kind kind,
                     emu_place at)
{
    uint64_t all = 0;
    bool first = true;

    for (int i = 0; i < 32; i++) {
        if (!(mask >> i & 1))
            continue;
        emu_thread *t = &lane[i];
        if (kind == EMU_SHUFFLE) {
            if (!(mask >> t->source & 1))
                emu_fault(at, "lane %d reads lane %d, which is not in %08x", i,
                          t->source, mask);
            t->result = lane[t->source].value;
        } else if (kind == EMU_BALLOT) {
            all |= (uint64_t)(t->value != 0) << i;
        } else if (kind == EMU_MATCH) {
            t->result = 0;
            for (int k = 0; k < 32; k++)
                if ((mask >> k & 1) && lane[k].value == t->value)
                    t->result |= (uint64_t)1 << k;
        } else {
            all = first ? t->value : combine(kind, all, t->value);
        }
        first = false;
    }
    if (kind != EMU_SHUFFLE && kind != EMU_MATCH)
        for (int i = 0; i < 32; i++)
            if (mask >> i & 1)
                lane[i].result = all;
}

/* Whether all lanes of the running one's mask are there; faults if one never
 * can be. */
static bool all_lanes_wait(emu_runner *r)
{
    int me = r->now, base = me & ~31;
    emu_thread *lane = &r->thread[base];
    const emu_thread *t = &r->thread[me];
    unsigned mask = t->mask;

    for (int i = 0; i < 32; i++) {
        if (!(mask >> i & 1) || i == (me & 31))
            continue;
        if (base + i >= r->n)
            emu_fault(t->at, "lane %d of mask %08x does not exist", i, mask);
        if (lane[i].state == DONE)
            emu_fault(t->at, "lane %d of mask %08x has left the kernel", i,
                      mask);
        if (lane[i].state == IN_WARP && (lane[i].mask >> (me & 31) & 1) &&
            (lane[i].mask != mask || lane[i].kind != t->kind))
            emu_fault(t->at, "mask %08x, lane %d is in %s with mask %08x", mask,
                      i, emu_place_text(lane[i].at).s, lane[i].mask);
    }
    for (int i = 0; i < 32; i++)
        if ((mask >> i & 1) &&
            (lane[i].state != IN_WARP || !(lane[i].mask >> (me & 31) & 1)))
            return false;
    return true;
}

uint64_t emu_warp(emu_kind kind, unsigned mask, uint64_t value, int source,
                  emu_place at)
{
    emu_runner *r = emu_running;
    int me = r->now, base = me & ~31;
    emu_thread *lane = &r->thread[base], *t = &r->thread[me];
    emu_lanes *w = &r->warp[me / 32];

    if (!(mask >> (me & 31) & 1))
        emu_fault(at, "lane %d is not in its own mask %08x", me & 31, mask);
    t->at = at;
    t->kind = kind;
    t->mask = mask;
    t->value = value;
    t->source = source & 31;
    t->state = IN_WARP;
    if (!w->waiting) {
        w->mask = mask;
        w->kind = kind;
        w->mixed = false;
    } else if (w->mask != mask || w->kind != kind) {
        w->mixed = true;
    }
    w->waiting |= 1u << (me & 31);
    /* Lanes with one mask that all still run are counted; others looked at. */
    if (!(w->mixed || (mask & w->gone) ? all_lanes_wait(r)
                                       : w->waiting == mask)) {
        emu_run_others(r);
        return t->result;
    }
    complete(lane, mask, kind, at);
    w->waiting &= ~mask;
    for (int i = 0; i < 32; i++)
        if ((mask >> i & 1) && base + i != me) {
            lane[i].state = YIELDING;
            emu_make_ready(r, base + i);
        }
    t->state = RUNNING;
    r->barren = 0;
    return t->result;
}
