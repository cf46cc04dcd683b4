/*
 * bake_files.h - what plan bake and quantize share: the model in the order of
 * units that suits a plan, and the plan for that file.
 */
#ifndef BAKE_FILES_H
#define BAKE_FILES_H

#include "plan_fit.h"
#include "tlp_tune.h"

typedef struct bake {
    engine e;
    corpus text;
    const char *out_path, *plan_path;
    char *own_plan_path; /* plan_path, if no option gave it */
    const char *type;    /* NULL: types stay */
    const char *imatrix; /* or NULL */
    bool as_json, pure;
    float held_out;
    uint64_t seed;
} bake;

/* Row of an option table. */
/* clang-format off */
#define BAKE_PLAN_OPTION(v)                                                    \
    { CLI_TEXT, 0, "plan-out", &(v).plan_path, "FILE",                         \
      "the plan for the new file, JSON (OUT.plan.json)", 0, 0 }
/* clang-format on */

/* Choose the plan's path, if no option gave it: OUT.plan.json beside
 * OUT.gguf.  Check that both files can be written. */
int bake_check_files(bake *v);
void bake_close(bake *v);

/* Write the model and the plan.  The caller prints a failure. */
tlp_status bake_write(const bake *v, const tlp_plan *plan,
                      tlp_plan_bake_report *report);
void bake_print(const bake *v, const tlp_plan_bake_report *r);

#endif
