/*
 * json_depth.c - nesting depth of a JSON text.
 *
 * jansson reads nested values by recursion, so a deep text could exhaust the
 * stack.  This check runs before jansson and does not recurse.
 */
#include "base/base.h"

tlp_status tlpi_json_check_depth(const char *where, const char *text, size_t n,
                                 int max)
{
    int depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            depth++;
        else if (!in_string && (c == '}' || c == ']'))
            depth--;
        if (depth > max)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: nested deeper than %d at byte %zu", where,
                             max, i);
    }
    return TLP_OK;
}
