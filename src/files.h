/*
 * files.h - reading whole files, and replacing files atomically.
 */
#ifndef FILES_H
#define FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Read a file, or standard input when path is NULL.  The data ends in NUL,
 * which n does not count.  All functions print a message on failure and return
 * an exit status. */
int file_read(const char *path, char **data, size_t *n);

/* Read a text of at most max bytes, none of them zero; an empty file is refused
 * too. */
int file_read_text(const char *path, size_t max, char **text);

/* Little-endian int32 token ids. */
int file_read_ids(const char *path, int32_t **ids, size_t *n);

/* Parse ids in decimal, separated by blanks or commas. */
int file_parse_ids(const char *text, int32_t **ids, size_t *n);

/* An output file.  It is written beside its path and renamed when complete, so
 * that a failed run leaves the old file.  "-" and files that are not regular
 * are written directly. */
typedef struct out_file {
    const char *path;
    char *tmp; /* NULL: written directly */
    FILE *file;
} out_file;

bool out_is_stdout(const char *path); /* true for "-"; false for NULL */

/* False for "-" and files that are not regular. */
bool out_is_replaced(const char *path);

/* A model is not replaced. */
int out_open(out_file *out, const char *path);
int out_commit(out_file *out);
void out_discard(out_file *out); /* also allowed after out_commit */

/* Usage error if two of the paths are equal; NULL and "-" are no paths. */
int out_check_distinct(const char *const *path, size_t n);

/* Whether a file, or a model, can be written there; call it before hours of
 * work. */
int out_check(const char *path);
int out_check_model(const char *path);

#endif
