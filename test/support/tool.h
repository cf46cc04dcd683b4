/*
 * tool.h - helpers for tests of the command-line tool.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <stddef.h>

#include "support/spawn.h"

#define TOOL_N_VOCAB 288

/* A fresh tiny model: 5 layers, TOOL_N_VOCAB tokens. */
const char *tool_model(void);

void tool_expect_status(const spawned *s, int status);

/* One line on stderr that begins with `start`, and nothing on stdout. */
void tool_expect_message(const spawned *s, const char *start);

void tool_write_file(const char *path, const void *data, size_t n);
/* The caller frees it; a NUL follows its n bytes. */
char *tool_read_file(const char *path, size_t *n);
bool tool_exists(const char *path);

/* Whether a picture is well-formed: one root element, every tag closed in
 * order, attributes quoted, no bare ampersand, no comments, only numeric
 * entities. */
bool tool_is_xml(const char *text);

/* ids[i] = (37 i + 11) mod 256, little-endian int32. */
void tool_write_ids(const char *path, int n);

#endif
