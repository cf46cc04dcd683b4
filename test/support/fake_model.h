/*
 * fake_model.h - a model that has shapes and types but no data: enough for
 * plans, shards and costs.
 */
#ifndef FAKE_MODEL_H
#define FAKE_MODEL_H

#include "model/model.h"

typedef struct fake_shape {
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_vocab;
} fake_shape;

/*
 * Matrices take the n_type types in turn; one whose rows are no multiple of
 * the block becomes Q8_0, or F16.  Freed at exit or with tlp_model_free.
 */
tlp_model *fake_model(const fake_shape *shape, const tlpi_dtype *type,
                      size_t n_type);

#endif
