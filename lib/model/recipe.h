/*
 * recipe.h - which type each tensor of a model gets when it is quantised.
 */
#ifndef TLPI_RECIPE_H
#define TLPI_RECIPE_H

#include "model/model.h"

typedef struct tlpi_recipe {
    const char *name;
    tlpi_dtype type;
    bool mixed;         /* Q6_K for some of attn_v and ffn_down */
    uint32_t file_type; /* what general.file_type says of it */
} tlpi_recipe;

/* NULL if there is none of that name. */
const tlpi_recipe *tlpi_recipe_find(const char *name);

/* All names, with commas between. */
void tlpi_recipe_list(tlpi_text *out);

/*
 * The type for a tensor of the model.  `pure`: the recipe's own for every
 * matrix.  *wanted is what it would be if its rows fitted any block.
 */
tlpi_dtype tlpi_recipe_type(const tlpi_recipe *r, const tlp_model *m,
                            const tlpi_tensor *t, bool pure,
                            tlpi_dtype *wanted);

#endif
