/*
 * test_adjust_image.c - adjustments in memory: what was fitted arrives where it
 * belongs; images that do not fit are refused.
 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/adjust.h"
#include "support/fake_model.h"
#include "support/random_adjust.h"
#include "tlp_tune.h"

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

TestSuite(adjust_image, .init = set_up, .fini = tear_down, .timeout = 60);

static tlp_plan *with(int kinds)
{
    tlp_plan *p = NULL;

    CHECK_OK(fitted_plan(&p, plan, kinds, RANK, 7));
    return p;
}

/* ==== made and read ====================================================== */

static void check_numbers(const tlpi_tensor *t, const float *x, int64_t cols,
                          int64_t rows, tlpi_dtype type)
{
    if (!x) {
        cr_assert(!t || !t->data);
        return;
    }
    cr_assert_eq(t->type, type);
    cr_assert_eq(t->ne[0], cols);
    cr_assert_eq(t->ne[1], rows);
    for (int64_t i = 0; i < cols * rows; i++) {
        float want =
            type == TLPI_F16 ? tlpi_f16_to_f32(tlpi_f32_to_f16(x[i])) : x[i];
        float got;
        tlpi_dequantize(type,
                        (const char *)t->data + i * tlpi_dtype_get(type)->size,
                        &got, 1);
        cr_assert_eq(got, want, "%s[%d]", t->name, (int)i);
    }
}

static void check_lowrank(const tlpi_lowrank *got,
                          const tlpi_fitted_lowrank *want)
{
    cr_assert_eq(got->rank, want->rank);
    check_numbers(&got->down, want->down, D, want->rank, TLPI_F16);
    check_numbers(&got->up, want->up, want->rank, D, TLPI_F16);
}

static void check_stage(const tlpi_stage_adjust *got,
                        const tlpi_fitted_stage *want, int n_member)
{
    cr_assert_eq(!got->member, !want->member);
    cr_assert_eq(got->out_rank, want->out_rank);
    check_numbers(&got->out_up, want->out_up, want->out_rank, D, TLPI_F16);
    for (int i = 0; got->member && i < n_member; i++) {
        const tlpi_member_adjust *m = &got->member[i];
        const tlpi_fitted_member *w = &want->member[i];
        check_numbers(m->attn_norm, w->attn_norm, D, 1, TLPI_F32);
        check_numbers(m->ffn_norm, w->ffn_norm, D, 1, TLPI_F32);
        cr_assert_eq(m->attn_gain, w->attn_gain);
        cr_assert_eq(m->ffn_gain, w->ffn_gain);
        check_lowrank(&m->attn_in, &w->attn_in);
        check_lowrank(&m->ffn_in, &w->ffn_in);
        check_numbers(&m->out_down, w->out_down, D, want->out_rank, TLPI_F16);
    }
}

Test(adjust_image, every_kind_arrives_where_it_belongs)
{
    for (int kinds = 1; kinds <= FITTED_ALL; kinds++) {
        tlpi_fitted_stage *want = fitted_make(plan, kinds, RANK, 7);
        tlp_plan *p = with(kinds);
        for (int i = 0; i < plan->n_stage; i++)
            check_stage(&p->adjust->stage[i], &want[i],
                        tlpi_plan_n_member(plan, i));
        tlp_plan_free(p);
        free(want);
    }
}

/* "nosync@3:1a,5f" has tracks in layers 1, 5 and 6. */
static void use_tracks(void)
{
    tlp_plan_free(plan);
    CHECK_OK(tlp_plan_parse(&plan, model, "nosync@3:1a,5f"));
}

Test(adjust_image, every_track_has_its_own)
{
    use_tracks();
    tlpi_fitted_stage *want = fitted_make(plan, FITTED_ALL, RANK, 7);
    tlp_plan *p = with(FITTED_ALL);
    tlp_plan_adjust_info info = { .struct_size = sizeof info };

    cr_assert(want[1].member && want[5].member && want[6].member);
    for (int i = 0; i < plan->n_stage; i++)
        check_stage(&p->adjust->stage[i], &want[i], 3);
    CHECK_OK(tlp_plan_get_adjust(&info, p));
    cr_expect_eq(info.n_gain, 18);
    cr_expect_eq(info.n_norm, 18);
    cr_expect_eq(info.n_low_rank, 18);
    tlp_plan_free(p);
    free(want);
}

Test(adjust_image, numbers_too_large_for_f16_stay_f32)
{
    tlpi_fitted_stage *want = fitted_make(plan, FITTED_OUT, RANK, 7);
    tlp_plan *p = NULL;
    void *image;
    size_t n;

    want[1].out_up[3] = -1e5f;
    CHECK_OK(tlpi_adjust_image(plan, want, NULL, &image, &n));
    CHECK_OK(tlpi_plan_with_adjust(&p, plan, image, n, "x"));
    check_numbers(&p->adjust->stage[1].out_up, want[1].out_up, RANK, D,
                  TLPI_F32);
    cr_expect_eq(p->adjust->stage[1].member[0].out_down.type, TLPI_F16);
    tlp_plan_free(p);
    free(want);
}

Test(adjust_image, adjustments_are_counted)
{
    static const struct {
        int kinds, n_gain, n_norm, n_low_rank;
    } cases[] = {
        { FITTED_GAINS, 10, 0, 0 },  { FITTED_NORMS, 0, 10, 0 },
        { FITTED_ATTN_IN, 0, 0, 5 }, { FITTED_FFN_IN, 0, 0, 5 },
        { FITTED_OUT, 0, 0, 2 },     { FITTED_ALL, 10, 10, 12 },
    };
    tlp_plan_adjust_info info = { .struct_size = sizeof info };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlp_plan *p = with(cases[i].kinds);
        CHECK_OK(tlp_plan_get_adjust(&info, p));
        cr_expect_eq(info.n_gain, cases[i].n_gain);
        cr_expect_eq(info.n_norm, cases[i].n_norm);
        cr_expect_eq(info.n_low_rank, cases[i].n_low_rank);
        cr_expect_eq(info.n_bytes, p->adjust->n_image);
        cr_expect_str_eq(info.sha256, p->adjust->sha256);
        tlp_plan_free(p);
    }
    CHECK_OK(tlp_plan_get_adjust(&info, plan));
    cr_expect_eq(info.n_gain + info.n_norm + info.n_low_rank, 0);
    cr_expect_eq(info.n_bytes, 0);
    cr_expect_null(info.sha256);
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_adjust(&info, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_plan_get_adjust(NULL, plan));
}

/* ==== images that are not right ========================================== */

typedef struct image_spec {
    const char *version, *model,
        *plan; /* NULL: none; model "": the right one */
    const char *entries;
    size_t n_data;
    float fill; /* every number, where they are F32 */
} image_spec;

static const image_spec good = { "1", "", "par:1-2;lp:4-6;drop:7", "", 0, 1 };

static void add_key(char *text, size_t cap, const char *key, const char *value)
{
    size_t n = strlen(text);

    if (value)
        snprintf(text + n, cap - n, "%s\"%s\":\"%s\"",
                 text[n - 1] == '{' ? "" : ",", key, value);
}

static void *make_image(const image_spec *s, size_t *n_image)
{
    char header[4096] = "{\"__metadata__\":{";
    const char *origin =
        s->model && !*s->model ? tlpi_model_fingerprint(model) : s->model;

    add_key(header, sizeof header, "tlp_adjust", s->version);
    add_key(header, sizeof header, "model", origin);
    add_key(header, sizeof header, "plan", s->plan);
    size_t n = strlen(header);
    snprintf(header + n, sizeof header - n, "}%s%s}    ",
             *s->entries ? "," : "", s->entries);
    n = strlen(header) / 4 * 4;
    *n_image = 8 + n + s->n_data;
    uint8_t *image = tlpi_calloc(&model->env, 1, *n_image);
    cr_assert_not_null(image);
    image[0] = (uint8_t)n;
    image[1] = (uint8_t)(n >> 8);
    memcpy(image + 8, header, n);
    for (size_t i = 0; i + 4 <= s->n_data; i += 4)
        memcpy(image + 8 + n + i, &s->fill, 4);
    return image;
}

static tlp_status adjust(tlp_plan **p, const image_spec *s)
{
    size_t n;
    void *image = make_image(s, &n);

    return tlpi_plan_with_adjust(p, plan, image, n, "a.st");
}

static void refuse(const image_spec *s, tlp_status status, const char *text)
{
    tlp_plan *p = NULL;

    CHECK_FAILS(status, adjust(&p, s));
    cr_assert_null(p);
    cr_expect(strstr(tlp_last_error(), text), "%s: %s", s->entries,
              tlp_last_error());
    cr_expect(strstr(tlp_last_error(), "a.st: ") == tlp_last_error(), "%s",
              tlp_last_error());
}

#define F32(name, shape, begin, end)                                           \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" shape                        \
    "],\"data_offsets\":[" #begin "," #end "]}"
#define F16(name, shape, begin, end)                                           \
    "\"" name "\":{\"dtype\":\"F16\",\"shape\":[" shape                        \
    "],\"data_offsets\":[" #begin "," #end "]}"
#define GAIN F32("blk.1.attn_gain", "1", 0, 4)

Test(adjust_image, images_of_other_plans_and_models_are_refused)
{
    image_spec s = good;
    tlp_plan *p = NULL;

    s.entries = GAIN;
    s.n_data = 4;
    s.fill = 1.5f;
    CHECK_OK(adjust(&p, &s));
    cr_expect_eq(p->adjust->stage[1].member[0].attn_gain, 1.5f);
    cr_expect_eq(p->adjust->stage[1].member[1].attn_gain, 1);
    tlp_plan_free(p);
    s.version = NULL;
    refuse(&s, TLP_EFORMAT, "metadata: key tlp_adjust is missing");
    s.version = "2";
    refuse(&s, TLP_ENOTSUP, "tlp_adjust is 2, 1 expected");
    s.version = "1";
    s.model = NULL;
    refuse(&s, TLP_EFORMAT, "metadata: key model is missing");
    s.model = "sha256:00";
    refuse(&s, TLP_EMISMATCH, "model is sha256:00, sha256:");
    s.model = "";
    s.plan = NULL;
    refuse(&s, TLP_EFORMAT, "metadata: key plan is missing");
    s.plan = "serial";
    refuse(&s, TLP_EMISMATCH, "plan is serial, par:1-2;lp:4-6;drop:7");
    s = good;
    refuse(&s, TLP_EFORMAT, "no tensors");
}

typedef struct tensor_case {
    const char *entries;
    size_t n_data;
    tlp_status status;
    const char *text;
} tensor_case;

Test(adjust_image, tensors_that_do_not_fit_are_refused)
{
    static const tensor_case cases[] = {
        { F32("x", "1", 0, 4), 4, TLP_EFORMAT, "tensor x is not known" },
        { F32("blk.1.attn_gains", "1", 0, 4), 4, TLP_EFORMAT, "not known" },
        { F32("blk..attn_gain", "1", 0, 4), 4, TLP_EFORMAT, "not known" },
        { F32("blk.-1.attn_gain", "1", 0, 4), 4, TLP_EFORMAT, "not known" },
        { F32("blk.+1.attn_gain", "1", 0, 4), 4, TLP_EFORMAT, "not known" },
        { F32("blk. 1.attn_gain", "1", 0, 4), 4, TLP_EFORMAT, "not known" },
        { F32("blk.01.attn_gain", "1", 0, 4), 4, TLP_EFORMAT, "not known" },
        { F32("blk.1attn_gain", "1", 0, 4), 4, TLP_EFORMAT, "not known" },
        { F32("blk.1.", "1", 0, 4), 4, TLP_EFORMAT, "not known" },
        { F32("blk.1", "1", 0, 4), 4, TLP_EFORMAT, "not known" },
        { F32("blk.7.attn_gain", "1", 0, 4), 4, TLP_EMISMATCH,
          "the layer does not run" },
        { F32("blk.8.attn_gain", "1", 0, 4), 4, TLP_EMISMATCH,
          "the layer does not run" },
        { F32("blk.99999999999999999999.attn_gain", "1", 0, 4), 4,
          TLP_EMISMATCH, "the layer does not run" },
        { F32("blk.1.attn_gain", "2", 0, 8), 8, TLP_EFORMAT, "[1] with" },
        { F32("blk.1.attn_gain", "1,1", 0, 4), 4, TLP_EFORMAT, "2 dims" },
        { F16("blk.1.attn_gain", "1", 0, 2), 2, TLP_ENOTSUP, "type F16" },
        { F32("blk.1.attn_norm.weight", "15", 0, 60), 60, TLP_EFORMAT,
          "[d] with d = 16" },
        { F32("blk.1.attn_norm.weight", "1,16", 0, 64), 64, TLP_EFORMAT,
          "2 dims" },
        { F16("blk.1.ffn_norm.weight", "16", 0, 32), 32, TLP_ENOTSUP,
          "type F16" },
        { F32("blk.1.attn_in.down", "16", 0, 64), 64, TLP_EFORMAT, "1 dims" },
        { F32("blk.1.attn_in.down", "16,2", 0, 128), 128, TLP_EFORMAT,
          "[rank][d] with" },
        { F32("blk.1.attn_in.up", "2,16", 0, 128), 128, TLP_EFORMAT,
          "[d][rank] with" },
        { F32("blk.1.attn_in.down", "1,2,16", 0, 128), 128, TLP_EFORMAT,
          "3 dims" },
        { F32("blk.1.attn_in.down", "17,16", 0, 1088), 1088, TLP_EFORMAT,
          "rank 17, at most 16" },
        { "\"blk.1.attn_in.down\":{\"dtype\":\"BF16\",\"shape\":[1,16],"
          "\"data_offsets\":[0,32]}",
          32, TLP_ENOTSUP, "type BF16, F32 or F16" },
        { F32("blk.1.attn_in.down", "1,16", 0, 64), 64, TLP_EFORMAT,
          "blk.1.attn_in: down has rank 1, up has 0" },
        { F32("blk.1.ffn_in.up", "16,1", 0, 64), 64, TLP_EFORMAT,
          "blk.1.ffn_in: down has rank 0, up has 1" },
        { F32("blk.1.ffn_in.up", "16,1", 0, 64) "," F32("blk.1.ffn_in.down",
                                                        "2,16", 64, 192),
          192, TLP_EFORMAT, "blk.1.ffn_in: down has rank 2, up has 1" },
        { F32("blk.2.out.up", "16,1", 0, 64), 64, TLP_EMISMATCH,
          "blk.1 expected, the first of its group" },
        { F32("blk.1.out.up", "16,1", 0, 64) "," F32("blk.1.out.down", "1,16",
                                                     64, 128),
          128, TLP_EFORMAT, "blk.2.out: down has rank 0, up has 1" },
        { F32("blk.2.out.down", "1,16", 0, 64), 64, TLP_EFORMAT,
          "blk.2.out: down has rank 1, up has 0" },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        image_spec s = good;
        s.entries = cases[i].entries;
        s.n_data = cases[i].n_data;
        refuse(&s, cases[i].status, cases[i].text);
    }
}

Test(adjust_image, tensors_of_tracks_that_do_not_fit_are_refused)
{
    static const tensor_case cases[] = {
        { F32("blk.1.attn_gain", "1", 0, 4), 4, TLP_EMISMATCH,
          "the layer runs in tracks, blk.1.track.T expected" },
        { F32("blk.2.track.0.attn_gain", "1", 0, 4), 4, TLP_EMISMATCH,
          "the layer does not run in tracks" },
        { F32("blk.1.track.3.attn_gain", "1", 0, 4), 4, TLP_EMISMATCH,
          "the plan has 3 tracks" },
        { F32("blk.1.track.01.attn_gain", "1", 0, 4), 4, TLP_EFORMAT,
          "not known" },
        { F32("blk.1.track.-1.attn_gain", "1", 0, 4), 4, TLP_EFORMAT,
          "not known" },
        { F32("blk.1.track.attn_gain", "1", 0, 4), 4, TLP_EFORMAT,
          "not known" },
        { F32("blk.1.track.99999999999999999999.attn_gain", "1", 0, 4), 4,
          TLP_EMISMATCH, "the plan has 3 tracks" },
        { F32("blk.5.track.0.out.up", "16,1", 0, 64), 64, TLP_ENOTSUP,
          "the output of tracks has no correction" },
        { F32("blk.5.track.0.out.down", "1,16", 0, 64), 64, TLP_ENOTSUP,
          "the output of tracks has no correction" },
        { F32("blk.5.track.1.ffn_in.up", "16,1", 0, 64), 64, TLP_EFORMAT,
          "blk.5.ffn_in: down has rank 0, up has 1" },
    };

    use_tracks();
    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        image_spec s = good;

        s.plan = "nosync@3:1a,5f";
        s.entries = cases[i].entries;
        s.n_data = cases[i].n_data;
        refuse(&s, cases[i].status, cases[i].text);
    }
}

Test(adjust_image, numbers_that_are_none_are_refused)
{
    static const uint32_t bits[] = { 0x7f800000, 0xff800000, 0x7fc00000,
                                     0xff800001, 0x7c007c00, 0xfe00fe00 };

    for (size_t i = 0; i < TLPI_COUNT(bits); i++) {
        image_spec s = good;
        memcpy(&s.fill, &bits[i], 4);
        s.entries = i < 4 ? GAIN : F16("blk.1.attn_in.down", "1,16", 0, 32);
        s.n_data = i < 4 ? 4 : 32;
        refuse(&s, TLP_EFORMAT, "element 0 is not a finite number");
    }
}

/* Whatever a byte becomes: refused, or a plan that holds together. */
Test(adjust_image, a_changed_byte_never_does_harm)
{
    tlp_plan *p = with(FITTED_ALL);
    size_t n = p->adjust->n_image;

    for (size_t at = 0; at < n; at += at < 3000 ? 1 : 37 * CHECK_SLOWDOWN) {
        for (int bit = 0; bit < 8; bit += at < 3000 ? 3 : 7) {
            uint8_t *image = tlpi_alloc(&model->env, n);
            cr_assert_not_null(image);
            memcpy(image, p->adjust->image, n);
            tlp_plan *q = NULL;
            image[at] ^= (uint8_t)(1 << bit);
            tlp_status st = tlpi_plan_with_adjust(&q, plan, image, n, "x");
            cr_assert_eq(st == TLP_OK, q != NULL);
            tlp_plan_free(q);
        }
    }
    tlp_plan_free(p);
}
