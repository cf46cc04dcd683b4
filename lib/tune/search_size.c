/*
 * search_size.c - what a search makes less: the exchanges of a variant, or its
 * depth.
 */
#include "tune/search.h"

#include <string.h>

#include "tlp_tune.h"

/* The exchanges that one group of n layers saves, by a dry run. */
static tlp_status count_saved(const tlpi_search *q, char letter, int n,
                              int *saved)
{
    tlp_plan_cost cost = { .struct_size = sizeof(cost) };
    char *variant = tlpi_calloc(q->env, (size_t)q->n_place + 1, 1);
    tlp_plan *plan = NULL;
    tlp_status st;

    if (!variant)
        return tlpi_fail_nomem_for("a search");
    memset(variant, TLPI_VARIANT_SERIAL, (size_t)q->n_place);
    for (int i = 0; i < n - 1; i++)
        variant[2 * i + 1] = letter;
    TLP_TRY(tlpi_variant_build(&plan, q->scorer->teacher->model, variant,
                               q->scorer->n_track, NULL));
    TLP_TRY(tlp_plan_get_cost(&cost, plan, q->scorer->n_track));
    *saved = q->n_place + 1 - cost.exchanges;
done:
    tlp_plan_free(plan);
    tlpi_free(q->env, variant);
    return st;
}

tlp_status tlpi_search_size_init(tlpi_search *q)
{
    size_t row = (size_t)q->max_group + 1;
    tlp_status st = TLP_OK;

    q->saved = tlpi_calloc(q->env, (size_t)q->n_letter * row, sizeof(int));
    if (!q->saved)
        return tlpi_fail_nomem_for("a search");
    for (int i = 0; i < q->n_letter && q->nosync; i++)
        for (int n = 2; n <= q->max_group; n++)
            if (q->letter[i] != TLPI_VARIANT_NOSYNC)
                TLP_TRY(count_saved(q, q->letter[i], n,
                                    &q->saved[(size_t)i * row + (size_t)n]));
done:
    return st;
}

static int letter_index(const tlpi_search *q, char letter)
{
    int i = 0;

    while (q->letter[i] != letter)
        i++;
    return i;
}

int tlpi_search_size(const tlpi_search *q, const char *variant)
{
    int n = q->n_place + 1;

    if (!q->nosync)
        return tlpi_variant_depth(variant);
    for (int p = 0; p < q->n_place; p++) {
        if (variant[p] == TLPI_VARIANT_NOSYNC)
            n--;
        else if (tlpi_variant_is_joined(variant, p) &&
                 !tlpi_variant_is_joined(variant, p - 2))
            n -= q->saved[letter_index(q, variant[p]) * (q->max_group + 1) +
                          tlpi_variant_group(variant, p)];
    }
    return n;
}
