/*
 * json.h - print JSON: always valid, on one line.
 *
 * key is NULL inside arrays.  Numbers that JSON cannot hold become null; bytes
 * that are not UTF-8 become U+FFFD.
 */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct json {
    FILE *file;
    bool follows; /* a value precedes at this level, so a comma is needed */
} json;

void json_open(json *j, const char *key, char bracket); /* '{' or '[' */
void json_close(json *j, char bracket);                 /* '}' or ']' */
void json_text(json *j, const char *key, const char *value);
/* Text of n bytes, which may be NULs. */
void json_bytes(json *j, const char *key, const char *value, size_t n);
void json_int(json *j, const char *key, int64_t value);
void json_number(json *j, const char *key, double value);
/* A key of n bytes, for the value that comes next, which then has none. */
void json_key(json *j, const char *key, size_t n);
void json_flag(json *j, const char *key, bool value);
void json_nothing(json *j, const char *key); /* null */

bool json_is_utf8(const char *text, size_t n);

#endif
