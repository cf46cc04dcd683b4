/*
 * test_jinja.c - the interpreter of chat templates: which bytes are data,
 * bounds, errors.  test/check-jinja.py compares its texts with Python's.
 */
#include <stdlib.h>
#include <string.h>

#include "jinja/jinja.h"
#include "support/check.h"

static tlpi_env env;

static void open_env(void)
{
    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
}

TestSuite(jinja, .init = open_env);

/* Render with the variable v, JSON; trusted or not. */
static tlp_status render(tlpi_jinja_text *out, const char *text,
                         const char *json, bool trusted)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    const tlpi_jinja_var var = { "v", value, trusted };
    tlpi_jinja *t = NULL;

    cr_assert_not_null(value, "%s", json);
    *out = (tlpi_jinja_text){ 0 };
    tlp_status st = tlpi_jinja_compile(&t, &env, "t", text, strlen(text));
    if (st == TLP_OK)
        st = tlpi_jinja_render(out, t, &var, 1, 0, NULL);
    tlpi_jinja_free(t);
    json_decref(value);
    return st;
}

/* want is the text; marks has an 'd' under every byte of data. */
static void expect(const char *text, const char *json, const char *want,
                   const char *marks)
{
    tlpi_jinja_text out;

    CHECK_OK(render(&out, text, json, false));
    cr_expect_str_eq(out.s, want, "%s: \"%s\"", text, out.s);
    cr_assert_eq(out.n, strlen(marks));
    for (size_t i = 0; i < out.n; i++)
        cr_expect_eq(out.data[i], marks[i] == 'd', "%s: byte %zu of \"%s\"",
                     text, i, out.s);
    tlpi_jinja_text_free(&env, &out);
}

static void refuse(tlp_status status, const char *text, const char *why)
{
    tlpi_jinja_text out;

    CHECK_FAILS(status, render(&out, text, "[1, \"a\"]", false));
    cr_expect_not_null(strstr(tlp_last_error(), why), "%s: \"%s\"", text,
                       tlp_last_error());
    cr_expect_null(out.s);
}

Test(jinja, bytes_of_values_are_data)
{
    expect("<{{ v }}>", "\"ab\"", "<ab>", ".dd.");
    expect("{{ '<' + v + '>' }}", "\"ab\"", "<ab>", ".dd.");
    expect("{{ v | upper }}|{{ v[1:] }}", "\"abc\"", "ABC|bc", "ddd.dd");
    expect("{{ v.replace('b', 'x') }}", "\"abc\"", "axc", "d.d");
    expect("{{ v | tojson }}", "{\"k\": \"a\"}", "{\"k\": \"a\"}",
           "..d....d..");
    expect("{% set t = v ~ '!' %}{{ t * 2 }}", "\"a\"", "a!a!", "d.d.");
    expect("{{ v }}", "[\"a\"]", "['a']", "..d..");
    expect("{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m(v) }}", "\"a\"", "[a]",
           ".d.");
    expect("{{ v.split(',') | join(';') }}", "\"a,b\"", "a;b", "d.d");
    expect("{{ strftime_now(v) }}", "\"<s>\"", "<s>", "ddd");
    expect("{{ strftime_now('%%' + v) }}", "\"s>\"", "%s>", "ddd");
    expect("{{ strftime_now('<s>') }}", "\"a\"", "<s>", "...");
}

Test(jinja, plain_roles_are_trusted)
{
    expect("<|{{ v.role }}|>", "{\"role\": \"user\"}", "<|user|>", "........");
    expect("<{{ v.role }}>", "{\"role\": \"a|>\"}", "<a|>>", ".ddd.");
    expect("<{{ v.role }}>", "{\"role\": 5}", "<5>", "...");
}

Test(jinja, trusted_values)
{
    tlpi_jinja_text out;

    CHECK_OK(render(&out, "{{ v }}", "\"<s>\"", true));
    cr_expect_str_eq(out.s, "<s>");
    for (size_t i = 0; i < out.n; i++)
        cr_expect_eq(out.data[i], 0);
    tlpi_jinja_text_free(&env, &out);
}

Test(jinja, errors_name_line_and_column)
{
    refuse(TLP_EFORMAT, "a\n\n  {{ 1 + }}", "t: line 3, column 10: ");
    refuse(TLP_EFORMAT, "{% if v %}", "endif");
    refuse(TLP_EFORMAT, "{# no end", "a comment does not end");
    refuse(TLP_EFORMAT, "{% raw %}", "a raw block does not end");
    refuse(TLP_EFORMAT, "{{ [1, 2 }}", "a bracket closes that is not open");
    refuse(TLP_EFORMAT, "{% break %}", "outside of a loop");
    refuse(TLP_ENOTSUP, "{{ v|xmlattr }}", "the filter xmlattr");
    refuse(TLP_ENOTSUP, "{{ v is escaped }}", "the test escaped");
    refuse(TLP_ENOTSUP, "{% extends 'a' %}", "the statement extends");
    refuse(TLP_ENOTSUP, "{% call f() %}{% endcall %}", "the statement call");
    refuse(TLP_ENOTSUP, "{{ joiner(',') }}", "the name joiner");
    refuse(TLP_ENOTSUP, "{{ self }}", "the name self");
    refuse(TLP_ENOTSUP, "{% macro f() %}{{ varargs }}{% endmacro %}{{ f() }}",
           "the name varargs");
    refuse(TLP_ENOTSUP, "{% macro f() %}{{ kwargs }}{% endmacro %}{{ f() }}",
           "the name kwargs");
    refuse(TLP_ENOTSUP, "{{ v.append(1) }}", "list.append");
    refuse(TLP_ENOTSUP, "{{ v.__class__ }}", "__");
    refuse(TLP_ENOTSUP, "{{ v | select }}", "generator");
    refuse(TLP_ENOTSUP, "{{ 9223372036854775807 + 1 }}", "64 bits");
    refuse(TLP_ENOTSUP, "{{ '\xc3\x9f' | upper }}", "U+00DF");
    refuse(TLP_EINVAL, "{{ raise_exception('no!') }}", "refuses: no!");
    refuse(TLP_EINVAL, "{{ 1 // 0 }}", "division by zero");
    refuse(TLP_EINVAL, "{{ v + 1 }}", "no operator + for list and int");
    refuse(TLP_EINVAL, "{{ w.x }}", "w is undefined");
    refuse(TLP_EINVAL, "{% for a, b in v %}{% endfor %}", "has no items");
}

/* n times a text, for deep nesting. */
static char *repeat(const char *s, size_t n)
{
    size_t len = strlen(s);
    char *out = malloc(n * len + 1);

    cr_assert_not_null(out);
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * len, s, len);
    out[n * len] = '\0';
    return out;
}

Test(jinja, hostile_templates_end)
{
    static const char *const open[] = { "{{ (",       "{{ [",
                                        "{{ not ",    "{{ -",
                                        "{% if v %}", "{% for a in v %}",
                                        "{{ v[",      "{% macro m() %}" };

    for (size_t i = 0; i < TLPI_COUNT(open); i++) {
        char *text = repeat(open[i] + (i < 4 ? 3 : 0), 100000);
        char *whole = NULL;
        tlpi_jinja_text out;

        cr_assert(asprintf(&whole, "{{ %s", text) > 0);
        cr_expect_lt(render(&out, whole, "[1]", false), 0, "%s", open[i]);
        free(whole);
        free(text);
    }
    refuse(TLP_ENOTSUP, "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
           "levels are nested");
    refuse(TLP_ENOTSUP, "{{ 'a' * 99999999 }}", "");
    refuse(TLP_ENOTSUP,
           "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}"
           "{% endfor %}{% endfor %}",
           "");
    refuse(TLP_ENOTSUP, "{{ range(999999999) | list }}", "");
    refuse(TLP_ENOTSUP, "{{ 2 ** 999999999 }}", "64 bits");
}

Test(jinja, reads_names)
{
    static const char text[] =
        "tools {% if tools_too %}{{ v.seen }}{% endif %}";
    tlpi_jinja *t = NULL;

    CHECK_OK(tlpi_jinja_compile(&t, &env, "t", text, strlen(text)));
    cr_expect(tlpi_jinja_reads(t, "tools_too"));
    cr_expect(tlpi_jinja_reads(t, "v"));
    cr_expect_not(tlpi_jinja_reads(t, "tools"));
    tlpi_jinja_free(t);
}
