/*
 * memo.h - text that is written into memory.
 */
#ifndef MEMO_H
#define MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct memo {
    FILE *file;
    char *text; /* after memo_close: NUL-terminated; the owner frees it */
    size_t n;
} memo;

/* False when out of memory. */
bool memo_open(memo *m);

/* False when a part of the text was lost; then there is no text. */
bool memo_close(memo *m);

#endif
