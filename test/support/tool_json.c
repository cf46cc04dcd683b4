/*
 * tool_json.c - see tool_json.h.
 */
#include "support/tool_json.h"

#include <criterion/criterion.h>

json_t *tool_json(const spawned *s)
{
    json_error_t error;
    json_t *root = json_loadb(s->out, s->n_out, JSON_REJECT_DUPLICATES, &error);

    cr_assert_not_null(root, "%s: %s %s", error.text, s->out, s->err);
    return root;
}

double tool_number(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);

    cr_assert(json_is_number(value), "%s is no number", key);
    return json_number_value(value);
}
