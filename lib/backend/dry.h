/*
 * dry.h - a backend that counts and computes nothing.
 *
 * Its buffers are addresses that nobody may read or write, its weights and
 * caches are sizes.  A rank over this backend runs the real equations.  The
 * rank then knows what it holds, and the backend how much work a step is.
 */
#ifndef TLPI_DRY_H
#define TLPI_DRY_H

#include "backend/backend.h"
#include "backend/weight_cache.h"

typedef struct tlpi_dry_options {
    /* Bytes of a weight in memory; NULL: the bytes of the file's type. */
    uint64_t (*weight_size)(tlpi_dtype type, int64_t rows, int64_t cols);
    /* Bytes of a cache in a page; NULL: without padding. */
    uint64_t (*kv_size)(int n_pos, int n_head_kv, int head_dim, int kv_type);
    /* Weights that stand in this cache in this layout take no memory.  NULL:
     * all weights take memory. */
    tlpi_weight_cache *cache;
    int layout;
} tlpi_dry_options;

/*
 * Work on a token.  Bytes are those of the multiplied weights, in the file's
 * types.  A product counts for the half of a stage whose main operation,
 * attention (with sum_squares) or gate_up, was called last; a product before
 * both of them counts for the operation that follows.
 */
typedef struct tlpi_dry_work {
    int n_attn, n_ffn; /* calls of attention, of gate_up */
    int n_square;      /* calls of sum_squares, which belong to attention */
    double attn_bytes, ffn_bytes;
    double other_bytes;  /* no attention or gate_up was called */
    double expert_bytes; /* of all experts; ffn_bytes has those of one token */
    double expert_share; /* of the experts that a token reads */
    int n_head;          /* query heads */
} tlpi_dry_work;

tlp_status tlpi_backend_dry_create(tlpi_backend **out, const tlpi_env *env,
                                   const tlpi_dry_options *opts);

/* Set the sizes to those of the CPU backend with an instruction set, TLP_ISA_*
 * (cpu.c). */
void tlpi_backend_cpu_sizes(tlpi_dry_options *o, int isa);

/* Bytes of the rotation tables. */
uint64_t tlpi_dry_rope_bytes(const tlpi_backend *b);

/* The work since the last call. */
tlpi_dry_work tlpi_dry_take_work(tlpi_backend *b);

#endif
