/*
 * gbnf_class.c - classes of characters: sorted ranges of code points.
 */
#include <stdlib.h>
#include <string.h>

#include "grammar/gbnf.h"

static tlp_status add_range(tlpi_gbnf *g, uint32_t lo, uint32_t hi)
{
    tlpi_tree *t = g->t;

    if (!tlpi_tree_reserve(t->env, (void **)&t->range, t->n_range,
                           &t->cap_range, sizeof *t->range))
        return tlpi_fail_nomem_for("a grammar");
    t->range[t->n_range++] = (tlpi_code_range){ lo, hi };
    return TLP_OK;
}

static int compare_ranges(const void *pa, const void *pb)
{
    const tlpi_code_range *a = pa, *b = pb;

    return (a->lo > b->lo) - (a->lo < b->lo);
}

/* Sort the ranges from `first` on, and join those that touch. */
static void sort_ranges(tlpi_tree *t, size_t first)
{
    size_t n = t->n_range - first, kept = 0;

    if (n == 0)
        return;
    tlpi_code_range *r = t->range + first;
    qsort(r, n, sizeof *r, compare_ranges);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && r[i].lo <= r[kept - 1].hi + 1)
            r[kept - 1].hi = TLPI_MAX(r[kept - 1].hi, r[i].hi);
        else
            r[kept++] = r[i];
    }
    t->n_range = first + kept;
}

/* The sorted ranges from `first` on become all other characters. */
static tlp_status negate(tlpi_gbnf *g, size_t first)
{
    tlpi_tree *t = g->t;
    size_t end = t->n_range, n = 0;
    uint32_t lo = 0;
    tlp_status st = TLP_OK;

    for (size_t i = first; i < end; i++) {
        tlpi_code_range x = t->range[i];
        if (x.lo > lo)
            TLP_TRY(add_range(g, lo, x.lo - 1));
        lo = x.hi + 1;
    }
    if (lo <= 0x10ffff)
        TLP_TRY(add_range(g, lo, 0x10ffff));
    n = t->n_range - end;
    memmove(t->range + first, t->range + end, n * sizeof *t->range);
    t->n_range = first + n;
done:
    return st;
}

/* Do the ranges have more than surrogates, which are no characters? */
static bool has_character(const tlpi_tree *t, size_t first)
{
    for (size_t i = first; i < t->n_range; i++)
        if (t->range[i].lo < 0xd800 || t->range[i].hi > 0xdfff)
            return true;
    return false;
}

/* A class behind its '['. */
tlp_status tlpi_gbnf_class(tlpi_gbnf *g, int32_t *out)
{
    tlpi_gbnf_lex *x = &g->x;
    tlpi_tree *t = g->t;
    size_t first = t->n_range;
    tlp_status st = TLP_OK;

    x->s++;
    bool other = tlpi_gbnf_peek(x) == '^';
    x->s += other;
    while (tlpi_gbnf_peek(x) != ']') {
        uint32_t lo = 0, hi;
        if (x->s == x->end)
            return tlpi_gbnf_expect(x, "] at the end of a class");
        TLP_TRY(tlpi_gbnf_char(x, &lo));
        hi = lo;
        if (tlpi_gbnf_peek(x) == '-' && x->s + 1 < x->end && x->s[1] != ']') {
            x->s++;
            TLP_TRY(tlpi_gbnf_char(x, &hi));
        }
        if (hi < lo)
            return tlpi_gbnf_fail(x, TLP_EFORMAT,
                                  "a range from U+%04X down to U+%04X", lo, hi);
        if (t->n_range - first == 4096)
            return tlpi_gbnf_fail(x, TLP_ENOTSUP,
                                  "a class of more than 4096 ranges");
        TLP_TRY(add_range(g, lo, hi));
    }
    x->s++;
    sort_ranges(t, first);
    if (other)
        TLP_TRY(negate(g, first));
    if (!has_character(t, first))
        return tlpi_gbnf_fail(x, TLP_EFORMAT, "a class without a character");
    st = tlpi_gbnf_add(g, out, TLPI_TREE_CLASS, (uint32_t)first,
                       (uint32_t)(t->n_range - first));
done:
    return st;
}

tlp_status tlpi_gbnf_any(tlpi_gbnf *g, int32_t *out)
{
    tlp_status st = add_range(g, 0, 0x10ffff);

    g->x.s++;
    return st != TLP_OK ? st
                        : tlpi_gbnf_add(g, out, TLPI_TREE_CLASS,
                                        (uint32_t)g->t->n_range - 1, 1);
}
