/*
 * test_locale.c - what the library reads and writes, in locales that a host
 * program may set: every text is compared with the text in the locale "C".
 */
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/json_text.h"
#include "base/number.h"
#include "jinja/jinja.h"
#include "support/check.h"
#include "support/host_locale.h"
#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/tool.h"

enum { N_CTX = 32, N_TOKEN = 512 };

/* A decimal comma; a decimal point of two bytes; another one, in a character
 * set of single bytes; a comma and other rules for i and I. */
static const struct {
    const char *source, *charset;
} locales[] = {
    { "de_DE", "UTF-8" },
    { "ps_AF", "UTF-8" },
    { "de_DE", "ISO-8859-1" },
    { "tr_TR", "UTF-8" },
};

TestSuite(locale, .timeout = 300);

static const tlpi_env *env(void)
{
    static tlpi_env e;

    CHECK_OK(tlpi_env_init(&e, NULL, NULL, NULL));
    return &e;
}

/* ==== what the library writes ============================================ */

static const char *model_path, *scores_path, *plan_path;
static int32_t ids[N_TOKEN];

/* Lines of all texts that a round has written. */
static tlpi_text written;

static void note(const char *what, const char *text)
{
    tlpi_text_printf(&written, "%s: %s\n", what, text);
}

static void note_plan(const char *what, const tlp_plan *plan)
{
    char text[8192];
    size_t n = 0;

    CHECK_OK(tlp_plan_format(text, sizeof text, &n, plan, TLP_PLAN_JSON));
    note(what, text);
}

static void note_file(const char *path)
{
    size_t n = 0;
    char *text = tool_read_file(path, &n);

    note("file", text);
    free(text);
}

/* A plan is made, with its scores in a file, twice; saved and read again. */
static void make_plan(tlp_model *m, const char *scores)
{
    tlp_session_options so = plan_rig_session(N_CTX);
    tlp_plan_make_options o = TLP_PLAN_MAKE_OPTIONS_INIT;

    o.session = &so;
    o.max_kl = 0.25;
    o.resume = scores;
    for (int i = 0; i < 2; i++) {
        tlp_plan *plan = NULL, *again = NULL;

        CHECK_OK(tlp_plan_make(&plan, m, ids, N_TOKEN, &o));
        CHECK_OK(tlp_plan_save(plan, plan_path));
        CHECK_OK(tlp_plan_load(&again, m, plan_path));
        note_plan("made", again);
        tlp_plan_free(again);
        tlp_plan_free(plan);
    }
    note_file(scores);
    /* A wish that fits no plan: its text has a number. */
    o.max_kl = -0.5;
    tlp_plan *none = NULL;
    CHECK_FAILS(TLP_EINVAL, tlp_plan_make(&none, m, ids, N_TOKEN, &o));
    note("max_kl", tlp_last_error());
}

static void adjust_plan(tlp_model *m)
{
    tlp_session_options so = plan_rig_session(N_CTX);
    tlp_plan_adjust_options o = TLP_PLAN_ADJUST_OPTIONS_INIT;
    tlp_plan *plan = NULL, *adjusted = NULL, *again = NULL;

    o.session = &so;
    o.gains = o.norms = 1;
    CHECK_OK(tlp_plan_parse(&plan, m, "par:1-2"));
    tlp_status st = tlp_plan_adjust(&adjusted, NULL, plan, ids, N_TOKEN, &o);
    if (st == TLP_OK) {
        CHECK_OK(tlp_plan_save(adjusted, plan_path));
        CHECK_OK(tlp_plan_load(&again, m, plan_path));
        note_file(plan_path);
        tlp_plan_free(again);
        tlp_plan_free(adjusted);
    } else {
        CHECK_FAILS(TLP_ENOGAIN, st);
        note("adjust", tlp_last_error());
    }
    tlp_plan_free(plan);
}

/* Keys of the file that are floats, and texts of errors. */
static void ask_model(tlp_model *m)
{
    tlp_sampler_options so = TLP_SAMPLER_OPTIONS_INIT;
    tlp_sampler *sampler = NULL;
    tlp_model *none = NULL;
    char text[256];
    size_t n = 0;

    for (size_t i = 0; tlp_model_meta_key(m, i); i++) {
        const char *key = tlp_model_meta_key(m, i);
        tlp_status st = tlp_model_get_meta(text, sizeof text, &n, m, key);

        if (st == TLP_OK)
            note(key, text);
        else
            CHECK_FAILS(TLP_EBUFS, st); /* lists of tokens */
    }
    so.top_p = -1.5f;
    CHECK_FAILS(TLP_EINVAL, tlp_sampler_create(&sampler, m, &so));
    note("sampler", tlp_last_error());
    CHECK_FAILS(TLP_EIO, tlp_model_open(&none, "/absent/model.gguf", NULL));
    note("errno", tlp_last_error());
    cr_expect_str_eq(tlp_last_error(),
                     "/absent/model.gguf: No such file or directory");
    note("seconds", (tlpi_fail(TLP_ERROR, "%.3f %g %d", 1234.5, 0.25, 1000000),
                     tlp_last_error()));
}

/* Numbers, dates and letters in a template. */
static void render(void)
{
    static const char text[] =
        "{{ v }} {{ v[0] + 0.25 }} {{ 1.5e300 }} {{ v | tojson }} "
        "{{ 2.345 | round(2) }} "
        "{{ '1.5' | float }} {{ 'ITIi' | lower }} {{ 'iI' | upper }} "
        "{{ strftime_now('%d %B %A %b %p %Y') }}";
    json_t *value = tlpi_json_parse("[0.1, 1234567.5, -2.5e-7]");
    const tlpi_jinja_var var = { "v", value, true };
    tlpi_jinja_text out = { 0 };
    tlpi_jinja *t = NULL;

    CHECK_OK(tlpi_jinja_compile(&t, env(), "t", text, strlen(text)));
    CHECK_OK(tlpi_jinja_render(&out, t, &var, 1, 86400 * 75, NULL));
    note("template", out.s);
    cr_expect_not_null(strstr(out.s, "March Tuesday Mar"), "%s", out.s);
    cr_expect_not_null(strstr(out.s, "[0.1, 1234567.5, -2.5e-07] 0.35"), "%s",
                       out.s);
    tlpi_jinja_text_free(env(), &out);
    tlpi_jinja_free(t);
    json_decref(value);
}

static void numbers(void)
{
    json_t *value = tlpi_json_parse("{\"x\": [0.1, 1e-300, 12345678.25]}");
    char *text = tlpi_json_dump(value, JSON_REAL_PRECISION(17)), *end = NULL;

    cr_assert_not_null(value);
    cr_assert_not_null(text);
    note("json", text);
    cr_expect_eq(tlpi_strtod("1234.5x", &end), 1234.5);
    cr_expect_str_eq(end, "x");
    cr_expect_eq(tlpi_strtod("1,5", &end), 1);
    cr_expect_str_eq(end, ",5");
    free(text);
    json_decref(value);
}

/* All texts of a round; the caller frees them. */
static char *write_all(const char *scores)
{
    tlp_model *m = NULL;
    char *all;

    written = (tlpi_text){ .env = env() };
    CHECK_OK(tlp_model_open(&m, model_path, NULL));
    make_plan(m, scores);
    adjust_plan(m);
    ask_model(m);
    render();
    numbers();
    tlp_model_free(m);
    cr_assert(!written.failed);
    all = strdup(written.data);
    tlpi_text_free(&written);
    return all;
}

/* ==== comparing ========================================================== */

static char *expected;

static void first_round(void)
{
    tiny_spec spec = tiny_default();

    spec.rope_scale = 2.5f;
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 3);
    model_path = tiny_make(&spec);
    scores_path = tiny_path("scores.json");
    plan_path = tiny_path("plan.json");
    setlocale(LC_ALL, "C");
    expected = write_all(scores_path);
}

/* Where two texts begin to differ. */
static const char *tail(const char *a, const char *b)
{
    size_t i = 0;

    while (a[i] && a[i] == b[i])
        i++;
    return a + (i > 40 ? i - 40 : 0);
}

/* The host's locale is that of the program again after each call. */
static void expect_decimal(const char *point)
{
    char text[16];

    cr_expect_str_eq(localeconv()->decimal_point, point);
    snprintf(text, sizeof text, "%.1f", 0.5);
    cr_expect_eq(strncmp(text + 1, point, strlen(point)), 0, "%s", text);
}

Test(locale, texts_are_those_of_the_locale_c)
{
    int n_made = 0;

    first_round();
    for (size_t i = 0; i < TLPI_COUNT(locales); i++) {
        if (!host_locale_make(locales[i].source, locales[i].charset))
            continue;
        n_made++;
        char point[8];
        snprintf(point, sizeof point, "%s", localeconv()->decimal_point);
        cr_assert_str_neq(point, ".", "%s", locales[i].source);
        char *got = write_all(tiny_path("scores.json"));
        cr_expect(strcmp(got, expected) == 0,
                  "%s.%s: ...%.200s\n  in the locale C: ...%.200s",
                  locales[i].source, locales[i].charset, tail(got, expected),
                  tail(expected, got));
        expect_decimal(point);
        free(got);
        /* Scores of the locale C are read, and go on. */
        got = write_all(scores_path);
        cr_expect(strcmp(got, expected) == 0, "%s: resumed", locales[i].source);
        free(got);
    }
    free(expected);
    if (n_made == 0)
        cr_skip_test("no localedef: no locale but C");
}

#ifdef __SANITIZE_ADDRESS__
/* newlocale of glibc 2.36 keeps the list of folders that it makes of LOCPATH.
 */
__attribute__((visibility("default"))) const char *
__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:__argz_add_sep\n";
}
#endif

/* A thread's own locale, which uselocale sets, stays, too. */
Test(locale, a_threads_own_locale_stays)
{
    if (!host_locale_make("de_DE", "UTF-8"))
        cr_skip_test("no localedef: no locale but C");
    setlocale(LC_ALL, "C");
    locale_t german = newlocale(LC_ALL_MASK, "de_DE.UTF-8", (locale_t)0);
    cr_assert(german);
    locale_t old = uselocale(german);

    tlpi_fail(TLP_ERROR, "%.2f", 0.25);
    cr_expect_str_eq(tlp_last_error(), "0.25");
    cr_expect_eq(uselocale((locale_t)0), german);
    expect_decimal(",");
    uselocale(old);
    freelocale(german);
}
