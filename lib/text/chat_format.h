/*
 * chat_format.h - a conversation as text, by the chat template of a model file.
 */
#ifndef TLPI_CHAT_FORMAT_H
#define TLPI_CHAT_FORMAT_H

#include "jinja/jinja.h"
#include "text/vocab.h"

typedef struct tlpi_chat {
    const tlp_chat_message *msg; /* [n], borrowed */
    size_t n;
    bool add_assistant; /* end with the opening of the assistant's turn */
} tlpi_chat;

/*
 * Render the vocabulary's template; path names the file in error texts.  The
 * caller frees out with tlpi_jinja_text_free.  TLP_ENOTSUP without a template.
 */
tlp_status tlpi_chat_format(tlpi_jinja_text *out, const tlpi_env *env,
                            const tlpi_chat *c, const tlpi_vocab *v,
                            const char *path);

#endif
