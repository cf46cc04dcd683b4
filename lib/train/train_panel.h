/*
 * train_panel.h - frozen matrices as the panels of their products.
 *
 * A product converts its matrix while it packs it (train_gemm.h).  While memory
 * lasts, the matrices that every step multiplies by and does not train are
 * converted once: 4 bytes for each number and direction.  The bits of a
 * training do not depend on it.
 */
#ifndef TLPI_TRAIN_PANEL_H
#define TLPI_TRAIN_PANEL_H

#include "train/train_pass.h"

typedef struct tlpi_train_panels {
    const tlpi_env *env;
    float **block; /* [n] */
    size_t n, cap;
    uint64_t budget; /* bytes that are left */
} tlpi_train_panels;

/* The panels of the net's matrices, which must not outlive them.  The pass is
 * that of the net. */
tlp_status tlpi_train_panels_create(tlpi_train_panels *p, tlpi_train_net *net,
                                    tlpi_train_pass *pass, uint64_t budget);
void tlpi_train_panels_free(tlpi_train_panels *p); /* zeroes are fine */

#endif
