/*
 * sampler.h - a sampler: options, accepted tokens, random numbers, and which
 * tokens a mask and a grammar allow.
 */
#ifndef TLPI_SAMPLER_H
#define TLPI_SAMPLER_H

#include "grammar/grammar.h"
#include "session/sampler_draw.h"
#include "session/session.h"

struct tlp_sampler {
    tlp_model *model; /* retained; env and n_vocab */
    tlp_sampler_options o;
    tlp_logit_bias *bias; /* [o.n_bias] */
    int32_t *last;        /* [o.penalty_last_n] ring of accepted tokens */
    size_t n_last, at_last;
    uint64_t random;
    tlp_matcher *matcher; /* of o.grammar, or NULL */
    bool restart;         /* the matcher goes back to the start first */
    uint32_t *mask;       /* [(n_vocab + 31) / 32], or NULL */
    bool has_mask;
    int32_t *kept;  /* [n_vocab] ids of the candidates that top-k keeps */
    tlpi_draw draw; /* its arrays are [n_vocab] */
};

/* Carry out a restart of the matcher that is due. */
tlp_status tlpi_sampler_restart(tlp_sampler *s);

#endif
