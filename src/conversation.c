/*
 * conversation.c - the messages of a conversation, laid out by the model's
 * template.
 */
#include "conversation.h"

#include <stdlib.h>
#include <string.h>

int chat_add(chat *c, const char *role, const char *content)
{
    tlp_chat_message *grown =
        realloc(c->message, (c->n + 1) * sizeof *c->message);
    char *copy = strdup(content);

    if (grown)
        c->message = grown;
    if (!grown || !copy) {
        free(copy);
        return cli_fail("out of memory");
    }
    c->message[c->n++] = (tlp_chat_message){ role, copy };
    return CLI_OK;
}

void chat_cut(chat *c, size_t n)
{
    while (c->n > n)
        free((char *)c->message[--c->n].content);
}

int chat_format(const chat *c, char **text, size_t *len)
{
    tlp_status st =
        tlp_chat_format(NULL, 0, len, c->model, c->message, c->n, 1);

    *text = NULL;
    if (st == TLP_EBUFS) {
        *text = malloc(*len + 1);
        if (!*text)
            return cli_fail("out of memory");
        st = tlp_chat_format(*text, *len + 1, len, c->model, c->message, c->n,
                             1);
    }
    if (st == TLP_OK)
        return CLI_OK;
    free(*text);
    *text = NULL;
    return engine_fail(st);
}

bool chat_has_template(const tlp_model *model)
{
    size_t len;

    return tlp_model_get_meta(NULL, 0, &len, model,
                              "tokenizer.chat_template") == TLP_EBUFS;
}

void chat_free(chat *c)
{
    chat_cut(c, 0);
    free(c->message);
    c->message = NULL;
}
