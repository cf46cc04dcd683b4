/*
 * adjust.h - what a plan changes inside its stages: fitted so that a group of
 * layers gives more of what the same layers give one after the other.
 *
 * For a stage with input x, members i, and d = n_embd:
 *
 *   norms      Na_i, Nf_i with other weights
 *   gains      A_i and F_i times a number each
 *   attn_in    Na_i(x) += up (down Na_i(x)), before the projections
 *   ffn_in     Nf_i(y) += up (down Nf_i(y)), before gate and up
 *   out        z += up (sum_i down_i delta_i)
 *
 * delta_i is what the member itself added: its feed-forward part plus the
 * attention sum that this read (par: A_i; asym: A_1 + ... + A_i; lp: all A for
 * member 0, none for the others), gains included.  All of it is linear in what
 * a rank holds, so that corrections take part in the all-reduces that are there
 * anyway.
 *
 * All numbers live in one image, a safetensors file; the objects below are
 * views of it.
 *
 *   blk.N.attn_norm.weight [d]     blk.N.ffn_norm.weight [d]
 *   blk.N.attn_gain [1]            blk.N.ffn_gain [1]            F32
 *   blk.N.attn_in.down [r][d]      blk.N.attn_in.up [d][r]
 *   blk.N.ffn_in.down  [r][d]      blk.N.ffn_in.up  [d][r]       F32 or F16
 *   blk.N.out.down     [r][d]      blk.N.out.up     [d][r]
 *
 * N is the layer; out.up is the group's and stands at its first layer.  The
 * file's metadata has "tlp_adjust": "1", the model's fingerprint ("model") and
 * the plan in its text form ("plan").
 */
#ifndef TLPI_ADJUST_H
#define TLPI_ADJUST_H

#include "file/replace.h"
#include "file/safetensors.h"
#include "base/sha256.h"
#include "plan/plan.h"

/* up (down x); rank 0: none.  Views as tensors, so that backends take them. */
typedef struct tlpi_lowrank {
    int rank;
    tlpi_tensor down, up; /* [rank][d], [d][rank] */
} tlpi_lowrank;

typedef struct tlpi_member_adjust {
    const tlpi_tensor *attn_norm, *ffn_norm; /* [d] F32; NULL: the model's */
    float attn_gain, ffn_gain;               /* 1 where there is none */
    tlpi_lowrank attn_in, ffn_in;
    tlpi_tensor out_down; /* [out_rank][d], where the stage has an out_rank */
} tlpi_member_adjust;

typedef struct tlpi_stage_adjust {
    tlpi_member_adjust *member; /* [n_member]; NULL: nothing is changed */
    int out_rank;
    tlpi_tensor out_up; /* [d][out_rank] */
} tlpi_stage_adjust;

struct tlpi_adjust {
    void *image; /* the file's bytes; NULL while only its hash is known */
    size_t n_image;
    char sha256[TLPI_HASH_TEXT];
    char file[256];             /* its name, without a folder */
    tlpi_stage_adjust *stage;   /* [n_stage] of the plan; NULL without image */
    tlpi_member_adjust *member; /* those of all stages */
    tlpi_safetensors *index;    /* the image's tensors */
};

void tlpi_adjust_free(const tlpi_env *env, tlpi_adjust *a); /* NULL is fine */

/*
 * A plan with the stages of `plan` and these adjustments; takes over `image`
 * (of the model's env), also on failure.  TLP_EFORMAT, TLP_EMISMATCH, by file,
 * tensor and shape; `where` names the image in errors.
 */
tlp_status tlpi_plan_with_adjust(tlp_plan **out, const tlp_plan *plan,
                                 void *image, size_t n_image,
                                 const char *where);

/* Fills in what a plan that was read from JSON alone lacks; the hash must be
 * the one of its "adjust" key.  Takes over image likewise. */
tlp_status tlpi_plan_supply_adjust(tlp_plan *plan, void *image, size_t n_image,
                                   const char *where);

/* A plan from its JSON form whose "adjust" key, if it has one, is taken as it
 * is: the plan knows the file's hash alone, and must be supplied with the rest
 * before it runs. */
tlp_status tlpi_plan_parse_bare(tlp_plan **out, tlp_model *model,
                                const char *text);

/* ==== files (adjust_file.c) ============================================== */

/* TLP_EFORMAT for the name of a file that is not simply beside the plan's. */
tlp_status tlpi_adjust_check_name(const char *where, const char *name);

/* No image of this model is longer. */
size_t tlpi_adjust_max_bytes(const tlp_model *m);

/* Supply a plan that was read from `path` with the file it names. */
tlp_status tlpi_adjust_load(tlp_plan *plan, const char *path);

/* A file that is written, and not yet under its name. */
typedef struct tlpi_adjust_file {
    tlpi_text path;
    char name[256]; /* what the plan is to call it */
    tlpi_replace file;
} tlpi_adjust_file;

/* Write the file of a plan that goes to `path`; follow with
 * tlpi_replace_commit, and with tlpi_adjust_file_end also on failure. */
tlp_status tlpi_adjust_write(tlpi_adjust_file *f, const tlp_plan *plan,
                             const char *path);
void tlpi_adjust_file_end(tlpi_adjust_file *f);

/* ==== making an image (adjust_make.c) =================================== */

/* What a fit found for a stage; NULL and 0 where there is nothing. */
typedef struct tlpi_fitted_lowrank {
    int rank;
    float *down, *up; /* [rank][d], [d][rank] */
} tlpi_fitted_lowrank;

typedef struct tlpi_fitted_member {
    float *attn_norm, *ffn_norm; /* [d] */
    float attn_gain, ffn_gain;   /* 1: none */
    tlpi_fitted_lowrank attn_in, ffn_in;
    float *out_down; /* [out_rank][d] */
} tlpi_fitted_member;

typedef struct tlpi_fitted_stage {
    tlpi_fitted_member *member; /* [n_member] or NULL */
    int out_rank;
    float *out_up; /* [d][out_rank] */
} tlpi_fitted_stage;

/* The image of fitted stages, [n_stage] of the plan; low-rank parts as F16, or
 * as F32 where a number would not fit. */
tlp_status tlpi_adjust_image(const tlp_plan *plan,
                             const tlpi_fitted_stage *stage, void **image,
                             size_t *n_image);

#endif
