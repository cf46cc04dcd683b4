/*
 * chat_render.c - a conversation through a chat template.
 *
 * A template is a program, and a model file is not trusted: the interpreter
 * (jinja/) bounds steps, memory and nesting, and reaches nothing but the values
 * that are made here.
 */
#include <string.h>

#include "text/chat.h"

/* ==== what the template never reads ====================================== */

/* The conversation would lose a part of what the model must know. */
static tlp_status need_name(const tlpi_jinja *t, const json_t *value,
                            const char *name, const char *where)
{
    if (json_array_size(value) == 0 || tlpi_jinja_reads(t, name))
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP, "%s: the template never reads %s", where,
                     name);
}

static bool is_empty(const json_t *value)
{
    return !value || json_is_null(value) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

/* The first message with this key and a value for it; -1 if there is none. */
static ptrdiff_t message_with(const json_t *messages, const char *key)
{
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!is_empty(json_object_get(json_array_get(messages, i), key)))
            return (ptrdiff_t)i;
    return -1;
}

static tlp_status check_calls(const tlpi_jinja *t, const json_t *messages,
                              const char *where)
{
    ptrdiff_t i = message_with(messages, "tool_calls");

    if (i < 0 || tlpi_jinja_mentions(t, "tool_calls"))
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: the template never reads tool_calls, which message "
                     "%td has",
                     where, i);
}

/* Other keys of a message but its role: one warning each. */
static void warn_message_keys(const tlpi_env *env, const tlpi_jinja *t,
                              const json_t *messages, size_t i,
                              const char *where)
{
    json_t *message = json_array_get(messages, i), *value;
    const char *key;

    json_object_foreach(message, key, value)
    {
        if (strcmp(key, "role") != 0 && !is_empty(value) &&
            message_with(messages, key) == (ptrdiff_t)i &&
            !tlpi_jinja_mentions(t, key))
            tlpi_log(env, TLP_LOG_WARN,
                     "%s: the template never reads %s, which message %zu has",
                     where, key, i);
    }
}

static tlp_status check_reads(const tlpi_env *env, const tlpi_jinja *t,
                              const tlpi_chat *c, const tlpi_chat_values *v,
                              const char *where)
{
    tlp_status st = TLP_OK;
    const char *key;
    json_t *value;

    TLP_TRY(need_name(t, v->tools, "tools", where));
    TLP_TRY(need_name(t, v->documents, "documents", where));
    TLP_TRY(check_calls(t, v->messages, where));
    for (size_t i = 0; env->log && i < json_array_size(v->messages); i++)
        warn_message_keys(env, t, v->messages, i, where);
    json_object_foreach(v->kwargs, key, value)
    {
        if (!tlpi_jinja_reads(t, key))
            tlpi_log(env, TLP_LOG_WARN, "%s: the template never reads %s",
                     where, key);
    }
    if (c->opts.add_generation_prompt &&
        !tlpi_jinja_reads(t, "add_generation_prompt"))
        tlpi_log(env, TLP_LOG_DEBUG,
                 "%s: the template never reads add_generation_prompt", where);
done:
    return st;
}

/* ==== rendering ========================================================== */

typedef struct chat_vars {
    tlpi_jinja_var *var;
    size_t n;
    json_t *token[4]; /* owned: BOS, EOS, unknown, padding */
} chat_vars;

static void add_var(chat_vars *vars, const char *name, const json_t *value,
                    bool trusted)
{
    vars->var[vars->n++] = (tlpi_jinja_var){ name, value, trusted };
}

/* Texts of special tokens.  BOS and EOS are empty where the model has none;
 * others are undefined then. */
static tlp_status add_tokens(chat_vars *vars, const tlpi_vocab *v,
                             const char *path)
{
    static const char *const name[] = { "bos_token", "eos_token", "unk_token",
                                        "pad_token" };
    const tlpi_special *s = tlpi_vocab_special(v);
    const int32_t id[] = { s->bos, s->eos, s->unk, s->pad };

    for (size_t i = 0; i < TLPI_COUNT(id); i++) {
        tlpi_str text = tlpi_vocab_text(v, id[i]);
        vars->token[i] = json_stringn(text.n ? text.s : "", text.n);
        if (!vars->token[i])
            return tlpi_fail(TLP_EFORMAT, "%s: %s: the text is not UTF-8", path,
                             name[i]);
        if (i < 2 || text.n > 0)
            add_var(vars, name[i], vars->token[i], true);
    }
    return TLP_OK;
}

static tlp_status make_vars(chat_vars *vars, const tlpi_env *env,
                            const tlpi_chat *c, const tlpi_chat_values *values,
                            const tlpi_vocab *v, const char *path)
{
    const char *key;
    json_t *value;

    vars->var = tlpi_alloc_array(env, 8 + json_object_size(values->kwargs),
                                 sizeof *vars->var);
    if (!vars->var)
        return tlpi_fail_nomem_for("a conversation");
    add_var(vars, "messages", values->messages, false);
    add_var(vars, "tools", values->tools, false);
    add_var(vars, "documents", values->documents, false);
    add_var(vars, "add_generation_prompt",
            json_boolean(c->opts.add_generation_prompt), true);
    json_object_foreach(values->kwargs, key, value)
        add_var(vars, key, value, false);
    return add_tokens(vars, v, path);
}

static void free_vars(chat_vars *vars, const tlpi_env *env)
{
    for (size_t i = 0; i < TLPI_COUNT(vars->token); i++)
        json_decref(vars->token[i]);
    tlpi_free(env, vars->var);
}

/* ==== the end of a text that is continued ================================ */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Does s[0..n) end with the tail, of which `cut` bytes of white space are
 * missing at the end?  White space at its start may be missing. */
static bool ends_with_tail(const char *s, size_t n, const char *tail,
                           size_t n_tail)
{
    while (n_tail > 0 && is_space(*tail)) {
        tail++;
        n_tail--;
    }
    return n_tail <= n && memcmp(s + n - n_tail, tail, n_tail) == 0;
}

static tlp_status cut_behind_tail(tlpi_jinja_text *text, const tlpi_env *env,
                                  const json_t *tail, const char *where)
{
    const char *s = json_string_value(tail);
    size_t n = json_string_length(tail), end = text->n, cut = 0;

    while (end > 0 && text->data[end - 1] != TLPI_JINJA_TAIL)
        end--;
    for (size_t i = end; end > 0 && i < text->n; i++)
        if (text->data[i] == TLPI_JINJA_DATA)
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: continue_final_message: the template writes "
                             "more of the conversation behind the last "
                             "message's text",
                             where);
    while (end > 0 && cut < n && !ends_with_tail(text->s, end, s, n - cut) &&
           is_space(s[n - cut - 1]))
        cut++;
    if (end == 0 || cut == n || !ends_with_tail(text->s, end, s, n - cut))
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: continue_final_message: the template does not "
                         "write the last message's text as it is",
                         where);
    if (cut > 0)
        tlpi_log(env, TLP_LOG_WARN,
                 "%s: continue_final_message: the template removes the white "
                 "space at the end of the last message",
                 where);
    text->n = end;
    text->s[end] = '\0';
    return TLP_OK;
}

tlp_status tlpi_chat_render(tlpi_jinja_text *out, const tlpi_env *env,
                            const tlpi_chat *c, const tlpi_vocab *v,
                            const char *path)
{
    time_t now = c->opts.now ? (time_t)c->opts.now : time(NULL);
    tlpi_chat_values values = { 0 };
    chat_vars vars = { 0 };
    tlpi_jinja *t = NULL;
    char *where = NULL;
    tlpi_str text;
    tlp_status st = TLP_OK;

    *out = (tlpi_jinja_text){ 0 };
    TLP_TRY(tlpi_chat_template_find(&text, &where, env, c, v, path));
    TLP_TRY(tlpi_chat_values_read(&values, c));
    TLP_TRY(tlpi_jinja_compile(&t, env, where, text.s, text.n));
    TLP_TRY(check_reads(env, t, c, &values, where));
    TLP_TRY(make_vars(&vars, env, c, &values, v, path));
    TLP_TRY(tlpi_jinja_render(out, t, vars.var, vars.n, now, values.tail));
    if (values.tail)
        TLP_TRY(cut_behind_tail(out, env, values.tail, where));
done:
    if (st != TLP_OK)
        tlpi_jinja_text_free(env, out);
    tlpi_jinja_free(t);
    free_vars(&vars, env);
    tlpi_chat_values_free(&values);
    tlpi_free(env, where);
    return st;
}
