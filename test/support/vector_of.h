/*
 * vector_of.h - the library's embedding of a text, under the serial plan.
 */
#ifndef VECTOR_OF_H
#define VECTOR_OF_H

#include <stddef.h>

/* n_embd values into out; raw: not normalised.  Returns the number of tokens.
 */
size_t vector_of(const char *model, const char *text, int pooling, int raw,
                 float *out);

#endif
