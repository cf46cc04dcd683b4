/*
 * train_member.h - the halves of a stage's members, forward and backward: what
 * they read, attention, feed-forward, and what they give to the stream.
 */
#ifndef TLPI_TRAIN_MEMBER_H
#define TLPI_TRAIN_MEMBER_H

#include "train/train_pass.h"

/* ==== train_half.c: inputs of halves, and feed-forward ================== */

/* The RMS norm of a stream x [T][d] times w. */
tlpi_train_norm tlpi_train_norm_of(const tlpi_train_pass *p,
                                   const tlpi_train_param *w, const float *x);

/* raw = the RMS norm of x times w, or x without w; in = the corrected input. */
void tlpi_train_enter(tlpi_train_pass *p, const tlpi_train_param *w,
                      const tlpi_train_lowrank *c, const float *x, float *raw,
                      float *in);
/* g, the gradient by a corrected input, is overwritten; gx becomes the gradient
 * by x. */
void tlpi_train_enter_back(tlpi_train_pass *p, tlpi_train_param *w,
                           const tlpi_train_lowrank *c, const float *x,
                           const float *raw, float *g, float *gx);

/* trace->ffn_out = F(Nf mid) */
void tlpi_train_feed(tlpi_train_pass *p, const tlpi_train_member *m,
                     tlpi_train_trace *t);
/* g: the gradient by F.  gx becomes the gradient by mid. */
void tlpi_train_feed_back(tlpi_train_pass *p, const tlpi_train_member *m,
                          tlpi_train_trace *t, const float *g, float *gx);

/* ==== train_attend.c: attention of a member ============================== */

/* Queries, keys and values; between the two calls tlpi_train_place normalises
 * and rotates them.  trace->attn_out = A(Na stream) */
void tlpi_train_project(tlpi_train_pass *p, const tlpi_train_member *m,
                        tlpi_train_trace *t);
void tlpi_train_attend(tlpi_train_pass *p, const tlpi_train_member *m,
                       tlpi_train_trace *t);

/* g: the gradient by A.  The gradients by queries, keys and values take their
 * places; between the two calls tlpi_train_place_back makes them those by the
 * projections.  gx becomes the gradient by the stream. */
void tlpi_train_attend_back(tlpi_train_pass *p, const tlpi_train_member *m,
                            tlpi_train_trace *t, const float *g);
void tlpi_train_project_back(tlpi_train_pass *p, const tlpi_train_member *m,
                             tlpi_train_trace *t, float *gx);

/* ==== train_place.c: norms and rotation of queries and keys ============== */

void tlpi_train_place(tlpi_train_pass *p, const tlpi_train_stage *s,
                      tlpi_train_trace *t);
void tlpi_train_place_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                           tlpi_train_trace *t);

/* ==== train_give.c: what the halves give to the stream =================== */

/* The factor with which the stream has trace->attn or trace->ffn of member j.
 */
float tlpi_train_factor(const tlpi_train_pass *p, const tlpi_train_stage *s,
                        int j, tlpi_half half);

/* trace->attn or trace->ffn of all members: the norms of outputs. */
void tlpi_train_give(tlpi_train_pass *p, const tlpi_train_stage *s,
                     tlpi_train_trace *t, tlpi_half half);

/* Where the tracks' halves are summed before the norm: keep the gradient by
 * their sum.  g: the gradient by what track 0 gives. */
void tlpi_train_join_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                          const tlpi_train_trace *t, tlpi_half half,
                          const float *g);
/* The gradient by what member j computes, which is g, p->joined or p->part,
 * from that by what it gives; adds to the gradients of gain and norm. */
const float *tlpi_train_give_back(tlpi_train_pass *p, const tlpi_train_stage *s,
                                  const tlpi_train_trace *t, int j,
                                  tlpi_half half, const float *g);

#endif
