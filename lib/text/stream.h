/*
 * stream.h - tokens to text that is certain, for one generation.
 */
#ifndef TLPI_STREAM_H
#define TLPI_STREAM_H

#include "text/vocab.h"

typedef struct tlpi_stream_stop {
    const char *text; /* inside the stream's stop_text */
    size_t n;
    size_t *fallback; /* [n] next shorter state when byte i does not fit */
    size_t state;
} tlpi_stream_stop;

typedef struct tlpi_stream {
    const tlpi_env *env;
    const tlpi_vocab *vocab; /* borrowed */
    uint32_t flags;
    tlpi_stream_stop *stop;
    size_t n_stop;
    char *stop_text;  /* of all stop strings */
    size_t *fallback; /* of all stop strings */
    char cut[4];      /* the beginning of a character */
    size_t n_cut;
    char *text; /* given out last, then what is held back */
    size_t n_given, n_text;
    bool stopped;
} tlpi_stream;

/* stops, flags: see tlp_stream_create.  s has its env and vocab set, and zeroes
 * in all other fields.  Clear it after a failure too. */
tlp_status tlpi_stream_init(tlpi_stream *s, const char *const *stops,
                            size_t n_stop, uint32_t flags);
void tlpi_stream_clear(tlpi_stream *s);

/* See tlp_stream_push and tlp_stream_flush. */
tlp_status tlpi_stream_push(tlpi_stream *s, int32_t token, const char **text,
                            size_t *len, int *stopped);
void tlpi_stream_flush(tlpi_stream *s, const char **text, size_t *len);

#endif
