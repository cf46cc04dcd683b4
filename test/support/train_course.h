/*
 * train_course.h - what tests of a training in pieces share: a tiny model, its
 * text and options, and what a training shows on its way.
 */
#ifndef TRAIN_COURSE_H
#define TRAIN_COURSE_H

#include "support/check.h"
#include "tlp_tune.h"

enum { COURSE_CTX = 32, COURSE_TOKENS = 12 * COURSE_CTX, COURSE_POINTS = 64 };

typedef struct course {
    tlp_train_point point[COURSE_POINTS];
    int n_point, n_call;
    int cancel_at, kill_at; /* calls of progress; 0 = never */
} course;

extern int32_t course_ids[COURSE_TOKENS];
extern tlp_session_options course_session;
/* Files of this test; course_options makes fresh names. */
extern const char *course_result, *course_state;

/* An F16 model of random numbers, a llama or another; the text is set too. */
tlp_model *course_model(uint64_t seed);
tlp_model *course_model_of(const char *arch, uint64_t seed);

/* Of a training of 44 windows that fills in *c; what is trained is open. */
tlp_plan_train_options course_options(course *c);

/* Train a plan with groups and tracks; *json (or NULL): the new plan. */
tlp_status course_train(tlp_model *m, const tlp_plan_train_options *o,
                        char **json);

#endif
