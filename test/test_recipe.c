/*
 * test_recipe.c - which types the recipes of quantising give to tensors.
 */
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "model/recipe.h"
#include "support/check.h"
#include "support/tiny.h"

TestSuite(recipe, .timeout = 60);

static tlp_model *model_of(int n_layer, int n_head_kv)
{
    tiny_spec s = tiny_default();

    s.n_layer = n_layer;
    s.n_head = 8;
    s.n_head_kv = n_head_kv;
    s.head_dim = 8;
    s.n_embd = 32;
    s.n_ff = 32;
    tlp_model *m = NULL;
    CHECK_OK(tlp_model_open(&m, tiny_make(&s), NULL));
    return m;
}

/* The type that a recipe wants, whatever the length of the rows. */
static tlpi_dtype wanted_with(const tlp_model *m, const char *recipe,
                              const char *tensor, bool pure, bool imatrix)
{
    const tlpi_recipe *r = tlpi_recipe_find(recipe);
    const tlpi_tensor *t = tlpi_model_tensor(m, tensor);
    tlpi_dtype type = TLPI_F32;

    cr_assert(r && t, "%s, %s", recipe, tensor);
    (void)tlpi_recipe_type(r, m, t, pure, imatrix, &type);
    return type;
}

static tlpi_dtype wanted(const tlp_model *m, const char *recipe,
                         const char *tensor, bool pure)
{
    return wanted_with(m, recipe, tensor, pure, false);
}

/* Types of a tensor of the model or, by layer, of all layers: one word if they
 * are equal. */
static void expect_types(const tlp_model *m, const char *recipe, bool imatrix,
                         const char *tensor, const char *types,
                         const char *line)
{
    char word[8], full[64];
    int n = 0;

    for (int l = 0; l < m->hp.n_layer; l++, types += n) {
        snprintf(full, sizeof full, "blk.%d.%s.weight", l, tensor);
        if (!tlpi_model_tensor(m, full))
            snprintf(full, sizeof full, "%s.weight", tensor);
        if (sscanf(types, "%7s%n", word, &n) != 1)
            n = 0; /* the last word is of the layers that follow, too */
        tlpi_dtype type = wanted_with(m, recipe, full, false, imatrix);
        cr_expect_str_eq(tlpi_dtype_name(type), word, "%s: %s", full, line);
    }
}

/* Lines "recipe | query heads for a kv head | tensor | types"; + behind a
 * recipe: with an importance matrix. */
Test(recipe, mixtures_of_llama_cpp)
{
    static char line[1024];
    tlp_model *m[2] = { model_of(18, 4), model_of(18, 2) };
    char recipe[16], tensor[16];
    int shared, at, n_line = 0;
    FILE *f = fopen("test/data/mixtures.txt", "r");

    cr_assert(f != NULL, "test/data/mixtures.txt: cannot be read");
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#')
            continue;
        cr_assert_eq(sscanf(line, "%15[^ |] | %d | %15[^ |] | %n", recipe,
                            &shared, tensor, &at),
                     3, "%s", line);
        char *plus = strchr(recipe, '+');
        if (plus)
            *plus = '\0';
        expect_types(m[shared == 4], recipe, plus != NULL, tensor, line + at,
                     line);
        n_line++;
    }
    fclose(f);
    cr_assert_eq(n_line, 2 * 20 * 9);
    tlp_model_free(m[0]);
    tlp_model_free(m[1]);
}

/* A name without a suffix, or `pure`: no matrix of a layer gets another type.
 */
Test(recipe, one_type_for_all_layers)
{
    static const struct {
        const char *name;
        bool pure;
        tlpi_dtype type, head;
    } cases[] = {
        { "Q3_K", false, TLPI_Q3_K, TLPI_Q6_K },
        { "Q4_K", false, TLPI_Q4_K, TLPI_Q6_K },
        { "Q2_K", true, TLPI_Q2_K, TLPI_Q2_K },
        { "Q4_K_M", true, TLPI_Q4_K, TLPI_Q4_K },
        { "IQ4_XS", true, TLPI_IQ4_XS, TLPI_IQ4_XS },
    };
    tlp_model *m = model_of(18, 2);

    for (size_t k = 0; k < TLPI_COUNT(cases); k++) {
        const char *name = cases[k].name;
        bool pure = cases[k].pure;
        cr_expect_eq(wanted(m, name, "blk.0.attn_v.weight", pure),
                     cases[k].type);
        cr_expect_eq(wanted(m, name, "blk.17.ffn_down.weight", pure),
                     cases[k].type);
        cr_expect_eq(wanted(m, name, "blk.0.attn_norm.weight", pure), TLPI_F32);
        cr_expect_eq(wanted(m, name, "output.weight", pure), cases[k].head);
    }
    tlp_model_free(m);
}

/* In models of 80 layers whose heads share kv heads, attn_v has five bits. */
Test(recipe, mixtures_of_80_layers)
{
    tlp_model *m = model_of(80, 4), *whole = model_of(80, 8);

    cr_expect_eq(wanted(m, "Q3_K_S", "blk.79.attn_v.weight", false), TLPI_Q5_K);
    cr_expect_eq(wanted(m, "Q3_K_S", "blk.79.ffn_down.weight", false),
                 TLPI_Q3_K);
    cr_expect_eq(wanted(m, "Q6_K", "blk.79.attn_v.weight", false), TLPI_Q6_K);
    cr_expect_eq(wanted(whole, "Q3_K_S", "blk.79.attn_v.weight", false),
                 TLPI_Q3_K);
    tlp_model_free(m);
    tlp_model_free(whole);
}
