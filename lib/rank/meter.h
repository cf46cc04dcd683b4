/*
 * meter.h - how large are the inputs of each matrix of a model: sums of the
 * squares of their columns, over all tokens that a rank evaluates.
 *
 * The rank runs the serial plan alone, on the CPU.  While the meter is there,
 * it stands between the equations and the backend's products.
 */
#ifndef TLPI_METER_H
#define TLPI_METER_H

#include "rank/rank.h"

typedef struct tlpi_meter_entry {
    const tlpi_tensor *tensor; /* of the model, as its file has it: a fused
                                  tensor has one entry */
    const tlpi_weight *w;
    int64_t cols, n_mat; /* matrices: 1, or the number of experts */
    double *sum;         /* [n_mat][cols] of squares */
    int64_t *count;      /* [n_mat] tokens that a matrix has multiplied */
} tlpi_meter_entry;

typedef struct tlpi_meter {
    tlpi_backend_ops ops; /* the backend's, with products that are counted */
    const tlpi_backend_ops *own;
    tlpi_rank *rank;
    tlpi_meter_entry *entry; /* [n] in the order of layers */
    tlpi_meter_entry **by_weight;
    size_t n;
} tlpi_meter;

/* The matrices of all layers, but not the output head.  The rank outlives the
 * meter. */
tlp_status tlpi_meter_create(tlpi_meter **out, tlpi_rank *rank);
void tlpi_meter_free(tlpi_meter *m); /* NULL is allowed */

#endif
