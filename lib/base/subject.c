/*
 * subject.c - compare what the numbers of a file belong to with what they
 * should belong to.
 */
#include "base/subject.h"

#include <stdlib.h>

#include "base/json_text.h"

/* The error text shows both values in JSON. */
static tlp_status fail(const char *path, const char *what, const char *key,
                       const json_t *found, const json_t *expected)
{
    char *a = tlpi_json_dump(found, JSON_ENCODE_ANY);
    char *b = tlpi_json_dump(expected, JSON_ENCODE_ANY);
    tlp_status st =
        tlpi_fail(TLP_EMISMATCH, "%s: key \"of.%s\": %s %.80s, %.80s expected",
                  path, key, what, a ? a : "none", b ? b : "another");

    free(b);
    free(a);
    return st;
}

tlp_status tlpi_subject_check(const char *path, const char *what,
                              const json_t *found, json_t *expected)
{
    json_t *value;
    const char *key;

    json_object_foreach(expected, key, value)
    {
        const json_t *there = json_object_get(found, key);

        if (!json_equal(there, value))
            return fail(path, what, key, there, value);
    }
    return TLP_OK;
}
