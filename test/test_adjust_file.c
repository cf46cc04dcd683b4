/*
 * test_adjust_file.c - adjustments in files: saved, loaded, refused.
 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan/adjust.h"
#include "support/counting.h"
#include "support/fake_model.h"
#include "support/random_adjust.h"
#include "support/tiny.h"

enum { N_LAYER = 8, D = 16, RANK = 4 };

static tlp_model *model;
static tlp_plan *plan;

static void set_up(void)
{
    static const fake_shape shape = { N_LAYER, D, 32, 4, 2, 4, 64 };
    static const tlpi_dtype f32[] = { TLPI_F32 };

    model = fake_model(&shape, f32, 1);
    CHECK_OK(tlp_plan_parse(&plan, model, "par:1-2;lp:4-6;drop:7"));
}

static void tear_down(void)
{
    tlp_plan_free(plan);
    tlp_model_free(model);
}

TestSuite(adjust_file, .init = set_up, .fini = tear_down, .timeout = 60);

static tlp_plan *with(int kinds)
{
    tlp_plan *p = NULL;

    CHECK_OK(fitted_plan(&p, plan, kinds, RANK, 7));
    return p;
}

/* static storage */
static const char *format(const tlp_plan *p, int form)
{
    static char buf[4096];
    size_t n;

    CHECK_OK(tlp_plan_format(buf, sizeof buf, &n, p, form));
    return buf;
}

static void write_file(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");

    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fwrite(data, 1, n, f), n);
    cr_assert_eq(fclose(f), 0);
}

/* A file in the tests' folder; static storage, two paths at a time. */
static const char *path_of(const char *name)
{
    static char folder[512], buf[2][1024];
    static int turn;

    turn = !turn;
    if (!folder[0])
        snprintf(folder, sizeof folder, "%s", tiny_path("x"));
    snprintf(buf[turn], sizeof buf[0], "%.*s%s",
             (int)(strrchr(folder, '/') + 1 - folder), folder, name);
    return buf[turn];
}

static void *copy_image(const tlp_plan *p)
{
    void *image = tlpi_alloc(&model->env, p->adjust->n_image);

    cr_assert_not_null(image);
    return memcpy(image, p->adjust->image, p->adjust->n_image);
}

/* ==== forms ============================================================== */

static void check_same_plan(const tlp_plan *a, const tlp_plan *b)
{
    cr_assert_str_eq(a->adjust->sha256, b->adjust->sha256);
    cr_assert_eq(a->adjust->n_image, b->adjust->n_image);
    cr_assert_eq(memcmp(a->adjust->image, b->adjust->image, a->adjust->n_image),
                 0);
    cr_assert_eq(a->adjust->stage[1].out_rank, b->adjust->stage[1].out_rank);
}

Test(adjust_file, a_saved_plan_loads_again_with_its_adjustments)
{
    static const char *const names[] = { "p2.json", "p2", "p.json.json",
                                         "p 2 ü.json" };
    static const char *const files[] = { "p2.adjust.safetensors",
                                         "p2.adjust.safetensors",
                                         "p.json.adjust.safetensors",
                                         "p 2 ü.adjust.safetensors" };

    for (size_t i = 0; i < TLPI_COUNT(names); i++) {
        const char *path = path_of(names[i]);
        tlp_plan *p = with(FITTED_ALL), *q = NULL;
        CHECK_OK(tlp_plan_save(p, path));
        CHECK_OK(tlp_plan_load(&q, model, path));
        check_same_plan(p, q);
        cr_expect_str_eq(q->adjust->file, files[i]);
        cr_expect_str_eq(p->adjust->file, "adjust.safetensors");
        cr_expect(!remove(path) && !remove(path_of(files[i])));
        tlp_plan_free(q);
        tlp_plan_free(p);
    }
}

Test(adjust_file, a_path_without_a_folder_is_fine)
{
    tlp_plan *p = with(FITTED_GAINS), *q = NULL;

    cr_assert_eq(chdir(path_of("")), 0);
    CHECK_OK(tlp_plan_save(p, "here.json"));
    CHECK_OK(tlp_plan_load(&q, model, "here.json"));
    check_same_plan(p, q);
    cr_expect(!remove("here.json") && !remove("here.adjust.safetensors"));
    tlp_plan_free(q);
    tlp_plan_free(p);
}

Test(adjust_file, the_json_form_names_the_file)
{
    tlp_plan *p = with(FITTED_OUT);
    char want[200];

    snprintf(want, sizeof want,
             "  ],\n  \"drop\": [7],\n"
             "  \"adjust\": {\"file\": \"adjust.safetensors\",\n"
             "             \"sha256\": \"%s\"}\n}\n",
             p->adjust->sha256);
    cr_expect(strstr(format(p, TLP_PLAN_JSON), want), "%s",
              format(p, TLP_PLAN_JSON));
    cr_expect_str_eq(format(p, TLP_PLAN_TEXT), "par:1-2;lp:4-6;drop:7");
    tlp_plan_free(p);
}

Test(adjust_file, json_alone_gives_a_plan_to_be_supplied)
{
    tlp_plan *p = with(FITTED_ALL), *q = NULL;
    const char *json = format(p, TLP_PLAN_JSON);
    size_t n = p->adjust->n_image;

    CHECK_FAILS(TLP_ENOTSUP, tlp_plan_parse(&q, model, json));
    cr_expect_null(q);
    cr_expect(strstr(tlp_last_error(), "tlp_plan_load"), "%s",
              tlp_last_error());
    CHECK_OK(tlpi_plan_parse_bare(&q, model, json));
    cr_assert_null(q->adjust->image);
    cr_assert_null(q->adjust->stage);
    cr_expect_str_eq(q->adjust->sha256, p->adjust->sha256);
    CHECK_FAILS(TLP_ESTATE, tlp_plan_save(q, tiny_path("bare.json")));

    uint8_t *other = copy_image(p);
    other[n - 1] ^= 1;
    CHECK_FAILS(TLP_EMISMATCH, tlpi_plan_supply_adjust(q, other, n, "x"));
    cr_assert_null(q->adjust->image);
    CHECK_OK(tlpi_plan_supply_adjust(q, copy_image(p), n, "x"));
    check_same_plan(p, q);
    tlp_plan_free(q);
    tlp_plan_free(p);
}

Test(adjust_file, adjusting_again_replaces_what_was_there)
{
    tlp_plan *p = with(FITTED_ALL), *q = NULL;

    CHECK_OK(fitted_plan(&q, p, FITTED_GAINS, RANK, 1));
    cr_expect_str_neq(p->adjust->sha256, q->adjust->sha256);
    cr_expect_eq(q->adjust->stage[1].out_rank, 0);
    cr_expect_neq(q->adjust->stage[1].member[0].attn_gain, 1);
    tlp_plan_free(q);
    tlp_plan_free(p);
}

/* ==== files that are not right =========================================== */

Test(adjust_file, names_that_could_not_be_loaded_are_not_saved)
{
    static const char *const names[] = { "",          ".hidden.json",
                                         "a\"b.json", "a\\b.json",
                                         "a\nb.json", "a\xff.json" };
    tlp_plan *p = with(FITTED_GAINS);

    for (size_t i = 0; i < TLPI_COUNT(names); i++) {
        const char *path = path_of(names[i]);
        CHECK_FAILS(TLP_EINVAL, tlp_plan_save(p, path));
        cr_expect(names[i][0] == '\0' || access(path, F_OK) != 0);
    }
    tlp_plan_free(p);
}

Test(adjust_file, a_failed_save_leaves_the_old_plan)
{
    const char *path = tiny_path("old.json");
    char file[512], text[8] = "";
    tlp_plan *p = with(FITTED_GAINS);

    write_file(path, "old", 3);
    snprintf(file, sizeof file, "%.*s.adjust.safetensors",
             (int)strlen(path) - 5, path);
    cr_assert_eq(mkdir(file, 0700), 0);
    CHECK_FAILS(TLP_EIO, tlp_plan_save(p, path));
    cr_assert_eq(rmdir(file), 0);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    cr_assert_not_null(fgets(text, sizeof text, f));
    cr_expect_str_eq(text, "old");
    fclose(f);
    tlp_plan_free(p);
}

Test(adjust_file, a_missing_or_changed_file_is_refused)
{
    const char *path = path_of("m.json");
    const char *file = path_of("m.adjust.safetensors");
    tlp_plan *p = with(FITTED_GAINS), *q = NULL;
    size_t n = p->adjust->n_image;

    CHECK_OK(tlp_plan_save(p, path));
    uint8_t *image = copy_image(p);
    for (size_t at = 0; at < n; at += 97) {
        image[at] ^= 0x40;
        write_file(file, image, n);
        CHECK_FAILS(TLP_EMISMATCH, tlp_plan_load(&q, model, path));
        cr_assert_null(q);
        cr_assert(strstr(tlp_last_error(), "m.adjust.safetensors: not the"),
                  "%s", tlp_last_error());
        image[at] ^= 0x40;
    }
    write_file(file, image, n - 1);
    CHECK_FAILS(TLP_EMISMATCH, tlp_plan_load(&q, model, path));
    write_file(file, image, n);
    CHECK_OK(tlp_plan_load(&q, model, path));
    tlp_plan_free(q);

    /* a sparse file of a size that no such model can need */
    cr_assert_eq(truncate(file, (off_t)1 << 40), 0);
    CHECK_FAILS(TLP_EFORMAT, tlp_plan_load(&q, model, path));
    cr_assert_eq(remove(file), 0);
    CHECK_FAILS(TLP_EIO, tlp_plan_load(&q, model, path));
    cr_expect(strstr(tlp_last_error(), file), "%s", tlp_last_error());
    tlpi_free(&model->env, image);
    tlp_plan_free(p);
}

#define HASH                                                                   \
    "\"sha256:00112233445566778899aabbccddeeff"                                \
    "00112233445566778899aabbccddeeff\""
#define FILE_KEY(name) "{\"file\": \"" name "\", \"sha256\": " HASH "}"

Test(adjust_file, bad_adjust_keys_are_refused)
{
    static const struct {
        const char *adjust, *text;
    } cases[] = {
        { "1", "\"adjust\": an object" },
        { "{}", "\"adjust\": an object" },
        { "{\"file\": \"a\"}", "\"adjust\": an object" },
        { "{\"sha256\": " HASH "}", "\"adjust\": an object" },
        { "{\"file\": 1, \"sha256\": " HASH "}", "\"adjust\": an object" },
        { "{\"file\": \"a\", \"sha256\": " HASH ", \"x\": 1}",
          "adjust: key \"x\"" },
        { "{\"file\": \"a\", \"sha256\": \"sha256:00\"}", "64" },
        { "{\"file\": \"a\", \"sha256\": \"md5:00\"}", "64" },
        { "{\"file\": \"a\", \"sha256\": "
          "\"sha256:00112233445566778899AABBCCDDEEFF"
          "00112233445566778899AABBCCDDEEFF\"}",
          "64" },
        { FILE_KEY(""), "0 bytes" },
        { FILE_KEY("."), "a visible file" },
        { FILE_KEY(".."), "a visible file" },
        { FILE_KEY(".hidden"), "a visible file" },
        { FILE_KEY("/etc/passwd"), "a visible file" },
        { FILE_KEY("../up"), "a visible file" },
        { FILE_KEY("a/b"), "a visible file" },
        { FILE_KEY("a/../../b"), "a visible file" },
        { FILE_KEY("a\\nb"), "a visible file" },
        { FILE_KEY("a\\\"b"), "a visible file" },
        { FILE_KEY("a\\\\b"), "a visible file" },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        char json[1024];
        tlp_plan *p = NULL;
        snprintf(json, sizeof json,
                 "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0]}], "
                 "\"drop\": [1, 2, 3, 4, 5, 6, 7], \"adjust\": %s}",
                 cases[i].adjust);
        CHECK_FAILS(TLP_EFORMAT, tlp_plan_parse(&p, model, json));
        cr_assert_null(p);
        cr_expect(strstr(tlp_last_error(), cases[i].text), "%s: %s",
                  cases[i].adjust, tlp_last_error());
    }
}

Test(adjust_file, file_names_are_bounded)
{
    char name[300], json[1024];

    for (int n = 255; n <= 256; n++) {
        tlp_plan *p = NULL;
        memset(name, 'x', sizeof name);
        name[n] = '\0';
        snprintf(json, sizeof json,
                 "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0]}], "
                 "\"drop\": [1, 2, 3, 4, 5, 6, 7], \"adjust\": {\"file\": "
                 "\"%s\", \"sha256\": " HASH "}}",
                 name);
        tlp_status st = tlpi_plan_parse_bare(&p, model, json);
        cr_assert_eq(st, n == 255 ? TLP_OK : TLP_EFORMAT);
        tlp_plan_free(p);
    }
}

/* ==== memory ============================================================= */

/* Each step by itself, so that none is skipped by an earlier failure. */
static tlp_status live(tlp_model *m, const char *path, const tlp_plan *base)
{
    tlp_plan *p = NULL, *q = NULL;
    char text[4096];
    size_t n;
    tlp_status st = fitted_plan(&p, base, FITTED_ALL, RANK, 3);

    if (st == TLP_OK)
        st = tlp_plan_format(text, sizeof text, &n, p, TLP_PLAN_JSON);
    if (st == TLP_OK)
        st = tlp_plan_save(p, path);
    if (st == TLP_OK)
        st = tlp_plan_load(&q, m, path);
    cr_assert_eq(!q, st != TLP_OK);
    tlp_plan_free(q);
    tlp_plan_free(p);
    return st;
}

Test(adjust_file, memory_may_run_out_anywhere)
{
    counting c = { 0 };
    tiny_spec spec = tiny_default();
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;
    tlp_plan *base = NULL;
    bool done = false;

    o.allocator = counting_allocator(&c);
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &o));
    CHECK_OK(tlp_plan_parse(&base, m, "par:1-2"));
    const char *path = tiny_path("oom.json");
    size_t before, n = 0;
    char digest[72]; /* which the model keeps */
    CHECK_OK(tlp_model_get_digest(digest, sizeof digest, &n, m));
    before = c.n_live;
    for (long at = 1; !done; at++) {
        c.calls = 0;
        c.fail_at = at;
        tlp_status st = live(m, path, base);
        done = c.calls < at;
        cr_assert_eq(st, done ? TLP_OK : TLP_ENOMEM, "%ld: %s", at,
                     tlp_last_error());
        cr_assert_eq(c.n_live, before);
    }
    c.fail_at = 0;
    tlp_plan_free(base);
    tlp_model_free(m);
    cr_assert_eq(c.n_live + (size_t)c.bad, 0);
}
