/*
 * subject.h - what the numbers of a file belong to: a model, a text, options.
 *
 * A file that long work goes on from has an object "of" with everything that
 * its numbers depend on.  Only work of an equal object may use the numbers.
 */
#ifndef TLPI_SUBJECT_H
#define TLPI_SUBJECT_H

#include <jansson.h>

#include "base/base.h"

/* TLP_EMISMATCH unless each key of `expected` has an equal value in `found`,
 * which may be NULL; keys of `found` alone are allowed.  The error text has the
 * key and both values; `what` says whose value it is: "the scores are of". */
tlp_status tlpi_subject_check(const char *path, const char *what,
                              const json_t *found, json_t *expected);

#endif
