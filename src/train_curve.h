/*
 * train_curve.h - the validations of a training: table, CSV, JSON and picture.
 */
#ifndef TRAIN_CURVE_H
#define TRAIN_CURVE_H

#include <stdio.h>

#include "json.h"
#include "tlp_tune.h"

typedef struct train_curve {
    tlp_train_point *point; /* in the order of the training */
    size_t n;
    bool failed; /* a point is missing for want of memory */
} train_curve;

void train_curve_add(train_curve *c, const tlp_train_point *p);
void train_curve_print(const train_curve *c);
void train_curve_put_csv(const train_curve *c, FILE *f);
/* The loss of the steps and the KL divergence against tokens, for the model
 * `name`; `best` tokens: the state that is kept. */
void train_curve_put_svg(const train_curve *c, const char *name, int64_t best,
                         FILE *f);
void train_curve_json(const train_curve *c, json *j);
/* Tokens per second since the point before the last; 0: unknown. */
double train_curve_speed(const train_curve *c);
void train_curve_free(train_curve *c);

#endif
