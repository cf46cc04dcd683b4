/*
 * ref_impl.h - the reference's model, shared by ref_load.c and ref.c.
 */
#ifndef REF_IMPL_H
#define REF_IMPL_H

#include <stdbool.h>
#include <stddef.h>

#include "ref.h"

/* A layer is a table of tensors, so that merging is one loop. */
enum {
    ATTN_NORM,
    ATTN_Q,
    ATTN_K,
    ATTN_V,
    ATTN_OUT,
    BIAS_Q,
    BIAS_K,
    BIAS_V,
    BIAS_OUT,
    ATTN_SINKS,
    Q_NORM,
    K_NORM,
    ATTN_POST,
    FFN_NORM,
    FFN_ROUTER,
    FFN_GATE,
    FFN_UP,
    FFN_DOWN,
    BIAS_ROUTER,
    BIAS_GATE,
    BIAS_UP,
    BIAS_DOWN,
    FFN_POST,
    N_TENSOR
};

typedef struct ref_array {
    double *x; /* NULL if the model lacks the tensor */
    size_t n;
} ref_array;

typedef struct ref_layer {
    ref_array t[N_TENSOR];
    const double *inv_freq; /* [n_rot/2] the model's; NULL: no rotation */
    int window;             /* latest positions that are seen; 0: all */
} ref_layer;

struct ref_model {
    int n_layer, d, n_ff, n_head, n_head_kv, hd, n_vocab, n_rot;
    bool neighbours; /* rotation pairs (2i, 2i+1), else (i, i + n_rot/2) */
    bool gelu;       /* of gates, else SiLU */
    bool clamp;      /* hidden units of gpt-oss */
    int n_expert;    /* FFN_GATE to FFN_DOWN hold a matrix for each; 0: none */
    int n_used;
    bool all_share; /* weights of experts are the softmax over all experts, and
                       not over those that are used */
    double expert_scale;
    bool row_norms; /* Q_NORM and K_NORM are of whole rows, not of heads */
    double eps;
    double embedding_scale, residual_scale, attention_scale, logit_scale;
    double attn_cap, logit_cap; /* soft caps; 0: none */
    double query_scale;         /* of queries, by logarithms of how often their
                                   positions hold query_ctx */
    int query_ctx;
    double *inv_freq;        /* [n_rot/2] */
    double rope_gain;        /* of what these angles rotate */
    double *inv_freq_window; /* of layers with a window; NULL: no others */
    ref_array embd, output_norm, output;
    ref_layer *layer;
};

/* End the program. */
_Noreturn void ref_die(const char *what, const char *which);
double *ref_zeros(size_t n);
void ref_layer_clear(ref_layer *l);

/* ==== ref_ops.c ========================================================== */

/* y [n][rows] = x [n][cols] W' + b */
void ref_linear(const ref_array *w, const ref_array *b, const double *x, int n,
                int cols, double *y);

/* n vectors of length len, each normalised alone; y may be x */
void ref_rms_norm(const ref_model *m, const ref_array *w, const double *x,
                  int n, int len, double *y);

/* x [n][n_head][hd], position t = row t */
void ref_rope(const ref_model *m, const double *inv_freq, double *x, int n,
              int n_head);

/* o [hd]: head h of position t, softmax over positions j0 to t and the heads'
 * sinks, which may be none; p [t + 1] is room for the weights. */
void ref_attend(const ref_model *m, const double *q, const double *k,
                const double *v, const ref_array *sinks, int j0, int t, int h,
                double *p, double *o);

/* ==== ref.c ============================================================== */

/* Input of attention or of the feed-forward part, [n][d]: normalised and
 * corrected. */
void ref_input(const ref_model *m, const ref_array *norm, double *other,
               const ref_lowrank *c, const double *x, int n, double *in);

/* ==== ref_rows.c ========================================================= */

/* Sums of the squares of rows of queries and keys, [n] each, and the heads of a
 * row. */
typedef struct ref_rows {
    double *q, *k;
    int n_q, n_k;
} ref_rows;

ref_rows ref_rows_create(int n);
void ref_rows_free(ref_rows *r);

/* Add heads [h0, h1) and their kv heads to rows, but for a kv head that an
 * earlier part of the row has.  from: the row's first query head. */
void ref_rows_add(const ref_model *m, const ref_layer *l, const ref_member *a,
                  const double *x, int n, int from, int h0, int h1,
                  ref_rows *r);

/* The norms of queries and keys: of each head, or of rows. */
void ref_norm_qk(const ref_model *m, const ref_layer *l, double *q, double *k,
                 int n, const ref_rows *rows);
/* ==== ref_ffn.c ========================================================== */

/* y [n][d] = what hidden units [u0, u1) add, of every expert that a row uses;
 * in [n][d]; y is zero before. */
void ref_units(const ref_model *m, const ref_layer *l, const double *in, int n,
               int u0, int u1, double *y);

#endif
