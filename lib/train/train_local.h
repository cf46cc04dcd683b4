/*
 * train_local.h - the local loss: every section of a plan alone, against the
 * serial model.
 *
 * A section is the stages between two borders at which the streams of all
 * tracks are equal.  It begins with the serial model's stream x before its
 * first layer, and its output z is compared with the serial model's stream y
 * behind its last layer.  The loss of a token is
 *
 *   |z - y|^2 / |y - x|^2,
 *
 * averaged over the sections that the plan changes.  A section that adds
 * nothing has the loss 1, the serial model's section has the loss 0.
 */
#ifndef TLPI_TRAIN_LOCAL_H
#define TLPI_TRAIN_LOCAL_H

#include "train/train_pass.h"

/* Stages [first, end) do the work of the layers [lo, hi). */
typedef struct tlpi_train_section {
    int first, end, lo, hi;
} tlpi_train_section;

typedef struct tlpi_train_local {
    tlpi_train_pass *pass;  /* of the plan, borrowed */
    tlpi_train_net net;     /* of the serial plan: the file's numbers */
    tlpi_train_pass serial; /* its border l: the stream before layer l */
    tlpi_train_section *section;
    int n;
    double *loss; /* [max_tok] of a section */
} tlpi_train_local;

/* TLP_ENOTSUP for a plan that changes the order of layers. */
tlp_status tlpi_train_local_create(tlpi_train_local *l, tlpi_train_pass *pass,
                                   int isa);
void tlpi_train_local_free(tlpi_train_local *l); /* zeroes are fine */

/* Loss of the n tokens of a window, added to *loss, and its gradients, added to
 * those of the parameters. */
tlp_status tlpi_train_local_window(tlpi_train_local *l, const int32_t *ids,
                                   int n, double *loss);

#endif
