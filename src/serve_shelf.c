/*
 * serve_shelf.c - grammars of requests, kept for later requests.
 */
#include "serve_shelf.h"

#include <stdlib.h>
#include <string.h>

struct shelf_grammar {
    tlp_grammar *grammar;
    int n_use; /* requests that have it */
    shelf_kind kind;
    struct shelf_grammar *next;
    size_t n;
    char text[];
};

void shelf_init(shelf *s)
{
    *s = (shelf){ 0 };
    pthread_mutex_init(&s->lock, NULL);
}

static void release(shelf_grammar *g)
{
    tlp_grammar_free(g->grammar);
    free(g);
}

void shelf_free(shelf *s)
{
    while (s->first) {
        shelf_grammar *g = s->first;

        s->first = g->next;
        release(g);
    }
    pthread_mutex_destroy(&s->lock);
}

/* Under lock: take the grammar out of the list. */
static shelf_grammar *find(shelf *s, shelf_kind kind, const char *text,
                           size_t n)
{
    for (shelf_grammar **at = &s->first; *at; at = &(*at)->next) {
        shelf_grammar *g = *at;

        if (g->kind == kind && g->n == n && memcmp(g->text, text, n) == 0) {
            *at = g->next;
            return g;
        }
    }
    return NULL;
}

/* Under lock: put the grammar in front, for a request. */
static void put(shelf *s, shelf_grammar *g)
{
    g->n_use++;
    g->next = s->first;
    s->first = g;
}

/* Under lock: of the grammars that no request has, release those with long
 * texts, and those that were taken longest ago. */
static void trim(shelf *s)
{
    int n = 0;

    for (shelf_grammar **at = &s->first; *at;) {
        shelf_grammar *g = *at;

        if (g->n_use == 0 && (g->n > SHELF_MAX_BYTES || n >= SHELF_MAX)) {
            *at = g->next;
            release(g);
            continue;
        }
        n += g->n_use == 0;
        at = &g->next;
    }
}

static shelf_grammar *make(tlp_model *model, shelf_kind kind, const char *text,
                           size_t n, api_error *error)
{
    shelf_grammar *g = calloc(1, sizeof *g + n);

    if (!g) {
        api_fail_memory(error);
        return NULL;
    }
    tlp_status st = kind == SHELF_GBNF
                        ? tlp_grammar_parse(&g->grammar, model, text, n)
                        : tlp_grammar_from_schema(&g->grammar, model, text, n);
    if (st != TLP_OK) {
        api_fail_library(error, st);
        free(g);
        return NULL;
    }
    g->kind = kind;
    g->n = n;
    memcpy(g->text, text, n);
    return g;
}

shelf_grammar *shelf_take(shelf *s, tlp_model *model, shelf_kind kind,
                          const char *text, size_t n, api_error *error)
{
    pthread_mutex_lock(&s->lock);
    shelf_grammar *g = find(s, kind, text, n);
    if (g)
        put(s, g);
    pthread_mutex_unlock(&s->lock);
    if (g)
        return g;
    /* Two requests at once may make a grammar twice: both are kept. */
    g = make(model, kind, text, n, error);
    if (!g)
        return NULL;
    pthread_mutex_lock(&s->lock);
    put(s, g);
    pthread_mutex_unlock(&s->lock);
    return g;
}

void shelf_give(shelf *s, shelf_grammar *g)
{
    pthread_mutex_lock(&s->lock);
    g->n_use--;
    trim(s);
    pthread_mutex_unlock(&s->lock);
}

tlp_grammar *shelf_open(const shelf_grammar *g)
{
    return g->grammar;
}
