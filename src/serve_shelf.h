/*
 * serve_shelf.h - grammars of requests, kept for later requests.
 *
 * A grammar finds the tokens that its parts read while texts are written, and
 * shares them among all texts that follow it.  Clients send a schema again and
 * again, so the server keeps the grammars that were asked for last.
 */
#ifndef SERVE_SHELF_H
#define SERVE_SHELF_H

#include <pthread.h>
#include <stddef.h>

#include "serve_error.h"

#define SHELF_MAX 32 /* grammars that are kept while no request has them */
#define SHELF_MAX_BYTES                                                        \
    (256 << 10) /* a grammar with a longer text is not kept */

typedef enum shelf_kind { SHELF_GBNF, SHELF_SCHEMA } shelf_kind;

typedef struct shelf_grammar shelf_grammar;

typedef struct shelf {
    pthread_mutex_t lock;
    shelf_grammar *first; /* the grammar that was taken last */
} shelf;

void shelf_init(shelf *s);
void shelf_free(shelf *s);

/* The grammar of a text; shelf_give returns it.  NULL: *error says why. */
shelf_grammar *shelf_take(shelf *s, tlp_model *model, shelf_kind kind,
                          const char *text, size_t n, api_error *error);
void shelf_give(shelf *s, shelf_grammar *g);

tlp_grammar *shelf_open(const shelf_grammar *g);

#endif
