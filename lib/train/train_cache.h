/*
 * train_cache.h - the residual stream of windows before the first trained
 * stage.
 *
 * The layers before that stage are frozen, so that a window has equal numbers
 * there in every epoch.  They are kept while memory lasts: 4 n_embd bytes for
 * each token.
 */
#ifndef TLPI_TRAIN_CACHE_H
#define TLPI_TRAIN_CACHE_H

#include "train/train_pass.h"

typedef struct tlpi_train_cache {
    const tlpi_env *env;
    tlpi_train_pass *pass; /* borrowed */
    float **border;        /* [n_window], NULL: not kept */
    int n_window;
    uint64_t budget; /* bytes that are left */
} tlpi_train_cache;

/* Of the budget, what the windows do not need stays in *rest. */
tlp_status tlpi_train_cache_create(tlpi_train_cache *c, tlpi_train_pass *pass,
                                   int n_window, uint64_t budget,
                                   uint64_t *rest);
void tlpi_train_cache_free(tlpi_train_cache *c); /* zeroes are fine */

/* Run a window of n tokens to the border behind the last stage. */
tlp_status tlpi_train_cache_run(tlpi_train_cache *c, int window,
                                const int32_t *ids, int n);

#endif
