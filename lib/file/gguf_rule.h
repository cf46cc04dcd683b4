/*
 * gguf_rule.h - allow lists of metadata keys.
 *
 * A key that no rule names may change results in a way that the library does
 * not know, so it is refused.  A key may have several rules; one of them is
 * enough.
 */
#ifndef TLPI_GGUF_RULE_H
#define TLPI_GGUF_RULE_H

#include "file/gguf.h"

typedef enum tlpi_gguf_rule_kind {
    TLPI_RULE_ANY,    /* other code reads and checks the value, or no value
                         changes a result */
    TLPI_RULE_NUMBER, /* `number` alone, or an array of it */
    TLPI_RULE_BOOL,   /* `number` alone, 0 or 1, or an array of it */
    TLPI_RULE_TEXT,   /* `text` alone */
    TLPI_RULE_EMPTY,  /* an array without elements alone */
    TLPI_RULE_NOTE    /* any value, with a warning: files have it by mistake,
                         and no result depends on it */
} tlpi_gguf_rule_kind;

typedef struct tlpi_gguf_rule {
    const char *name; /* behind the prefix; a last '*' stands for any text */
    tlpi_gguf_rule_kind kind;
    double number;
    const char *text;
    uint32_t only; /* a bit for each kind of file that the rule is for; 0: all
                      kinds */
} tlpi_gguf_rule;

/*
 * Check a key of g against n rules.  `name` is the key behind its prefix, and
 * `file_kind` the bit of this file's kind.  TLP_ENOTSUP names key and value.
 */
tlp_status tlpi_gguf_check_key(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                               const char *name, const tlpi_gguf_rule *rules,
                               size_t n, uint32_t file_kind);

/* Fail with the text "FILE: key K: V" + what; V is cut to one short line. */
tlp_status tlpi_gguf_refuse(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                            const char *what);

/* Log a warning of that form. */
void tlpi_gguf_warn(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                    const char *what);

/* Warn of a key that is not understood and left out.  *n counts such keys of g:
 * after a few of them no key is named, and tlpi_gguf_warn_rest tells their
 * number. */
void tlpi_gguf_warn_unknown(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                            size_t *n);
void tlpi_gguf_warn_rest(const tlpi_gguf *g, size_t n);

#endif
