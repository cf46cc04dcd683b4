/*
 * serve_generation.h - how a client wants its text: the fields that completions
 * and chats have in common.
 */
#ifndef SERVE_GENERATION_H
#define SERVE_GENERATION_H

#include "serve.h"
#include "serve_constraint.h"
#include "serve_tools.h"
#include "serve_fields.h"

#define GENERATION_MAX_STOP 64
#define GENERATION_MAX_TOP 64

typedef struct generation_fields {
    program *program;
    tlp_request request; /* without a prompt; points into what follows */
    tlp_sampler_options sampler;
    tlp_logit_bias *bias;
    const char *stop[GENERATION_MAX_STOP]; /* borrowed from the fields */
    int32_t *stop_tokens;
    shelf_grammar *grammar; /* of `shelf`; NULL: the text is free */
    shelf *shelf;
    tools tools;        /* of chats; the list is owned */
    bool channels;      /* the model writes messages in channels */
    bool stream, usage; /* stream_options.include_usage */
} generation_fields;

/* Read the common fields; release with generation_free, also after a failure.
 * n_predict is read by the caller. */
bool generation_read(generation_fields *g, fields *f, call *c);
void generation_free(generation_fields *g);

/* The program that the field `model` names; NULL after a failure. */
program *generation_read_program(fields *f, call *c);

/* A number that tells clients apart: from the user that the request names, else
 * from its key, else from its connection. */
uint64_t generation_client(const call *c, const char *user);

/* The field `name` as the most tokens to write: -1 for no limit.  *given says
 * whether it is there. */
bool generation_read_length(generation_fields *g, fields *f, const char *name,
                            int64_t least, bool *given);

#endif
