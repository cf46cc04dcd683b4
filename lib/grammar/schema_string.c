/*
 * schema_string.c - strings: lengths, formats, patterns.
 */
#include <string.h>

#include "grammar/schema.h"

#define D2 "[0-9]{2}"
#define HEX "[0-9a-fA-F]"
#define MONTH_DAY                                                              \
    "((\"0\" [13578] | \"1\" [02]) \"-\" (\"0\" [1-9] | [12] [0-9] | \"3\" "   \
    "[01]) | (\"0\" [469] | \"11\") \"-\" (\"0\" [1-9] | [12] [0-9] | "        \
    "\"30\") | \"02-\" (\"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8]))"
/* Years that 4 divides, without centuries that 400 does not. */
#define LEAP                                                                   \
    "(" D2 " (\"0\" [48] | [2468] [048] | [13579] [26]) | ([02468] [048] | "   \
    "[13579] [26]) \"00\")"
#define DATE "([0-9]{4} \"-\" " MONTH_DAY " | " LEAP " \"-02-29\")"
#define HOUR_MINUTE "([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9]"
#define TIME                                                                   \
    HOUR_MINUTE                                                                \
    " \":\" [0-5] [0-9] (\".\" [0-9]{1,9})? (\"Z\" | [-+] " HOUR_MINUTE ")"

static const struct {
    const char *name, *text;
} formats[] = {
    { "date", DATE },
    { "time", TIME },
    { "date-time", DATE " \"T\" " TIME },
    { "uuid", HEX "{8} (\"-\" " HEX "{4}){3} \"-\" " HEX "{12}" },
};

static const char *format_text(const char *name)
{
    for (size_t i = 0; i < TLPI_COUNT(formats); i++)
        if (strcmp(formats[i].name, name) == 0)
            return formats[i].text;
    return NULL;
}

/* The text of a known format; NULL without one.  By the standard, a format is a
 * note unless both sides agree on more, so an unknown one is warned of. */
static const char *find_format(const tlpi_schema *s, const json_t *schema)
{
    const char *name = json_string_value(json_object_get(schema, "format"));
    const char *text = name ? format_text(name) : NULL;

    if (name && !text)
        tlpi_log(s->env, TLP_LOG_WARN,
                 "schema: %.128s: keyword format: \"%.64s\" is not known, and "
                 "any string matches",
                 s->where, name);
    return text;
}

static void write_lengths(tlpi_schema *s, int64_t min, int64_t max)
{
    tlpi_text_printf(&s->out, "\"\\\"\" ");
    tlpi_schema_base(s, TLPI_BASE_CHAR);
    if (max < 0)
        tlpi_text_printf(&s->out, "{%lld,}", (long long)min);
    else
        tlpi_text_printf(&s->out, "{%lld,%lld}", (long long)min,
                         (long long)max);
    tlpi_text_printf(&s->out, " \"\\\"\"");
}

tlp_status tlpi_schema_string(tlpi_schema *s, json_t *schema)
{
    const json_t *pattern = json_object_get(schema, "pattern");
    const char *format = find_format(s, schema);
    int64_t min = 0, max = -1;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_schema_count(s, schema, "minLength", &min));
    TLP_TRY(tlpi_schema_count(s, schema, "maxLength", &max));
    if (max >= 0 && max < min)
        return tlpi_schema_fail(s, TLP_EINVAL,
                                "minLength %lld above maxLength %lld",
                                (long long)min, (long long)max);
    bool lengths = min > 0 || max >= 0;
    if ((pattern != NULL) + (format != NULL) + lengths > 1)
        return tlpi_schema_fail(s, TLP_ENOTSUP,
                                "two of pattern, format and lengths: one "
                                "expected");
    if (pattern)
        return tlpi_schema_pattern(s, json_string_value(pattern),
                                   json_string_length(pattern));
    if (format)
        tlpi_text_printf(&s->out, "\"\\\"\" (%s) \"\\\"\"", format);
    else if (lengths)
        write_lengths(s, min, max);
    else
        tlpi_schema_base(s, TLPI_BASE_STRING);
done:
    return st;
}
