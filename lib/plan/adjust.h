/*
 * adjust.h - adjustments of a plan: changes inside its stages, fitted so that
 * the output of a group of layers comes closer to the output of these layers
 * run one after the other, and the inputs of tracks closer to the layer's.
 *
 * For a stage with input x, members i, and d = n_embd:
 *
 *   norms      Na_i, Nf_i with other weights, and the norms of outputs of
 *              models that have them
 *   gains      A_i and F_i times a number each
 *   attn_in    Na_i(x) += up (down Na_i(x)), before the projections
 *   ffn_in     Nf_i(y) += up (down Nf_i(y)), before gate and up
 *   out        z += up (sum_i down_i delta_i)
 *   lora       W x += b (a x), for matrices W of any layer (plan/lora.h)
 *
 * delta_i is the contribution of member i: its feed-forward part plus the
 * attention sum that this part read, gains included.  The attention sum is A_i
 * in par and A_1 + ... + A_i in asym; in lp it is the sum of all A for member
 * 0, and zero for later members.  The corrections are linear in the shares of
 * the ranks, so the all-reduces of the stage sum them too.
 *
 * The members of a layer in tracks are its tracks.  They have no `out`.
 *
 * Where a model normalises outputs, A_i and F_i stand for the normalised ones,
 * so that a gain follows the norm, and there is no `out`.  The norm of a sum
 * over tracks is that of track 0, and gains weigh the tracks in front of it.
 *
 * All numbers live in one image, a safetensors file; the objects below are
 * views of the image.
 *
 *   blk.N.attn_norm.weight [d]     blk.N.ffn_norm.weight [d]
 *   blk.N.post_attention_norm.weight [d], blk.N.post_ffw_norm.weight [d]
 *   blk.N.attn_gain [1]            blk.N.ffn_gain [1]            F32
 *   blk.N.attn_in.down [r][d]      blk.N.attn_in.up [d][r]
 *   blk.N.ffn_in.down  [r][d]      blk.N.ffn_in.up  [d][r]       F32 or F16
 *   blk.N.out.down     [r][d]      blk.N.out.up     [d][r]
 *
 * N is the layer; out.up is the group's and stands at its first layer.  Names
 * of track T of layer N begin with blk.N.track.T in place of blk.N, those of
 * LoRA with blk.N also where the layer runs in tracks.  The file's
 * metadata has "tlp_adjust": "1", the model's fingerprint ("model") and the
 * plan in its text form ("plan").
 */
#ifndef TLPI_ADJUST_H
#define TLPI_ADJUST_H

#include "file/replace.h"
#include "file/safetensors.h"
#include "base/sha256.h"
#include "plan/lora.h"
#include "plan/plan.h"

typedef struct tlpi_member_adjust {
    const tlpi_tensor *attn_norm, *ffn_norm; /* [d] F32; NULL: the model's */
    const tlpi_tensor *attn_post, *ffn_post; /* as attn_norm, of outputs */
    float attn_gain, ffn_gain;               /* 1: no gain */
    tlpi_lowrank attn_in, ffn_in;
    tlpi_tensor out_down; /* [out_rank][d], if the stage has an out_rank */
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
    char file[256];             /* name of the file, without a folder */
    tlpi_stage_adjust *stage;   /* [n_stage] of the plan; NULL without image */
    tlpi_member_adjust *member; /* members of all stages */
    tlpi_layer_lora *lora;      /* [n_layer], or NULL */
    tlpi_safetensors *index;    /* the image's tensors */
};

void tlpi_adjust_free(const tlpi_env *env, tlpi_adjust *a); /* NULL is fine */

/*
 * Make a plan with the stages of `plan` and the adjustments of an image.  The
 * function takes over `image` (memory of the model's env), also on failure.
 * TLP_EFORMAT and TLP_EMISMATCH name file, tensor and shape; `where` names the
 * image in error texts.
 */
tlp_status tlpi_plan_with_adjust(tlp_plan **out, const tlp_plan *plan,
                                 void *image, size_t n_image,
                                 const char *where);

/* Give a plan that was read from JSON alone its adjustments.  The hash of the
 * image must equal the hash in the plan's "adjust" key.  The function takes
 * over `image`, also on failure. */
tlp_status tlpi_plan_supply_adjust(tlp_plan *plan, void *image, size_t n_image,
                                   const char *where);

/* Read a plan from its JSON form, without the file of its adjustments.  A plan
 * with an "adjust" key then knows the hash of the file only; call
 * tlpi_plan_supply_adjust before the plan runs. */
tlp_status tlpi_plan_parse_bare(tlp_plan **out, tlp_model *model,
                                const char *text);

/* ==== files (adjust_file.c) ============================================== */

/* TLP_EFORMAT for a name with a folder or a leading dot: the file must be in
 * the folder of the plan. */
tlp_status tlpi_adjust_check_name(const char *where, const char *name);

/* Upper bound of the bytes of an image for this plan. */
size_t tlpi_adjust_max_bytes(const tlp_plan *p);

/* Load the file that a plan names; `path` is the path that the plan was read
 * from. */
tlp_status tlpi_adjust_load(tlp_plan *plan, const char *path);

/* A file of adjustments that is complete but does not have its name yet. */
typedef struct tlpi_adjust_file {
    tlpi_text path;
    char name[256]; /* name of the file in the plan */
    tlpi_replace file;
} tlpi_adjust_file;

/* Write the adjustments of a plan that will be saved to `path`.  Then call
 * tlpi_replace_commit to give the file its name.  Call tlpi_adjust_file_end in
 * any case, also on failure. */
tlp_status tlpi_adjust_write(tlpi_adjust_file *f, const tlp_plan *plan,
                             const char *path);
void tlpi_adjust_file_end(tlpi_adjust_file *f);

/* ==== tensors of an image (adjust_place.c) ============================== */

/* Places of a stage's members in an image: its layers, or its tracks. */
int tlpi_adjust_n_place(const tlp_plan *p, int stage);

/* Store a view of an image's tensor in its member or stage. */
tlp_status tlpi_adjust_place(tlpi_adjust *a, const tlp_plan *p,
                             const tlpi_tensor *t, const char *where);

/* Both tensors of every pair of a stage are there; stores their ranks. */
tlp_status tlpi_adjust_check_pairs(tlpi_adjust *a, const tlp_plan *p, int stage,
                                   const char *where);

/* ==== making an image (adjust_make.c) =================================== */

/* Result of the fits of a stage; NULL and 0 stand for no adjustment. */
typedef struct tlpi_fitted_lowrank {
    int rank;
    float *down, *up; /* [rank][d], [d][rank]; of LoRA a and b */
} tlpi_fitted_lowrank;

typedef struct tlpi_fitted_member {
    float *attn_norm, *ffn_norm; /* [d] */
    float *attn_post, *ffn_post; /* [d] */
    float attn_gain, ffn_gain;   /* 1: no gain */
    tlpi_fitted_lowrank attn_in, ffn_in;
    float *out_down; /* [out_rank][d] */
} tlpi_fitted_member;

typedef struct tlpi_fitted_stage {
    tlpi_fitted_member *member; /* [n_member] or NULL */
    int out_rank;
    float *out_up; /* [d][out_rank] */
} tlpi_fitted_stage;

/* LoRA of a layer, by matrix. */
typedef struct tlpi_fitted_lora {
    tlpi_fitted_lowrank pair[TLPI_N_LAYER_TENSOR];
} tlpi_fitted_lora;

/* Make the image of fitted stages, [n_stage] of the plan, and of LoRA,
 * [n_layer] or NULL.  Low-rank parts are F16, or F32 if a number is beyond the
 * range of F16. */
tlp_status tlpi_adjust_image(const tlp_plan *plan,
                             const tlpi_fitted_stage *stage,
                             const tlpi_fitted_lora *lora, void **image,
                             size_t *n_image);

#endif
