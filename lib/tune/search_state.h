/*
 * search_state.h - the scores of a search in a file.
 *
 * A search does the same whenever it gets the same scores, so that one which
 * was interrupted goes on by beginning again with those that it had.  For the
 * same reason the file serves a search for another target.
 */
#ifndef TLPI_SEARCH_STATE_H
#define TLPI_SEARCH_STATE_H

#include "tune/scorer.h"

/* No file is no scores.  TLP_EFORMAT; TLP_EMISMATCH for scores of another
 * model, text or way to evaluate it, the text naming which. */
tlp_status tlpi_state_load(tlpi_scorer *s, const char *path);
tlp_status tlpi_state_save(const tlpi_scorer *s, const char *path);

#endif
