/*
 * json_text.h - Jansson's readers and writers of JSON, whatever the locale of
 * the process is.
 *
 * Jansson reads and writes numbers with the C library's functions.  It
 * replaces the decimal point of the locale, but not a point of several bytes.
 * These functions call it in the locale "C".
 */
#ifndef TLPI_JSON_TEXT_H
#define TLPI_JSON_TEXT_H

#include <jansson.h>

#include "base/base.h"

/* json_loadb with more flags than JSON_REJECT_DUPLICATES, which is set: NULL,
 * and *error, on failure. */
json_t *tlpi_json_load(const char *text, size_t n, size_t flags,
                       json_error_t *error);

/* json_loads of a value of any type: NULL on failure. */
json_t *tlpi_json_parse(const char *text);

/* json_dumps; free() the text. */
char *tlpi_json_dump(const json_t *value, size_t flags);

#endif
