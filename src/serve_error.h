/*
 * serve_error.h - why a request over HTTP is refused.
 */
#ifndef SERVE_ERROR_H
#define SERVE_ERROR_H

#include <stdbool.h>

#include "tlp.h"

typedef struct api_error {
    int status;       /* of HTTP */
    char text[512];   /* one line */
    char param[64];   /* the field at fault; empty: none */
    const char *code; /* a word for programs, or NULL; static */
} api_error;

/* Record why; returns false.  param may be NULL. */
bool api_fail(api_error *e, int status, const char *param, const char *code,
              const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The library's last error, as the answer to a request. */
bool api_fail_library(api_error *e, tlp_status st);
/* The failure of a choice, with the text of its event. */
bool api_fail_status(api_error *e, tlp_status st, const char *text);
bool api_fail_memory(api_error *e);

/* The word that stands for a kind of status in an error. */
const char *api_error_type(int status);

#endif
