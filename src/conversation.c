/*
 * conversation.c - the messages of a conversation and what its template needs.
 */
#include "conversation.h"

#include <stdlib.h>
#include <string.h>

#include "channels.h"
#include "files.h"

/* What the library takes, in bytes. */
#define MAX_TEMPLATE ((size_t)1 << 20)
#define MAX_JSON ((size_t)16 << 20)

bool chat_files_any(const chat_files *f)
{
    return f->template_file || f->template_name || f->messages_file ||
           f->tools_file || f->documents_file || f->kwargs;
}

static int read_text(const char *path, size_t max, char **text,
                     const char **option)
{
    int rc = path ? file_read_text(path, max, text) : CLI_OK;

    *option = *text;
    return rc;
}

int chat_open(chat *c, const tlp_model *model, const chat_files *f)
{
    *c = (chat){ .model = model, .opts = { .struct_size = sizeof c->opts } };

    tlp_chat_options *o = &c->opts;
    int rc = read_text(f->template_file, MAX_TEMPLATE, &c->text[0],
                       &o->chat_template);

    if (rc == CLI_OK)
        rc = read_text(f->messages_file, MAX_JSON, &c->text[1],
                       &o->messages_json);
    if (rc == CLI_OK)
        rc = read_text(f->tools_file, MAX_JSON, &c->text[2], &o->tools_json);
    if (rc == CLI_OK)
        rc = read_text(f->documents_file, MAX_JSON, &c->text[3],
                       &o->documents_json);
    o->template_name = f->template_name;
    o->kwargs_json = f->kwargs;
    o->continue_final_message = f->continue_message;
    o->add_generation_prompt = !f->continue_message;
    return rc;
}

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

/* Ids that are enough for all but odd templates. */
static size_t guess_ids(const chat *c)
{
    size_t n = 1 << 16;

    for (size_t i = 0; i < c->n; i++)
        n += strlen(c->message[i].content) + 64;
    for (size_t i = 0; i < sizeof c->text / sizeof c->text[0]; i++)
        n += c->text[i] ? strlen(c->text[i]) : 0;
    return n;
}

int chat_tokenize(const chat *c, int32_t **ids, size_t *n)
{
    size_t cap = guess_ids(c);
    tlp_status st = TLP_EBUFS;

    *ids = NULL;
    *n = 0;
    for (int round = 0; round < 2 && st == TLP_EBUFS; round++) {
        free(*ids);
        *ids = malloc(cap * sizeof **ids);
        if (!*ids)
            return cli_fail("out of memory");
        st = tlp_chat_tokenize(*ids, cap, n, c->model, c->message, c->n,
                               &c->opts);
        cap = *n;
    }
    if (st == TLP_OK)
        return CLI_OK;
    free(*ids);
    *ids = NULL;
    return engine_fail(st);
}

static bool has_key(const tlp_model *model, const char *key)
{
    size_t len;

    return tlp_model_get_meta(NULL, 0, &len, model, key) == TLP_EBUFS;
}

bool chat_has_template(const tlp_model *model)
{
    return has_key(model, "tokenizer.chat_template") ||
           has_key(model, "tokenizer.chat_templates");
}

bool chat_has_channels(const chat *c)
{
    static const char key[] = "tokenizer.chat_template";
    size_t n = 0;
    char *text;

    if (c->opts.chat_template)
        return channels_are_of(c->opts.chat_template);
    if (tlp_model_get_meta(NULL, 0, &n, c->model, key) != TLP_EBUFS)
        return false;
    text = malloc(n + 1);
    bool has = text &&
               tlp_model_get_meta(text, n + 1, &n, c->model, key) == TLP_OK &&
               channels_are_of(text);

    free(text);
    return has;
}

void chat_free(chat *c)
{
    for (size_t i = 0; i < c->n; i++)
        free((char *)c->message[i].content);
    free(c->message);
    for (size_t i = 0; i < sizeof c->text / sizeof c->text[0]; i++)
        free(c->text[i]);
    *c = (chat){ 0 };
}
