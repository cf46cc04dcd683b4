/*
 * json_text.c - Jansson's readers and writers of JSON, in the locale "C".
 */
#include "base/json_text.h"

#include "base/number.h"

json_t *tlpi_json_load(const char *text, size_t n, size_t flags,
                       json_error_t *error)
{
    tlpi_locale l = tlpi_locale_begin();
    json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | flags, error);

    tlpi_locale_end(l);
    return value;
}

json_t *tlpi_json_parse(const char *text)
{
    tlpi_locale l = tlpi_locale_begin();
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

    tlpi_locale_end(l);
    return value;
}

char *tlpi_json_dump(const json_t *value, size_t flags)
{
    tlpi_locale l = tlpi_locale_begin();
    char *text = json_dumps(value, flags);

    tlpi_locale_end(l);
    return text;
}
