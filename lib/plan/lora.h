/*
 * lora.h - LoRA of a model's layers: products of low rank that are added to
 * matrices (Hu et al., arXiv 2106.09685).
 *
 *   y = W x + b (a x)      a [rank][cols], b [rows][rank]; W [rows][cols]
 *
 * The scale of the product is part of b.  A product belongs to a layer: all
 * members and tracks that run the layer share it.  In a safetensors image the
 * tensors are blk.N.MATRIX.lora_a and blk.N.MATRIX.lora_b, F32 or F16, where
 * MATRIX is attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up or ffn_down.
 */
#ifndef TLPI_LORA_H
#define TLPI_LORA_H

#include "model/model.h"

/* up (down x); rank 0: none.  down and up are tensors, views of an image,
 * because backends take tensors. */
typedef struct tlpi_lowrank {
    int rank;
    tlpi_tensor down, up; /* [rank][cols], [rows][rank] */
} tlpi_lowrank;

/* By matrix; down is a, up is b. */
typedef struct tlpi_layer_lora {
    tlpi_lowrank pair[TLPI_N_LAYER_TENSOR];
} tlpi_layer_lora;

/* A half of a pair, as the name of its tensor says. */
typedef struct tlpi_lora_name {
    int layer;
    tlpi_layer_id id;
    bool is_b;
} tlpi_lora_name;

enum { TLPI_LORA_NAME = 48 };

/* "blk.N.MATRIX.lora_a"; false for every other text. */
bool tlpi_lora_read_name(const char *text, tlpi_lora_name *out);
void tlpi_lora_write_name(int layer, tlpi_layer_id id, bool is_b,
                          char out[TLPI_LORA_NAME]);

/* Put a tensor of an image into its place in lora [n_layer], after a check of
 * layer, shape, type and numbers.  `where` names the image in error texts. */
tlp_status tlpi_lora_place(tlpi_layer_lora *lora, const tlp_model *m,
                           const tlpi_lora_name *name, const tlpi_tensor *t,
                           const char *where);

/* All tensors are in their places: every pair is whole and has one rank. */
tlp_status tlpi_lora_check_pairs(tlpi_layer_lora *lora, const tlp_model *m,
                                 const char *where);

/* TLP_ENOTSUP for a mode whose stages cannot run LoRA. */
tlp_status tlpi_lora_check_mode(int mode);

/* Upper bound of the bytes of the tensors of a model's LoRA. */
uint64_t tlpi_lora_max_bytes(const tlp_model *m);

int tlpi_lora_count(const tlpi_layer_lora *lora, const tlp_model *m);

/* LoRA that a session runs: a plan's, or an adapter's times a scale. */
typedef struct tlpi_lora_source {
    const tlpi_layer_lora *lora; /* [n_layer] */
    float scale;
} tlpi_lora_source;

enum { TLPI_MAX_LORA_SOURCE = 2 };

/* Rank of the sum of n sources for a matrix. */
int tlpi_lora_rank(const tlpi_lora_source *source, int n, int layer,
                   tlpi_layer_id id);

/*
 * The sum of n sources for a matrix as one pair: rows of a one below the other,
 * columns of b side by side.  The data of *out is the caller's to free; with
 * `dry` the tensors have no data.  Rank 0: none has a product for the matrix.
 */
tlp_status tlpi_lora_join(const tlpi_env *env, const tlpi_lora_source *source,
                          int n, int layer, tlpi_layer_id id, bool dry,
                          tlpi_lowrank *out);

#endif
