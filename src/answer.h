/*
 * answer.h - evaluate tokens and print what the model says then.
 */
#ifndef ANSWER_H
#define ANSWER_H

#include "channels.h"
#include "prompt_cache.h"

typedef struct answerer {
    tlp_session *session;
    tlp_sampler *sampler;
    int n_predict; /* 0 = until the model ends */
    cli_list stop;
    bool stats;
    bool keep;        /* store the text of the answer */
    bool in_channels; /* of the model: its thoughts go to standard error */
    prompt_cache cache;
    /* state */
    char *text; /* of the last answer */
    size_t n_text;
    channels channels;
    size_t n_thought, n_said; /* bytes of them that are printed */
    bool lost;                /* a text could not be stored or printed */
} answerer;

/*
 * Bring sequence 0 to ids[0..n) and print the model's answer.  What the
 * sequence holds of the beginning of ids is not evaluated again.
 */
int answer(answerer *a, const int32_t *ids, size_t n);

void answer_free(answerer *a);

#endif
