/*
 * draft.h - guesses at the next tokens of a text, and what they are worth.
 */
#ifndef TLPI_DRAFT_H
#define TLPI_DRAFT_H

#include "engine/request.h"

/* Times of steps without prompts, seconds; 0: not known yet. */
typedef struct tlpi_draft_cost {
    double *plain; /* [n_seq + 1] of a step with so many texts, no guesses */
    double each;   /* what a guessed token adds */
} tlpi_draft_cost;

/* Guess at most `most` tokens behind a text of n tokens and `last`;
 * returns how many. */
int32_t tlpi_draft_find(int32_t *out, const int32_t *text, int32_t n,
                        int32_t last, int32_t most);
/* A step with so many texts and guessed tokens took so long. */
void tlpi_draft_time(tlpi_draft_cost *c, int32_t n_text, int32_t n_guess,
                     double seconds);
/* How many guessed tokens are worth their time, of a text with this share of
 * guesses that came true. */
int32_t tlpi_draft_length(const tlpi_draft_cost *c, int32_t n_text, double hit,
                          int32_t most);
/* Guess what follows the token of a choice; `use`: put guesses into the batch
 * where they are worth it. */
void tlpi_draft_make(const tlp_engine *e, tlpi_request_choice *c, bool use);
/* Did a guess come true? */
void tlpi_draft_see(tlpi_request_choice *c, bool hit);

#endif
