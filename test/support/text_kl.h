/*
 * text_kl.h - how far a plan is from the serial model on a text, by sessions:
 * what the planner's numbers are compared with.
 */
#ifndef TEXT_KL_H
#define TEXT_KL_H

#include "check.h"

/* n ids in windows of n_ctx, each evaluated from position 0. */
typedef struct text_windows {
    const int32_t *ids;
    int n, n_ctx;
} text_windows;

/* Means over all predictions. */
typedef struct text_figures {
    double kl, top1, ppl;
} text_figures;

/* The serial model's logits of all tokens; free() them. */
float *text_serial_logits(tlp_model *m, const text_windows *text);

text_figures text_compare(tlp_model *m, tlp_plan *plan,
                          const text_windows *text, const float *reference);

/* The KL of a plan in text form. */
double text_kl(tlp_model *m, const char *form, const text_windows *text,
               const float *reference);

#endif
