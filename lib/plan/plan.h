/*
 * plan.h - a layer-parallel plan: its stages, and the operations on it that are
 * shared between files.
 */
#ifndef TLPI_PLAN_H
#define TLPI_PLAN_H

#include <stdatomic.h>

#include "base/base.h"
#include "model/model.h"

typedef struct tlpi_stage {
    int mode;     /* TLP_MODE_*; a stage of one member is SERIAL */
    int n_member; /* >= 1 */
    int *layers;  /* [n_member], in running order */
} tlpi_stage;

typedef struct tlpi_adjust tlpi_adjust; /* plan/adjust.h */

struct tlp_plan {
    _Atomic int refs;
    tlp_model *model; /* retained */
    int n_stage;
    tlpi_stage *stage; /* [n_stage], in running order */
    /* Layers are numbered 0..n_layer-1.  A layer in no stage is dropped; no
     * layer is in two stages. */
    char *made; /* JSON text of the file's "made" object, kept; or NULL */
    tlpi_adjust *adjust; /* or NULL; owned */
};

tlp_plan *tlpi_plan_retain(tlp_plan *p);

/* Mode to text ("serial", "lp", ...), and text to mode; -1 for an unknown
 * text. */
const char *tlpi_mode_name(int mode);
int tlpi_mode_parse(const char *text, size_t n);

/* Largest n_member of all stages; a merged stage counts as one member. */
int tlpi_plan_max_members(const tlp_plan *p);

/*
 * A copy of the plan's "made" object in which `key` has the given value: JSON
 * text in memory of the model's env.
 */
tlp_status tlpi_plan_record(const tlp_plan *p, const char *key,
                            const char *value, char **made);

/*
 * Build a plan from stages in running order.  The function checks that every
 * layer is in range and is used once, and that modes fit; it copies the stages.
 * `where` names the plan in error texts.
 */
tlp_status tlpi_plan_build(tlp_plan **out, tlp_model *model,
                           const tlpi_stage *stage, int n_stage,
                           const char *made, const char *where);

#endif
