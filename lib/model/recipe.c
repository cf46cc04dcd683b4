/*
 * recipe.c - which type each tensor of a model gets when it is quantised.
 *
 * The head decides between all tokens, and errors of attn_v, attn_output and
 * ffn_down go into the residual stream unchanged.  So these tensors get more
 * bits.  Mixtures are those of llama.cpp: files of equal names have equal
 * types.
 */
#include "model/recipe.h"

#include <string.h>

static const tlpi_recipe recipes[] = {
    { "F32", TLPI_F32, 0 },        { "F16", TLPI_F16, 1 },
    { "BF16", TLPI_BF16, 32 },     { "Q8_0", TLPI_Q8_0, 7 },
    { "Q4_0", TLPI_Q4_0, 2 },      { "Q4_1", TLPI_Q4_1, 3 },
    { "Q5_0", TLPI_Q5_0, 8 },      { "Q5_1", TLPI_Q5_1, 9 },
    { "Q2_K", TLPI_Q2_K, 10 },     { "Q3_K", TLPI_Q3_K, 11 },
    { "Q4_K", TLPI_Q4_K, 14 },     { "Q5_K", TLPI_Q5_K, 16 },
    { "Q6_K", TLPI_Q6_K, 18 },     { "IQ4_NL", TLPI_IQ4_NL, 25 },
    { "IQ4_XS", TLPI_IQ4_XS, 30 }, { "MXFP4", TLPI_MXFP4, 38 },
    { "Q3_K_S", TLPI_Q3_K, 11 },   { "Q3_K_M", TLPI_Q3_K, 12 },
    { "Q3_K_L", TLPI_Q3_K, 13 },   { "Q4_K_S", TLPI_Q4_K, 14 },
    { "Q4_K_M", TLPI_Q4_K, 15 },   { "Q5_K_S", TLPI_Q5_K, 16 },
    { "Q5_K_M", TLPI_Q5_K, 17 },
};

/* Layers in which a tensor gets another type. */
typedef enum layer_set {
    ALL,
    FIRST_2,
    FIRST_4,
    FIRST_16TH,
    FIRST_8TH,
    SPREAD, /* the first and last eighth, and every third one between */
    GROUPED /* all, if four query heads or more share a kv head */
} layer_set;

typedef enum rule_scope { ALWAYS, WITHOUT_IMATRIX, WITH_IMATRIX } rule_scope;

typedef struct mixture_rule {
    const char *recipe;
    tlpi_layer_id tensor;
    layer_set where;
    tlpi_dtype type;
    rule_scope scope;
} mixture_rule;

/* The first rule that fits a tensor decides its type. */
static const mixture_rule rules[] = {
    { "Q2_K", TLPI_ATTN_V, GROUPED, TLPI_Q4_K, ALWAYS },
    { "Q2_K", TLPI_ATTN_V, ALL, TLPI_Q3_K, ALWAYS },
    { "Q2_K", TLPI_ATTN_OUTPUT, ALL, TLPI_Q3_K, ALWAYS },
    { "Q2_K", TLPI_FFN_DOWN, ALL, TLPI_Q3_K, ALWAYS },
    { "Q3_K_M", TLPI_ATTN_V, FIRST_2, TLPI_Q5_K, ALWAYS },
    { "Q3_K_M", TLPI_ATTN_V, ALL, TLPI_Q4_K, ALWAYS },
    { "Q3_K_M", TLPI_ATTN_OUTPUT, ALL, TLPI_Q4_K, ALWAYS },
    { "Q3_K_M", TLPI_FFN_DOWN, FIRST_16TH, TLPI_Q5_K, ALWAYS },
    { "Q3_K_M", TLPI_FFN_DOWN, ALL, TLPI_Q4_K, ALWAYS },
    { "Q3_K_L", TLPI_ATTN_V, ALL, TLPI_Q5_K, ALWAYS },
    { "Q3_K_L", TLPI_ATTN_OUTPUT, ALL, TLPI_Q5_K, ALWAYS },
    { "Q3_K_L", TLPI_FFN_DOWN, ALL, TLPI_Q5_K, ALWAYS },
    { "Q4_K_S", TLPI_ATTN_V, FIRST_4, TLPI_Q5_K, ALWAYS },
    { "Q4_K_S", TLPI_FFN_DOWN, FIRST_8TH, TLPI_Q5_K, ALWAYS },
    { "Q4_K_M", TLPI_ATTN_V, SPREAD, TLPI_Q6_K, ALWAYS },
    { "Q4_K_M", TLPI_FFN_DOWN, SPREAD, TLPI_Q6_K, ALWAYS },
    { "Q5_K_M", TLPI_ATTN_V, SPREAD, TLPI_Q6_K, ALWAYS },
    { "Q5_K_M", TLPI_FFN_DOWN, SPREAD, TLPI_Q6_K, ALWAYS },
    { "IQ4_NL", TLPI_ATTN_V, GROUPED, TLPI_Q5_K, ALWAYS },
    { "IQ4_NL", TLPI_FFN_DOWN, FIRST_8TH, TLPI_Q5_K, WITHOUT_IMATRIX },
    { "IQ4_XS", TLPI_ATTN_V, GROUPED, TLPI_Q5_K, ALWAYS },
    { "IQ4_XS", TLPI_FFN_DOWN, FIRST_8TH, TLPI_Q5_K, WITHOUT_IMATRIX },
    { "Q4_0", TLPI_FFN_DOWN, FIRST_8TH, TLPI_Q4_1, WITH_IMATRIX },
    { "Q5_0", TLPI_FFN_DOWN, FIRST_8TH, TLPI_Q5_1, WITH_IMATRIX },
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

static bool is_in(layer_set set, int layer, const tlpi_hparams *hp)
{
    int n = hp->n_layer, eighth = n / 8;

    switch (set) {
    case ALL:
        return true;
    case FIRST_2:
        return layer < 2;
    case FIRST_4:
        return layer < 4;
    case FIRST_16TH:
        return layer < n / 16;
    case FIRST_8TH:
        return layer < eighth;
    case SPREAD:
        return layer < eighth || layer >= 7 * n / 8 ||
               (layer - eighth) % 3 == 2;
    case GROUPED:
        return hp->n_head / hp->n_head_kv >= 4;
    }
    return false;
}

/* The row of a layer's tensor, and the layer; a fused tensor with attn_v in it
 * is treated as attn_v. */
static const tlpi_tensor_row *find_row(const tlp_model *m, const tlpi_tensor *t,
                                       int *layer)
{
    const char *rest;

    if (!tlpi_layer_name(t->name, layer, &rest))
        return NULL;
    const tlpi_fused_row *fused = tlpi_fused_find(rest, &m->hp);
    for (int i = 0; fused && i < fused->n; i++)
        if (fused->part[i] == TLPI_ATTN_V)
            return &tlpi_layer_table[TLPI_ATTN_V];
    return tlpi_row_find(tlpi_layer_table, TLPI_N_LAYER_TENSOR, rest, &m->hp);
}

/* Models of 70 billion parameters: eight query heads share an attn_v, so that
 * more bits for it cost little. */
static bool is_70b(const tlpi_hparams *hp)
{
    return hp->n_layer == 80 &&
           ((hp->arch == TLPI_ARCH_LLAMA && hp->n_head != hp->n_head_kv) ||
            hp->arch == TLPI_ARCH_QWEN2);
}

/* The type of a layer's tensor. */
static tlpi_dtype mixed_type(const tlpi_recipe *r, const tlp_model *m,
                             const tlpi_tensor_row *row, int layer,
                             bool imatrix)
{
    rule_scope other = imatrix ? WITHOUT_IMATRIX : WITH_IMATRIX;
    tlpi_layer_id id = (tlpi_layer_id)(row - tlpi_layer_table);
    tlpi_dtype type = r->type;

    for (size_t i = 0; i < TLPI_COUNT(rules); i++) {
        const mixture_rule *rule = &rules[i];
        if (strcmp(rule->recipe, r->name) == 0 && rule->tensor == id &&
            rule->scope != other && is_in(rule->where, layer, &m->hp)) {
            type = rule->type;
            break;
        }
    }
    if (id == TLPI_ATTN_V && is_70b(&m->hp) &&
        (type == TLPI_Q3_K || type == TLPI_Q4_K))
        type = TLPI_Q5_K;
    return type;
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
                            const tlpi_tensor *t, bool pure, bool imatrix,
                            tlpi_dtype *wanted)
{
    tlpi_dtype type = r->type;
    bool head = t == m->w.t[TLPI_OUTPUT];
    int layer = 0;
    const tlpi_tensor_row *row = find_row(m, t, &layer);

    *wanted = t->type;
    /* a vector, vectors of experts, a router */
    if (t->ne[1] == 1 || (row && (row->is_list || row->float_alone)))
        return t->type;
    if (!pure && row)
        type = mixed_type(r, m, row, layer, imatrix);
    else if (!pure && head && bytes_of_256(type) < bytes_of_256(TLPI_Q6_K))
        type = TLPI_Q6_K;
    *wanted = type;
    while (t->ne[0] % tlpi_dtype_get(type)->block != 0)
        type = fallback(type);
    return type;
}
