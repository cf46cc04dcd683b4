/*
 * recipe.c - which type each tensor of a model gets when it is quantised.
 *
 * The head decides between all tokens, and errors of attn_v and ffn_down go
 * into the residual stream unchanged.  So these tensors get more bits.
 */
#include "model/recipe.h"

#include <stdlib.h>
#include <string.h>

static const tlpi_recipe recipes[] = {
    { "F32", TLPI_F32, false, 0 },        { "F16", TLPI_F16, false, 1 },
    { "BF16", TLPI_BF16, false, 32 },     { "Q8_0", TLPI_Q8_0, false, 7 },
    { "Q4_0", TLPI_Q4_0, false, 2 },      { "Q4_1", TLPI_Q4_1, false, 3 },
    { "Q5_0", TLPI_Q5_0, false, 8 },      { "Q5_1", TLPI_Q5_1, false, 9 },
    { "Q2_K", TLPI_Q2_K, false, 10 },     { "Q3_K", TLPI_Q3_K, false, 11 },
    { "Q4_K", TLPI_Q4_K, false, 14 },     { "Q5_K", TLPI_Q5_K, false, 16 },
    { "Q6_K", TLPI_Q6_K, false, 18 },     { "IQ4_NL", TLPI_IQ4_NL, false, 25 },
    { "IQ4_XS", TLPI_IQ4_XS, false, 30 }, { "MXFP4", TLPI_MXFP4, false, 38 },
    { "Q4_K_M", TLPI_Q4_K, true, 15 },    { "Q5_K_M", TLPI_Q5_K, true, 17 },
};

const tlpi_recipe *tlpi_recipe_find(const char *name)
{
    for (size_t i = 0; i < TLPI_COUNT(recipes); i++)
        if (strcmp(recipes[i].name, name) == 0)
            return &recipes[i];
    return NULL;
}

void tlpi_recipe_list(tlpi_text *out)
{
    for (size_t i = 0; i < TLPI_COUNT(recipes); i++)
        tlpi_text_printf(out, "%s%s", i > 0 ? ", " : "", recipes[i].name);
}

static int bytes_of_256(tlpi_dtype type)
{
    const tlpi_dtype_info *info = tlpi_dtype_get(type);

    return 256 / info->block * info->size;
}

/* The first and last eighth of the layers, and every third one between. */
static bool is_in_mixture(int layer, int n_layer)
{
    int eighth = n_layer / 8;

    return layer < eighth || layer >= 7 * n_layer / 8 ||
           (layer - eighth) % 3 == 2;
}

static bool gets_more(const tlp_model *m, const tlpi_tensor *t)
{
    if (strncmp(t->name, "blk.", 4) != 0)
        return false;
    long l = strtol(t->name + 4, NULL, 10);
    if (l < 0 || l >= m->hp.n_layer)
        return false;
    for (size_t i = 0; i < TLPI_N_LAYER_TENSOR; i++)
        if (t == m->w.layer[l].t[i])
            return tlpi_layer_table[i].more_bits &&
                   is_in_mixture((int)l, m->hp.n_layer);
    return false;
}

static tlpi_dtype fallback(tlpi_dtype type)
{
    switch (type) {
    case TLPI_Q2_K:
    case TLPI_Q3_K:
        return TLPI_Q4_0;
    case TLPI_Q4_K:
        return TLPI_Q5_0;
    case TLPI_Q5_K:
        return TLPI_Q5_1;
    case TLPI_Q6_K:
        return TLPI_Q8_0;
    case TLPI_IQ4_XS:
        return TLPI_IQ4_NL;
    default:
        return TLPI_F16;
    }
}

tlpi_dtype tlpi_recipe_type(const tlpi_recipe *r, const tlp_model *m,
                            const tlpi_tensor *t, bool pure, tlpi_dtype *wanted)
{
    tlpi_dtype type = r->type;
    bool more = t == m->w.t[TLPI_OUTPUT] || (r->mixed && gets_more(m, t));

    *wanted = t->type;
    if (t->ne[1] == 1) /* a vector */
        return t->type;
    if (more && !pure && bytes_of_256(type) < bytes_of_256(TLPI_Q6_K))
        type = TLPI_Q6_K;
    *wanted = type;
    while (t->ne[0] % tlpi_dtype_get(type)->block != 0)
        type = fallback(type);
    return type;
}
