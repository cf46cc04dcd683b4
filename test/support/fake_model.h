/*
 * fake_model.h - a model with shapes and types but without data, for tests of
 * plans, shards and costs.
 */
#ifndef FAKE_MODEL_H
#define FAKE_MODEL_H

#include "model/model.h"

typedef struct fake_shape {
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_vocab;
} fake_shape;

/*
 * Matrices take the n_type types in turn.  A matrix whose rows are not a
 * multiple of the block becomes Q8_0, or F16.  The model is freed at exit or
 * with tlp_model_free.
 */
tlp_model *fake_model(const fake_shape *shape, const tlpi_dtype *type,
                      size_t n_type);

#endif
