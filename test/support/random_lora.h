/*
 * random_lora.h - random LoRA, in place of what a training gives.
 */
#ifndef RANDOM_LORA_H
#define RANDOM_LORA_H

#include "plan/adjust.h"
#include "ref.h"

/* A pair for every matrix of the model's layers, but for a third of them;
 * `lora` [n_layer] is cleared.  Returns the numbers, for free(). */
float *lora_fill(tlpi_fitted_lora *lora, const tlp_model *m, int rank,
                 uint64_t seed);

/* The plan with random adjustments of these kinds (random_adjust.h; 0: none)
 * and random LoRA in the layers that run. */
tlp_plan *lora_plan(const tlp_plan *plan, int kinds, int rank, uint64_t seed);

/* lora_plan of a plan in its text form. */
tlp_plan *lora_parse(tlp_model *m, const char *text, int kinds, int rank);

/* W += scale b a for the matrices of the reference's layers. */
void ref_add_lora(ref_model *m, const tlpi_layer_lora *lora, double scale);

#endif
