/*
 * copies.h - copies of a model file, damaged at will.
 */
#ifndef COPIES_H
#define COPIES_H

#include <stddef.h>

/* A fresh path with the file's bytes, of which the byte at `at` is changed
 * (SIZE_MAX: none).  The name is static storage, as tiny_path's. */
const char *copy_flipped(const char *path, size_t at);

/* Change one bit of a file in place, and restore its mtime. */
void flip_in_place(const char *path, size_t at);

/* Where byte i of a tensor is in the file. */
size_t place_of(const char *path, const char *tensor, size_t i);

#endif
