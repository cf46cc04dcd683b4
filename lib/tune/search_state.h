/*
 * search_state.h - the scores of a search in a file.
 *
 * The steps of a search depend on scores alone.  An interrupted search starts
 * again with the scores of its file, repeats its steps at no cost, and goes on.
 * A search for another target can use the file too.
 */
#ifndef TLPI_SEARCH_STATE_H
#define TLPI_SEARCH_STATE_H

#include "tune/scorer.h"

/* A missing file means no scores.  TLP_EFORMAT; TLP_EMISMATCH for scores of
 * another model, another text or other options: the error text names the key.
 */
tlp_status tlpi_state_load(tlpi_scorer *s, const char *path);
tlp_status tlpi_state_save(const tlpi_scorer *s, const char *path);

#endif
