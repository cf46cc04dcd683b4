/*
 * chart_local.c - sets of positions of one automaton: closures, steps, calls.
 */
#include <stdlib.h>
#include <string.h>

#include "grammar/chart.h"

int64_t tlpi_ints_add(tlpi_ints *a, const int32_t *from, size_t n)
{
    size_t at = a->n;

    if (a->n + n > a->cap) {
        size_t cap = TLPI_MAX(2 * a->cap, a->n + n + 64);
        int32_t *data = tlpi_realloc_array(a->env, a->data, cap, sizeof *data);
        if (!data)
            return -1;
        a->data = data;
        a->cap = cap;
    }
    for (size_t i = 0; i < n; i++)
        a->data[at + i] = from ? from[i] : -2;
    a->n += n;
    return (int64_t)at;
}

/* Add one value; records a failure. */
static void add_int(tlpi_chart *c, tlpi_ints *a, int32_t value)
{
    if (tlpi_ints_add(a, &value, 1) < 0)
        tlpi_chart_fail(c, tlpi_fail_nomem_for("a matcher"));
}

/* ==== interning ========================================================== */

/* Room for what is remembered of one more local set. */
static bool fit_locals(tlpi_chart *c)
{
    if (c->locals.n < c->cap_local)
        return true;
    size_t cap = TLPI_MAX(64, 2 * c->cap_local);
    tlpi_local *local =
        tlpi_realloc_array(c->env, c->local, cap, sizeof *local);
    if (!local)
        return false;
    c->local = local;
    c->cap_local = cap;
    return true;
}

int32_t tlpi_local_intern(tlpi_chart *c, const int32_t *row, size_t n)
{
    if (n == 0)
        return TLPI_DEAD;
    size_t before = c->locals.n;
    int32_t id = fit_locals(c) ? tlpi_intern(&c->locals, row, n) : -1;

    if (id < 0) {
        tlpi_chart_fail(c, tlpi_fail_nomem_for("a matcher"));
        return TLPI_DEAD;
    }
    if ((size_t)id == before)
        c->local[id] = (tlpi_local){ .table = -1, .call = -1, .reads = -1 };
    return id;
}

static int compare(const void *pa, const void *pb)
{
    const int32_t *a = pa, *b = pb;

    return (*a > *b) - (*a < *b);
}

int32_t tlpi_local_close(tlpi_chart *c)
{
    const tlpi_position *at = c->m->at;

    if (++c->seen_stamp == 0) {
        memset(c->seen, 0, c->m->n * sizeof *c->seen);
        c->seen_stamp = 1;
    }
    c->row.n = 0;
    while (c->todo.n > 0 && c->st == TLP_OK) {
        int32_t i = c->todo.data[--c->todo.n];
        if (i < 0 || c->seen[i] == c->seen_stamp)
            continue;
        c->seen[i] = c->seen_stamp;
        c->work++;
        if (at[i].kind == TLPI_AT_FORK) {
            add_int(c, &c->todo, at[i].a);
            add_int(c, &c->todo, at[i].b);
        } else if (at[i].kind == TLPI_AT_GOTO) {
            add_int(c, &c->todo, c->m->start[at[i].b]);
        } else {
            add_int(c, &c->row, i);
        }
    }
    c->todo.n = 0;
    if (c->st != TLP_OK || c->row.n == 0)
        return TLPI_DEAD;
    qsort(c->row.data, c->row.n, sizeof *c->row.data, compare);
    return tlpi_local_intern(c, c->row.data, c->row.n);
}

int32_t tlpi_local_union(tlpi_chart *c, int32_t a, int32_t b)
{
    size_t na, nb, i = 0, k = 0;
    const int32_t *ra = tlpi_interner_row(&c->locals, a, &na);
    const int32_t *rb = tlpi_interner_row(&c->locals, b, &nb);

    if (a == b)
        return a;
    c->row.n = 0;
    c->work += na + nb;
    while (i < na || k < nb) {
        int32_t x = i == na || (k < nb && rb[k] < ra[i]) ? rb[k] : ra[i];
        i += i < na && ra[i] == x;
        k += k < nb && rb[k] == x;
        add_int(c, &c->row, x);
    }
    return c->st == TLP_OK ? tlpi_local_intern(c, c->row.data, c->row.n)
                           : TLPI_DEAD;
}

/* ==== steps ============================================================== */

int32_t tlpi_local_start(tlpi_chart *c, int32_t rule)
{
    if (c->start[rule] < 0) {
        add_int(c, &c->todo, c->m->start[rule]);
        c->start[rule] = tlpi_local_close(c);
    }
    return c->start[rule];
}

int32_t tlpi_local_step(tlpi_chart *c, int32_t local, int cls)
{
    const tlpi_automaton *m = c->m;
    uint8_t byte = m->member[cls];
    size_t n;

    if (c->local[local].table < 0) {
        int64_t at = tlpi_ints_add(&c->table, NULL, (size_t)m->n_class);
        if (at < 0) {
            tlpi_chart_fail(c, tlpi_fail_nomem_for("a matcher"));
            return TLPI_DEAD;
        }
        c->local[local].table = (int32_t)at;
    }
    size_t at = (size_t)c->local[local].table + (size_t)cls;
    if (c->table.data[at] != -2)
        return c->table.data[at];
    const int32_t *row = tlpi_interner_row(&c->locals, local, &n);
    c->work += n;
    for (size_t i = 0; i < n; i++) {
        const tlpi_position *p = &m->at[row[i]];
        if (p->kind == TLPI_AT_BYTES && p->lo <= byte && byte <= p->hi)
            add_int(c, &c->todo, p->a);
    }
    int32_t next = tlpi_local_close(c);
    if (c->st == TLP_OK)
        c->table.data[at] = next;
    return next;
}

int tlpi_local_reads(tlpi_chart *c, int32_t local)
{
    size_t n;
    const int32_t *row = tlpi_interner_row(&c->locals, local, &n);
    int reads = c->local[local].reads;

    if (reads >= 0)
        return reads;
    reads = 0;
    for (size_t i = 0; i < n; i++) {
        int kind = c->m->at[row[i]].kind;
        if (kind == TLPI_AT_BYTES)
            reads |= TLPI_READS_BYTES;
        else if (kind == TLPI_AT_TOKEN || kind == TLPI_AT_NOT)
            reads |= TLPI_READS_TOKENS;
    }
    c->local[local].reads = (int8_t)reads;
    return reads;
}

int32_t tlpi_local_token(tlpi_chart *c, int32_t local, int32_t token)
{
    size_t n;
    const int32_t *row = tlpi_interner_row(&c->locals, local, &n);

    for (size_t i = 0; i < n; i++) {
        const tlpi_position *p = &c->m->at[row[i]];
        if ((p->kind == TLPI_AT_TOKEN && p->b == token) ||
            (p->kind == TLPI_AT_NOT && p->b != token))
            add_int(c, &c->todo, p->a);
    }
    return tlpi_local_close(c);
}

/* ==== calls ============================================================== */

/* The place of the next rule that a row calls, from `least` on; -1: none. */
static int32_t next_rule(const tlpi_chart *c, const int32_t *row, size_t n,
                         int32_t least)
{
    int32_t best = -1;

    for (size_t i = 0; i < n; i++) {
        const tlpi_position *p = &c->m->at[row[i]];
        if (p->kind == TLPI_AT_CALL && p->b >= least &&
            (best < 0 || p->b < best))
            best = p->b;
    }
    return best;
}

void tlpi_local_find_calls(tlpi_chart *c, int32_t local)
{
    int32_t rule = 0, n_call = 0;
    size_t n, begin = c->call.n;

    if (c->local[local].call >= 0)
        return;
    for (;; rule++) {
        /* Closures below may move the row. */
        const int32_t *row = tlpi_interner_row(&c->locals, local, &n);
        c->work += n;
        rule = next_rule(c, row, n, rule);
        if (rule < 0 || c->st != TLP_OK)
            break;
        for (size_t i = 0; i < n; i++) {
            const tlpi_position *p = &c->m->at[row[i]];
            if (p->kind == TLPI_AT_CALL && p->b == rule)
                add_int(c, &c->todo, p->a);
        }
        int32_t behind = tlpi_local_close(c);
        add_int(c, &c->call, rule);
        add_int(c, &c->call, behind);
        n_call++;
    }
    c->local[local].call = (int32_t)begin;
    c->local[local].n_call = c->st == TLP_OK ? n_call : 0;
}
