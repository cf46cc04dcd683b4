/*
 * gate.h - activation functions of a feed-forward part's gate.
 */
#ifndef TLPI_GATE_H
#define TLPI_GATE_H

typedef enum tlpi_gate {
    TLPI_GATE_SILU,  /* x / (1 + e^-x) */
    TLPI_GATE_GELU,  /* x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3): the
                       form with tanh, x (1 + tanh u) / 2 */
    TLPI_GATE_CLAMP, /* of experts: x / (1 + e^-1.702 x) times up + 1, with x at
                        most 7 and up between -7 and 7 */
    TLPI_N_GATE
} tlpi_gate;

/* 2u = TLPI_GELU_1 x (1 + TLPI_GELU_3 x^2) */
#define TLPI_GELU_1 1.5957691216057308
#define TLPI_GELU_3 0.044715

#define TLPI_CLAMP_LIMIT 7.0
#define TLPI_CLAMP_SLOPE 1.702

/* Gates that gradients and devices know: they run no experts. */
enum { TLPI_N_DENSE_GATE = TLPI_GATE_CLAMP };

#endif
