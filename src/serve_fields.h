/*
 * serve_fields.h - the fields of a request's JSON object: each is read with its
 * type and range, and one that nobody reads is refused by name.
 *
 * A field that is null counts as absent, and then leaves its variable as it is.
 */
#ifndef SERVE_FIELDS_H
#define SERVE_FIELDS_H

#include <jansson.h>
#include <stdint.h>

#include "serve_error.h"

typedef struct fields {
    json_t *root;
    api_error *error;
    const char *seen[80]; /* names that were asked for */
    size_t n_seen;
} fields;

/* Read n bytes as an object; fields_close releases it.  False: *error says
 * why. */
bool fields_open(fields *f, const char *text, size_t n, api_error *error);
void fields_close(fields *f);

/* The value, NULL if it is absent. */
json_t *field(fields *f, const char *name);

bool field_int(fields *f, const char *name, int64_t lo, int64_t hi,
               int64_t *out);
bool field_i32(fields *f, const char *name, int32_t lo, int32_t hi,
               int32_t *out);
bool field_real(fields *f, const char *name, double lo, double hi, float *out);
bool field_flag(fields *f, const char *name, bool *out);
/* Borrowed from the object. */
bool field_text(fields *f, const char *name, const char **out);
/* An array or an object, as text that the caller frees; *out is NULL if it is
 * absent. */
bool field_json(fields *f, const char *name, json_type type, char **out);
/* Token ids, a malloc'd array; at most max. */
bool field_tokens(fields *f, const char *name, const json_t *array, size_t max,
                  int32_t n_vocab, int32_t **out, size_t *n);

/* Accept a field that changes nothing here. */
void field_ignore(fields *f, const char *name);
/* Refuse a field unless it is absent. */
bool field_refuse(fields *f, const char *name, const char *why);

/* Refuse what nobody has asked for. */
bool fields_done(fields *f);

/* "a string", "an array", ... */
const char *json_kind(const json_t *value);

#endif
