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

bool tlpi_variant_valid(const char *text, int n_layer)
{
    if (strlen(text) != (size_t)n_layer - 1)
        return false;
    for (const char *p = text; *p; p++) {
        bool joined = *p != TLPI_VARIANT_SERIAL;

        if (joined && tlpi_variant_mode(*p) < 0)
            return false;
        /* All places inside a group have one mode. */
        if (joined && p > text && p[-1] != TLPI_VARIANT_SERIAL && p[-1] != *p)
            return false;
    }
    return true;
}

int tlpi_variant_depth(const char *variant)
{
    int depth = 1;

    for (; *variant; variant++)
        depth += *variant == TLPI_VARIANT_SERIAL;
    return depth;
}

/* The joined places around place `at`: [*first, *end). */
static void run_around(const char *variant, int at, int *first, int *end)
{
    for (*first = at; *first > 0 && variant[*first - 1] != TLPI_VARIANT_SERIAL;)
        (*first)--;
    for (*end = at + 1; variant[*end] && variant[*end] != TLPI_VARIANT_SERIAL;)
        (*end)++;
}

int tlpi_variant_group(const char *variant, int at)
{
    int first, end;

    run_around(variant, at, &first, &end);
    return end - first + 1;
}

bool tlpi_variant_touches(const char *variant, int at)
{
    return (at > 0 && variant[at - 1] != TLPI_VARIANT_SERIAL) ||
           (variant[at + 1] && variant[at + 1] != TLPI_VARIANT_SERIAL);
}

void tlpi_variant_join(char *variant, int at, char letter)
{
    int first, end;

    run_around(variant, at, &first, &end);
    memset(variant + first, letter, (size_t)(end - first));
}

int tlpi_variant_first_change(const char *a, const char *b)
{
    int stage = 0;

    /* The strings are equal before the place, so the layer before it has one
     * stage index in both plans. */
    for (; *a && *a == *b; a++, b++)
        stage += *a == TLPI_VARIANT_SERIAL;
    return *a ? stage : stage + 1;
}

tlp_status tlpi_variant_build(tlp_plan **out, tlp_model *model,
                              const char *variant, const char *made)
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
        char before = l > 0 ? variant[l - 1] : TLPI_VARIANT_SERIAL;

        layers[l] = l;
        if (before == TLPI_VARIANT_SERIAL) {
            stage[n++] = (tlpi_stage){ TLP_MODE_SERIAL, 1, &layers[l], 0 };
            continue;
        }
        stage[n - 1].mode = tlpi_variant_mode(before);
        stage[n - 1].n_member++;
    }
    st = tlpi_plan_build(out, model, stage, n, 0, made, "plan");
done:
    tlpi_free(&model->env, stage);
    tlpi_free(&model->env, layers);
    return st;
}
