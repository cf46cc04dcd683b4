/*
 * cpu_attn.h - the scratch memory of attention.
 */
#ifndef TLPI_CPU_ATTN_H
#define TLPI_CPU_ATTN_H

#include "backend/cpu.h"

/* Enough for contexts of n_ctx positions and heads of head_dim; called for
 * every cache, before it is used. */
tlp_status tlpi_cpu_attn_scratch_fit(tlpi_cpu *c, int n_ctx, int head_dim);

#endif
