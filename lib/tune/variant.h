/*
 * variant.h - a plan while it is searched for: a letter for each place between
 * two neighbouring layers, "-" where they run one after the other and else the
 * mode of the group that holds both.  "--pp-a" over seven layers: 2-4 `par`,
 * 5-6 `asym`.
 */
#ifndef TLPI_VARIANT_H
#define TLPI_VARIANT_H

#include "plan/plan.h"

#define TLPI_VARIANT_SERIAL '-'

/* TLP_MODE_LP, _PAR, _ASYM to its letter, and back; 0 and -1 for others. */
char tlpi_variant_letter(int mode);
int tlpi_variant_mode(char letter);

/* Is text a variant for n_layer layers? */
bool tlpi_variant_valid(const char *text, int n_layer);

int tlpi_variant_depth(const char *variant);

/* Layers in the group around a place that is joined. */
int tlpi_variant_group(const char *variant, int at);

/* Do groups touch this place? */
bool tlpi_variant_touches(const char *variant, int at);

/* Join at a place; what becomes one group takes the letter. */
void tlpi_variant_join(char *variant, int at, char letter);

/* Stages before it are the same in both variants; n_stage if all are. */
int tlpi_variant_first_change(const char *a, const char *b);

tlp_status tlpi_variant_build(tlp_plan **out, tlp_model *model,
                              const char *variant, const char *made);

#endif
