/*
 * serve_constraint.h - what a client's text must match: response_format, and
 * the fields of llama-server and vLLM.
 */
#ifndef SERVE_CONSTRAINT_H
#define SERVE_CONSTRAINT_H

#include "serve_fields.h"
#include "serve_shelf.h"

/* *out is NULL if the text is free; shelf_give returns it.  False: f->error
 * says why. */
bool constraint_read(shelf_grammar **out, fields *f, shelf *s,
                     tlp_model *model);

#endif
