/*
 * variant.h - a plan in the form that a search changes: a string with a letter
 * for each place between two neighbouring layers.  "-" means that the layers
 * run one after the other; another letter is the mode of the group that holds
 * both. Over seven layers, "--pp-a" has the groups 2-4 in par and 5-6 in asym.
 */
#ifndef TLPI_VARIANT_H
#define TLPI_VARIANT_H

#include "plan/plan.h"

#define TLPI_VARIANT_SERIAL '-'

/* TLP_MODE_LP, _PAR or _ASYM to its letter, and back.  Other modes give 0,
 * other letters -1. */
char tlpi_variant_letter(int mode);
int tlpi_variant_mode(char letter);

/* Is text a variant for n_layer layers? */
bool tlpi_variant_valid(const char *text, int n_layer);

int tlpi_variant_depth(const char *variant);

/* The number of layers in the group around a joined place. */
int tlpi_variant_group(const char *variant, int at);

/* Does a group begin or end beside this place? */
bool tlpi_variant_touches(const char *variant, int at);

/* Join a place.  The group around it, all of it, takes the letter. */
void tlpi_variant_join(char *variant, int at, char letter);

/* The index of the first stage that differs; n_stage if none does. */
int tlpi_variant_first_change(const char *a, const char *b);

tlp_status tlpi_variant_build(tlp_plan **out, tlp_model *model,
                              const char *variant, const char *made);

#endif
