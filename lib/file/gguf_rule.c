/*
 * gguf_rule.c - see gguf_rule.h.
 */
#include "file/gguf_rule.h"

#include <stdio.h>
#include <string.h>

#include "base/number.h"

#define MAX_VALUE 64  /* printed bytes of a value */
#define MAX_WARNING 8 /* unknown keys that are named; the rest is counted */

/* ==== the texts ========================================================== */

typedef struct value_text {
    char s[MAX_VALUE + 4];
} value_text;

static value_text value_of(const tlpi_gguf *g, const tlpi_gguf_kv *kv)
{
    value_text out = { "" };
    tlpi_text all = { .env = g->env };

    tlpi_gguf_format(kv, &all);
    if (!all.failed && all.data)
        snprintf(out.s, sizeof out.s, "%.*s%s", MAX_VALUE, all.data,
                 all.len > MAX_VALUE ? "..." : "");
    tlpi_text_free(&all);
    return out;
}

tlp_status tlpi_gguf_refuse(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                            const char *what)
{
    value_text value = value_of(g, kv);

    return tlpi_fail(TLP_ENOTSUP, "%s: key %.128s: %s%s", g->path, kv->key,
                     value.s, what);
}

void tlpi_gguf_warn(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                    const char *what)
{
    value_text value = value_of(g, kv);

    tlpi_log(g->env, TLP_LOG_WARN, "%s: key %.128s: %s%s", g->path, kv->key,
             value.s, what);
}

void tlpi_gguf_warn_unknown(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                            size_t *n)
{
    if (++*n <= MAX_WARNING)
        tlpi_gguf_warn(g, kv, ", not understood and left out");
}

void tlpi_gguf_warn_rest(const tlpi_gguf *g, size_t n)
{
    if (n > MAX_WARNING)
        tlpi_log(g->env, TLP_LOG_WARN,
                 "%s: %zu more keys are not understood and left out", g->path,
                 n - MAX_WARNING);
}

/* ==== the rules ========================================================== */

static bool has_name(const tlpi_gguf_rule *rule, const char *name)
{
    size_t n = strlen(rule->name);

    if (rule->name[n - 1] == '*')
        return strncmp(rule->name, name, n - 1) == 0;
    return strcmp(rule->name, name) == 0;
}

/* One number, or one for each layer. */
static bool is_all(const tlpi_gguf_kv *kv, double number)
{
    for (uint64_t i = 0; i < kv->n; i++)
        if (tlpi_gguf_elem_f64(kv, i) != number)
            return false;
    return kv->n > 0;
}

static bool allows(const tlpi_gguf_rule *rule, const tlpi_gguf_kv *kv)
{
    bool is_bool = kv->type == TLPI_GGUF_BOOL;
    const uint8_t *at = kv->data;

    if (rule->kind == TLPI_RULE_ANY || rule->kind == TLPI_RULE_NOTE)
        return true;
    if (rule->kind == TLPI_RULE_EMPTY)
        return kv->is_array && kv->n == 0;
    if (rule->kind != TLPI_RULE_TEXT)
        return kv->type != TLPI_GGUF_STRING &&
               is_bool == (rule->kind == TLPI_RULE_BOOL) &&
               is_all(kv, rule->number);
    if (kv->is_array || kv->type != TLPI_GGUF_STRING)
        return false;
    tlpi_str s = tlpi_gguf_next_str(&at);
    return s.n == strlen(rule->text) && memcmp(s.s, rule->text, s.n) == 0;
}

/* The value that a rule asks for, behind the value of the file. */
static void expect(const tlpi_gguf_rule *rule, char *out, size_t cap)
{
    switch (rule->kind) {
    case TLPI_RULE_NUMBER:
        tlpi_snprintf(out, cap, " is not supported, %g expected", rule->number);
        break;
    case TLPI_RULE_BOOL:
        snprintf(out, cap, " is not supported, %s expected",
                 rule->number != 0 ? "true" : "false");
        break;
    case TLPI_RULE_TEXT:
        snprintf(out, cap, " is not supported, %s expected", rule->text);
        break;
    default:
        snprintf(out, cap, " is not supported, an empty array expected");
    }
}

tlp_status tlpi_gguf_check_key(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                               const char *name, const tlpi_gguf_rule *rules,
                               size_t n, uint32_t file_kind)
{
    const tlpi_gguf_rule *found = NULL;
    char what[128] = ", not understood";

    for (size_t i = 0; i < n; i++) {
        if (!has_name(&rules[i], name) ||
            (rules[i].only && !(rules[i].only & file_kind)))
            continue;
        if (allows(&rules[i], kv)) {
            if (rules[i].kind == TLPI_RULE_NOTE)
                tlpi_gguf_warn(g, kv, ", left out");
            return TLP_OK;
        }
        found = found ? found : &rules[i];
    }
    if (found)
        expect(found, what, sizeof what);
    return tlpi_gguf_refuse(g, kv, what);
}
