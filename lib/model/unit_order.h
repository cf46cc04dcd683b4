/*
 * unit_order.h - another order of the hidden units of a layer.
 *
 * Hidden unit i of a layer is row i of ffn_gate and of ffn_up, and column i of
 * ffn_down.  When all three move alike, the layer adds the same terms in
 * another order.  Columns move without another rounding where units move in
 * whole blocks of ffn_down's type.
 */
#ifndef TLPI_UNIT_ORDER_H
#define TLPI_UNIT_ORDER_H

#include "model/model.h"

typedef struct tlpi_unit_order {
    int32_t **unit; /* [n_layer] of [n_ff]: the unit at each place, every unit
                       once; NULL: the layer keeps its order */
} tlpi_unit_order;

/* Units that move together in a layer: those of a block of ffn_down. */
int tlpi_unit_block(const tlp_model *m, int layer);

/* How the hidden units lie in a tensor of a file. */
typedef struct tlpi_unit_moves {
    const int32_t *unit; /* [n_ff]; NULL: nothing moves */
    int64_t n_ff;
    bool columns; /* units are columns, else rows; a fused tensor has them
                     several times, one behind the other */
} tlpi_unit_moves;

/* What moves in a tensor of the model's files. */
tlpi_unit_moves tlpi_unit_find(const tlp_model *m, const tlpi_unit_order *order,
                               const tlpi_tensor *t);

/* Put numbers of columns into the new order; false if columns stay, and out was
 * not written. */
bool tlpi_unit_columns(const tlpi_unit_moves *u, const float *x, float *out);

/* Copy a row of the reordered tensor to `out`, in the tensor's type. */
void tlpi_unit_row(const tlpi_unit_moves *u, const tlpi_tensor *t, int64_t row,
                   uint8_t *out);

#endif
