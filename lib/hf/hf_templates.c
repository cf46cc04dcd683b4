/*
 * hf_templates.c - the chat templates of a folder: chat_template.jinja, or
 * chat_template in tokenizer_config.json, which is a text or a list of texts
 * with names.
 */
#include <stdio.h>
#include <string.h>

#include "file/gguf_layout.h"
#include "file/mapfile.h"
#include "hf/hf_model.h"

#define JINJA "chat_template.jinja"
#define MORE "additional_chat_templates"
#define KEY "tokenizer.chat_template"
#define MAX_BYTES ((size_t)16 << 20)
#define MAX_NAME 64 /* bytes of a template's name */

/* A name of letters, digits and "_", as in keys of GGUF files. */
static void clean_name(char *out, size_t cap, const char *name)
{
    static const char known[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    snprintf(out, cap, "%s", name);
    for (; *out; out++)
        if (!strchr(known, *out))
            *out = '_';
}

static void add_text(tlpi_hf_vocab *v, const char *text)
{
    tlpi_build_str(&v->m->keys, KEY, text, strlen(text));
}

/* A template with a name; *names collects the names as strings of an array. */
static tlp_status add_named(tlpi_hf_vocab *v, const tlpi_hf_at *at,
                            json_t *entry, tlpi_text *names, uint64_t *n)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *text = json_string_value(json_object_get(entry, "template"));
    char clean[MAX_NAME + 1], key[MAX_NAME + sizeof KEY + 1];

    if (!name || !name[0] || strlen(name) > MAX_NAME || !text)
        return tlpi_hf_refuse(TLP_EFORMAT, at, "chat_template",
                              "objects with name and template expected");
    if (strcmp(name, "default") == 0) {
        add_text(v, text);
        return TLP_OK;
    }
    clean_name(clean, sizeof clean, name);
    snprintf(key, sizeof key, KEY ".%s", clean);
    tlpi_build_str(&v->m->keys, key, text, strlen(text));
    tlpi_gguf_put_str(names, clean, strlen(clean));
    ++*n;
    return TLP_OK;
}

static tlp_status add_list(tlpi_hf_vocab *v, const tlpi_hf_at *at, json_t *list)
{
    tlpi_text names = { .env = v->m->env };
    uint64_t n = 0;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < json_array_size(list); i++)
        TLP_TRY(add_named(v, at, json_array_get(list, i), &names, &n));
    if (names.failed)
        TLP_TRY(tlpi_fail_nomem_for("a chat template"));
    if (n > 0)
        tlpi_build_array(&v->m->keys, "tokenizer.chat_templates",
                         TLPI_GGUF_STRING, n, names.data, names.len);
done:
    tlpi_text_free(&names);
    return st;
}

static tlp_status add_from_config(tlpi_hf_vocab *v, const tlpi_hf_at *at)
{
    json_t *value = tlpi_hf_get(at, "chat_template");

    if (json_is_array(value))
        return add_list(v, at, value);
    if (value && !json_is_string(value))
        return tlpi_hf_refuse(TLP_EFORMAT, at, "chat_template",
                              "a text or an array expected");
    if (value)
        add_text(v, json_string_value(value));
    return TLP_OK;
}

static tlp_status warn_more(const tlpi_hf_vocab *v)
{
    tlpi_text path;
    tlp_status st = tlpi_hf_path(&path, v->m->env, v->m->folder, MORE);

    if (st == TLP_OK && tlpi_hf_is_there(path.data))
        tlpi_log(v->m->env, TLP_LOG_WARN, "%s: not read", path.data);
    tlpi_text_free(&path);
    return st;
}

tlp_status tlpi_hf_templates_read(tlpi_hf_vocab *v, const tlpi_hf_file *config)
{
    tlpi_hf_at at = tlpi_hf_root(config);
    tlpi_text path = { .env = v->m->env };
    char *text = NULL;
    size_t n = 0;
    tlp_status st;

    TLP_TRY(warn_more(v));
    TLP_TRY(tlpi_hf_path(&path, v->m->env, v->m->folder, JINJA));
    if (!tlpi_hf_is_there(path.data)) {
        st = add_from_config(v, &at);
        goto done;
    }
    TLP_TRY(tlpi_file_read(v->m->env, path.data, MAX_BYTES, &text, &n));
    tlpi_build_str(&v->m->keys, KEY, text, n);
    const char *other = json_string_value(tlpi_hf_get(&at, "chat_template"));
    if (tlpi_hf_get(&at, "chat_template") && (!other || strcmp(other, text)))
        tlpi_hf_warn(&at, "chat_template", "left out for " JINJA);
done:
    tlpi_free(v->m->env, text);
    tlpi_text_free(&path);
    return st;
}
