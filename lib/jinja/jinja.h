/*
 * jinja.h - templates of the language that chat templates are written in.
 *
 * The language is Jinja 2 with Python's values, as Hugging Face's transformers
 * sets it up: trim_blocks and lstrip_blocks are on, undefined names are empty,
 * data cannot be changed, `break`, `continue` and `generation` blocks exist.
 * A construct that is not supported is refused with its name, line and column.
 *
 * A template is hostile input: nesting, steps, memory and output are bounded,
 * and nothing but the values that the caller passes can be reached.
 */
#ifndef TLPI_JINJA_H
#define TLPI_JINJA_H

#include <jansson.h>
#include <time.h>

#include "base/base.h"

typedef struct tlpi_jinja tlpi_jinja; /* compiled; immutable, any thread */

/* Bounds of one template and of one rendering of it. */
#define TLPI_JINJA_MAX_SOURCE (1 << 20) /* bytes of a template */
#define TLPI_JINJA_MAX_MEMORY (64 << 20)
#define TLPI_JINJA_MAX_STEPS 20000000
#define TLPI_JINJA_MAX_DEPTH 100 /* nested expressions, blocks, calls */

/*
 * `name` stands in error texts ("model.gguf: key tokenizer.chat_template").
 * TLP_EFORMAT for a malformed template, TLP_ENOTSUP for a construct that is not
 * supported, TLP_ENOMEM.
 */
tlp_status tlpi_jinja_compile(tlpi_jinja **out, const tlpi_env *env,
                              const char *name, const char *text, size_t n);
void tlpi_jinja_free(tlpi_jinja *t); /* NULL is fine */

/* Does the template read this name anywhere? */
bool tlpi_jinja_reads(const tlpi_jinja *t, const char *name);
/* Does the template hold this key of a dict anywhere, as a name or a string? */
bool tlpi_jinja_mentions(const tlpi_jinja *t, const char *key);

/* A value that the template sees under a name.  Strings in it count as data,
 * unless the value is trusted.  A role (key "role") of letters, digits, '_' and
 * '-' is always trusted: templates build control tokens from it. */
typedef struct tlpi_jinja_var {
    const char *name;
    const json_t *value; /* borrowed for the call */
    bool trusted;
} tlpi_jinja_var;

/* Where a byte of a rendered text came from. */
typedef enum tlpi_jinja_mark {
    TLPI_JINJA_TRUSTED = 0, /* the template, or a trusted value */
    TLPI_JINJA_DATA = 1,    /* a value that is not trusted */
    TLPI_JINJA_TAIL = 2 /* `tail` of tlpi_jinja_render: not trusted either */
} tlpi_jinja_mark;

/* A rendered text.  data[i] is the tlpi_jinja_mark of byte i. */
typedef struct tlpi_jinja_text {
    char *s; /* NUL-terminated */
    uint8_t *data;
    size_t n;
} tlpi_jinja_text;

/*
 * The caller frees out with tlpi_jinja_text_free.  `now` is the time that
 * strftime_now shows.  `tail` is a string inside of a value, whose bytes get a
 * mark of their own, or NULL.  TLP_EINVAL with the template's own words where
 * it calls raise_exception, and for operations that Python refuses;
 * TLP_ENOTSUP, also beyond a bound; TLP_ENOMEM.
 */
tlp_status tlpi_jinja_render(tlpi_jinja_text *out, const tlpi_jinja *t,
                             const tlpi_jinja_var *vars, size_t n_var,
                             time_t now, const json_t *tail);
void tlpi_jinja_text_free(const tlpi_env *env, tlpi_jinja_text *text);

#endif
