/*
 * test_train_state.c - a training refuses the state of another training, and
 * damaged and forged files.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "file/safetensors.h"
#include "model/model.h"
#include "support/log_lines.h"
#include "support/tiny.h"
#include "support/tool.h"
#include "support/train_course.h"

TestSuite(train_state, .timeout = 300);

/* ==== states of other trainings ========================================== */

static void refuse(tlp_model *m, const tlp_plan_train_options *o,
                   tlp_status want, const char *says)
{
    CHECK_FAILS(want, course_train(m, o, NULL));
    cr_expect(strstr(tlp_last_error(), says), "\"%s\" expected: %s", says,
              tlp_last_error());
    cr_expect(strstr(tlp_last_error(), o->resume_path), "%s", tlp_last_error());
    cr_expect_eq(((course *)o->progress_data)->n_call, 0);
}

/* A state of a training of norms. */
static void make_state(tlp_model *m, tlp_plan_train_options *o, course *c)
{
    *o = course_options(c);
    o->norms = 1;
    o->resume_path = course_state;
    c->cancel_at = 10;
    CHECK_FAILS(TLP_ECANCELED, course_train(m, o, NULL));
    *c = (course){ 0 };
}

Test(train_state, refuses_another_training)
{
    course c;
    tlp_model *m = course_model(1), *other;
    tlp_plan_train_options o, was;

    make_state(m, &o, &c);
    was = o;
#define REFUSE(field, value)                                                   \
    do {                                                                       \
        o.field = (value);                                                     \
        refuse(m, &o, TLP_EMISMATCH, "\"of." #field "\"");                     \
        o = was;                                                               \
    } while (0)
    REFUSE(seed, 1);
    REFUSE(n_token, 45 * COURSE_CTX);
    REFUSE(n_local_token, COURSE_CTX);
    REFUSE(n_accum, 2);
    REFUSE(gains, 1);
    REFUSE(full, 1);
    REFUSE(rank, 2);
    REFUSE(rate, 2e-3);
    REFUSE(warm_up, 0.1);
    REFUSE(weight_decay, 0.1);
    REFUSE(clip, 2);
    REFUSE(text_share, 0.5);
    REFUSE(held_out, 0.4);
    o.held_out = 0;
    REFUSE(n_held_out_token, 64);
    course_session.n_ctx = 16;
    refuse(m, &o, TLP_EMISMATCH, "of.");
    course_session.n_ctx = COURSE_CTX;
    course_session.compute = TLP_COMPUTE_DEFAULT;
    refuse(m, &o, TLP_EMISMATCH, "of.compute");
    course_session.compute = TLP_COMPUTE_F32;
    course_session.isa = TLP_ISA_SCALAR;
    refuse(m, &o, TLP_EMISMATCH, "of.isa");
    course_session.isa = TLP_ISA_AUTO;
    course_ids[3]++;
    refuse(m, &o, TLP_EMISMATCH, "of.tokens");
    other = course_model(2);
    refuse(other, &o, TLP_EMISMATCH, "of.");
    tlp_model_free(other);
    tlp_model_free(m);
}

Test(train_state, paths_are_checked)
{
    course c;
    tlp_model *m = course_model(1);
    tlp_plan_train_options o = course_options(&c);

    o.full = 1;
    o.resume_path = m->path;
    refuse(m, &o, TLP_EINVAL, "own file");
    o.resume_path = course_result;
    refuse(m, &o, TLP_EINVAL, "one file");
    o.plan_path = o.resume_path = tiny_path("p.json");
    refuse(m, &o, TLP_EINVAL, "one file");
    o.plan_path = NULL;
    o.resume_path = tiny_path("no/such/folder");
    refuse(m, &o, TLP_EIO, "folder");
    tlp_model_free(m);
}

/* ==== damaged and forged files =========================================== */

static void write_and_refuse(tlp_model *m, tlp_plan_train_options *o,
                             const char *data, size_t n, const char *says)
{
    o->resume_path = tiny_path("bad");
    tool_write_file(o->resume_path, data, n);
    refuse(m, o, TLP_EFORMAT, says);
}

/* Give the file the checksum that belongs to what it says now. */
static void seal(tlp_model *m, char *data, size_t n)
{
    tlpi_safetensors *s = NULL;
    char found[TLPI_HASH_TEXT], *at;
    tlpi_sha256 hash;

    CHECK_OK(tlpi_safetensors_open(&s, &m->env, data, n, "forged"));
    const char *of = tlpi_safetensors_get(s, "of");
    const char *progress = tlpi_safetensors_get(s, "state");
    const char *numbers = s->tensor[0].data;

    tlpi_sha256_init(&hash);
    tlpi_sha256_add(&hash, of, strlen(of) + 1);
    tlpi_sha256_add(&hash, progress, strlen(progress) + 1);
    tlpi_sha256_add(&hash, numbers, (size_t)(data + n - numbers));
    tlpi_sha256_text(&hash, found);
    at = strstr(data + 8, "\"sha256\":\"");
    cr_assert_not_null(at);
    memcpy(at + 10, found, strlen(found));
    tlpi_safetensors_close(s);
}

/* `from` becomes `to`, of equal length, in the header. */
static char *forge(tlp_model *m, const char *good, size_t n, const char *from,
                   const char *to)
{
    char *data = malloc(n + 1), *at;

    cr_assert_not_null(data);
    memcpy(data, good, n + 1);
    at = strstr(data + 8, from);
    cr_assert(at && strlen(from) == strlen(to), "%s", from);
    memcpy(at, to, strlen(to));
    seal(m, data, n);
    return data;
}

/* Number `i` of the data becomes x. */
static void forge_number(tlp_model *m, tlp_plan_train_options *o,
                         const char *good, size_t n, size_t i, float x)
{
    char *data = malloc(n + 1);
    uint64_t header;

    cr_assert_not_null(data);
    memcpy(data, good, n + 1);
    memcpy(&header, data, 8);
    memcpy(data + 8 + header + i * sizeof(x), &x, sizeof(x));
    write_and_refuse(m, o, data, n, "damaged");
    seal(m, data, n);
    write_and_refuse(m, o, data, n, "not finite");
    free(data);
}

Test(train_state, refuses_damaged_files)
{
    course c;
    tlp_model *m = course_model(1);
    tlp_plan_train_options o;
    size_t n;

    make_state(m, &o, &c);
    char *good = tool_read_file(o.resume_path, &n);
    const size_t cut[] = { 1, 7, 9, 300, n / 2, n - 4, n - 1 };

    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++)
        write_and_refuse(m, &o, good, cut[i], "bad");
    size_t d = (size_t)m->hp.n_embd; /* of the first tensor, a norm */

    forge_number(m, &o, good, n, 0, NAN);
    forge_number(m, &o, good, n, d, INFINITY);
    forge_number(m, &o, good, n, 2 * d + 1, -1);
    forge_number(m, &o, good, n, 4 * d - 1, -INFINITY);
    free(good);
    tlp_model_free(m);
}

/* The bits of another version of the library may be others. */
Test(train_state, warns_of_another_version)
{
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    log_lines seen = { .n = 0 };
    course c;
    tlp_model *m = course_model(1), *again = NULL;
    tlp_plan_train_options o;
    size_t n;

    make_state(m, &o, &c);
    CHECK_OK(course_train(m, &o, NULL));
    char *data = tool_read_file(o.resume_path, &n);
    char *at = strstr(data + 8, "\"version\":\"0");

    cr_assert_not_null(at);
    at[11] = '9';
    tool_write_file(o.resume_path, data, n);
    mo.log = log_lines_add;
    mo.log_data = &seen;
    CHECK_OK(tlp_model_open(&again, m->path, &mo));
    CHECK_OK(course_train(again, &o, NULL));
    cr_expect_eq(seen.n, 1, "%s", seen.text);
    cr_expect(strstr(seen.text, "version 9"), "%s", seen.text);
    free(data);
    tlp_model_free(again);
    tlp_model_free(m);
}

Test(train_state, refuses_forged_files)
{
    static const char *const cases[][3] = {
        { "\"tlp_train\":\"1\"", "\"tlp_train\":\"9\"", "tlp_train" },
        { "\\\"step\\\": 10", "\\\"step\\\": 99", "state.step" },
        { "\\\"step\\\": 10", "\\\"step\\\": -1", "state.step" },
        { "\\\"step\\\": 10", "\\\"step\\\": {}", "state.step" },
        { "\\\"n_step\\\": 44", "\\\"n_step\\\": 45", "state.n_step" },
        { "\\\"epoch\\\": ", "\\\"epoch\\\":-", "state.epoch" },
        { "\\\"next\\\": ", "\\\"next\\\":9", "state.next" },
        { "\\\"token\\\"", "\\\"broke\\\"", "state.token" },
        { "\\\"random\\\": \\\"", "\\\"random\\\":\\\" ", "state.random" },
        { "\\\"first\\\": [", "\\\"first\\\":[[", "metadata" },
        { "\\\"best\\\": [", "\\\"best\\\":{}", "metadata" },
        { "\\\"points\\\": [", "\\\"pounts\\\": [", "state.points" },
        { "blk.1", "blk.7", "tensor" },
        { "\"shape\":[4,96]", "\"shape\":[96,4]", "tensor" },
    };
    course c;
    tlp_model *m = course_model(1);
    tlp_plan_train_options o;
    size_t n;

    make_state(m, &o, &c);
    char *good = tool_read_file(o.resume_path, &n);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *data = forge(m, good, n, cases[i][0], cases[i][1]);

        write_and_refuse(m, &o, data, n, cases[i][2]);
        free(data);
    }
    write_and_refuse(m, &o, good, 0, "bad");
    free(good);
    tlp_model_free(m);
}
