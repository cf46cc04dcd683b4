/*
 * chat_values.c - what a caller says in a conversation, as JSON values.
 */
#include <string.h>

#include "base/json_text.h"
#include "text/chat.h"

/* ==== JSON texts ========================================================= */

static tlp_status fail_json(const char *what, const json_error_t *error)
{
    if (json_error_code(error) == json_error_out_of_memory)
        return tlpi_fail_nomem_for("a conversation");
    return tlpi_fail(TLP_EFORMAT, "%s: line %d, column %d: %s", what,
                     error->line, error->column, error->text);
}

/* *out stays NULL where text is NULL. */
static tlp_status read_json(json_t **out, const char *what, const char *text,
                            json_type type)
{
    json_error_t error;
    size_t n = text ? strlen(text) : 0;

    if (!text)
        return TLP_OK;
    if (n > TLPI_CHAT_MAX_JSON)
        return tlpi_fail(TLP_EINVAL, "%s: %zu bytes, at most %zu expected",
                         what, n, TLPI_CHAT_MAX_JSON);
    tlp_status st = tlpi_json_check_depth(what, text, n, TLPI_CHAT_MAX_DEPTH);
    if (st != TLP_OK)
        return st;
    *out = tlpi_json_load(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!*out)
        return fail_json(what, &error);
    if (json_typeof(*out) != type)
        return tlpi_fail(TLP_EINVAL, "%s: %s expected", what,
                         type == JSON_ARRAY ? "an array" : "an object");
    return TLP_OK;
}

static tlp_status check_objects(const json_t *array, const char *what)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_is_object(json_array_get(array, i)))
            return tlpi_fail(TLP_EINVAL, "%s[%zu]: an object expected", what,
                             i);
    return TLP_OK;
}

/* An array of objects; null where the caller gives none. */
static tlp_status read_objects(json_t **out, const char *what, const char *text)
{
    tlp_status st = read_json(out, what, text, JSON_ARRAY);

    if (st == TLP_OK && !*out)
        *out = json_null();
    return st == TLP_OK ? check_objects(*out, what) : st;
}

/* ==== messages =========================================================== */

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
        return tlpi_fail_nomem_for("a conversation");
    return TLP_OK;
}

static tlp_status make_messages(json_t **out, const tlpi_chat *c)
{
    tlp_status st = TLP_OK;

    *out = json_array();
    if (!*out)
        return tlpi_fail_nomem_for("a conversation");
    for (size_t i = 0; i < c->n && st == TLP_OK; i++)
        st = add_message(*out, &c->message[i], i);
    return st;
}

/* Models of this library read text alone. */
static bool is_text_part(const char *type)
{
    static const char *const media[] = { "image",       "audio",
                                         "video",       "file",
                                         "input_image", "input_audio",
                                         "input_video", "input_file" };

    for (size_t i = 0; i < TLPI_COUNT(media); i++)
        if (strncmp(type, media[i], strlen(media[i])) == 0)
            return false;
    return true;
}

static tlp_status check_parts(const json_t *parts, size_t i)
{
    for (size_t k = 0; k < json_array_size(parts); k++) {
        const json_t *part = json_array_get(parts, k);
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!json_is_object(part))
            return tlpi_fail(TLP_EINVAL,
                             "message %zu: content[%zu]: an object expected", i,
                             k);
        if (type && !is_text_part(type))
            return tlpi_fail(TLP_ENOTSUP,
                             "message %zu: content[%zu]: type \"%s\", text "
                             "expected",
                             i, k, type);
    }
    return TLP_OK;
}

static tlp_status check_message(const json_t *message, size_t i)
{
    const json_t *role = json_object_get(message, "role");
    const json_t *content = json_object_get(message, "content");

    if (!json_is_object(message))
        return tlpi_fail(TLP_EINVAL, "message %zu: an object expected", i);
    if (!json_is_string(role) || json_string_length(role) == 0)
        return tlpi_fail(TLP_EINVAL, "message %zu: role: a string expected", i);
    if (json_is_array(content))
        return check_parts(content, i);
    if (content && !json_is_string(content) && !json_is_null(content))
        return tlpi_fail(TLP_EINVAL,
                         "message %zu: content: a string, an array of parts or "
                         "null expected",
                         i);
    return TLP_OK;
}

static tlp_status read_messages(json_t **out, const tlpi_chat *c)
{
    const char *text = c->opts.messages_json;
    tlp_status st = TLP_OK;

    if (text && c->n > 0)
        TLP_TRY(tlpi_fail(TLP_EINVAL,
                          "messages and messages_json exclude each other"));
    TLP_TRY(text ? read_json(out, "messages", text, JSON_ARRAY)
                 : make_messages(out, c));
    if (json_array_size(*out) == 0)
        TLP_TRY(tlpi_fail(TLP_EINVAL, "at least one message is required"));
    for (size_t i = 0; i < json_array_size(*out); i++)
        TLP_TRY(check_message(json_array_get(*out, i), i));
done:
    return st;
}

/* ==== the text to continue =============================================== */

/* The last message's content, or its last part with a text. */
static const json_t *last_text(const json_t *messages)
{
    const json_t *last =
        json_array_get(messages, json_array_size(messages) - 1);
    const json_t *content = json_object_get(last, "content");

    for (size_t k = json_array_size(content); k-- > 0;) {
        const json_t *part = json_array_get(content, k);
        if (json_object_get(part, "text"))
            return json_object_get(part, "text");
    }
    return content;
}

static tlp_status find_tail(tlpi_chat_values *out, const tlpi_chat *c)
{
    if (!c->opts.continue_final_message)
        return TLP_OK;
    if (c->opts.add_generation_prompt)
        return tlpi_fail(TLP_EINVAL, "add_generation_prompt and "
                                     "continue_final_message exclude each "
                                     "other");
    out->tail = last_text(out->messages);
    if (!json_is_string(out->tail) || json_string_length(out->tail) == 0)
        return tlpi_fail(TLP_EINVAL,
                         "continue_final_message: the last message has no text "
                         "to continue");
    return TLP_OK;
}

/* ==== further names ====================================================== */

static tlp_status check_kwargs(json_t *kwargs)
{
    static const char *const taken[] = { "messages",  "tools",
                                         "documents", "add_generation_prompt",
                                         "bos_token", "eos_token",
                                         "unk_token", "pad_token" };
    const char *key;
    json_t *value;

    json_object_foreach(kwargs, key, value)
    {
        for (size_t i = 0; i < TLPI_COUNT(taken); i++)
            if (strcmp(key, taken[i]) == 0)
                return tlpi_fail(TLP_EINVAL,
                                 "kwargs: %s: this name has a value already",
                                 key);
    }
    return TLP_OK;
}

tlp_status tlpi_chat_values_read(tlpi_chat_values *out, const tlpi_chat *c)
{
    tlp_status st = TLP_OK;

    *out = (tlpi_chat_values){ 0 };
    TLP_TRY(read_messages(&out->messages, c));
    TLP_TRY(find_tail(out, c));
    TLP_TRY(read_objects(&out->tools, "tools", c->opts.tools_json));
    TLP_TRY(read_objects(&out->documents, "documents", c->opts.documents_json));
    TLP_TRY(
        read_json(&out->kwargs, "kwargs", c->opts.kwargs_json, JSON_OBJECT));
    TLP_TRY(check_kwargs(out->kwargs));
done:
    if (st != TLP_OK)
        tlpi_chat_values_free(out);
    return st;
}

void tlpi_chat_values_free(tlpi_chat_values *v)
{
    json_decref(v->messages);
    json_decref(v->tools);
    json_decref(v->documents);
    json_decref(v->kwargs);
    *v = (tlpi_chat_values){ 0 };
}
