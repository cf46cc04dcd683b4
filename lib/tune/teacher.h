/*
 * teacher.h - the serial model on a calibration text: the teacher that a plan,
 * its student, is compared with and fitted to.
 *
 * The teacher goes through the layers with all windows side by side.  It shows
 * the inputs of the layers on its way, keeps the residual stream before the
 * layer that comes next, and behind the last layer gives logits.  The logits
 * can be kept as far as a memory budget reaches; logits that are not kept are
 * computed from the stream on each use.
 */
#ifndef TLPI_TEACHER_H
#define TLPI_TEACHER_H

#include "base/pool.h"
#include "tune/plan_runner.h"
#include "tune/tick.h"
#include "tune/windows.h"

/* Functions that see activations of a layer: x [w->n][n_embd].  Either may be
 * NULL. */
typedef struct tlpi_teacher_hook {
    /* The normalised input of attention (TLPI_PROBE_ATTN_IN) and of
     * feed-forward (TLPI_PROBE_FFN_IN). */
    void (*input)(void *arg, int layer, tlpi_probe_at at, const tlpi_window *w,
                  const float *x);
    /* The residual stream behind the layer. */
    void (*stream)(void *arg, int layer, const tlpi_window *w, const float *x);
    void *arg;
} tlpi_teacher_hook;

/* How a student's prediction of a token differs from the teacher's. */
typedef struct tlpi_token_score {
    double kl;      /* nats, from the teacher to the student */
    double nll;     /* nats, of the text's next token by the student */
    bool same_top1; /* the likeliest token of both is equal */
} tlpi_token_score;

typedef struct tlpi_teacher {
    const tlpi_windows *text;       /* borrowed */
    const tlpi_session_config *cfg; /* borrowed, one rank */
    tlp_model *model;
    tlpi_tick tick;
    tlpi_pool *pool; /* for work on rows, open to the owner too */
    tlpi_runner serial;
    int n_window;   /* windows that this pass takes: the first n_window */
    int layer;      /* the layer that comes next; n_layer: the end */
    float *stream;  /* [text->n_tok][n_embd] before that layer */
    float **logits; /* [text->n] of [n - 1][n_vocab], or NULL: not kept */
    float *rows;    /* [2][TLPI_LOGIT_CHUNK][n_vocab]: teacher, student */
} tlpi_teacher;

/* At the embeddings of all windows. */
tlp_status tlpi_teacher_create(tlpi_teacher *t, tlp_model *model,
                               const tlpi_session_config *cfg,
                               const tlpi_windows *text, tlpi_tick tick);
void tlpi_teacher_free(tlpi_teacher *t); /* zeroes are fine */

/* TLP_ENOTSUP for a plan that runs layers in another order than the model: the
 * teacher's stream behind a layer is no target for such a student.  what: the
 * beginning of the error's last clause, "adjustments are". */
tlp_status tlpi_teacher_check_order(const tlp_plan *p, const char *what);

/* Return to the embeddings, with the first n_window windows only. */
void tlpi_teacher_begin(tlpi_teacher *t, int n_window);

/* Run the layers before `end` that have not run.  hook: or NULL. */
tlp_status tlpi_teacher_advance(tlpi_teacher *t, int end,
                                const tlpi_teacher_hook *hook);

/* At the end of the layers: keep the logits of windows, in their order, while
 * memory and *budget bytes last; the bytes of these logits are subtracted from
 * *budget. */
tlp_status tlpi_teacher_keep_logits(tlpi_teacher *t, size_t *budget);

/* Compare the student's predictions of a window with the teacher's, which is
 * at the end of the layers.  The student's last step was this window, up to the
 * end of its stages.  out [n - 1]. */
tlp_status tlpi_teacher_score(tlpi_teacher *t, const tlpi_runner *student,
                              int window, tlpi_token_score *out);

/* The teacher's stream of a window: [n][n_embd]. */
static inline float *tlpi_teacher_stream(const tlpi_teacher *t, int window)
{
    return t->stream + t->text->window[window].at * (size_t)t->model->hp.n_embd;
}

/* Memory that saves time and is not needed: [rows][cols] floats, or NULL where
 * *budget bytes or the memory do not reach.  *budget is lowered. */
float *tlpi_budget_alloc(const tlpi_env *env, size_t *budget, size_t rows,
                         size_t cols);

#endif
