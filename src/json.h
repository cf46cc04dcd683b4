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
void json_int(json *j, const char *key, int64_t value);
void json_real(json *j, const char *key, double value);

#endif
