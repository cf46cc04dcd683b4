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

/* The choices for a stage; norms and inputs by member, attention first.
 * Members are layers, or the tracks of a layer (tlpi_plan_n_member). */
typedef struct tlpi_stage_choice {
    tlpi_choice *norm, *in; /* [2 * n_member] */
    tlpi_choice posts, gains, out;
} tlpi_stage_choice;

/* A residual stream.  In front of a stage whose tracks go on without an
 * exchange, track t has x + track[t]; everywhere else every track has x. */
typedef struct tlpi_cal_stream {
    float *x;      /* [n_tok][d] */
    float **track; /* [n_track] of [n_tok][d], or NULL: no such stage */
    bool open;     /* the tracks differ */
} tlpi_cal_stream;

typedef struct tlpi_calibration {
    const tlpi_env *env;
    tlp_plan_adjust_options o;   /* o.session points at the next field */
    tlp_session_options session; /* of the windows */
    tlpi_session_config cfg;
    tlp_plan *plan; /* without adjustments */
    tlp_model *model;
    size_t d;                  /* n_embd */
    int max_layer, max_member; /* of a stage */
    tlpi_windows text;         /* with held-out windows */
    tlpi_teacher teacher;
    tlpi_runner student; /* runs the plan */
    tlpi_fitter fitter;

    tlpi_cal_stream stream; /* the student's before a stage */
    tlpi_cal_stream next;   /* the student's behind the stage */
    float *weight; /* [n_tok] 1 / |x|^2, weight of an error of the output */
    float *want;   /* [2 * max_layer][n_tok][d] the teacher's inputs of the
                      layers in a stage, of attention first */
    float *seen;   /* [2 * max_member][n_ctx][d] what the student's run keeps
                      of a window, of attention first */
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

/* Who takes what a run keeps of a window, before the next window's run. */
typedef struct tlpi_cal_sink {
    uint32_t keep; /* TLPI_PROBE_* bits of what goes to seen */
    tlp_status (*take)(void *arg, int window);
    void *arg;
} tlpi_cal_sink;

/* Run a stage of the student, with its fits so far, from stream to next.
 * sink: or NULL.  A run for a sink of inputs alone ends with them, and
 * leaves next unchanged. */
tlp_status tlpi_calibration_run(tlpi_calibration *c, int stage,
                                const tlpi_cal_sink *sink);

/* next becomes stream: the student goes on to the stage that follows. */
void tlpi_calibration_take(tlpi_calibration *c);

/* The stream of a token as an exchange at this place would make it: x [d]. */
void tlpi_calibration_join(const tlpi_calibration *c, const tlpi_cal_stream *s,
                           size_t token, float *x);

/* Score the student on the held-out windows.  run: run teacher and student from
 * their embeddings first, else both are at the end of a pass. */
tlp_status tlpi_calibration_score(tlpi_calibration *c, bool run,
                                  tlpi_cal_score *out);

/* The teacher's input of a half (TLPI_HALF_*) of a layer in the stage. */
static inline float *tlpi_cal_want(const tlpi_calibration *c, int half,
                                   int layer)
{
    size_t slot = (size_t)(half * c->max_layer + layer);

    return c->want + slot * c->text.n_tok * c->d;
}

/* What was kept of a half of a member. */
static inline float *tlpi_cal_seen(const tlpi_calibration *c, int half,
                                   int member)
{
    size_t slot = (size_t)(half * c->max_member + member);

    return c->seen + slot * (size_t)c->text.n_ctx * c->d;
}

/* ==== fit_apply.c ======================================================== */

/* Give the student's stage its fits so far. */
tlp_status tlpi_fitted_apply(tlpi_calibration *c, int stage);
void tlpi_fitted_clear(const tlpi_env *env, tlpi_fitted_stage *s, int n_member);
tlp_status tlpi_fitted_init(const tlpi_env *env, tlpi_fitted_stage *s,
                            int n_member);

/* ==== fit_stage.c ======================================================== */

/* Can this stage be fitted?  Groups in lp, par and asym can, and layers of
 * which a half reads streams that differ between tracks. */
bool tlpi_fit_has(const tlp_plan *p, int stage);

/* Fit such a stage.  The teacher has run its layers. */
tlp_status tlpi_fit_stage(tlpi_calibration *c, int stage);

#endif
