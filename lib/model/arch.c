/*
 * arch.c - the architectures, one row each.
 *
 * Converters permute the rows of attn_q and attn_k of most architectures so
 * that the two numbers of a rotation pair are neighbours; those with rope_neox
 * keep the order in which they were trained.
 */
#include "model/hparams.h"

const tlpi_arch_info tlpi_arch_table[TLPI_N_ARCH] = {
    [TLPI_ARCH_LLAMA] = { .name = "llama",
                          .windows = true,
                          .experts = TLPI_EXPERTS_MAYBE },
    [TLPI_ARCH_QWEN2] = { .name = "qwen2", .rope_neox = true },
    [TLPI_ARCH_QWEN3] = { .name = "qwen3",
                          .rope_neox = true,
                          .qk_norm = TLPI_QK_NORM_HEADS },
    [TLPI_ARCH_GRANITE] = { .name = "granite",
                            .scales = true,
                            .rope_switch = true },
    [TLPI_ARCH_SMOLLM3] = { .name = "smollm3", .no_rope_step = 4 },
    [TLPI_ARCH_GEMMA3] = { .name = "gemma3",
                           .rope_neox = true,
                           .qk_norm = TLPI_QK_NORM_HEADS,
                           .post_norm = true,
                           .linear_only = true,
                           .gate = TLPI_GATE_GELU,
                           .embd_root = true,
                           .windows = true,
                           .window_step = 6,
                           .window_theta = 10000,
                           .n_layer_even = 62 },
    [TLPI_ARCH_OLMO2] = { .name = "olmo2",
                          .rope_neox = true,
                          .qk_norm = TLPI_QK_NORM_ROWS,
                          .raw_input = true,
                          .post_norm = true,
                          .windows = true,
                          .window_step = 4,
                          .window_plain = true },
    [TLPI_ARCH_PHI3] = { .name = "phi3",
                         .rope_neox = true,
                         .untyped_long = true,
                         .gate_up = true,
                         .windows = true },
    [TLPI_ARCH_GLM4] = { .name = "glm4", .post_norm = true, .gate_up = true },
    [TLPI_ARCH_EXAONE4] = { .name = "exaone4",
                            .rope_neox = true,
                            .qk_norm = TLPI_QK_NORM_HEADS,
                            .raw_input = true,
                            .post_norm = true,
                            .windows = true,
                            .window_step = 4,
                            .window_rope = true },
    [TLPI_ARCH_QWEN3MOE] = { .name = "qwen3moe",
                             .rope_neox = true,
                             .qk_norm = TLPI_QK_NORM_HEADS,
                             .experts = TLPI_EXPERTS_ALWAYS },
};
