/*
 * chat_template.c - which template lays a conversation out.
 *
 * A file has a template in tokenizer.chat_template, and may have more of them
 * under names: tokenizer.chat_template.NAME, listed in
 * tokenizer.chat_templates.
 */
#include <string.h>

#include "text/chat.h"
#include "text/utf8.h"

#define TEMPLATE_KEY "tokenizer.chat_template"
#define NAMES_KEY "tokenizer.chat_templates"

/* The key of a name; "default" is the file's own template. */
static tlp_status make_key(tlpi_text *key, const char *name)
{
    tlpi_text_add(key, TEMPLATE_KEY, strlen(TEMPLATE_KEY));
    if (strcmp(name, "default") != 0)
        tlpi_text_printf(key, ".%s", name);
    return key->failed ? tlpi_fail_nomem_for("a chat template") : TLP_OK;
}

/* text->n is 0 where the file lacks the key. */
static tlp_status read_key(tlpi_str *text, char **where, const tlpi_env *env,
                           const tlpi_vocab *v, const char *name,
                           const char *path)
{
    tlpi_text key = { .env = env }, both = { .env = env };
    tlp_status st = TLP_OK;

    *text = (tlpi_str){ "", 0 };
    TLP_TRY(make_key(&key, name));
    tlpi_text_printf(&both, "%s: key %s", path, key.data);
    if (both.failed)
        TLP_TRY(tlpi_fail_nomem_for("a chat template"));
    TLP_TRY(tlpi_gguf_get_str(tlpi_vocab_file(v), key.data, false, text));
    tlpi_free(env, *where);
    *where = both.data;
    both.data = NULL;
done:
    tlpi_text_free(&both);
    tlpi_text_free(&key);
    return st;
}

/* ", the names are A B", as far as the file lists names. */
static void add_names(tlpi_text *out, const tlpi_vocab *v)
{
    const tlpi_gguf_kv *kv = tlpi_gguf_find(tlpi_vocab_file(v), NAMES_KEY);
    const uint8_t *at = kv ? kv->data : NULL;

    if (!kv || !kv->is_array || kv->type != TLPI_GGUF_STRING)
        return;
    tlpi_text_printf(out, "; the file names");
    for (uint64_t i = 0; i < kv->n && i < 8; i++) {
        tlpi_str name = tlpi_gguf_next_str(&at);
        tlpi_text_printf(out, " %.*s", (int)TLPI_MIN(name.n, (size_t)64),
                         name.s);
    }
}

static tlp_status fail_missing(tlp_status status, const tlpi_env *env,
                               const char *where, const tlpi_vocab *v)
{
    tlpi_text names = { .env = env };

    add_names(&names, v);
    tlp_status st = tlpi_fail(status, "%s: missing%s", where,
                              names.data && !names.failed ? names.data : "");
    tlpi_text_free(&names);
    return st;
}

static tlp_status find_in_file(tlpi_str *text, char **where,
                               const tlpi_env *env, const tlpi_chat *c,
                               const tlpi_vocab *v, const char *path)
{
    const char *name = c->opts.template_name;
    tlp_status st = TLP_OK;

    if (name) {
        TLP_TRY(read_key(text, where, env, v, name, path));
        if (text->n == 0)
            TLP_TRY(fail_missing(TLP_EINVAL, env, *where, v));
        return st;
    }
    if (c->opts.tools_json)
        TLP_TRY(read_key(text, where, env, v, "tool_use", path));
    if (text->n == 0)
        TLP_TRY(read_key(text, where, env, v, "default", path));
    if (text->n == 0)
        TLP_TRY(fail_missing(TLP_ENOTSUP, env, *where, v));
done:
    return st;
}

static tlp_status check_utf8(tlpi_str text, const char *where)
{
    tlpi_utf8 what = TLPI_UTF8_CHAR;

    for (size_t i = 0; i < text.n;) {
        size_t n = tlpi_utf8_next(text.s + i, text.n - i, &what);

        if (what != TLPI_UTF8_CHAR)
            return tlpi_fail(TLP_EFORMAT, "%s: byte %zu is not UTF-8", where,
                             i);
        i += n;
    }
    return TLP_OK;
}

static tlp_status find(tlpi_str *text, char **where, const tlpi_env *env,
                       const tlpi_chat *c, const tlpi_vocab *v,
                       const char *path)
{
    static const char own[] = "the caller's template";
    const char *given = c->opts.chat_template;

    *text = (tlpi_str){ "", 0 };
    *where = NULL;
    if (given && c->opts.template_name)
        return tlpi_fail(TLP_EINVAL,
                         "chat_template and template_name exclude each other");
    if (!given)
        return find_in_file(text, where, env, c, v, path);
    *where = tlpi_strndup(env, own, strlen(own));
    if (!*where)
        return tlpi_fail_nomem_for("a chat template");
    *text = (tlpi_str){ given, strlen(given) };
    return TLP_OK;
}

tlp_status tlpi_chat_template_find(tlpi_str *text, char **where,
                                   const tlpi_env *env, const tlpi_chat *c,
                                   const tlpi_vocab *v, const char *path)
{
    tlp_status st = find(text, where, env, c, v, path);

    return st == TLP_OK ? check_utf8(*text, *where) : st;
}
