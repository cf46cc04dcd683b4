/*
 * test_schema_random.c - random schemas and random texts of their grammars:
 * every text is JSON that the schema accepts.  The judge below knows JSON
 * Schema on its own, and knows nothing of grammars.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "support/check.h"
#include "support/grammar_rig.h"

TestSuite(schema_random, .timeout = 300);

static uint64_t random_state;

static int below(int n)
{
    return (int)(tlpi_uniform(&random_state) * n);
}

/* ==== random schemas ===================================================== */

static json_t *random_schema(int depth);

static json_t *random_scalar(void)
{
    switch (below(5)) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(below(2));
    case 2:
        return json_integer(below(2000) - 1000);
    case 3:
        return json_real((below(2000) - 1000) / 8.0);
    default:
        return json_sprintf("%c\"%d\\", 'a' + below(26), below(100));
    }
}

static json_t *random_number(const char *type)
{
    int lo = below(3000) - 1500, hi = lo + 1 + below(500);
    json_t *s = json_pack("{s:s}", "type", type);

    if (below(2))
        json_object_set_new(s, below(2) ? "minimum" : "exclusiveMinimum",
                            json_integer(lo));
    if (below(2))
        json_object_set_new(s, below(2) ? "maximum" : "exclusiveMaximum",
                            json_integer(hi + 1));
    return s;
}

static json_t *random_string(void)
{
    static const char *const formats[] = { "date", "time", "date-time",
                                           "uuid" };
    json_t *s = json_pack("{s:s}", "type", "string");

    if (below(4) == 0) {
        json_object_set_new(s, "format", json_string(formats[below(4)]));
        return s;
    }
    int least = below(4);
    json_object_set_new(s, "minLength", json_integer(least));
    json_object_set_new(s, "maxLength", json_integer(least + below(6)));
    return s;
}

static json_t *random_array(int depth)
{
    int least = below(3);
    json_t *s = json_pack("{s:s,s:o,s:i,s:i}", "type", "array", "items",
                          random_schema(depth - 1), "minItems", least,
                          "maxItems", least + below(4));

    if (below(3) == 0) {
        json_t *prefix = json_array();
        for (int i = below(3); i >= 0; i--)
            json_array_append_new(prefix, random_schema(depth - 1));
        json_object_set_new(s, "prefixItems", prefix);
    }
    return s;
}

static json_t *random_object(int depth)
{
    json_t *properties = json_object(), *required = json_array();
    json_t *s = json_pack("{s:s}", "type", "object");

    for (int i = below(5); i > 0; i--) {
        char key[16];
        snprintf(key, sizeof key, "%c%c", 'a' + below(3), "bc\"d"[below(4)]);
        json_object_set_new(properties, key, random_schema(depth - 1));
        if (below(2))
            json_array_append_new(required, json_string(key));
    }
    json_object_set_new(s, "properties", properties);
    json_object_set_new(s, "required", required);
    if (below(3) == 0)
        json_object_set_new(s, "additionalProperties", json_false());
    else if (below(3) == 0)
        json_object_set_new(s, "additionalProperties",
                            json_pack("{s:s}", "type", "null"));
    return s;
}

static json_t *random_schema(int depth)
{
    json_t *list;

    switch (below(depth > 0 ? 9 : 6)) {
    case 0:
        return random_number("integer");
    case 1:
        return random_number("number");
    case 2:
        return random_string();
    case 3:
        return json_pack("{s:o}", "const", random_scalar());
    case 4:
        list = json_array();
        for (int i = below(4); i >= 0; i--)
            json_array_append_new(list, random_scalar());
        return json_pack("{s:o}", "enum", list);
    case 5:
        return json_pack("{s:[s,s]}", "type", "boolean", "null");
    case 6:
        return random_array(depth);
    case 7:
        list = json_array();
        for (int i = below(2); i >= 0; i--)
            json_array_append_new(list, random_schema(depth - 1));
        return json_pack("{s:o}", "anyOf", list);
    default:
        return random_object(depth);
    }
}

/* ==== the judge ========================================================== */

static bool accepts(const json_t *schema, const json_t *value);

static bool has_type(const json_t *value, const char *type)
{
    if (strcmp(type, "integer") == 0)
        return json_is_integer(value);
    return (strcmp(type, "null") == 0 && json_is_null(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "number") == 0 && json_is_number(value)) ||
           (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "object") == 0 && json_is_object(value));
}

static bool accepts_type(const json_t *type, const json_t *value)
{
    bool any = !type;

    for (size_t i = 0; i < json_array_size(type); i++)
        any |= has_type(value, json_string_value(json_array_get(type, i)));
    return any ||
           (json_is_string(type) && has_type(value, json_string_value(type)));
}

static double number_of(const json_t *schema, const char *key, double missing)
{
    const json_t *v = json_object_get(schema, key);

    return v ? json_number_value(v) : missing;
}

static bool accepts_number(const json_t *s, double x)
{
    return x >= number_of(s, "minimum", -INFINITY) &&
           x <= number_of(s, "maximum", INFINITY) &&
           x > number_of(s, "exclusiveMinimum", -INFINITY) &&
           x < number_of(s, "exclusiveMaximum", INFINITY);
}

static bool is_date(const char *s)
{
    static const int days[] = {
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };
    int y, m, d, n = 0;

    if (sscanf(s, "%4d-%2d-%2d%n", &y, &m, &d, &n) != 3 || n != 10)
        return false;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] + (m == 2 && leap);
}

static bool is_time(const char *s)
{
    int h, m, sec, n = 0;

    if (sscanf(s, "%2d:%2d:%2d%n", &h, &m, &sec, &n) != 3 || n != 8 || h > 23 ||
        m > 59 || sec > 59)
        return false;
    s += n;
    if (*s == '.')
        s += 1 + strspn(s + 1, "0123456789");
    if (strcmp(s, "Z") == 0)
        return true;
    return (*s == '+' || *s == '-') &&
           sscanf(s + 1, "%2d:%2d%n", &h, &m, &n) == 2 && n == 5 && h <= 23 &&
           m <= 59 && s[6] == '\0';
}

static bool accepts_string(const json_t *s, const json_t *value)
{
    const char *text = json_string_value(value);
    const char *format = json_string_value(json_object_get(s, "format"));
    double n = 0;

    for (size_t i = 0; i < json_string_length(value); i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    if (n < number_of(s, "minLength", 0) ||
        n > number_of(s, "maxLength", INFINITY))
        return false;
    if (!format)
        return true;
    if (strcmp(format, "date") == 0)
        return strlen(text) == 10 && is_date(text);
    if (strcmp(format, "time") == 0)
        return is_time(text);
    if (strcmp(format, "uuid") == 0)
        return strlen(text) == 36 &&
               strspn(text, "0123456789abcdefABCDEF-") == 36;
    return strlen(text) > 11 && text[10] == 'T' && is_date(text) &&
           is_time(text + 11);
}

static bool accepts_array(const json_t *s, const json_t *value)
{
    const json_t *prefix = json_object_get(s, "prefixItems");
    size_t n = json_array_size(value);

    if ((double)n < number_of(s, "minItems", 0) ||
        (double)n > number_of(s, "maxItems", INFINITY))
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *of = i < json_array_size(prefix)
                               ? json_array_get(prefix, i)
                               : json_object_get(s, "items");
        if (!accepts(of, json_array_get(value, i)))
            return false;
    }
    return true;
}

static bool accepts_object(const json_t *s, json_t *value)
{
    const json_t *required = json_object_get(s, "required");
    const char *key;
    json_t *v;

    for (size_t i = 0; i < json_array_size(required); i++)
        if (!json_object_get(value,
                             json_string_value(json_array_get(required, i))))
            return false;
    json_object_foreach(value, key, v)
    {
        const json_t *of =
            json_object_get(json_object_get(s, "properties"), key);
        if (!of)
            of = json_object_get(s, "additionalProperties");
        if (of && !accepts(of, v))
            return false;
    }
    return true;
}

static bool accepts(const json_t *s, const json_t *value)
{
    const json_t *one = json_object_get(s, "const");
    const json_t *list = json_object_get(s, "enum");
    const json_t *any = json_object_get(s, "anyOf");
    bool ok = !list && !any;

    if (json_is_boolean(s))
        return json_is_true(s);
    for (size_t i = 0; i < json_array_size(list); i++)
        ok = ok || json_equal(json_array_get(list, i), value);
    for (size_t i = 0; i < json_array_size(any); i++)
        ok = ok || accepts(json_array_get(any, i), value);
    if (!ok || (one && !json_equal(one, value)) ||
        !accepts_type(json_object_get(s, "type"), value))
        return false;
    if (json_is_number(value))
        return accepts_number(s, json_number_value(value));
    if (json_is_string(value))
        return accepts_string(s, value);
    if (json_is_array(value))
        return accepts_array(s, value);
    return !json_is_object(value) || accepts_object(s, (json_t *)value);
}

Test(schema_random, the_judge_judges)
{
    json_t *s = json_loads("{\"type\": \"object\", \"properties\": {\"a\": "
                           "{\"type\": \"integer\", \"maximum\": 3}}, "
                           "\"required\": [\"a\"]}",
                           0, NULL);
    static const char *const bad[] = { "[]", "{}", "{\"a\": 4}",
                                       "{\"a\": null}" };
    json_t *v = json_loads("{\"a\": 3}", 0, NULL);

    cr_assert(accepts(s, v));
    json_decref(v);
    for (size_t i = 0; i < 4; i++) {
        v = json_loads(bad[i], 0, NULL);
        cr_assert_not(accepts(s, v), "%s", bad[i]);
        json_decref(v);
    }
    json_decref(s);
    cr_assert(is_date("2024-02-29") && !is_date("2023-02-29"));
    cr_assert(is_time("23:59:59.5-01:30") && !is_time("24:00:00Z"));
}

/* ==== texts ============================================================== */

/* A random token of the mask, or -1 for the end.  Behind 60 tokens a text ends
 * as soon as it may. */
static int32_t pick(const tlp_model *m, tlp_matcher *matcher, int n)
{
    uint32_t bits[64];
    size_t words = 0;
    int count = 0;
    int32_t chosen = -2;

    CHECK_OK(tlp_matcher_get_mask(bits, 64, &words, matcher));
    for (int32_t id = 0; id < (int32_t)(32 * words); id++) {
        if (!(bits[id / 32] >> (id % 32) & 1))
            continue;
        int32_t token = tlp_token_is_end(m, id) ? -1 : id;
        if (token == -1 && n > 60)
            return -1;
        if (tlpi_uniform(&random_state) * ++count < 1)
            chosen = token;
    }
    cr_assert_geq(chosen, -1, "no token is allowed");
    return chosen;
}

static void write_text(const tlp_model *m, tlp_matcher *matcher, char *text,
                       size_t cap)
{
    size_t n = 0, len = 0;

    for (int i = 0;; i++) {
        int32_t id = pick(m, matcher, i);
        if (id < 0)
            break;
        CHECK_OK(tlp_matcher_accept(matcher, id));
        CHECK_OK(tlp_token_get_piece(text + n, cap - n, &len, m, id));
        n += len;
    }
    text[n] = '\0';
}

Test(schema_random, every_text_is_accepted)
{
    enum { N_SCHEMA = 300 / CHECK_SLOWDOWN, N_TEXT = 5 };
    tlp_model *model = rig_bpe();
    int tried = 0;

    for (int i = 0; i < N_SCHEMA; i++) {
        random_state = (uint64_t)i;
        json_t *schema = random_schema(3);
        char *json = json_dumps(schema, JSON_COMPACT | JSON_ENCODE_ANY);
        tlp_grammar *g = rig_schema(model, json);
        tlp_matcher *m = NULL;
        CHECK_OK(tlp_matcher_create(&m, g));
        for (int k = 0; k < N_TEXT; k++) {
            char text[16384];
            CHECK_OK(tlp_matcher_reset(m));
            write_text(model, m, text, sizeof text);
            json_t *value = json_loadb(text, strlen(text),
                                       JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            cr_assert(value, "%s\n%s", json, text);
            cr_assert(accepts(schema, value), "%s\n%s", json, text);
            json_decref(value);
            tried++;
        }
        tlp_matcher_free(m);
        tlp_grammar_free(g);
        free(json);
        json_decref(schema);
    }
    cr_assert_eq(tried, N_SCHEMA * N_TEXT);
    tlp_model_free(model);
}
