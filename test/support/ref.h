/*
 * ref.h - an independent forward pass for tests: the plan equations in double
 * precision, without cache, shards, batches or kernels.
 *
 * It shares with the library only the GGUF reader and tlpi_dequantize.  Tests
 * compare it with numbers of a third implementation (test/data/README.md).
 */
#ifndef REF_H
#define REF_H

#include <stdbool.h>
#include <stdint.h>

#define REF_MAX_MEMBER 6
#define REF_MAX_TRACK 4
#define REF_MAX_STAGE 32
/* Longrope rotates as in a session of this many positions, as rig_f32 has. */
#define REF_N_CTX 64

typedef enum ref_mode {
    REF_SERIAL,
    REF_LP,
    REF_PAR,
    REF_ASYM,
    REF_LP_CODE,
    REF_MERGE
} ref_mode;

/* Adjustments of a stage; NULL, 0 and gains of 1 change nothing. */
typedef struct ref_lowrank {
    int rank;
    double *down, *up; /* [rank][d], [d][rank]; borrowed */
} ref_lowrank;

typedef struct ref_member {
    double *attn_norm, *ffn_norm; /* [d]; borrowed */
    double *attn_post, *ffn_post; /* as attn_norm, of outputs; where tracks are
                                     summed, track 0 has the norm of the sum */
    double attn_gain, ffn_gain;
    ref_lowrank attn_in, ffn_in, out; /* out.up belongs to the stage */
} ref_member;

typedef struct ref_stage {
    ref_mode mode;
    int n_member;
    int layers[REF_MAX_MEMBER];
    bool open_attn, open_ffn;          /* no exchange after this half */
    ref_member adjust[REF_MAX_MEMBER]; /* of members, or of tracks */
} ref_stage;

typedef struct ref_plan {
    int n_track; /* 0: every exchange is made */
    int n_stage;
    ref_stage stage[REF_MAX_STAGE];
} ref_plan;

/*
 * Parse a plan: every stage in running order, "0 par:1,2 3" (modes lp, par,
 * asym, lp-code, merge).  Unlisted layers do not run.  "@3 0 1f 2af 3" has 3
 * tracks, and no exchange after the feed-forward of layer 1 and after both
 * halves of layer 2.  Other input ends the program, because plans of tests are
 * constants.
 */
ref_plan ref_parse(const char *text);

typedef struct ref_model ref_model;

/* Open a single GGUF file; ends the program on failure. */
ref_model *ref_open(const char *path);
void ref_close(ref_model *m);

int ref_n_vocab(const ref_model *m);
int ref_n_layer(const ref_model *m);
int ref_n_embd(const ref_model *m);
bool ref_has_posts(const ref_model *m); /* norms of outputs */

/* Logits [n][n_vocab] of n tokens from position 0; the caller frees them. */
double *ref_logits(const ref_model *m, const ref_plan *plan,
                   const int32_t *tokens, int n);

/* States [n][d] of n tokens from position 0, the stream behind the output norm;
 * the caller frees them. */
double *ref_states(const ref_model *m, const ref_plan *plan,
                   const int32_t *tokens, int n);

/* ==== pieces ============================================================= */

/* The stream [n][d] before layer 0; the caller frees it. */
double *ref_embed(const ref_model *m, const int32_t *tokens, int n);

/* All stages of a plan, from the stream x [n][d] to the stream behind them, in
 * place. */
void ref_run(const ref_model *m, const ref_plan *plan, double *x, int n);

/* What a track computes from the stream x [n][d] in the attention or the
 * feed-forward part of a layer, without the norm of the output; the caller
 * frees it.  Track 0 of 1 is the whole half. */
double *ref_half(const ref_model *m, int layer, bool feed_forward, int track,
                 int n_track, const double *x, int n);

/* y [n][d], a half or a sum of its parts, becomes what it gives to the stream,
 * times share: in models with norms of outputs its norm. */
void ref_give(const ref_model *m, int layer, bool feed_forward, double share,
              double *y, int n);

/* Logits [n][n_vocab] from the stream behind the last layer, which is freed;
 * the caller frees the logits. */
double *ref_head(const ref_model *m, double *x, int n);

#endif
