/*
 * draft.h - guesses at the next tokens of a text, and how many of them save
 * time.
 */
#ifndef TLPI_DRAFT_H
#define TLPI_DRAFT_H

#include "engine/request.h"

/* Times of steps without prompts, seconds; 0: not known yet. */
typedef struct tlpi_draft_cost {
    double *plain; /* [n_seq + 1] by number of texts: of a step without
                      guesses */
    double each;   /* that a guessed token adds to a step */
} tlpi_draft_cost;

/* Guess at most `most` tokens behind a text of n tokens and `last`;
 * returns how many. */
int32_t tlpi_draft_find(int32_t *out, const int32_t *text, int32_t n,
                        int32_t last, int32_t most);
/* Count the time of a step with n_text texts and n_guess guessed tokens. */
void tlpi_draft_time(tlpi_draft_cost *c, int32_t n_text, int32_t n_guess,
                     double seconds);
/* The number of guessed tokens that save time: at most `most`, for a text of
 * whose guesses the share `hit` came true. */
int32_t tlpi_draft_length(const tlpi_draft_cost *c, int32_t n_text, double hit,
                          int32_t most);
/* Guess what follows the token of a choice; `use`: put guesses into the batch
 * where they are worth it. */
void tlpi_draft_make(const tlp_engine *e, tlpi_request_choice *c, bool use);
/* Count a guess, and whether it came true. */
void tlpi_draft_see(tlpi_request_choice *c, bool hit);

#endif
