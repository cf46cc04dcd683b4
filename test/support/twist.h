/*
 * twist.h - good model files with one thing wrong, or one unusual.
 */
#ifndef TWIST_H
#define TWIST_H

#include "check.h"
#include "model/model.h"

#define N_EMBD 32
#define N_FF 48
#define N_HEAD 4
#define N_KV 2
#define HEAD_DIM 8
#define N_VOCAB 288
#define N_CTX 64

/* What differs from a good two-layer model.  A key or tensor that is named is
 * left out where it stands, and written at the end with what is given. */
typedef struct twist {
    const char *arch; /* NULL: llama */
    const char *key;
    char kind; /* u32 'u', f32 'f', text 's', bool 'b', two equal
                  numbers 'a', two different numbers 'd'; 0: the key is only
                  left out */
    double number;
    const char *text;
    const char *tensor;
    int n_dim; /* 0: the tensor is only left out */
    uint64_t ne[2];
    tlpi_dtype type;
    bool inv_freq; /* the tensor has the usual frequencies, not zeroes */
} twist;

/* Opening the file must fail, with a text that has `error` and the file. */
void twist_refused(twist t, tlp_status status, const char *error);

/* The open model of a file. */
tlp_model *twist_open(twist t);

#define L "llama."
#define KEY_U(k, x)                                                            \
    {                                                                          \
        .key = L k, .kind = 'u', .number = (x)                                 \
    }
#define KEY_F(k, x)                                                            \
    {                                                                          \
        .key = L k, .kind = 'f', .number = (x)                                 \
    }
#define GRANITE(k, x)                                                          \
    {                                                                          \
        .arch = "granite", .key = "granite." k, .kind = 'f', .number = (x)     \
    }
#define GEMMA3(k, x)                                                           \
    {                                                                          \
        .arch = "gemma3", .key = "gemma3." k, .kind = 'f', .number = (x)       \
    }
#define MISTRAL3(k, x)                                                         \
    {                                                                          \
        .arch = "mistral3", .key = "mistral3." k, .kind = 'f', .number = (x)   \
    }
#define KEY_S(k, x)                                                            \
    {                                                                          \
        .key = L k, .kind = 's', .text = (x)                                   \
    }
#define KEY_A(k, x)                                                            \
    {                                                                          \
        .key = L k, .kind = 'a', .number = (x)                                 \
    }
#define KEY_D(k, x)                                                            \
    {                                                                          \
        .key = L k, .kind = 'd', .number = (x)                                 \
    }
#define NO_KEY(k)                                                              \
    {                                                                          \
        .key = L k                                                             \
    }
#define TENSOR(name, dims, cols, rows, dtype)                                  \
    {                                                                          \
        .tensor = (name), .n_dim = (dims), .ne = { (cols), (rows) },           \
        .type = (dtype)                                                        \
    }

#endif
