/*
 * task_read.c - a line of a task file:
 *
 *   {"query": "The sky is", "choices": ["blue", "loud"], "gold": 0}
 *
 * Other keys are ignored.
 */
#include <string.h>

#include "base/json_text.h"
#include "eval/task.h"

#define MAX_DEPTH 16
#define MAX_CHOICE 256

static tlp_status copy_text(char **out, const tlpi_env *env, json_t *value)
{
    *out =
        tlpi_strndup(env, json_string_value(value), json_string_length(value));
    return *out ? TLP_OK : tlpi_fail_nomem_for("a task");
}

static tlp_status read_query(tlpi_item *item, const tlpi_env *env,
                             const char *where, json_t *root)
{
    json_t *query = json_object_get(root, "query");

    if (!json_is_string(query))
        return tlpi_fail(TLP_EFORMAT, "%s: key \"query\": a string expected",
                         where);
    return copy_text(&item->query, env, query);
}

static tlp_status read_choices(tlpi_item *item, const tlpi_env *env,
                               const char *where, json_t *root)
{
    json_t *list = json_object_get(root, "choices");
    size_t n = json_array_size(list);
    tlp_status st = TLP_OK;

    if (!json_is_array(list) || n < 2 || n > MAX_CHOICE)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"choices\": an array of 2 to %d strings "
                         "expected",
                         where, MAX_CHOICE);
    item->choice = tlpi_calloc(env, n, sizeof *item->choice);
    if (!item->choice)
        return tlpi_fail_nomem_for("a task");
    item->n_choice = (int32_t)n;
    for (size_t i = 0; i < n; i++) {
        json_t *choice = json_array_get(list, i);

        if (!json_is_string(choice) || json_string_length(choice) == 0)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key \"choices\", element %zu: a string that "
                             "is not empty expected",
                             where, i);
        TLP_TRY(copy_text(&item->choice[i], env, choice));
    }
done:
    return st;
}

static tlp_status read_gold(tlpi_item *item, const char *where, json_t *root)
{
    json_t *gold = json_object_get(root, "gold");

    if (!json_is_integer(gold))
        return tlpi_fail(TLP_EFORMAT, "%s: key \"gold\": an integer expected",
                         where);
    json_int_t v = json_integer_value(gold);
    if (v < 0 || v >= item->n_choice)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key \"gold\": %lld is outside 0 to %d", where,
                         (long long)v, item->n_choice - 1);
    item->gold = (int32_t)v;
    return TLP_OK;
}

tlp_status tlpi_item_read(tlpi_item *item, const tlpi_env *env,
                          const char *where, const char *line, size_t n)
{
    json_error_t error;
    json_t *root = NULL;
    tlp_status st;

    TLP_TRY(tlpi_json_check_depth(where, line, n, MAX_DEPTH));
    root = tlpi_json_load(line, n, 0, &error);
    if (!root)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s, column %d: %s", where, error.column,
                          error.text));
    if (!json_is_object(root))
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: a JSON object expected", where));
    TLP_TRY(read_query(item, env, where, root));
    TLP_TRY(read_choices(item, env, where, root));
    TLP_TRY(read_gold(item, where, root));
done:
    json_decref(root);
    return st;
}
