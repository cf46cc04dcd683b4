/*
 * reordered.h - compare a model with its copy in another order of hidden units.
 */
#ifndef REORDERED_H
#define REORDERED_H

#include "model/model.h"
#include "text_kl.h"

/* An element of a matrix with rows of at most 512. */
float reordered_element(const tlpi_tensor *t, int64_t row, int64_t col);

/* b, one file, has the metadata of a and its tensors without hidden units, byte
 * for byte. */
void reordered_keeps_rest(const tlp_model *a, const tlp_model *b);

/*
 * The serial model is the same function, with equal likeliest tokens.  Sums
 * over hidden units run in another order, so their last bits differ, by about
 * the square root of n_ff roundings of 2^-24 in each layer.
 */
void reordered_is_same(tlp_model *a, tlp_model *b, const text_windows *text);

#endif
