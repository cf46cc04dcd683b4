/*
 * ref_local.h - the reference's local loss of a plan: every section between two
 * borders where the streams of all tracks are equal, against the serial model.
 */
#ifndef REF_LOCAL_H
#define REF_LOCAL_H

#include "support/ref.h"

/* The serial model's streams [n_layer + 1] of [n][d] before each layer and
 * behind the last. */
double **ref_serial_streams(const ref_model *m, const int32_t *ids, int n);
void ref_streams_free(const ref_model *m, double **x);

/* The sum over tokens of |z - y|^2 / |y - x|^2, as a mean over the sections
 * that differ from the serial model. */
double ref_local_loss(const ref_model *m, const ref_plan *plan,
                      double *const *serial, int n);

#endif
