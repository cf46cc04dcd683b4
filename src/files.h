/*
 * files.h - whole files in, atomically replaced files out.
 */
#ifndef FILES_H
#define FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* All of a file, or of standard input when path is NULL; ends in NUL, which
 * n does not count.  All return an exit status after printing a message. */
int file_read(const char *path, char **data, size_t *n);

/* Little-endian int32 token ids. */
int file_read_ids(const char *path, int32_t **ids, size_t *n);

/* Ids as decimal text, separated by blanks or commas. */
int file_parse_ids(const char *text, int32_t **ids, size_t *n);

/* Written beside its path and renamed over it when complete, so that a failed
 * run leaves the old file; "-" and what is no regular file is written to
 * directly. */
typedef struct out_file {
    const char *path;
    char *tmp; /* NULL: written directly */
    FILE *file;
} out_file;

bool out_is_stdout(const char *path); /* "-"; NULL is not */

/* False for "-" and what is no regular file. */
bool out_is_replaced(const char *path);

int out_open(out_file *out, const char *path);
int out_commit(out_file *out);
void out_discard(out_file *out); /* also after out_commit */

/* Can a file be put there?  To be asked before hours of work, not after. */
int out_check(const char *path);

#endif
