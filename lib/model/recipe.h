/*
 * recipe.h - which type each tensor of a model gets when it is quantised.
 */
#ifndef TLPI_RECIPE_H
#define TLPI_RECIPE_H

#include "model/model.h"

typedef struct tlpi_recipe {
    const char *name;
    tlpi_dtype type;    /* of most matrices */
    uint32_t file_type; /* value of general.file_type */
} tlpi_recipe;

/* The recipe of that name, or NULL. */
const tlpi_recipe *tlpi_recipe_find(const char *name);

/* All names, with commas between. */
void tlpi_recipe_list(tlpi_text *out);

/*
 * The type for a tensor of the model.  `pure`: every matrix gets r->type, else
 * some get a better one; which, depends on whether there is an importance
 * matrix.  *wanted is the type before the length of the rows was
 * considered.
 */
tlpi_dtype tlpi_recipe_type(const tlpi_recipe *r, const tlp_model *m,
                            const tlpi_tensor *t, bool pure, bool imatrix,
                            tlpi_dtype *wanted);

#endif
