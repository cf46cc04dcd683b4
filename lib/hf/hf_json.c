/*
 * hf_json.c - see hf_json.h.
 */
#include "hf/hf_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json_text.h"
#include "file/mapfile.h"

#define MAX_DEPTH 16
#define MAX_VALUE 64  /* printed bytes of a value */
#define MAX_WARNING 8 /* unknown keys that are named; the rest is counted */

/* ==== files ============================================================== */

tlp_status tlpi_hf_path(tlpi_text *out, const tlpi_env *env, const char *folder,
                        const char *name)
{
    size_t n = strlen(folder);

    while (n > 1 && folder[n - 1] == '/')
        n--;
    *out = (tlpi_text){ .env = env };
    tlpi_text_add(out, folder, n);
    tlpi_text_printf(out, "/%s", name);
    return out->failed ? tlpi_fail_nomem_for("the files of a model") : TLP_OK;
}

bool tlpi_hf_is_there(const char *path)
{
    struct stat s;

    return stat(path, &s) == 0;
}

static tlp_status parse(tlpi_hf_file *f, const char *text, size_t n,
                        size_t flags)
{
    const char *path = f->path.data;
    json_error_t error;
    tlp_status st = tlpi_json_check_depth(path, text, n, MAX_DEPTH);

    if (st != TLP_OK)
        return st;
    f->root = tlpi_json_load(text, n, flags, &error);
    if (!f->root)
        return tlpi_fail(TLP_EFORMAT, "%s: line %d, byte %d: %s", path,
                         error.line, error.position, error.text);
    if (!json_is_object(f->root))
        return tlpi_fail(TLP_EFORMAT, "%s: a JSON object expected", path);
    return TLP_OK;
}

tlp_status tlpi_hf_open(tlpi_hf_file *f, const tlpi_env *env,
                        const char *folder, const char *name, size_t max,
                        size_t flags, bool need)
{
    char *text = NULL;
    size_t n = 0;
    tlp_status st;

    *f = (tlpi_hf_file){ .env = env, .path = { .env = env } };
    TLP_TRY(tlpi_hf_path(&f->path, env, folder, name));
    if (!need && !tlpi_hf_is_there(f->path.data))
        return TLP_OK;
    TLP_TRY(tlpi_file_read(env, f->path.data, max, &text, &n));
    TLP_TRY(parse(f, text, n, flags));
done:
    tlpi_free(env, text);
    return st;
}

void tlpi_hf_close(tlpi_hf_file *f)
{
    json_decref(f->root);
    f->root = NULL;
    if (f->env)
        tlpi_text_free(&f->path);
}

/* ==== keys =============================================================== */

tlpi_hf_at tlpi_hf_root(const tlpi_hf_file *f)
{
    return (tlpi_hf_at){ .file = f, .object = f->root };
}

json_t *tlpi_hf_get(const tlpi_hf_at *at, const char *key)
{
    json_t *value = json_object_get(at->object, key);

    return json_is_null(value) ? NULL : value;
}

tlp_status tlpi_hf_enter(tlpi_hf_at *out, const tlpi_hf_at *at, const char *key)
{
    json_t *value = tlpi_hf_get(at, key);

    *out = (tlpi_hf_at){ .file = at->file, .object = value };
    if (value && !json_is_object(value))
        return tlpi_hf_refuse(TLP_EFORMAT, at, key, "an object expected");
    snprintf(out->prefix, sizeof out->prefix, "%.28s%.32s.", at->prefix, key);
    return TLP_OK;
}

typedef struct json_line {
    char s[MAX_VALUE + 4];
} json_line;

/* A value as one short line. */
static json_line line_of(const json_t *value)
{
    json_line out = { "a value" };

    if (json_is_array(value))
        snprintf(out.s, sizeof out.s, "an array of %zu",
                 json_array_size(value));
    else if (json_is_object(value))
        snprintf(out.s, sizeof out.s, "an object of %zu keys",
                 json_object_size(value));
    else if (json_is_string(value))
        snprintf(out.s, sizeof out.s, "\"%.*s\"%s", MAX_VALUE - 4,
                 json_string_value(value),
                 json_string_length(value) > MAX_VALUE - 4 ? "..." : "");
    else {
        char *text =
            tlpi_json_dump(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        if (text)
            snprintf(out.s, sizeof out.s, "%.*s", MAX_VALUE, text);
        free(text);
    }
    return out;
}

typedef struct json_remark {
    char s[256];
} json_remark;

static json_remark remark_of(const char *fmt, va_list args)
{
    json_remark out;

    tlpi_format_line(out.s, sizeof out.s, fmt, args);
    return out;
}

tlp_status tlpi_hf_refuse(tlp_status st, const tlpi_hf_at *at, const char *key,
                          const char *fmt, ...)
{
    const json_t *value = json_object_get(at->object, key);
    va_list args;

    va_start(args, fmt);
    json_remark what = remark_of(fmt, args);
    va_end(args);
    return tlpi_fail(st, "%s: key %s%.64s: %s, %s", at->file->path.data,
                     at->prefix, key, value ? line_of(value).s : "missing",
                     what.s);
}

void tlpi_hf_warn(const tlpi_hf_at *at, const char *key, const char *fmt, ...)
{
    const json_t *value = json_object_get(at->object, key);
    va_list args;

    va_start(args, fmt);
    json_remark what = remark_of(fmt, args);
    va_end(args);
    tlpi_log(at->file->env, TLP_LOG_WARN, "%s: key %s%.64s: %s, %s",
             at->file->path.data, at->prefix, key,
             value ? line_of(value).s : "missing", what.s);
}

static tlp_status missing(const tlpi_hf_at *at, const char *key, bool need,
                          const char *what)
{
    return need ? tlpi_hf_refuse(TLP_EFORMAT, at, key, "%s expected", what)
                : TLP_OK;
}

tlp_status tlpi_hf_int(const tlpi_hf_at *at, const char *key, bool need, int lo,
                       int hi, int *out)
{
    json_t *value = tlpi_hf_get(at, key);
    json_int_t x = json_integer_value(value);

    if (!value)
        return missing(at, key, need, "an integer");
    if (!json_is_integer(value) || x < lo || x > hi)
        return tlpi_hf_refuse(TLP_EFORMAT, at, key,
                              "an integer from %d to %d expected", lo, hi);
    *out = (int)x;
    return TLP_OK;
}

tlp_status tlpi_hf_num(const tlpi_hf_at *at, const char *key, bool need,
                       double *out)
{
    json_t *value = tlpi_hf_get(at, key);

    if (!value)
        return missing(at, key, need, "a number");
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        return tlpi_hf_refuse(TLP_EFORMAT, at, key, "a number expected");
    *out = json_number_value(value);
    return TLP_OK;
}

tlp_status tlpi_hf_bool(const tlpi_hf_at *at, const char *key, bool need,
                        bool *out)
{
    json_t *value = tlpi_hf_get(at, key);

    if (!value)
        return missing(at, key, need, "true or false");
    if (!json_is_boolean(value))
        return tlpi_hf_refuse(TLP_EFORMAT, at, key, "true or false expected");
    *out = json_is_true(value);
    return TLP_OK;
}

tlp_status tlpi_hf_str(const tlpi_hf_at *at, const char *key, bool need,
                       const char **out)
{
    json_t *value = tlpi_hf_get(at, key);

    if (!value)
        return missing(at, key, need, "a text");
    if (!json_is_string(value))
        return tlpi_hf_refuse(TLP_EFORMAT, at, key, "a text expected");
    *out = json_string_value(value);
    return TLP_OK;
}

tlp_status tlpi_hf_list(const tlpi_hf_at *at, const char *key, json_t **out)
{
    json_t *value = tlpi_hf_get(at, key);

    *out = value;
    if (value && !json_is_array(value))
        return tlpi_hf_refuse(TLP_EFORMAT, at, key, "an array expected");
    return TLP_OK;
}

/* ==== keys that change nothing =========================================== */

static bool is_nothing(const json_t *value, double number)
{
    if (json_is_number(value))
        return json_number_value(value) == 0 ||
               json_number_value(value) == number;
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

tlp_status tlpi_hf_nothing(const tlpi_hf_at *at, const char *key, double number)
{
    return is_nothing(json_object_get(at->object, key), number)
               ? TLP_OK
               : tlpi_hf_refuse(TLP_ENOTSUP, at, key, "not supported");
}

static const tlpi_hf_rule *find_rule(const tlpi_hf_rule *rules, size_t n,
                                     const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rules[i].key, key) == 0)
            return &rules[i];
    return NULL;
}

tlp_status tlpi_hf_check(const tlpi_hf_at *at, const tlpi_hf_rule *rules,
                         size_t n)
{
    const char *key;
    json_t *value;
    size_t n_unknown = 0;
    tlp_status st = TLP_OK;

    json_object_foreach(at->object, key, value)
    {
        const tlpi_hf_rule *rule = find_rule(rules, n, key);

        if (!rule && !is_nothing(value, 0) && ++n_unknown <= MAX_WARNING)
            tlpi_hf_warn(at, key, "not understood and left out");
        if (rule && rule->kind == TLPI_HF_NOTHING)
            TLP_TRY(tlpi_hf_nothing(at, key, rule->number));
    }
    if (n_unknown > MAX_WARNING)
        tlpi_log(at->file->env, TLP_LOG_WARN,
                 "%s: %zu more keys are not understood and left out",
                 at->file->path.data, n_unknown - MAX_WARNING);
done:
    return st;
}
