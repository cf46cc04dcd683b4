/*
 * variant.c - plans as strings, which a search compares, changes and stores.
 */
#include "tune/variant.h"

#include <string.h>

static const struct {
    int mode;
    char letter;
} letters[] = {
    { TLP_MODE_LP, 'l' },
    { TLP_MODE_PAR, 'p' },
    { TLP_MODE_ASYM, 'a' },
};

char tlpi_variant_letter(int mode)
{
    for (size_t i = 0; i < TLPI_COUNT(letters); i++)
        if (letters[i].mode == mode)
            return letters[i].letter;
    return 0;
}

int tlpi_variant_mode(char letter)
{
    for (size_t i = 0; i < TLPI_COUNT(letters); i++)
        if (letters[i].letter == letter)
            return letters[i].mode;
    return -1;
}

bool tlpi_variant_is_joined(const char *variant, int at)
{
    return at >= 0 && (size_t)at < strlen(variant) &&
           tlpi_variant_mode(variant[at]) >= 0;
}

/* All places inside a group have one mode.  No exchange is left out beside a
 * half-layer of a group. */
static bool is_group_valid(const char *text, int at)
{
    if (!tlpi_variant_is_between(at))
        return false;
    for (int i = TLPI_MAX(0, at - 2); i <= at + 2 && text[i]; i++)
        if (text[i] == TLPI_VARIANT_NOSYNC)
            return false;
    return !tlpi_variant_is_joined(text, at - 2) || text[at - 2] == text[at];
}

bool tlpi_variant_valid(const char *text, int n_layer)
{
    if (strlen(text) != tlpi_variant_length(n_layer))
        return false;
    for (int i = 0; text[i]; i++) {
        if (text[i] == TLPI_VARIANT_SERIAL || text[i] == TLPI_VARIANT_NOSYNC)
            continue;
        if (!tlpi_variant_is_joined(text, i) || !is_group_valid(text, i))
            return false;
    }
    return true;
}

int tlpi_variant_depth(const char *variant)
{
    int n_place = (int)strlen(variant), depth = 1;

    for (int i = 1; i < n_place; i += 2)
        depth += !tlpi_variant_is_joined(variant, i);
    return depth;
}

/* The joined places around place `at`: *first, *first + 2, ... before *end. */
static void run_around(const char *variant, int at, int *first, int *end)
{
    for (*first = at; tlpi_variant_is_joined(variant, *first - 2);)
        *first -= 2;
    for (*end = at + 2; tlpi_variant_is_joined(variant, *end);)
        *end += 2;
}

int tlpi_variant_group(const char *variant, int at)
{
    int first, end;

    run_around(variant, at, &first, &end);
    return (end - first) / 2 + 1;
}

bool tlpi_variant_touches(const char *variant, int at)
{
    return tlpi_variant_is_joined(variant, at - 2) ||
           tlpi_variant_is_joined(variant, at + 2) ||
           (at > 0 && variant[at - 1] == TLPI_VARIANT_NOSYNC) ||
           variant[at + 1] == TLPI_VARIANT_NOSYNC;
}

void tlpi_variant_set(char *variant, int at, char letter)
{
    int first = at, end = at + 2;

    if (tlpi_variant_mode(letter) >= 0) {
        run_around(variant, at, &first, &end);
        for (int i = TLPI_MAX(0, first - 2); i <= end && variant[i]; i++)
            if (variant[i] == TLPI_VARIANT_NOSYNC)
                variant[i] = TLPI_VARIANT_SERIAL;
    }
    for (int i = first; i < end; i += 2)
        variant[i] = letter;
}

int tlpi_variant_first_change(const char *a, const char *b)
{
    int stage = 0, closed = 0;

    /* The strings are equal before place i.  Each stage that ends before it has
     * one index in both plans. */
    for (int i = 0; a[i] && a[i] == b[i]; i++) {
        if (!tlpi_variant_is_between(i) || tlpi_variant_is_joined(a, i))
            continue;
        stage++;
        if (a[i] == TLPI_VARIANT_SERIAL)
            closed = stage;
    }
    return strcmp(a, b) == 0 ? stage + 1 : closed;
}

/* Write the letters of stage i, whose first layer is `layer`, and of the place
 * behind it. */
static void read_stage(char *variant, const tlp_plan *plan, int i, int layer)
{
    const tlpi_stage *s = &plan->stage[i];

    for (int j = 1; j < s->n_member; j++)
        variant[2 * (layer + j) - 1] = tlpi_variant_letter(s->mode);
    if (s->nosync & TLP_NOSYNC_ATTN)
        variant[2 * layer] = TLPI_VARIANT_NOSYNC;
    if (s->nosync & TLP_NOSYNC_FFN)
        variant[2 * layer + 1] = TLPI_VARIANT_NOSYNC;
}

tlp_status tlpi_variant_read(char *variant, const tlp_plan *plan)
{
    int n_layer = plan->model->hp.n_layer, layer = 0;

    if (plan->adjust)
        return tlpi_fail(TLP_ENOTSUP,
                         "start: the plan has adjustments, which a search does "
                         "not know");
    memset(variant, TLPI_VARIANT_SERIAL, tlpi_variant_length(n_layer));
    for (int i = 0; i < plan->n_stage; i++) {
        const tlpi_stage *s = &plan->stage[i];

        for (int j = 0; j < s->n_member; j++)
            if (s->layers[j] != layer + j)
                return tlpi_fail(TLP_ENOTSUP,
                                 "start: stage %d: layer %d: %d expected, "
                                 "because a search keeps the order of layers",
                                 i, s->layers[j], layer + j);
        read_stage(variant, plan, i, layer);
        layer += s->n_member;
    }
    if (layer < n_layer)
        return tlpi_fail(TLP_ENOTSUP,
                         "start: layer %d is dropped, a search keeps all "
                         "layers",
                         layer);
    return TLP_OK;
}

static void add_layer(tlpi_stage *stage, int *n, const char *variant, int *l)
{
    int before = 2 * *l - 1, n_place = (int)strlen(variant);

    if (tlpi_variant_is_joined(variant, before)) {
        stage[*n - 1].mode = tlpi_variant_mode(variant[before]);
        stage[*n - 1].n_member++;
        return;
    }
    stage[*n] = (tlpi_stage){ TLP_MODE_SERIAL, 1, l, 0 };
    if (before + 1 < n_place && variant[before + 1] == TLPI_VARIANT_NOSYNC)
        stage[*n].nosync |= TLP_NOSYNC_ATTN;
    if (before + 2 < n_place && variant[before + 2] == TLPI_VARIANT_NOSYNC)
        stage[*n].nosync |= TLP_NOSYNC_FFN;
    ++*n;
}

tlp_status tlpi_variant_build(tlp_plan **out, tlp_model *model,
                              const char *variant, int n_track,
                              const char *made)
{
    size_t n_layer = (size_t)model->hp.n_layer;
    int *layers = tlpi_alloc_array(&model->env, n_layer, sizeof(*layers));
    tlpi_stage *stage = tlpi_calloc(&model->env, n_layer, sizeof(*stage));
    int n = 0;
    tlp_status st;

    *out = NULL;
    if (!layers || !stage) {
        st = tlpi_fail_nomem_for("a search");
        goto done;
    }
    for (int l = 0; l < (int)n_layer; l++) {
        layers[l] = l;
        add_layer(stage, &n, variant, &layers[l]);
    }
    st = tlpi_plan_build(out, model, stage, n, n_track, made, "plan");
done:
    tlpi_free(&model->env, stage);
    tlpi_free(&model->env, layers);
    return st;
}
