/*
 * train_state.h - the state of a training in a file, from which it goes on to
 * equal bits.
 *
 * The file is in the safetensors format, with the metadata
 *
 *   tlp_train  version of the file
 *   version    of the library
 *   sha256     checksum of the two texts below and of all data
 *   of         JSON: the model, the plan, the text and the options on which
 *              the bits depend
 *   state      JSON: steps, windows, time, losses, points
 *
 * and a tensor for each parameter that is trained, [4 rows][cols]: values,
 * first and second moments of the gradient, and the best state's values.
 */
#ifndef TLPI_TRAIN_STATE_H
#define TLPI_TRAIN_STATE_H

#include "base/json_text.h"
#include "train/trainer.h"

/*
 * Go on from the state at o.resume_path; a missing file changes nothing.
 * TLP_EFORMAT for a file that is none, or damaged; TLP_EMISMATCH for a state of
 * another training: the error text names the key.
 */
tlp_status tlpi_train_state_load(tlpi_trainer *t);

/* Replace the file, where o.resume_path names one.  On failure the older file
 * stays. */
tlp_status tlpi_train_state_save(tlpi_trainer *t);

/* ==== the texts (train_state_json.c) ===================================== */

/* What the bits depend on; json_decref it.  NULL: out of memory. */
json_t *tlpi_train_state_subject(const tlpi_trainer *t);
/* TLP_EMISMATCH names the first key that differs. */
tlp_status tlpi_train_state_check(const tlpi_trainer *t, const json_t *found);

/* How far the training is; json_decref it.  NULL: out of memory. */
json_t *tlpi_train_state_pack(const tlpi_trainer *t);
/* Go on from there, except for the numbers; TLP_EFORMAT names a wrong key. */
tlp_status tlpi_train_state_take(tlpi_trainer *t, const json_t *state);

#endif
