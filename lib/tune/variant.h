/*
 * variant.h - a plan in the form that a search changes: a string with a letter
 * for each place between two neighbouring half-layers.  Place 2 l is after the
 * attention of layer l, place 2 l + 1 between the layers l and l + 1.
 *
 * "-" means that the exchange at the place is made, "." that it is left out.
 * Between two layers, another letter is the mode of the group that holds both.
 * Over four layers, "---p-.-" has the group 1-2 in par, and
 * "-..----" leaves out the exchanges around the attention of layer 1.
 */
#ifndef TLPI_VARIANT_H
#define TLPI_VARIANT_H

#include "plan/plan.h"

#define TLPI_VARIANT_SERIAL '-'
#define TLPI_VARIANT_NOSYNC '.'

static inline size_t tlpi_variant_length(int n_layer)
{
    return 2 * (size_t)n_layer - 1;
}

/* Is the place between two layers? */
static inline bool tlpi_variant_is_between(int at)
{
    return at % 2 == 1;
}

/* TLP_MODE_LP, _PAR or _ASYM to its letter, and back.  Other modes give 0,
 * other letters -1. */
char tlpi_variant_letter(int mode);
int tlpi_variant_mode(char letter);

/* Are the layers around the place in a group?  A place beyond the string is in
 * none. */
bool tlpi_variant_is_joined(const char *variant, int at);

/* Is text a variant for n_layer layers? */
bool tlpi_variant_valid(const char *text, int n_layer);

int tlpi_variant_depth(const char *variant);

/* The number of layers in the group around a joined place. */
int tlpi_variant_group(const char *variant, int at);

/* Does a group begin or end beside this place, or is a neighbouring exchange
 * left out? */
bool tlpi_variant_touches(const char *variant, int at);

/* Put a letter at a place.  If the letter is a mode, the group around the
 * place, all of it, takes the letter, and the exchanges beside the half-layers
 * of the group are made. */
void tlpi_variant_set(char *variant, int at, char letter);

/* The index of the last stage up to which both plans are equal and before which
 * all tracks hold one stream; n_stage if the variants are equal. */
int tlpi_variant_first_change(const char *a, const char *b);

/* Write the variant of a plan with groups in modes that have letters.
 * TLP_ENOTSUP if no variant is this plan: for adjustments, dropped layers and
 * layers in another order. */
tlp_status tlpi_variant_read(char *variant, const tlp_plan *plan);

/* n_track counts only if the variant leaves out an exchange. */
tlp_status tlpi_variant_build(tlp_plan **out, tlp_model *model,
                              const char *variant, int n_track,
                              const char *made);

#endif
