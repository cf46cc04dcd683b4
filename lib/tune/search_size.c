/*
 * search_size.c - what a search makes less: the exchanges of a variant, or its
 * depth.
 */
#include "tune/search.h"

#include <string.h>

#include "tlp_tune.h"

/* The exchanges of a plan with one group of n layers, by a dry run. */
static tlp_status count_group(const tlpi_search *q, char letter, int n,
                              int *exchanges)
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
    *exchanges = cost.exchanges;
done:
    tlp_plan_free(plan);
    tlpi_free(q->env, variant);
    return st;
}

tlp_status tlpi_search_size_init(tlpi_search *q)
{
    size_t row = (size_t)q->max_group + 1;
    int exchanges;
    tlp_status st = TLP_OK;

    q->saved = tlpi_calloc(q->env, (size_t)q->n_letter * row, sizeof(int));
    if (!q->saved)
        return tlpi_fail_nomem_for("a search");
    if (!q->nosync)
        goto done;
    TLP_TRY(count_group(q, TLPI_VARIANT_SERIAL, 1, &q->serial));
    q->rows = q->serial > q->n_place + 1;
    for (int i = 0; i < q->n_letter; i++)
        for (int n = 2; n <= q->max_group; n++) {
            if (q->letter[i] == TLPI_VARIANT_NOSYNC)
                continue;
            TLP_TRY(count_group(q, q->letter[i], n, &exchanges));
            q->saved[(size_t)i * row + (size_t)n] = q->serial - exchanges;
        }
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

/* Layers whose attention is that of tracks: they read streams that differ, or
 * their attention is not exchanged. */
static int count_apart(const tlpi_search *q, const char *variant)
{
    int n = 0;

    for (int p = 0; p < q->n_place; p += 2)
        n += variant[p] == TLPI_VARIANT_NOSYNC ||
             (p > 0 && variant[p - 1] == TLPI_VARIANT_NOSYNC);
    return n;
}

int tlpi_search_size(const tlpi_search *q, const char *variant)
{
    int n = q->serial;

    if (!q->nosync)
        return tlpi_variant_depth(variant);
    if (q->rows)
        n -= count_apart(q, variant);
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
