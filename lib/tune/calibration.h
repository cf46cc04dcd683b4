/*
 * calibration.h - a plan and the serial model side by side on calibration
 * text, a stage at a time.
 *
 * The text is cut into windows, each evaluated from position 0 in one step.
 * The first n_held of them, in an order drawn from the seed, are held out.
 * Arrays of activations have all windows, one after the other: [n_tok][d].
 */
#ifndef TLPI_CALIBRATION_H
#define TLPI_CALIBRATION_H

#include "tune/fit.h"
#include "base/sha256.h"
#include "tune/plan_runner.h"

typedef struct tlpi_cal_window {
    const int32_t *ids; /* [n], borrowed */
    int n;
    size_t at; /* of its first token in the arrays */
} tlpi_cal_window;

/* What was chosen for a stage; norms and inputs by member, attention first. */
typedef struct tlpi_stage_choice {
    tlpi_choice *norm, *in; /* [2 * n_member] */
    tlpi_choice gains, out;
} tlpi_stage_choice;

typedef struct tlpi_calibration {
    const tlpi_env *env;
    tlp_plan_adjust_options o;
    tlpi_session_config cfg;
    tlp_plan *plan; /* without adjustments */
    tlp_model *model;
    size_t d; /* n_embd */
    tlpi_cal_window *window;
    int n_window, n_held;
    size_t n_tok;
    char text[TLPI_HASH_TEXT]; /* of all ids */
    int max_member;

    tlpi_runner serial, runner; /* of the serial model, of the plan */
    tlpi_pool *pool;
    tlpi_fitter fitter;
    int32_t *seq, *pos; /* [n_ctx] 0; 0, 1, ... */
    float *rows;        /* [2][TLPI_LOGIT_CHUNK][n_vocab] */

    int layer;     /* that the serial model comes to next */
    float *truth;  /* the serial model's stream before it */
    float *stream; /* the plan's before a stage */
    float *next;   /* and after it */
    float *weight; /* [n_tok] of the stage's output: 1 / |x|^2 */
    /* Of a group's members, attention's first, then feed-forward's:
     * [2 * max_member][n_tok][d] */
    float *want; /* the serial model's inputs */
    float *seen; /* what the last run of the stage was asked to keep */
    const tlpi_cal_window *at; /* that is being run, for the probes */
    uint32_t keep;             /* TLPI_PROBE_* bits */
    int last; /* member behind whose last wanted input a run ends; -1: none */
    int slot; /* of the serial model's layer; -1: none */

    bool choosing; /* first pass: held-out windows choose */
    double error;  /* there, of the output of the stage as it is fitted */
    tlpi_fitted_stage *fitted; /* [n_stage] */
    tlpi_stage_choice *choice; /* [n_stage] */

    /* Progress: cost of the parts that are done, of the one that runs, and how
     * much of that is done. */
    double done, cost, part;
} tlpi_calibration;

/* What a plan does on the held-out windows: means over their predictions. */
typedef struct tlpi_cal_score {
    double kl, nll, top1;
} tlpi_cal_score;

tlp_status tlpi_calibration_create(tlpi_calibration *c, const tlp_plan *plan,
                                   const int32_t *tokens, size_t n);
void tlpi_calibration_free(tlpi_calibration *c); /* half-built is fine */

/* Both at the embeddings. */
void tlpi_calibration_begin(tlpi_calibration *c);

/* The serial model runs its layers before `end`; inputs of those in `stage`
 * (or NULL) go to want. */
tlp_status tlpi_calibration_advance(tlpi_calibration *c, int end,
                                    const tlpi_stage *stage);

/* The plan's stage, from stream to next, as it is fitted so far.  A run for
 * the inputs that it keeps ends with them, and leaves next alone. */
tlp_status tlpi_calibration_run(tlpi_calibration *c, int stage, uint32_t keep);

/* The plan goes on behind the stage. */
void tlpi_calibration_take(tlpi_calibration *c);

/* From the beginning, or with the streams at the end of a pass. */
tlp_status tlpi_calibration_score(tlpi_calibration *c, bool run,
                                  tlpi_cal_score *out);

static inline float *tlpi_cal_slot(const tlpi_calibration *c, float *base,
                                   int slot)
{
    return base + (size_t)slot * c->n_tok * c->d;
}

/* ==== fit_apply.c ===========================================================
 */

/* Make the runner's stage what is fitted. */
tlp_status tlpi_fitted_apply(tlpi_calibration *c, int stage);
void tlpi_fitted_clear(const tlpi_env *env, tlpi_fitted_stage *s, int n_member);
tlp_status tlpi_fitted_init(const tlpi_env *env, tlpi_fitted_stage *s,
                            int n_member);

/* ==== fit_stage.c ======================================================== */

/* Can this stage be fitted?  A group in lp, par or asym. */
bool tlpi_stage_is_group(const tlpi_stage *s);

/* Fit a group; the serial model's inputs and stream behind it are known. */
tlp_status tlpi_fit_stage(tlpi_calibration *c, int stage);

#endif
