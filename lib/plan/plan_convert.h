/*
 * plan_convert.h - write a plan's model to another file, and the plan for it.
 */
#ifndef TLPI_PLAN_CONVERT_H
#define TLPI_PLAN_CONVERT_H

#include "model/convert.h"
#include "plan/plan.h"

/* carry.c: the plan, adjustments included, for another file of its model.
 * made: the record of the new plan. */
tlp_status tlpi_plan_move(tlp_plan **out, const tlp_plan *plan,
                          tlp_model *model, const char *made);

/* carry.c: the plan's record with the key "carried_from". */
tlp_status tlpi_plan_record_carried(const tlp_plan *plan, char **made);

typedef struct tlpi_plan_convert {
    const tlp_plan *plan;
    const char *made;      /* record of the new plan */
    const char *plan_path; /* file for the new plan; NULL: none */
    tlpi_convert file;     /* without `ready` */
} tlpi_plan_convert;

typedef tlp_status tlpi_plan_writer(tlp_plan **out, tlp_quantize_result *result,
                                    const tlpi_plan_convert *c);

/*
 * Write the model's file, then the plan's, and hand out the plan.  The model's
 * file gets its name after the plan is complete, so that a failure leaves both
 * old files.  result: NULL is allowed.
 */
tlp_status tlpi_plan_convert_write(tlp_plan **out, tlp_quantize_result *result,
                                   const tlpi_plan_convert *c);

/* merge_lora.c: tlpi_plan_convert_write with the plan's LoRA in the matrices of
 * the file.  The new plan has all adjustments but LoRA. */
tlp_status tlpi_plan_merge_write(tlp_plan **out, tlp_quantize_result *result,
                                 const tlpi_plan_convert *c);

/* Refuse a plan_path that is a file of the model, or `path` itself. */
tlp_status tlpi_plan_convert_check(const tlp_model *m, const char *path,
                                   const char *plan_path);

/* Check the caller's result and the paths of c, call `write`, and fill in the
 * result; NULL: nobody asks. */
tlp_status tlpi_plan_convert_call(tlp_plan **out, tlp_quantize_result *result,
                                  const tlpi_plan_convert *c,
                                  tlpi_plan_writer *write);

#endif
