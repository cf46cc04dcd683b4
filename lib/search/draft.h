/*
 * draft.h - a plan while it is searched for: a letter for each place between
 * two neighbouring layers, "-" where they run one after the other and else the
 * mode of the group that holds both.  "--pp-a" over seven layers: 2-4 `par`,
 * 5-6 `asym`.
 */
#ifndef TLPI_DRAFT_H
#define TLPI_DRAFT_H

#include "plan/plan.h"

#define TLPI_DRAFT_SERIAL '-'

/* TLP_MODE_LP, _PAR, _ASYM to its letter, and back; 0 and -1 for others. */
char tlpi_draft_letter(int mode);
int tlpi_draft_mode(char letter);

/* Is text a draft for n_layer layers? */
bool tlpi_draft_valid(const char *text, int n_layer);

int tlpi_draft_depth(const char *draft);

/* Layers in the group around a place that is joined. */
int tlpi_draft_group(const char *draft, int at);

/* Do groups touch this place? */
bool tlpi_draft_touches(const char *draft, int at);

/* Join at a place; what becomes one group takes the letter. */
void tlpi_draft_join(char *draft, int at, char letter);

/* Stages before it are the same in both drafts; n_stage if all are. */
int tlpi_draft_first_change(const char *a, const char *b);

tlp_status tlpi_draft_build(tlp_plan **out, tlp_model *model, const char *draft,
                            const char *made);

#endif
