/*
 * gate.h - activation functions of a feed-forward part's gate.
 */
#ifndef TLPI_GATE_H
#define TLPI_GATE_H

typedef enum tlpi_gate {
    TLPI_GATE_SILU, /* x / (1 + e^-x) */
    TLPI_GATE_GELU, /* x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3): the
                      form with tanh, x (1 + tanh u) / 2 */
    TLPI_N_GATE
} tlpi_gate;

/* 2u = TLPI_GELU_1 x (1 + TLPI_GELU_3 x^2) */
#define TLPI_GELU_1 1.5957691216057308
#define TLPI_GELU_3 0.044715

#endif
