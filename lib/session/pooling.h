/*
 * pooling.h - one vector from the states of the tokens of a text.
 *
 * The state of a token is the residual stream behind the output norm, from
 * which the output head makes logits.  Every rank has the stream after a step,
 * so that rank 0 forms the vector without a command to the other ranks.
 */
#ifndef TLPI_POOLING_H
#define TLPI_POOLING_H

#include "session/session.h"

/* The mean of the states at positions [from, to) of a sequence. */
typedef struct tlpi_pooling {
    int32_t from, to;
    int32_t bad; /* first position whose state has NaN or inf; -1: none */
    bool normalize;
    int n_embd;
    double sum[]; /* [n_embd] of the states so far */
} tlpi_pooling;

/* TLP_EINVAL for options that are not valid. */
tlp_status tlpi_pooling_check(const tlp_embed_options *opts);

/* Begin the vector of a text at positions [from, to), by checked options; the
 * caller frees the pooling. */
tlp_status tlpi_pooling_create(tlpi_pooling **out, const tlp_model *m,
                               const tlp_embed_options *opts, int32_t from,
                               int32_t to);

/* The vector of a text whose states have been added.  TLP_ERROR where a state
 * has NaN or inf. */
tlp_status tlpi_pooling_finish(float *out, const tlpi_pooling *p);

/* Add the states of the last step, which had n_tok tokens; pool [n_seq], NULL
 * for sequences whose states nobody wants. */
tlp_status tlpi_session_pool_step(tlp_session *s, int n_tok,
                                  tlpi_pooling *const *pool);

/* eval.c: tlpi_session_eval, which adds the states of its tokens to pool
 * [n_seq].  After a failure the poolings are of no use. */
tlp_status tlpi_session_eval_pooled(tlp_session *s, const tlp_batch *batch,
                                    tlpi_pooling *const *pool);

#endif
