/*
 * golden.h - the models that test/data has numbers for.
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "tiny.h"

/* The model of a name, as test/data/README.md describes names. */
tiny_spec golden_spec(const char *name);

/* A shape with rows of 256 and 512, which every type's blocks fit. */
tiny_spec golden_wide(tlpi_dtype type);

#endif
