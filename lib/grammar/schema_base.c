/*
 * schema_base.c - rules that all schemas share: values of any kind.
 *
 * Numbers have at most 15 digits, which a double holds.  An escape of a
 * character beyond U+FFFF is a pair of surrogates; no escape is one alone.
 */
#include <string.h>

#include "grammar/schema.h"

#define HEX "[0-9a-fA-F]"

typedef struct base_rule {
    const char *name, *text;
    unsigned uses; /* bits of rules that its text names */
} base_rule;

#define USES(rule) (1u << (rule))

static const base_rule rules[] = {
    [TLPI_BASE_VALUE] = { "value",
                          "object | array | string | number | \"true\" | "
                          "\"false\" | \"null\"",
                          USES(TLPI_BASE_OBJECT) | USES(TLPI_BASE_ARRAY) |
                              USES(TLPI_BASE_STRING) | USES(TLPI_BASE_NUMBER) },
    [TLPI_BASE_OBJECT] = { "object",
                           "\"{\" (string \":\" \" \"? value (\",\" \" \"? "
                           "string \":\" \" \"? value)*)? \"}\"",
                           USES(TLPI_BASE_STRING) | USES(TLPI_BASE_VALUE) },
    [TLPI_BASE_ARRAY] = { "array", "\"[\" (value (\",\" \" \"? value)*)? \"]\"",
                          USES(TLPI_BASE_VALUE) },
    [TLPI_BASE_STRING] = { "string", "\"\\\"\" char* \"\\\"\"",
                           USES(TLPI_BASE_CHAR) },
    [TLPI_BASE_CHAR] = { "char",
                         "plain | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" "
                         "([0-9a-ce-fA-CE-F] " HEX "{3} | [dD] [0-7] " HEX
                         "{2} | [dD] [89abAB] " HEX "{2} \"\\\\u\" [dD] "
                         "[c-fC-F] " HEX "{2}))",
                         USES(TLPI_BASE_PLAIN) },
    [TLPI_BASE_PLAIN] = { "plain", "[^\"\\\\\\x00-\\x1F\\x7F]", 0 },
    [TLPI_BASE_INTEGER] = { "integer", "\"-\"? (\"0\" | [1-9] [0-9]{0,14})",
                            0 },
    [TLPI_BASE_NUMBER] = { "number",
                           "integer (\".\" [0-9]{1,15})? ([eE] [-+]? "
                           "[0-9]{1,2})?",
                           USES(TLPI_BASE_INTEGER) },
};

void tlpi_schema_base(tlpi_schema *s, tlpi_base_rule rule)
{
    s->base |= USES(rule);
    tlpi_text_add(&s->out, rules[rule].name, strlen(rules[rule].name));
}

tlp_status tlpi_schema_write_base(tlpi_schema *s)
{
    unsigned used = s->base, before;

    do {
        before = used;
        for (size_t i = 0; i < TLPI_N_BASE; i++)
            used |= used & USES(i) ? rules[i].uses : 0;
    } while (used != before);
    for (size_t i = 0; i < TLPI_N_BASE; i++)
        if (used & USES(i))
            tlpi_text_printf(&s->out, "%s ::= %s\n", rules[i].name,
                             rules[i].text);
    return TLP_OK;
}
