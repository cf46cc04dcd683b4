/*
 * plan.h - the stages of a layer-parallel plan, and who holds what of them.
 */
#ifndef TLPI_PLAN_H
#define TLPI_PLAN_H

#include <stdatomic.h>

#include "base/base.h"
#include "model/model.h"

typedef struct tlpi_stage {
    int mode;     /* TLP_MODE_*; one member is always SERIAL */
    int n_member; /* >= 1 */
    int *layers;  /* [n_member], in running order */
} tlpi_stage;

typedef struct tlpi_adjust tlpi_adjust; /* plan/adjust.h */

struct tlp_plan {
    _Atomic int refs;
    tlp_model *model; /* retained */
    int n_stage;
    tlpi_stage *stage; /* [n_stage], in running order */
    /* Layers are numbered 0..n_layer-1; one that stands in no stage is
     * dropped; none stands in two. */
    char *made; /* JSON text of the file's "made" object, kept; or NULL */
    tlpi_adjust *adjust; /* or NULL; owned */
};

tlp_plan *tlpi_plan_retain(tlp_plan *p);

/* "serial", "lp", ...; and back: -1 for other texts. */
const char *tlpi_mode_name(int mode);
int tlpi_mode_parse(const char *text, size_t n);

/* Largest n_member over the stages (a merged stage counts as one). */
int tlpi_plan_max_members(const tlp_plan *p);

/*
 * A plan's record with one key more, or another value of it: JSON, of the
 * model's env.
 */
tlp_status tlpi_plan_record(const tlp_plan *p, const char *key,
                            const char *value, char **made);

/*
 * Build a plan from stages in running order: checks that every layer is in
 * range and stands once, that modes fit; takes copies.  `where` names the text
 * in errors.
 */
tlp_status tlpi_plan_build(tlp_plan **out, tlp_model *model,
                           const tlpi_stage *stage, int n_stage,
                           const char *made, const char *where);

#endif
