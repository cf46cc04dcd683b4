/*
 * adapter.h - a LoRA adapter: LoRA of a model's layers that a session adds to
 * the matrices, with or without LoRA of the plan.
 *
 * Its numbers live in one image, a safetensors file in memory, whose tensors
 * plan/lora.h names.  The metadata has "tlp_lora": "1" and the fingerprint of
 * the model ("model").  The image is what ranks in other processes get.
 * Adapters come from GGUF files in the form of llama.cpp (adapter_gguf.c).
 */
#ifndef TLPI_ADAPTER_H
#define TLPI_ADAPTER_H

#include <stdatomic.h>

#include "base/sha256.h"
#include "file/safetensors.h"
#include "plan/lora.h"
#include "plan/plan.h"

struct tlp_adapter {
    _Atomic int refs;
    tlp_model *model; /* retained */
    void *image;
    size_t n_image;
    char sha256[TLPI_HASH_TEXT]; /* of the image */
    tlpi_safetensors *index;     /* the image's tensors */
    tlpi_layer_lora *lora;       /* [n_layer] */
};

/* The function takes over `image` (memory of the model's env), also on failure;
 * `where` names it in error texts. */
tlp_status tlpi_adapter_from_image(tlp_adapter **out, tlp_model *model,
                                   void *image, size_t n_image,
                                   const char *where);

/* Read an open GGUF file (adapter_gguf.c). */
tlp_status tlpi_adapter_read(tlp_adapter **out, tlp_model *model,
                             const tlpi_gguf *g);

/* Upper bound of the bytes of an image for this model. */
size_t tlpi_adapter_max_bytes(const tlp_model *m);

const tlp_adapter *tlpi_adapter_retain(const tlp_adapter *a); /* or NULL */

/* Can a session of this plan run the adapter?  NULL: there is none. */
tlp_status tlpi_adapter_check(const tlp_adapter *a, const tlp_plan *plan);

#endif
