/*
 * tool_json.h - what the tool prints with --json.
 */
#ifndef TOOL_JSON_H
#define TOOL_JSON_H

#include <jansson.h>

#include "support/spawn.h"

/* The output of a run; a key that stands twice fails the test. */
json_t *tool_json(const spawned *s);

/* A number of an object. */
double tool_number(json_t *object, const char *key);

#endif
