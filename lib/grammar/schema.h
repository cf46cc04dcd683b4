/*
 * schema.h - a JSON schema as a grammar in GBNF.
 *
 * Each subschema becomes a rule that matches the text of its values.  Rules are
 * written from a list that grows while it is worked through, so that references
 * may form circles and nothing recurses over the schema.
 *
 *   schema.c          the list, types, enumerations, references
 *   schema_check.c    which keywords are known
 *   schema_object.c   properties; other keys
 *   schema_array.c    items
 *   schema_string.c   lengths, formats
 *   schema_pattern.c  regular expressions
 *   schema_number.c   bounds of integers and numbers
 *   schema_merge.c    allOf: several schemas as one
 *   schema_apart.c    oneOf: can a value match two schemas?
 *   schema_base.c     rules that all schemas share
 */
#ifndef TLPI_SCHEMA_H
#define TLPI_SCHEMA_H

#include "base/json_text.h"
#include "grammar/interner.h"

enum { TLPI_SCHEMA_MAX_BYTES = 16 << 20, TLPI_SCHEMA_MAX_DEPTH = 64 };

/* Types of JSON values, as bits. */
enum {
    TLPI_JSON_NULL = 1,
    TLPI_JSON_BOOLEAN = 2,
    TLPI_JSON_INTEGER = 4,
    TLPI_JSON_NUMBER = 8, /* with TLPI_JSON_INTEGER: any number */
    TLPI_JSON_STRING = 16,
    TLPI_JSON_ARRAY = 32,
    TLPI_JSON_OBJECT = 64,
    TLPI_JSON_ANY = 127
};

/* Rules that are written where they are used. */
typedef enum tlpi_base_rule {
    TLPI_BASE_VALUE,
    TLPI_BASE_OBJECT,
    TLPI_BASE_ARRAY,
    TLPI_BASE_STRING,
    TLPI_BASE_CHAR,
    TLPI_BASE_PLAIN, /* a character that needs no escape */
    TLPI_BASE_INTEGER,
    TLPI_BASE_NUMBER,
    TLPI_N_BASE
} tlpi_base_rule;

/* A subschema and its rule. */
typedef struct tlpi_schema_rule {
    json_t *schema; /* borrowed */
    char *where;    /* "#/properties/age" */
} tlpi_schema_rule;

typedef struct tlpi_schema {
    const tlpi_env *env;
    json_t *root;   /* borrowed */
    json_t *made;   /* array of schemas that were made by merging */
    tlpi_text out;  /* GBNF */
    tlpi_text side; /* rules that wait until the rule in `out` is complete */
    size_t n_side;  /* numbers of such rules that were given out */
    tlpi_schema_rule *rule; /* [n_rule] */
    size_t n_rule, cap_rule;
    tlpi_interner seen; /* addresses of schemas: their numbers are rules */
    const char *where;  /* place of the schema that is being written */
    unsigned base;      /* bits of base rules that are used */
} tlpi_schema;

/* Convert a schema.  out: NUL-terminated text, freed with tlpi_free. */
tlp_status tlpi_schema_convert(char **out, size_t *n, const tlpi_env *env,
                               const char *json, size_t n_json);

/* ==== for the parts ====================================================== */

/* Record a failure "schema: PLACE: " + text. */
tlp_status tlpi_schema_fail(const tlpi_schema *s, tlp_status status,
                            const char *fmt, ...) TLPI_PRINTF(3, 4);
/* Write the name of a subschema's rule, which is added to the list.  Its place
 * below s->where is key, or key and a name or an index. */
tlp_status tlpi_schema_ref(tlpi_schema *s, json_t *schema, const char *key,
                           const char *name);
tlp_status tlpi_schema_ref_at(tlpi_schema *s, json_t *schema, const char *key,
                              int64_t index);
/* Between two calls, s->out is the text of rules beside the one that is being
 * written. */
static inline void tlpi_schema_swap(tlpi_schema *s)
{
    tlpi_text out = s->out;

    s->out = s->side;
    s->side = out;
}
/* Keep a schema that was made; returns it, NULL when out of memory. */
json_t *tlpi_schema_keep(tlpi_schema *s, json_t *made);
void tlpi_schema_base(tlpi_schema *s, tlpi_base_rule rule); /* its name */
tlp_status tlpi_schema_write_base(tlpi_schema *s);

/* Write n bytes, or a value as compact JSON, as a text in quotes. */
void tlpi_schema_literal(tlpi_schema *s, const char *text, size_t n);
tlp_status tlpi_schema_value(tlpi_schema *s, const json_t *value);

/* A keyword that is a count: *out stays if it is missing. */
tlp_status tlpi_schema_count(const tlpi_schema *s, const json_t *schema,
                             const char *key, int64_t *out);

/* Every keyword is known and has its shape, or the schema is refused. */
tlp_status tlpi_schema_check(const tlpi_schema *s, const json_t *schema);
/* Does the keyword change nothing? */
bool tlpi_schema_is_note(const char *key);
/* Types that a schema names or implies. */
tlp_status tlpi_schema_types(const tlpi_schema *s, const json_t *schema,
                             unsigned *types);
unsigned tlpi_json_type(const json_t *value);

tlp_status tlpi_schema_object(tlpi_schema *s, json_t *schema);
tlp_status tlpi_schema_array(tlpi_schema *s, json_t *schema);
tlp_status tlpi_schema_string(tlpi_schema *s, json_t *schema);
tlp_status tlpi_schema_pattern(tlpi_schema *s, const char *pattern, size_t n);
tlp_status tlpi_schema_integer(tlpi_schema *s, json_t *schema);
tlp_status tlpi_schema_number(tlpi_schema *s, json_t *schema);

/* The schema that a pointer ("#/$defs/a") names. */
tlp_status tlpi_schema_find(const tlpi_schema *s, const char *pointer,
                            json_t **out);
/* The schema with its references and its allOf merged in. */
tlp_status tlpi_schema_resolve(tlpi_schema *s, json_t *schema, json_t **out);
/* A schema that matches what both match. */
tlp_status tlpi_schema_merge(tlpi_schema *s, json_t *a, json_t *b,
                             json_t **out);
/* Is it certain that no value matches both schemas? */
bool tlpi_schema_apart(tlpi_schema *s, json_t *a, json_t *b, int depth);

#endif
