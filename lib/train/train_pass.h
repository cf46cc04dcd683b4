/*
 * train_pass.h - a window of tokens through a plan, forward and backward.
 *
 * The forward pass keeps the residual stream at the border of every stage.  The
 * backward pass runs each stage again from its border, keeps the values of that
 * run in a tape, and computes the stage's gradients from them.  While memory
 * lasts, a stage has a tape of its own and is not run again.
 *
 * Shapes: T tokens of the window, d = n_embd; activations are [T][columns]
 * without gaps.
 */
#ifndef TLPI_TRAIN_PASS_H
#define TLPI_TRAIN_PASS_H

#include "train/train_attn.h"
#include "train/train_gemm.h"
#include "train/train_net.h"
#include "train/train_ops.h"

/* What a member's run computes.  An input of a half is `raw` after its norm, or
 * the stream where it has none, and `in` after its correction; without one both
 * are one array.  What a half gives, without its gain, is `out` before the norm
 * of the output and `attn` or `ffn` after it; without one both are one array.
 */
typedef struct tlpi_train_trace {
    float *stream, *mid;        /* [T][d] what the two halves read; the first is
                                   the border's x where all tracks have it */
    float *attn_raw, *attn_in;  /* [T][d] */
    float *q, *k, *v, *o, *lse; /* q and k normalised and rotated */
    float *q_raw, *k_raw;       /* before the norms of queries and keys, or
                                   NULL */
    float *attn_out, *attn;     /* [T][d] */
    float *ffn_raw, *ffn_in;    /* [T][d] */
    float *gate, *up;           /* [T][ff] */
    float *ffn_out, *ffn;       /* [T][d] */
} tlpi_train_trace;

/* The memory of a stage's run: [max_member] traces in a block that is wide
 * enough for every stage. */
typedef struct tlpi_train_tape {
    float *block;
    tlpi_train_trace *trace;
} tlpi_train_tape;

/* The residual stream at a border: x, and what each track has added since the
 * last exchange where the stream differs between tracks. */
typedef struct tlpi_train_stream {
    float *x;      /* [T][d] */
    float **track; /* [n_track] of [T][d]; NULL at other borders */
} tlpi_train_stream;

/* Of token t and pair i of a head: [max_tok][n_rot / 2]. */
typedef struct tlpi_train_angles {
    float *cos, *sin;
    float *sin_back; /* -sin */
} tlpi_train_angles;

typedef struct tlpi_train_pass {
    const tlpi_env *env;
    const tlpi_train_net *net;
    tlpi_train_ops ops; /* with the pool, which is borrowed */
    tlpi_gemm *gemm;
    tlpi_train_attn *attention;
    int max_tok, max_member;
    int n_tok;   /* of this window */
    bool lowest; /* this stage is the first that the backward pass reaches */
    tlpi_train_angles angle[TLPI_N_ROPE]; /* of kinds that layers use */
    float *query_gain; /* [max_tok] factors of rotated queries, or NULL */
    tlpi_train_stream *border; /* [n_stage + 1] */
    tlpi_train_stream slope;   /* the gradient at a border */
    tlpi_train_tape *tape;     /* [n_tape] */
    int n_tape; /* stage i has tape i - first if that is below n_tape -
                   1; all further stages share the last */
    float **feed, **attn; /* [max_member] of [T][d] gradients by a member's
                             feed-forward part, and by D and its attention */
    float *mid, *part;    /* [T][d] */
    float *slope_in;      /* [T][d] gradient by a half's input */
    float *joined;        /* [T][d] the sum of the tracks' halves, or the
                             gradient by it */
    float *square, *dot;  /* [T] of rows of queries or keys of all tracks */
    float *hidden;        /* [T][ff] */
    float *wide;          /* [T][ff] */
    float *dq, *dk, *dv, *d_o;
    float *low, *low_back; /* [T][max_rank] */
    float *block;          /* memory of the arrays above */
    size_t tape_size;      /* floats of a block */
    uint64_t n_bytes;
} tlpi_train_pass;

/* tapes: bytes for the tapes of single stages; the tape that stages share is
 * made in any case. */
tlp_status tlpi_train_pass_create(tlpi_train_pass *p, const tlpi_train_net *net,
                                  tlpi_pool *pool, int isa, int max_tok,
                                  uint64_t tapes);
void tlpi_train_pass_free(tlpi_train_pass *p); /* zeroes are fine */
/* Bytes of the tapes of single stages. */
static inline uint64_t tlpi_train_tapes(const tlpi_train_pass *p)
{
    return (uint64_t)(p->n_tape - 1) * p->tape_size * sizeof(float);
}

/* ==== train_matrix.c: products with a matrix of a layer ================== */

/* y [T][rows] = W x, of the rows and columns in s */
void tlpi_train_multiply(tlpi_train_pass *p, const tlpi_train_matrix *w,
                         tlpi_slice s, const float *x, float *y);

/* gx (+)= W' gy if gx is not NULL, and the gradients of what is trained of W.
 */
void tlpi_train_multiply_back(tlpi_train_pass *p, const tlpi_train_matrix *w,
                              tlpi_slice s, const float *x, const float *gy,
                              bool add, float *gx);

/* y += up (down x); y may be x, after `low` = down x. */
void tlpi_train_correct(tlpi_train_pass *p, const tlpi_train_lowrank *c,
                        const float *x, float *y);
/* gx += down' (up' gy), and the gradients of up and down. */
void tlpi_train_correct_back(tlpi_train_pass *p, const tlpi_train_lowrank *c,
                             const float *x, const float *gy, float *gx);

/* ==== train_stage.c: the equations ======================================= */

/* From the border before stage i to the border behind it. */
void tlpi_train_stage_forward(tlpi_train_pass *p, int i);

/* The slope behind stage i becomes the slope before it.  The borders are those
 * of the forward pass. */
void tlpi_train_stage_back(tlpi_train_pass *p, int i);

/* ==== train_window.c ===================================================== */

/* The tape of a stage, laid out for it; *shared: other stages use it too. */
tlpi_train_trace *tlpi_train_trace_of(tlpi_train_pass *p, int stage,
                                      bool *shared);

/* The stages [first, end) from border `first` on. */
void tlpi_train_forward(tlpi_train_pass *p, int first, int end);
/* The stages from the last down to the first that has a parameter; slope.x
 * begins as the gradient by the stream behind the last stage. */
void tlpi_train_back(tlpi_train_pass *p);
/* Border 0: the embeddings of a window. */
void tlpi_train_embed(tlpi_train_pass *p, const int32_t *ids, int n);

static inline size_t tlpi_train_n_stream(const tlpi_train_pass *p)
{
    return (size_t)p->n_tok * (size_t)p->net->model->hp.n_embd;
}

#endif
