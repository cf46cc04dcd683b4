/*
 * chat_format.c - the values that a chat template sees, and its rendering.
 *
 * A template is a program, and a model file is not trusted: the interpreter
 * (jinja/) bounds steps, memory and nesting, and reaches nothing but the values
 * that are made here.
 */
#include <stdio.h>
#include <string.h>

#include "text/chat_format.h"

static tlp_status add_message(json_t *list, const tlp_chat_message *msg,
                              size_t i)
{
    if (!msg->role || !msg->content)
        return tlpi_fail(TLP_EINVAL,
                         "message %zu: role and content are required", i);

    json_error_t error;
    json_t *object = json_pack_ex(&error, 0, "{s:s, s:s}", "role", msg->role,
                                  "content", msg->content);
    if (!object && json_error_code(&error) == json_error_invalid_utf8)
        return tlpi_fail(TLP_EINVAL, "message %zu: not UTF-8", i);
    if (!object || json_array_append_new(list, object))
        return tlpi_fail_nomem();
    return TLP_OK;
}

static tlp_status make_messages(json_t **out, const tlpi_chat *c)
{
    tlp_status st = TLP_OK;

    *out = json_array();
    if (!*out)
        return tlpi_fail_nomem();
    if (c->n == 0)
        TLP_TRY(tlpi_fail(TLP_EINVAL, "at least one message is required"));
    for (size_t i = 0; i < c->n; i++)
        TLP_TRY(add_message(*out, &c->msg[i], i));
done:
    return st;
}

/* The text of a special token; empty where the model has none. */
static json_t *token_text(const tlpi_vocab *v, int32_t id)
{
    tlpi_str s = tlpi_vocab_text(v, id);

    return json_stringn(s.n ? s.s : "", s.n);
}

tlp_status tlpi_chat_format(tlpi_jinja_text *out, const tlpi_env *env,
                            const tlpi_chat *c, const tlpi_vocab *v,
                            const char *path)
{
    const tlpi_special *special = tlpi_vocab_special(v);
    tlpi_str text = tlpi_vocab_chat_template(v);
    json_t *messages = NULL, *bos = token_text(v, special->bos);
    json_t *eos = token_text(v, special->eos);
    tlpi_jinja *t = NULL;
    char name[512];
    tlp_status st = TLP_OK;

    *out = (tlpi_jinja_text){ 0 };
    snprintf(name, sizeof name, "%s: key tokenizer.chat_template", path);
    if (text.n == 0)
        TLP_TRY(tlpi_fail(TLP_ENOTSUP, "%s: missing", name));
    if (!bos || !eos)
        TLP_TRY(tlpi_fail(TLP_EFORMAT,
                          "%s: the text of BOS or EOS is not UTF-8", path));
    TLP_TRY(make_messages(&messages, c));
    TLP_TRY(tlpi_jinja_compile(&t, env, name, text.s, text.n));
    const tlpi_jinja_var vars[] = {
        { "messages", messages, false },
        { "add_generation_prompt", json_boolean(c->add_assistant), true },
        { "bos_token", bos, true },
        { "eos_token", eos, true },
    };
    st = tlpi_jinja_render(out, t, vars, TLPI_COUNT(vars), time(NULL));
done:
    tlpi_jinja_free(t);
    json_decref(messages);
    json_decref(eos);
    json_decref(bos);
    return st;
}
