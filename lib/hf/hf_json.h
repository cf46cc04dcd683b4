/*
 * hf_json.h - the JSON files of a Hugging Face folder, and typed reads of their
 * keys.
 *
 * The files are hostile: their size, nesting and duplicate keys are checked
 * before a value is read.  Errors name file, key and value.
 */
#ifndef TLPI_HF_JSON_H
#define TLPI_HF_JSON_H

#include <jansson.h>

#include "base/base.h"

/* A file of a folder. */
typedef struct tlpi_hf_file {
    const tlpi_env *env;
    tlpi_text path;
    json_t *root; /* NULL: no such file */
} tlpi_hf_file;

/* An object in a file, and the path of keys to it. */
typedef struct tlpi_hf_at {
    const tlpi_hf_file *file;
    json_t *object;
    char prefix[64]; /* "rope_scaling.", or "" */
} tlpi_hf_at;

/* The path of a file in a folder. */
tlp_status tlpi_hf_path(tlpi_text *out, const tlpi_env *env, const char *folder,
                        const char *name);
/* Is there a file or folder of that path? */
bool tlpi_hf_is_there(const char *path);

/* Read a file of at most max bytes, whose root is an object.  flags: Jansson's.
 * A missing file gives TLP_OK if `need` is false.  Close it also on failure. */
tlp_status tlpi_hf_open(tlpi_hf_file *f, const tlpi_env *env,
                        const char *folder, const char *name, size_t max,
                        size_t flags, bool need);
void tlpi_hf_close(tlpi_hf_file *f);

/* The root of a file. */
tlpi_hf_at tlpi_hf_root(const tlpi_hf_file *f);
/* An object below a key; object NULL: missing or null. */
tlp_status tlpi_hf_enter(tlpi_hf_at *out, const tlpi_hf_at *at,
                         const char *key);

/* The value of a key; NULL: missing or null. */
json_t *tlpi_hf_get(const tlpi_hf_at *at, const char *key);

/* "FILE: key K: V, EXPECTED", with the value cut to a short line; without a
 * value "FILE: key K: missing, EXPECTED". */
tlp_status tlpi_hf_refuse(tlp_status st, const tlpi_hf_at *at, const char *key,
                          const char *fmt, ...) TLPI_PRINTF(4, 5);
void tlpi_hf_warn(const tlpi_hf_at *at, const char *key, const char *fmt, ...)
    TLPI_PRINTF(3, 4);

/*
 * Typed reads.  A key that is missing or null leaves *out as it is, and gives
 * TLP_EFORMAT if `need` is true.  Strings belong to the file.
 */
tlp_status tlpi_hf_int(const tlpi_hf_at *at, const char *key, bool need, int lo,
                       int hi, int *out);
tlp_status tlpi_hf_num(const tlpi_hf_at *at, const char *key, bool need,
                       double *out);
tlp_status tlpi_hf_bool(const tlpi_hf_at *at, const char *key, bool need,
                        bool *out);
tlp_status tlpi_hf_str(const tlpi_hf_at *at, const char *key, bool need,
                       const char **out);
/* An array; NULL: missing or null. */
tlp_status tlpi_hf_list(const tlpi_hf_at *at, const char *key, json_t **out);

/* ==== keys that change nothing =========================================== */

typedef enum tlpi_hf_rule_kind {
    TLPI_HF_ANY,    /* other code reads the value, or no value changes a
                       result */
    TLPI_HF_NOTHING /* null, false, 0, an empty text, array or object; or
                       `number` */
} tlpi_hf_rule_kind;

typedef struct tlpi_hf_rule {
    const char *key;
    tlpi_hf_rule_kind kind;
    double number;
} tlpi_hf_rule;

/* TLP_ENOTSUP for a value that changes something; `number` changes nothing. */
tlp_status tlpi_hf_nothing(const tlpi_hf_at *at, const char *key,
                           double number);

/* TLP_ENOTSUP for a value that a rule forbids; a warning for keys without a
 * rule. */
tlp_status tlpi_hf_check(const tlpi_hf_at *at, const tlpi_hf_rule *rules,
                         size_t n);

#endif
