/*
 * chat.h - a conversation as text and as tokens, by a chat template.
 */
#ifndef TLPI_CHAT_H
#define TLPI_CHAT_H

#include "jinja/jinja.h"
#include "text/vocab.h"

/* Bounds of each text of JSON that a caller gives. */
#define TLPI_CHAT_MAX_JSON ((size_t)16 << 20) /* bytes */
#define TLPI_CHAT_MAX_DEPTH 64

typedef struct tlpi_chat {
    const tlp_chat_message *message; /* [n], borrowed */
    size_t n;
    tlp_chat_options opts; /* read by tlpi_options_read */
} tlpi_chat;

/* ==== values that a template sees (chat_values.c) ======================== */

typedef struct tlpi_chat_values {
    json_t *messages;   /* array of objects */
    json_t *tools;      /* array, or null */
    json_t *documents;  /* array, or null */
    json_t *kwargs;     /* object, or NULL */
    const json_t *tail; /* the text to continue, a string; or NULL */
} tlpi_chat_values;

tlp_status tlpi_chat_values_read(tlpi_chat_values *out, const tlpi_chat *c);
void tlpi_chat_values_free(tlpi_chat_values *v);

/* ==== the template (chat_template.c) ===================================== */

/*
 * Choose as transformers does: the caller's text, the template of the caller's
 * name, "tool_use" where there are tools and the file has it, the file's own.
 * *where names file and key for error texts; the caller frees it.
 */
tlp_status tlpi_chat_template_find(tlpi_str *text, char **where,
                                   const tlpi_env *env, const tlpi_chat *c,
                                   const tlpi_vocab *v, const char *path);

/* ==== rendering (chat_render.c) ========================================== */

/*
 * path names the file in error texts.  The caller frees out with
 * tlpi_jinja_text_free.  TLP_ENOTSUP without a template.
 */
tlp_status tlpi_chat_render(tlpi_jinja_text *out, const tlpi_env *env,
                            const tlpi_chat *c, const tlpi_vocab *v,
                            const char *path);

/* ==== tokens (chat_tokenize.c) =========================================== */

/* Render, and tokenize: control tokens come from the template alone. */
tlp_status tlpi_chat_tokenize(tlpi_ids *out, const tlpi_env *env,
                              const tlpi_chat *c, const tlpi_vocab *v,
                              const char *path);

#endif
