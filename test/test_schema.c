/*
 * test_schema.c - JSON schemas as grammars: which texts match, and which
 * schemas are refused, with their place and the keyword at fault.
 */
#include <string.h>

#include "support/check.h"
#include "support/grammar_rig.h"
#include "support/log_lines.h"
#include "support/tiny.h"

TestSuite(schema, .timeout = 120);

static tlp_model *model;

static void set_up(void)
{
    model = rig_bpe();
}

static void tear_down(void)
{
    tlp_model_free(model);
}

/* Texts that a schema matches as a whole, and texts that it does not: the first
 * `n_good` match. */
typedef struct schema_case {
    const char *schema;
    int n_good;
    const char *text[12];
} schema_case;

static void check_cases(const schema_case *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tlp_grammar *g = rig_schema(model, c[i].schema);
        for (int k = 0; k < 12 && c[i].text[k]; k++) {
            rig_verdict got = rig_match(g, c[i].text[k], strlen(c[i].text[k]));
            cr_expect_eq(got >= RIG_MAY, k < c[i].n_good, "%s\non %s: %d",
                         c[i].schema, c[i].text[k], got);
        }
        tlp_grammar_free(g);
    }
}

#define CHECK_CASES(...)                                                       \
    do {                                                                       \
        static const schema_case cases[] = { __VA_ARGS__ };                    \
        check_cases(cases, sizeof cases / sizeof *cases);                      \
    } while (0)

Test(schema, types, .init = set_up, .fini = tear_down)
{
    CHECK_CASES(
        { "{}",
          8,
          { "null", "true", "-1.5e3", "\"x\"", "[1, 2]", "{\"a\": []}", "{}",
            "[]", "nul", "[1 ,2]", "{a:1}", "" } },
        { "true", 1, { "[null]", "" } },
        { "{\"type\": \"null\"}", 1, { "null", "0" } },
        { "{\"type\": \"boolean\"}", 2, { "true", "false", "null" } },
        { "{\"type\": \"integer\"}",
          4,
          { "0", "-7", "123456789012345", "-0", "01", "1.0", "1e3",
            "1234567890123456" } },
        { "{\"type\": \"number\"}",
          4,
          { "0", "-7.25", "1e-9", "1.5E+12", ".5", "1.", "1e999", "+1" } },
        { "{\"type\": \"string\"}",
          5,
          { "\"\"", "\"\\n\\u00e9\\\"\"", "\"\\ud83d\\ude00\"", "\"\u00e9\"",
            "\"\\/\"", "\"\n\"", "\"\\ud83d\"", "\"\\ude00x\"", "\"\\x\"",
            "\"" } },
        { "{\"type\": [\"integer\", \"null\"]}", 2, { "3", "null", "true" } });
}

Test(schema, values, .init = set_up, .fini = tear_down)
{
    CHECK_CASES(
        { "{\"const\": {\"a\": [1, 0.1, \"\\\"\"]}}",
          1,
          { "{\"a\":[1,0.1,\"\\\"\"]}", "{\"a\": [1]}" } },
        { "{\"enum\": [\"a\", 1, null, 2.5]}",
          4,
          { "\"a\"", "1", "null", "2.5", "2", "a" } },
        { "{\"type\": \"string\", \"enum\": [\"a\", 1]}", 1, { "\"a\"", "1" } },
        { "{\"const\": \"\u00e9\\n\"}", 1, { "\"\u00e9\\n\"", "\"e\"" } });
}

Test(schema, objects, .init = set_up, .fini = tear_down)
{
    CHECK_CASES(
        { "{\"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": "
          "\"null\"}, \"c\": {\"const\": 1}}, \"required\": [\"b\"]}",
          5,
          { "{\"b\":null}", "{\"a\": 1, \"b\": null}", "{\"b\":null,\"c\":1}",
            "{\"a\":1,\"b\":null,\"c\":1}", "{\"a\":-2, \"b\":null, \"c\":1}",
            "{}", "{\"a\":1}", "{\"b\":null,}", "{\"b\":null,\"a\":1}",
            "{\"b\":null,\"d\":1}", "{,\"b\":null}", "{\"b\":null  }" } },
        { "{\"type\": \"object\", \"properties\": {\"a\": true, \"b\": true}}",
          4,
          { "{}", "{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":[]}",
            "{\"b\":1,\"a\":1}" } },
        { "{\"properties\": {\"on\": {\"const\": 1}, \"one\": {\"const\": 2}}, "
          "\"required\": [\"on\"], \"additionalProperties\": {\"type\": "
          "\"integer\"}}",
          6,
          { "{\"on\":1}", "{\"on\":1,\"one\":2,\"o\":3}",
            "{\"on\":1,\"ones\":3}", "{\"on\":1,\"\":3,\"x\":4}",
            "{\"on\":1,\"n\u00e9\":3}", "{\"on\":1, \"onX\": 3}",
            "{\"on\":1,\"one\":3}", "{\"on\":1,\"on\":3}",
            "{\"on\":1,\"x\":null}", "{\"x\":1}", "{\"on\":1,\"o\\u006e\":3}",
            "{\"on\":1" } },
        { "{\"type\": \"object\"}", 2, { "{}", "{\"x\":{\"y\":1}}", "[]" } },
        { "{\"additionalProperties\": {\"type\": \"null\"}}",
          3,
          { "{}", "{\"x\":null}", "{\"x\":null, \"y\":null}", "{\"x\":1}" } },
        { "{\"type\": \"object\", \"additionalProperties\": false}",
          1,
          { "{}", "{\"x\":1}" } },
        { "{\"required\": [\"k\"]}",
          2,
          { "{\"k\":1}", "{\"k\":1,\"x\":2}", "{}" } },
        { "{\"properties\": {\"a\\\"]^-\\\\\": true}, "
          "\"additionalProperties\": true}",
          2,
          { "{\"a\\\"]^-\\\\\":1}", "{\"a\":1,\"]\":2}", "{\"a\"]:1}" } });
}

Test(schema, arrays, .init = set_up, .fini = tear_down)
{
    CHECK_CASES(
        { "{\"type\": \"array\"}", 2, { "[]", "[1,null]", "[1,]", "[ ]" } },
        { "{\"items\": {\"type\": \"integer\"}, \"minItems\": 2, \"maxItems\": "
          "3}",
          2,
          { "[1,2]", "[1, 2, 3]", "[]", "[1]", "[1,2,3,4]", "[1,null]" } },
        { "{\"items\": {\"type\": \"null\"}, \"maxItems\": 1}",
          2,
          { "[]", "[null]", "[null,null]" } },
        { "{\"prefixItems\": [{\"const\": 1}, {\"const\": 2}], \"items\": "
          "{\"const\": 3}}",
          5,
          { "[]", "[1]", "[1,2]", "[1, 2, 3]", "[1,2,3,3]", "[2]", "[1,3]" } },
        { "{\"prefixItems\": [{\"const\": 1}, {\"const\": 2}], \"items\": "
          "false, \"minItems\": 1}",
          2,
          { "[1]", "[1,2]", "[]", "[1,2,3]" } },
        { "{\"items\": [{\"const\": 1}, {\"const\": 2}], \"minItems\": 3, "
          "\"maxItems\": 4}",
          2,
          { "[1,2,null]", "[1,2,3,4]", "[1,2]", "[1,2,3,4,5]" } },
        { "{\"type\": \"array\", \"maxItems\": 0}", 1, { "[]", "[1]" } },
        { "{\"prefixItems\": [true, true, true], \"maxItems\": 2}",
          2,
          { "[]", "[1,2]", "[1,2,3]" } });
}

Test(schema, strings, .init = set_up, .fini = tear_down)
{
    CHECK_CASES(
        { "{\"minLength\": 2, \"maxLength\": 3}",
          4,
          { "\"ab\"", "\"\u00e9\\n\\\"\"", "\"\\ud83d\\ude00a\"",
            "\"\U0001f600\u00e9\"", "\"a\"", "\"abcd\"" } },
        { "{\"pattern\": \"^a(b|c)*\\\\d{2,3}[^x]$\"}",
          3,
          { "\"a12y\"", "\"abcb123\\n\"", "\"a12\\\"\"", "\"a1y\"", "\"a12x\"",
            "\"xa12y\"" } },
        { "{\"pattern\": \"b\"}",
          3,
          { "\"b\"", "\"abc\"", "\"\\nb\u00e9\"", "\"ac\"" } },
        { "{\"pattern\": \"^\\\\w+\\\\s?\\\\.\\\\u0041\\\\x42\\\\/$\"}",
          2,
          { "\"a_1 .AB/\"", "\"x\\t.AB/\"", "\"-.AB/\"" } },
        { "{\"pattern\": \"^(?:a|\\\"|\\\\\\\\|\\\\n)+?$\"}",
          2,
          { "\"a\\\"\\\\\\n\"", "\"a\"", "\"\"", "\"\n\"" } },
        { "{\"pattern\": \"^.[\\\\d\\\\-a-c]\\\\D\\\\W\\\\S$\"}",
          2,
          { "\"\u00e95x-y\"", "\"x-a u\"", "\"x5555\"" } },
        { "{\"format\": \"date\"}",
          5,
          { "\"2023-01-31\"", "\"2024-02-29\"", "\"2000-02-29\"",
            "\"1999-11-30\"", "\"2023-02-28\"", "\"2023-02-29\"",
            "\"1900-02-29\"", "\"2023-11-31\"", "\"2023-13-01\"",
            "\"2023-00-01\"", "\"2023-01-00\"", "\"2023-1-1\"" } },
        { "{\"format\": \"date-time\"}",
          2,
          { "\"2023-01-31T23:59:59Z\"", "\"2023-01-31T00:00:00.25+05:30\"",
            "\"2023-01-31T24:00:00Z\"", "\"2023-01-31 00:00:00Z\"",
            "\"2023-01-31T00:00:00\"" } },
        { "{\"format\": \"time\"}", 1, { "\"12:00:00-01:00\"", "\"12:00Z\"" } },
        { "{\"format\": \"uuid\"}",
          1,
          { "\"123e4567-e89b-12d3-a456-426614174000\"",
            "\"123e4567-e89b-12d3-a456-42661417400\"", "\"x\"" } });
}

/* Bounds of integers: every number near them. */
Test(schema, integers, .init = set_up, .fini = tear_down)
{
    static const long ends[] = { -1000, -999, -101, -10, -9,  -1,  0,
                                 1,     7,    10,   99,  100, 345, 1002 };
    const size_t n = sizeof ends / sizeof *ends;

    for (size_t a = 0; a < n; a++)
        for (size_t b = a; b < n; b++) {
            char text[128];
            snprintf(text, sizeof text,
                     "{\"type\": \"integer\", \"minimum\": %ld, "
                     "\"exclusiveMaximum\": %ld}",
                     ends[a], ends[b] + 1);
            tlp_grammar *g = rig_schema(model, text);
            for (size_t c = 0; c < n; c++)
                for (long x = ends[c] - 1; x <= ends[c] + 1; x++) {
                    char number[24];
                    int len = snprintf(number, sizeof number, "%ld", x);
                    bool want = x >= ends[a] && x <= ends[b];
                    bool got = rig_match(g, number, (size_t)len) >= RIG_MAY;
                    cr_expect_eq(got, want, "%s on %s", text, number);
                }
            tlp_grammar_free(g);
        }
}

Test(schema, numbers, .init = set_up, .fini = tear_down)
{
    CHECK_CASES(
        { "{\"type\": \"number\", \"minimum\": 0}",
          4,
          { "0", "0.5", "12.25", "999", "-1", "-0.5", "1e3" } },
        { "{\"type\": \"number\", \"exclusiveMinimum\": 0, \"maximum\": 1}",
          4,
          { "0.001", "0.5", "1", "1.0", "0", "0.0", "1.01", "-0.5" } },
        { "{\"type\": \"number\", \"minimum\": -2, \"exclusiveMaximum\": 2}",
          6,
          { "-2", "-2.0", "-0.5", "0", "1.99", "-1.75", "2", "-2.1", "2.0" } },
        { "{\"type\": \"number\", \"exclusiveMinimum\": -3, \"maximum\": -1}",
          4,
          { "-2.99", "-1", "-1.5", "-2", "-3", "-3.0", "-0.99", "0", "1" } },
        { "{\"type\": \"number\", \"exclusiveMaximum\": 0}",
          2,
          { "-0.1", "-12", "0", "0.1", "-0" } },
        { "{\"type\": \"integer\", \"minimum\": 5, \"maximum\": 5}",
          1,
          { "5", "4", "55" } },
        { "{\"type\": [\"number\", \"null\"], \"maximum\": 3}",
          3,
          { "null", "3", "-7.5", "3.1" } });
}

Test(schema, combinations, .init = set_up, .fini = tear_down)
{
    CHECK_CASES(
        { "{\"anyOf\": [{\"type\": \"integer\"}, {\"const\": \"x\"}]}",
          2,
          { "1", "\"x\"", "null" } },
        { "{\"type\": \"object\", \"properties\": {\"k\": true}, \"anyOf\": "
          "[{\"properties\": {\"a\": {\"const\": 1}}, \"required\": [\"a\"]}, "
          "{\"properties\": {\"b\": {\"const\": 2}}, \"required\": [\"b\"]}]}",
          3,
          { "{\"a\":1}", "{\"k\":0,\"b\":2}", "{\"k\":0,\"a\":1}", "{}",
            "{\"a\":1,\"b\":2}" } },
        { "{\"oneOf\": [{\"type\": \"string\"}, {\"type\": \"number\"}]}",
          2,
          { "\"\"", "1", "null" } },
        { "{\"oneOf\": [{\"properties\": {\"t\": {\"const\": \"a\"}, \"x\": "
          "true}, \"required\": [\"t\"], \"type\": \"object\"}, "
          "{\"properties\": {\"t\": {\"enum\": [\"b\", \"c\"]}}, "
          "\"required\": [\"t\"], \"type\": \"object\"}]}",
          3,
          { "{\"t\":\"a\",\"x\":1}", "{\"t\":\"b\"}", "{\"t\":\"c\"}",
            "{\"t\":\"b\",\"x\":1}", "{\"t\":\"d\"}" } },
        { "{\"allOf\": [{\"properties\": {\"a\": {\"minimum\": 1}}}, "
          "{\"properties\": {\"a\": {\"maximum\": 3}, \"b\": true}, "
          "\"required\": [\"a\"]}]}",
          2,
          { "{\"a\":1}", "{\"a\":3,\"b\":0}", "{\"a\":0}", "{\"a\":4}",
            "{\"b\":0}" } },
        { "{\"allOf\": [{\"type\": [\"integer\", \"string\"]}, {\"type\": "
          "[\"number\", \"null\"]}], \"minimum\": 0}",
          1,
          { "5", "-5", "1.5", "null", "\"\"" } },
        { "{\"enum\": [1, 2, 3], \"allOf\": [{\"enum\": [3, 4, 2]}]}",
          2,
          { "2", "3", "1", "4" } });
}

Test(schema, references, .init = set_up, .fini = tear_down)
{
    CHECK_CASES(
        { "{\"$defs\": {\"n\": {\"type\": \"object\", \"properties\": {\"v\": "
          "{\"type\": \"integer\"}, \"next\": {\"$ref\": \"#/$defs/n\"}}, "
          "\"required\": [\"v\"]}}, \"$ref\": \"#/$defs/n\"}",
          2,
          { "{\"v\":1}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3}}}",
            "{\"v\":1,\"next\":{}}" } },
        { "{\"anyOf\": [{\"type\": \"null\"}, {\"type\": \"array\", \"items\": "
          "{\"$ref\": \"#\"}}]}",
          3,
          { "null", "[]", "[[null,[]],null]", "[1]" } },
        { "{\"definitions\": {\"a/b~\": {\"const\": 1}}, \"$ref\": "
          "\"#/definitions/a~1b~0\", \"title\": \"x\"}",
          1,
          { "1", "2" } },
        { "{\"$defs\": {\"p\": {\"properties\": {\"a\": {\"const\": 1}}}}, "
          "\"$ref\": \"#/$defs/p\", \"properties\": {\"b\": {\"const\": 2}}, "
          "\"required\": [\"b\"]}",
          2,
          { "{\"a\":1,\"b\":2}", "{\"b\":2}", "{\"a\":1}" } });
}

/* ==== refused ============================================================ */

typedef struct bad_schema {
    const char *schema;
    tlp_status want;
    const char *text;
} bad_schema;

static const bad_schema bad[] = {
    { "", TLP_EFORMAT, "schema: line" },
    { "{\"type\": }", TLP_EFORMAT, "schema: line 1" },
    { "{\"a\": 1, \"a\": 2}", TLP_EFORMAT, "schema: line 1" },
    { "3", TLP_EFORMAT, "schema: #: an object or a boolean" },
    { "false", TLP_EINVAL, "no value matches" },
    { "{\"properties\": {\"a\": {\"items\": {\"not\": {}}}}}", TLP_ENOTSUP,
      "schema: #/properties/a/items: keyword not" },
    { "{\"not\": {}}", TLP_ENOTSUP, "keyword not: not supported" },
    { "{\"if\": {}}", TLP_ENOTSUP, "keyword if" },
    { "{\"uniqueItems\": true}", TLP_ENOTSUP, "keyword uniqueItems" },
    { "{\"patternProperties\": {}}", TLP_ENOTSUP, "patternProperties" },
    { "{\"minProperties\": 1}", TLP_ENOTSUP, "minProperties" },
    { "{\"multipleOf\": 2}", TLP_ENOTSUP, "multipleOf" },
    { "{\"someday\": 2}", TLP_ENOTSUP, "keyword someday: not supported" },
    { "{\"type\": \"int\"}", TLP_EFORMAT, "keyword type: one of" },
    { "{\"type\": []}", TLP_EINVAL, "keyword type" },
    { "{\"properties\": []}", TLP_EFORMAT, "keyword properties" },
    { "{\"required\": [1]}", TLP_EFORMAT, "keyword required" },
    { "{\"enum\": []}", TLP_EFORMAT, "keyword enum" },
    { "{\"enum\": [1], \"type\": \"string\"}", TLP_EINVAL, "no value" },
    { "{\"enum\": [1], \"minimum\": 0}", TLP_ENOTSUP, "keyword enum" },
    { "{\"minLength\": -1}", TLP_EFORMAT, "keyword minLength" },
    { "{\"minLength\": 1.5}", TLP_EFORMAT, "keyword minLength" },
    { "{\"minLength\": \"1\"}", TLP_EFORMAT, "keyword minLength" },
    { "{\"minLength\": 3, \"maxLength\": 2}", TLP_EINVAL, "above" },
    { "{\"minItems\": 3, \"maxItems\": 2}", TLP_EINVAL, "at least 3" },
    { "{\"minimum\": 3, \"maximum\": 2}", TLP_EINVAL, "no number" },
    { "{\"type\": \"number\", \"minimum\": 0.5}", TLP_ENOTSUP,
      "keyword minimum: 0.5, an integer" },
    { "{\"type\": \"integer\", \"minimum\": 1e300}", TLP_ENOTSUP,
      "at most 15 digits" },
    { "{\"pattern\": \"a\", \"minLength\": 2}", TLP_ENOTSUP, "two of" },
    { "{\"pattern\": \"(?=a)\"}", TLP_ENOTSUP, "keyword pattern: byte 1" },
    { "{\"pattern\": \"(a\"}", TLP_ENOTSUP, ") expected" },
    { "{\"pattern\": \"a)\"}", TLP_ENOTSUP, "byte 1" },
    { "{\"pattern\": \"\\\\1\"}", TLP_ENOTSUP, "an escape" },
    { "{\"pattern\": \"\\\\ba\"}", TLP_ENOTSUP, "an escape" },
    { "{\"pattern\": \"\\\\p{L}\"}", TLP_ENOTSUP, "an escape" },
    { "{\"pattern\": \"^a|b$\"}", TLP_ENOTSUP, "beside |" },
    { "{\"pattern\": \"a^\"}", TLP_ENOTSUP, "byte 1" },
    { "{\"pattern\": \"[b-a]\"}", TLP_ENOTSUP, "before it begins" },
    { "{\"pattern\": \"\\\\u0001\"}", TLP_ENOTSUP, "a control" },
    { "{\"$ref\": \"other.json\"}", TLP_ENOTSUP, "keyword $ref" },
    { "{\"$ref\": \"#/$defs/x\"}", TLP_EINVAL, "is no schema" },
    { "{\"$ref\": \"#\"}", TLP_EFORMAT, "matches no finite text" },
    { "{\"allOf\": [{\"$ref\": \"#\"}]}", TLP_ENOTSUP, "circle" },
    { "{\"properties\": {\"a\": {\"$ref\": \"#\"}}, \"required\": "
      "[\"a\"]}",
      TLP_EFORMAT, "matches no finite text" },
    { "{\"oneOf\": [{\"type\": \"number\"}, {\"type\": \"integer\"}]}",
      TLP_ENOTSUP, "both 0 and 1" },
    { "{\"oneOf\": [{\"properties\": {\"a\": {}}}, {\"properties\": "
      "{\"b\": {}}}]}",
      TLP_ENOTSUP, "both 0 and 1" },
    { "{\"allOf\": [{\"type\": \"null\"}, {\"type\": \"string\"}]}", TLP_EINVAL,
      "two types" },
    { "{\"allOf\": [{\"pattern\": \"a\"}, {\"pattern\": \"b\"}]}", TLP_ENOTSUP,
      "keyword pattern" },
    { "{\"required\": [\"a\"], \"additionalProperties\": false}", TLP_EINVAL,
      "property a: required" },
    { "{\"type\": \"string\", \"maxLength\": 1000000}", TLP_ENOTSUP,
      "positions" },
};

Test(schema, refused, .init = set_up, .fini = tear_down)
{

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tlp_grammar *g = (tlp_grammar *)&g;
        tlp_status st = tlp_grammar_from_schema(&g, model, bad[i].schema,
                                                strlen(bad[i].schema));
        cr_expect_eq(st, bad[i].want, "%s: %s, %s", bad[i].schema,
                     tlp_status_name(st), tlp_last_error());
        cr_expect(strstr(tlp_last_error(), bad[i].text), "%s: %s",
                  bad[i].schema, tlp_last_error());
        cr_expect_null(g);
    }
}

/* A deep schema, and one without end, do not reach the stack's end. */
Test(schema, deep, .init = set_up, .fini = tear_down)
{
    char text[200 * 12 + 1] = "";
    tlp_grammar *g = NULL;

    for (int i = 0; i < 200; i++)
        strcat(text, "{\"items\":");
    CHECK_FAILS(TLP_EFORMAT,
                tlp_grammar_from_schema(&g, model, text, strlen(text)));
    cr_assert(strstr(tlp_last_error(), "nested deeper than 64"), "%s",
              tlp_last_error());
    CHECK_FAILS(TLP_EINVAL, tlp_grammar_from_schema(NULL, model, "{}", 2));
    CHECK_FAILS(TLP_EINVAL, tlp_grammar_from_schema(&g, NULL, "{}", 2));
    CHECK_FAILS(TLP_EINVAL, tlp_grammar_from_schema(&g, model, NULL, 2));
}

/* A format that is not known is a note: any string matches, with a warning. */
Test(schema, unknown_format)
{
    log_lines log = { 0 };
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    tlp_grammar *g = NULL;
    const char *text = "{\"properties\": {\"mail\": {\"type\": \"string\", "
                       "\"format\": \"email\"}}}";

    o.vocab_only = 1;
    o.log = log_lines_add;
    o.log_data = &log;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &o));
    CHECK_OK(tlp_grammar_from_schema(&g, m, text, strlen(text)));
    cr_assert(strstr(log.text, "keyword format: \"email\""), "%s", log.text);
    tlp_grammar_free(g);
    tlp_model_free(m);
}
