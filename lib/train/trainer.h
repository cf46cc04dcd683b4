/*
 * trainer.h - training of a plan: the text, the net, steps, and validation.
 */
#ifndef TLPI_TRAINER_H
#define TLPI_TRAINER_H

#include "tlp_tune.h"
#include "train/train_cache.h"
#include "train/train_group.h"
#include "train/train_local.h"
#include "train/train_panel.h"
#include "train/train_target.h"

typedef struct tlpi_trainer {
    const tlpi_env *env;
    tlp_plan_train_options o;    /* o.session points at the next field */
    tlp_session_options session; /* of the windows */
    tlpi_session_config cfg;
    tlp_plan *plan; /* retained */
    tlp_model *model;
    tlpi_train_group group;
    tlpi_windows text; /* with held-out windows */
    tlpi_pool *pool;
    tlpi_train_net net;
    tlpi_train_pass pass;
    tlpi_train_cache cache;
    tlpi_train_panels panels;
    tlpi_train_head head;
    tlpi_train_targets targets;
    tlpi_train_local local; /* where n_local > 0 */
    tlpi_adam adam;

    int64_t n_step;                /* of the whole training */
    int64_t n_local;               /* the first of them: the loss is local */
    int64_t step, token;           /* done */
    int *order;                    /* [text.n - n_held] windows of this epoch */
    int next, epoch;               /* the next place in it */
    int32_t *list;                 /* [n_list] the windows of a step */
    int n_list;                    /* n_accum of each rank */
    uint64_t random, epoch_random; /* now, and when this epoch began */
    double begin;            /* tlpi_now() of the start; earlier runs count */
    double first_step;       /* and of the first step whose loss is not local */
    double score_time;       /* seconds of a validation */
    tlpi_train_loss running; /* since the last point; both sums are those of
                                the local loss in its steps */
    tlp_train_point *point;  /* [n_point] of the whole training */
    size_t n_point;
    float **best; /* [net.param.n] values of the best state */
    tlpi_train_loss first_score, best_score; /* on the held-out windows */
    int64_t best_token;
    int canceled;     /* and the best state is kept: tlp_plan_train_report's */
    bool resumed;     /* an earlier run has done steps or validated */
    double saved;     /* tlpi_now() when the state was last written */
    double save_time; /* seconds that this took */
    int64_t saved_step;
} tlpi_trainer;

/* TLP_EINVAL and TLP_ENOTSUP for options and a plan that cannot be trained. */
tlp_status tlpi_trainer_check(const tlpi_trainer *t);

/* env, o, session, plan, model and group are set. */
tlp_status tlpi_trainer_create(tlpi_trainer *t, const int32_t *tokens,
                               size_t n);
void tlpi_trainer_free(tlpi_trainer *t); /* half-built is fine */

/* Draw the order of an epoch that begins with `random`. */
void tlpi_trainer_shuffle(tlpi_trainer *t);
tlp_status tlpi_trainer_add_point(tlpi_trainer *t, const tlp_train_point *p);

/* Every rank: a step with the windows of the list. */
tlp_status tlpi_trainer_step(tlpi_trainer *t, const tlpi_train_order *order);
/* Every rank: score its held-out windows; rank 0 gets the sum of all. */
tlp_status tlpi_trainer_score(tlpi_trainer *t, tlpi_train_loss *sum);

/* Rank 0: train to the end, and put the best state's numbers into the
 * parameters. */
tlp_status tlpi_trainer_run(tlpi_trainer *t);

#endif
