/*
 * convert.h - write a model to one file, with its matrices in other types, its
 * hidden units in another order, or both.
 */
#ifndef TLPI_CONVERT_H
#define TLPI_CONVERT_H

#include "model/unit_order.h"
#include "tlp_tune.h"

enum { TLPI_CONVERT_THREADS = 256 }; /* at most */

/* Numbers that are added to matrices of the files on the way. */
typedef struct tlpi_convert_sum {
    bool (*has)(const void *arg, const tlpi_tensor *t);
    /* x [cols] += what belongs to a row of t; called by several threads */
    void (*add)(const void *arg, const tlpi_tensor *t, int64_t row, float *x);
    const void *arg;
} tlpi_convert_sum;

typedef struct tlpi_convert {
    const tlp_model *model;
    const char *path;
    const char *type;             /* as of tlp_model_quantize; NULL: stays */
    const tlpi_unit_order *order; /* NULL: units stay */
    /* Tensors that take the place of the files' tensors of their names and
     * shapes.  Without `type` the new file has them in the types of these, or
     * in Q8_0 or F16 where that type has less than eight bits: rounding to a
     * coarse grid would undo small changes. */
    const tlpi_tensor *replace;
    size_t n_replace;
    /* NULL: nothing is added; not with `order`.  Types are as for `replace`. */
    const tlpi_convert_sum *sum;
    tlp_quantize_options opts;
    /* Sees the complete file under a temporary name, before the file gets its
     * own; a failure removes the file.  NULL: nobody asks. */
    tlp_status (*ready)(void *arg, const char *path);
    void *ready_arg;
} tlpi_convert;

/* Metadata and tensors without hidden units are kept, types apart; of a split
 * model the split.* keys go.  result: NULL is allowed. */
tlp_status tlpi_model_convert(const tlpi_convert *c,
                              tlp_quantize_result *result);

/* Read the options of tlp_model_quantize and check them. */
tlp_status tlpi_quantize_options(tlp_quantize_options *out,
                                 const tlp_quantize_options *opts);
tlp_status tlpi_convert_check_type(const tlp_model *m, const char *type);

/* Write r to the caller's struct; out NULL: nobody asks. */
tlp_status tlpi_quantize_give(tlp_quantize_result *out,
                              const tlp_quantize_result *r);

#endif
