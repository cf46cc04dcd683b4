/*
 * calibration.h - a plan, the student, and the serial model, its teacher, side
 * by side on calibration text, a stage at a time.
 *
 * Arrays of activations hold all windows one after the other: [n_tok][d].
 */
#ifndef TLPI_CALIBRATION_H
#define TLPI_CALIBRATION_H

#include "tune/fit.h"
#include "tune/teacher.h"
#include "tlp_tune.h"

/* The choices for a stage; norms and inputs by member, attention first. */
typedef struct tlpi_stage_choice {
    tlpi_choice *norm, *in; /* [2 * n_member] */
    tlpi_choice gains, out;
} tlpi_stage_choice;

typedef struct tlpi_calibration {
    const tlpi_env *env;
    tlp_plan_adjust_options o;   /* o.session points at the next field */
    tlp_session_options session; /* of the windows */
    tlpi_session_config cfg;
    tlp_plan *plan; /* without adjustments */
    tlp_model *model;
    size_t d; /* n_embd */
    int max_member;
    tlpi_windows text; /* with held-out windows */
    tlpi_teacher teacher;
    tlpi_runner student; /* runs the plan */
    tlpi_fitter fitter;

    float *stream; /* the student's stream before a stage */
    float *next;   /* the student's stream behind the stage */
    float *weight; /* [n_tok] 1 / |x|^2, weight of an error of the output */
    /* Of a group's members, attention first, then feed-forward:
     * [2 * max_member][n_tok][d] */
    float *want;             /* the teacher's inputs */
    float *seen;             /* what the student's last run kept */
    tlpi_token_score *score; /* [n_ctx] of one window */

    bool choosing; /* first pass: held-out windows choose */
    double error; /* in that pass, of the stage's output with its fits so far */
    tlpi_fitted_stage *fitted; /* [n_stage] */
    tlpi_stage_choice *choice; /* [n_stage] */

    /* Progress: cost of the finished parts, cost of the running part, and the
     * finished share of it. */
    double done, cost, part;
} tlpi_calibration;

/* Means over the n predictions of the held-out windows. */
typedef struct tlpi_cal_score {
    double kl, nll, top1;
    int n;
} tlpi_cal_score;

/* env, o, cfg, model and fitter.tick are set. */
tlp_status tlpi_calibration_create(tlpi_calibration *c, const tlp_plan *plan,
                                   const int32_t *tokens, size_t n);
void tlpi_calibration_free(tlpi_calibration *c); /* half-built is fine */

/* Take teacher and student to the embeddings. */
void tlpi_calibration_begin(tlpi_calibration *c);

/* The teacher runs its layers before `end`; inputs of the layers in `stage`
 * (or NULL) go to want. */
tlp_status tlpi_calibration_advance(tlpi_calibration *c, int end,
                                    const tlpi_stage *stage);

/* Run a stage of the student, with its fits so far, from stream to next.  keep:
 * TLPI_PROBE_* bits of what goes to seen.  A run that keeps only inputs ends
 * with them, and leaves next unchanged. */
tlp_status tlpi_calibration_run(tlpi_calibration *c, int stage, uint32_t keep);

/* next becomes stream: the student goes on to the stage that follows. */
void tlpi_calibration_take(tlpi_calibration *c);

/* Score the student on the held-out windows.  run: run teacher and student from
 * their embeddings first, else both are at the end of a pass. */
tlp_status tlpi_calibration_score(tlpi_calibration *c, bool run,
                                  tlpi_cal_score *out);

static inline float *tlpi_cal_slot(const tlpi_calibration *c, float *base,
                                   int slot)
{
    return base + (size_t)slot * c->text.n_tok * c->d;
}

/* ==== fit_apply.c ======================================================== */

/* Give the student's stage its fits so far. */
tlp_status tlpi_fitted_apply(tlpi_calibration *c, int stage);
void tlpi_fitted_clear(const tlpi_env *env, tlpi_fitted_stage *s, int n_member);
tlp_status tlpi_fitted_init(const tlpi_env *env, tlpi_fitted_stage *s,
                            int n_member);

/* ==== fit_stage.c ======================================================== */

/* Can this stage be fitted?  Groups in lp, par and asym can. */
bool tlpi_stage_is_group(const tlpi_stage *s);

/* Fit a group.  The teacher has run the layers of the group. */
tlp_status tlpi_fit_stage(tlpi_calibration *c, int stage);

#endif
