/*
 * test_plan.c - plans read from text and JSON, written back, and refused.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/digest.h"
#include "plan/plan.h"
#include "support/fake_model.h"
#include "support/tiny.h"

static tlp_model *model;

static void set_up(void)
{
    static const fake_shape shape = { 30, 96, 160, 6, 3, 16, 288 };
    static const tlpi_dtype f32[] = { TLPI_F32 };

    model = fake_model(&shape, f32, 1);
}

static void tear_down(void)
{
    tlp_model_free(model);
}

TestSuite(plan, .init = set_up, .fini = tear_down);
TestSuite(plan_json, .init = set_up, .fini = tear_down);

static tlp_plan *parse(const char *text)
{
    tlp_plan *p = NULL;

    cr_assert_eq(tlp_plan_parse(&p, model, text), TLP_OK, "%s: %s", text,
                 tlp_last_error());
    return p;
}

/* static storage, two texts at a time */
static const char *format(const tlp_plan *p, int form)
{
    static char buf[2][1 << 16];
    static int turn;
    size_t len = 0;

    turn = !turn;
    cr_assert_eq(tlp_plan_format(buf[turn], sizeof buf[0], &len, p, form),
                 TLP_OK, "%s", tlp_last_error());
    cr_assert_eq(len, strlen(buf[turn]));
    return buf[turn];
}

static void check_same(const tlp_plan *a, const tlp_plan *b, const char *text)
{
    cr_assert_eq(a->n_stage, b->n_stage, "%s", text);
    cr_assert_eq(a->n_track, b->n_track, "%s", text);
    for (int i = 0; i < a->n_stage; i++) {
        const tlpi_stage *x = &a->stage[i], *y = &b->stage[i];
        cr_assert_eq(x->mode, y->mode, "%s", text);
        cr_assert_eq(x->n_member, y->n_member, "%s", text);
        cr_assert_eq(x->nosync, y->nosync, "%s", text);
        cr_assert_arr_eq(x->layers, y->layers,
                         (size_t)x->n_member * sizeof *x->layers, "%s", text);
    }
}

/* Stages as "0 1 [par 3 4] ...". */
static const char *spell(const tlp_plan *p)
{
    static char buf[4096];
    size_t at = 0;
    tlp_stage_info s = { .struct_size = sizeof s };

    for (size_t i = 0; tlp_plan_get_stage(&s, p, i) == TLP_OK; i++) {
        if (s.n_member > 1)
            at += (size_t)sprintf(buf + at, "[%d ", s.mode);
        for (int j = 0; j < s.n_member; j++)
            at += (size_t)sprintf(buf + at, "%d ", s.layers[j]);
        if (s.n_member > 1)
            strcpy(buf + at - 1, "] "), at++;
    }
    buf[at - 1] = '\0';
    return buf;
}

/* ==== the text form ====================================================== */

Test(plan, text_gives_stages)
{
    static const struct {
        const char *text, *stages;
    } cases[] = {
        { "serial",
          "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 "
          "23 24 25 26 27 28 29" },
        { "drop:6-29", "0 1 2 3 4 5" },
        { "drop:6-29;par:1-2", "0 [2 1 2] 3 4 5" },
        { "drop:6-29;lp:0-1,3-5", "[1 0 1] 2 [1 3 4 5]" },
        { "drop:6-29;asym:1+4+5", "0 [3 1 4 5] 2 3" },
        { "drop:6-29;asym:4+1", "0 [3 4 1] 2 3 5" },
        { "drop:6-29;lp-code:0-1;merge:3-4;par:2+5",
          "[4 0 1] [2 2 5] [5 3 4]" },
        { "drop:6-29;pairs:1-4@par", "0 [2 1 2] [2 3 4] 5" },
        { "drop:6-29;pairs:1-5@lp", "0 [1 1 2] [1 3 4] 5" },
        { "drop:6-29;order:0,2,1,3-5", "0 2 1 3 4 5" },
        { "order:5,0,3,1,2,4;drop:6-29;par:1-2", "5 0 3 [2 1 2] 4" },
        { "order:5,0,2,3,1,4;drop:6-29;par:1-2", "5 0 [2 1 2] 3 4" },
        { " drop : 6 - 29 ;\tpar: 1 - 2 ,\n 3 + 5 ", "0 [2 1 2] [2 3 5] 4" },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlp_plan *p = parse(cases[i].text);
        cr_expect_str_eq(spell(p), cases[i].stages, "%s: %s", cases[i].text,
                         spell(p));
        tlp_plan_free(p);
    }
}

/* Pairs end at layer 26 of 0-29 as long as they leave layers 0 and 1 out, then
 * move up to the end, and take 0 and 1 only when all layers are paired. */
Test(plan, depth_places_pairs_before_the_last_layers)
{
    static const struct {
        int depth;
        const char *text;
    } cases[] = {
        { 30, "serial" },          { 29, "par:25-26" },
        { 25, "pairs:17-26@par" }, { 18, "pairs:3-26@par" },
        { 17, "pairs:2-27@par" },  { 16, "pairs:2-29@par" },
        { 15, "pairs:0-29@par" },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        char text[32];
        snprintf(text, sizeof text, "depth:%d@par", cases[i].depth);
        tlp_plan *p = parse(text);
        cr_expect_eq(p->n_stage, cases[i].depth);
        cr_expect_str_eq(format(p, TLP_PLAN_TEXT), cases[i].text, "%s", text);
        tlp_plan_free(p);
    }
}

Test(plan, text_is_written_the_shortest_way)
{
    static const char *const cases[][2] = {
        { "serial", "serial" },
        { "par:12+13,14-15", "par:12-13,14-15" },
        { "par:12-13,14-15,16-17", "pairs:12-17@par" },
        { "pairs:9-24@lp", "pairs:9-24@lp" },
        { "pairs:9-25@lp", "pairs:9-24@lp" },
        { "par:3-4;lp:6-7;par:9-10", "par:3-4;lp:6-7;par:9-10" },
        { "par:3-4;par:9-10", "par:3-4,9-10" },
        { "lp:20-22;par:3+5+6", "par:3+5-6;lp:20-22" },
        { "par:20-21;pairs:3-8@par", "pairs:3-8@par;par:20-21" },
        { "drop:3,1,2,9", "drop:1-3,9" },
        { "order:0,2,1,3-29", "order:0,2,1,3-29" },
        { "order:0-29", "serial" },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tlp_plan *p = parse(cases[i][0]);
        cr_expect_str_eq(format(p, TLP_PLAN_TEXT), cases[i][1], "%s",
                         format(p, TLP_PLAN_TEXT));
        tlp_plan_free(p);
    }
}

typedef struct refusal {
    const char *text;
    tlp_status status;
    const char *error; /* part of the message */
} refusal;

static void check_refused(const refusal *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tlp_plan *p = (tlp_plan *)model;
        tlp_status st = tlp_plan_parse(&p, model, cases[i].text);
        cr_expect_eq(st, cases[i].status, "%s: %s (%s)", cases[i].text,
                     tlp_status_name(st), tlp_last_error());
        cr_expect_null(p);
        cr_expect(strstr(tlp_last_error(), cases[i].error), "%s: %s",
                  cases[i].text, tlp_last_error());
    }
}

Test(plan, bad_text_is_refused_by_clause_and_layer)
{
    static const refusal cases[] = {
        { "", TLP_EFORMAT, "plan: clause \"\": " },
        { "serial;", TLP_EFORMAT, "expected at its end" },
        { "serial;par:3-4", TLP_EINVAL, "stand alone, 2 clauses" },
        { "depth:20@lp;drop:1", TLP_EINVAL, "stand alone" },
        { "serial x", TLP_EFORMAT, "expected at \"x\"" },
        { "fast:3-4", TLP_EFORMAT, "expected at \"fast:3-4\"" },
        { "par", TLP_EFORMAT, "clause \"par\": \":\" expected at its end" },
        { "par:", TLP_EFORMAT,
          "plan: clause \"par:\": a number expected at its end" },
        { "par:;drop:3", TLP_EFORMAT,
          "plan: clause \"par:\": a number expected at its end" },
        { "lp:1-2;par:3-;drop:7", TLP_EFORMAT,
          "plan: clause \"par:3-\": a number expected at its end" },
        { "par:3-4,,6-7", TLP_EFORMAT,
          "plan: clause \"par:3-4,,6-7\": a number expected at \",6-7\"" },
        { "par:3-4;;drop:7", TLP_EFORMAT, "plan: clause \"\": serial, " },
        { "par:3-", TLP_EFORMAT, "a number expected" },
        { "par:3-4,", TLP_EFORMAT, "a number expected" },
        { "lp:2-3;par:3-x", TLP_EFORMAT,
          "clause \"par:3-x\": a number expected at \"x\"" },
        { "par:-3-4", TLP_EFORMAT, "a number expected at \"-3-4\"" },
        { "par:4-3", TLP_EFORMAT, "4-3 runs backwards" },
        { "par:3", TLP_EINVAL, "at least 2 layers, layer 3 stands alone" },
        { "par:30-31", TLP_EINVAL,
          "plan: layer 30 does not exist, the model has 30 (0-29)" },
        { "par:0-999999999", TLP_EINVAL, "layer 30 does not exist" },
        { "par:0-9999999999", TLP_EFORMAT, "a smaller number expected" },
        { "par:12-13,12-14", TLP_EINVAL,
          "plan: layer 12 is in two groups (12-13 and 12-14)" },
        { "par:12-13;lp:11+13", TLP_EINVAL, "layer 13 is in two groups" },
        { "par:12+12", TLP_EINVAL, "layer 12 is twice in a group" },
        { "pairs:9@lp", TLP_EINVAL, "at least 2 layers" },
        { "pairs:9-12", TLP_EFORMAT, "\"@\" expected at its end" },
        { "pairs:9-12@", TLP_EFORMAT, "lp, par, asym" },
        { "pairs:9-12@serial", TLP_EFORMAT, "lp, par, asym" },
        { "pairs:28-31@lp", TLP_EINVAL, "layer 30 does not exist" },
        { "depth:14@par", TLP_EINVAL,
          "depth 14: pairs of 30 layers give 15 to" },
        { "depth:31@par", TLP_EINVAL, "depth 31" },
        { "drop:3,3", TLP_EINVAL, "layer 3 is dropped twice" },
        { "drop:3;par:3-4", TLP_EINVAL, "layer 3 is dropped and in a group" },
        { "par:3-4;drop:3", TLP_EINVAL, "layer 3 is dropped and in a group" },
        { "drop:0-29", TLP_EINVAL, "no layer is left" },
        { "drop:30", TLP_EINVAL, "layer 30 does not exist" },
        { "order:0-28", TLP_EINVAL, "layer 29 is missing from the order" },
        { "order:0-29,3", TLP_EINVAL, "layer 3 is twice in the order" },
        { "order:0-29;drop:3", TLP_EINVAL, "layer 3 is dropped and in the" },
        { "order:0-29;order:0-29", TLP_EINVAL, "the order is given twice" },
    };

    check_refused(cases, TLPI_COUNT(cases));
}

Test(plan, misuse_is_refused)
{
    tlp_plan *p = parse("par:3-4");
    tlp_plan *q = p;
    tlp_stage_info s = { .struct_size = sizeof s };
    char buf[8];
    size_t len = 0;

    cr_expect_eq(tlp_plan_parse(NULL, model, "serial"), TLP_EINVAL);
    cr_expect_eq(tlp_plan_parse(&q, NULL, "serial"), TLP_EINVAL);
    cr_expect_null(q);
    cr_expect_eq(tlp_plan_parse(&q, model, NULL), TLP_EINVAL);
    cr_expect_eq(tlp_plan_get_stage(&s, p, 29), TLP_EINVAL);
    cr_expect(strstr(tlp_last_error(), "the plan has 29"));
    cr_expect_eq(tlp_plan_format(buf, sizeof buf, &len, p, 2), TLP_EINVAL);
    cr_expect_eq(tlp_plan_format(buf, 7, &len, p, TLP_PLAN_TEXT), TLP_EBUFS);
    cr_expect_eq(len, 7);
    cr_expect_eq(tlp_plan_format(buf, 8, &len, p, TLP_PLAN_TEXT), TLP_OK);
    cr_expect_str_eq(buf, "par:3-4");
    tlp_plan_free(p);
    tlp_plan_free(NULL);
}

Test(plan, a_plan_keeps_its_model)
{
    tlp_plan *p = parse("par:3-4");
    tlp_plan *q = tlpi_plan_retain(p);

    tlp_model_free(model);
    tlp_plan_free(p);
    cr_expect_eq(q->model->hp.n_layer, 30);
    cr_expect_eq(tlpi_plan_max_members(q), 2);
    model = tlpi_model_retain(q->model);
    tlp_plan_free(q);
}

/* ==== round trips ======================================================== */

static uint64_t rng = 7;

static int below(int n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (int)((rng >> 33) % (uint64_t)n);
}

/* Layers in nearly natural order, some dropped, in stages of random modes. */
static tlp_plan *random_plan(void)
{
    int n = 30 - below(4), n_stage = 0;
    int layers[30];
    tlpi_stage stage[30];
    tlp_plan *p = NULL;

    for (int i = 0; i < 30; i++)
        layers[i] = i;
    for (int swaps = below(4); swaps > 0; swaps--) {
        int i = below(30), j = below(30), t = layers[i];
        layers[i] = layers[j];
        layers[j] = t;
    }
    for (int at = 0, size; at < n; at += size, n_stage++) {
        size = below(3) ? 1 + below(2) : 1 + below(4);
        size = TLPI_MIN(size, n - at);
        stage[n_stage] =
            (tlpi_stage){ size == 1 ? TLP_MODE_SERIAL : 1 + below(5), size,
                          layers + at, 0 };
    }
    for (int i = 0; i + 1 < n_stage && n % 2; i++)
        if (stage[i].n_member == 1)
            stage[i].nosync =
                below(stage[i + 1].n_member == 1 ? 4 : 2); /* a, f or both */
    cr_assert_eq(tlpi_plan_build(&p, model, stage, n_stage, 2 + below(5),
                                 below(2) ? "{\"n\": 1}" : NULL, "test"),
                 TLP_OK, "%s", tlp_last_error());
    return p;
}

Test(plan, what_is_written_reads_back_the_same)
{
    for (int trial = 0; trial < 1000; trial++) {
        tlp_plan *p = random_plan();
        for (int form = TLP_PLAN_TEXT; form <= TLP_PLAN_JSON; form++) {
            const char *text = format(p, form);
            tlp_plan *q = parse(text);
            check_same(p, q, text);
            cr_assert_str_eq(format(q, form), text);
            if (form == TLP_PLAN_JSON && p->made)
                cr_assert_str_eq(q->made, p->made);
            tlp_plan_free(q);
        }
        tlp_plan_free(p);
    }
}

/* ==== the JSON form ====================================================== */

/* {"tlp_plan": 1, `more` "stages": 0 to 29 but for `stages` }, where `stages`
 * stands for layers up to `upto`; static storage. */
static const char *json_with(const char *more, const char *stages, int upto)
{
    static char buf[8192];
    int n = snprintf(buf, sizeof buf, "{\"tlp_plan\": 1, %s \"stages\": [%s",
                     more, stages);

    for (int l = upto + 1; l < 30; l++)
        n += snprintf(buf + n, sizeof buf - (size_t)n, "%s{\"layers\": [%d]}",
                      l > upto + 1 || stages[0] ? ", " : "", l);
    snprintf(buf + n, sizeof buf - (size_t)n, "]}");
    return buf;
}

Test(plan_json, every_mode_and_study_key_is_read)
{
    tlp_plan *p = parse(json_with(
        "\"model\": {\"arch\": \"llama\", \"n_layer\": 30}, \"drop\": [3, 1],"
        "\"order\": [0, 5, 4, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, "
        "18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29],"
        "\"made\": {\"kl\": 0.41, \"by\": [\"\\u00e9\", null, true, 1e300]},",
        "{\"layers\": [0], \"mode\": \"serial\"},"
        "{\"mode\": \"lp-code\", \"layers\": [2, 6]}, {\"layers\": [4]},"
        "{\"layers\": [5]}, {\"layers\": [7, 8], \"mode\": \"merge\"}",
        8));

    cr_expect_str_eq(format(p, TLP_PLAN_TEXT),
                     "lp-code:2+6;merge:7-8;drop:1,3;order:0,5,4,2,6-29");
    cr_expect_str_eq(
        p->made, "{\"kl\": 0.41, \"by\": [\"\xc3\xa9\", null, true, 1e300]}",
        "%s", p->made);
    tlp_plan_free(p);
}

Test(plan_json, numbers_in_made_keep_their_values)
{
    static const char *const kept[] = {
        "{\"x\": 0.10000000000000001, \"y\": 0.33333333333333331}",
        "{\"x\": 1.7976931348623157e308}",
        "{\"x\": 9223372036854775807, \"y\": 2.5}",
    };
    for (size_t i = 0; i < TLPI_COUNT(kept); i++) {
        char made[128];
        snprintf(made, sizeof made, "\"made\": %s,", kept[i]);
        tlp_plan *p = parse(json_with(made, "", -1));
        cr_expect_str_eq(p->made, kept[i], "%s", p->made);
        tlp_plan_free(p);
    }
}

Test(plan_json, the_written_form_is_that_of_the_design)
{
    tlp_plan *p = parse("par:1-2;drop:4-29");
    const char *digest = NULL;
    char expected[640];

    cr_assert_eq(tlpi_model_digest(model, &digest, NULL, NULL), TLP_OK);
    snprintf(expected, sizeof expected,
             "{\n  \"tlp_plan\": 1,\n"
             "  \"model\": {\"arch\": \"llama\", \"n_layer\": 30,\n"
             "            \"fingerprint\": \"%s\",\n"
             "            \"digest\": \"%s\"},\n"
             "  \"stages\": [\n"
             "    {\"layers\": [0]},\n"
             "    {\"layers\": [1, 2], \"mode\": \"par\"},\n"
             "    {\"layers\": [3]}\n"
             "  ],\n"
             "  \"drop\": [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, "
             "18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]\n"
             "}\n",
             tlpi_model_fingerprint(model), digest);
    cr_expect_str_eq(format(p, TLP_PLAN_JSON), expected);
    tlp_plan_free(p);
}

Test(plan_json, plans_for_other_models_are_refused)
{
    static const refusal cases[] = {
        { "{\"tlp_plan\": 1, \"model\": {\"arch\": \"qwen2\"}, \"stages\": []}",
          TLP_EMISMATCH,
          "\"model.arch\": the plan is for qwen2, fake.gguf has "
          "llama" },
        { "{\"tlp_plan\": 1, \"model\": {\"n_layer\": 32}, \"stages\": []}",
          TLP_EMISMATCH,
          "\"model.n_layer\": the plan is for 32, fake.gguf has "
          "30" },
        { "{\"tlp_plan\": 1, \"model\": {\"fingerprint\": \"sha256:00\"}, "
          "\"stages\": []}",
          TLP_EMISMATCH,
          "\"model.fingerprint\": the plan is for sha256:00, "
          "fake.gguf has sha256:" },
        { "{\"tlp_plan\": 1, \"model\": {\"digest\": \"sha256:00\"}, "
          "\"stages\": []}",
          TLP_EMISMATCH,
          "\"model.digest\": the plan is for sha256:00, "
          "fake.gguf has sha256:" },
        { "{\"tlp_plan\": 1, \"model\": {\"digest\": 7}, \"stages\": []}",
          TLP_EFORMAT, "\"model.digest\": a string expected" },
    };

    check_refused(cases, TLPI_COUNT(cases));
}

Test(plan_json, bad_json_is_refused_by_key)
{
    static const refusal cases[] = {
        { "{", TLP_EFORMAT, "plan: line 1, column 1: " },
        { "{\"tlp_plan\": 1,\n \"stages\": [}", TLP_EFORMAT,
          "line 2, column 13: " },
        { "{\"tlp_plan\": 1, \"stages\": []} x", TLP_EFORMAT, "line 1" },
        { "{\"tlp_plan\": 1, \"tlp_plan\": 1, \"stages\": []}", TLP_EFORMAT,
          "duplicate" },
        { "{\"stages\": []}", TLP_EFORMAT,
          "\"tlp_plan\": an integer expected" },
        { "{\"tlp_plan\": \"1\"}", TLP_EFORMAT, "\"tlp_plan\": an integer" },
        { "{\"tlp_plan\": 2, \"new\": 1}", TLP_ENOTSUP,
          "version 2, 1 expected" },
        { "{\"tlp_plan\": 0}", TLP_EFORMAT, "version 0, 1 expected" },
        { "{\"tlp_plan\": 1, \"stagez\": []}", TLP_EFORMAT,
          "key \"stagez\" is not known" },
        { "{\"tlp_plan\": 1}", TLP_EFORMAT, "\"stages\": an array expected" },
        { "{\"tlp_plan\": 1, \"model\": 1}", TLP_EFORMAT, "\"model\": an obj" },
        { "{\"tlp_plan\": 1, \"model\": {\"name\": 1}}", TLP_EFORMAT,
          "model: key \"name\" is not known" },
        { "{\"tlp_plan\": 1, \"model\": {\"arch\": 1}}", TLP_EFORMAT,
          "\"model.arch\": a string expected" },
        { "{\"tlp_plan\": 1, \"model\": {\"n_layer\": 30.0}}", TLP_EFORMAT,
          "\"model.n_layer\": an integer expected" },
        { "{\"tlp_plan\": 1, \"stages\": [0]}", TLP_EFORMAT,
          "stages[0]: an object expected" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layer\": [0]}]}", TLP_EFORMAT,
          "stages[0]: key \"layer\" is not known" },
        { "{\"tlp_plan\": 1, \"stages\": [{}]}", TLP_EFORMAT,
          "\"stages[0].layers\": an array of layers expected" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": []}]}", TLP_EINVAL,
          "a group without layers" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [\"0\"]}]}", TLP_EFORMAT,
          "\"stages[0].layers\", element 0: a layer number expected" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [-1]}]}", TLP_EINVAL,
          "layer -1 does not exist" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": "
          "[4294967296]}]}",
          TLP_EINVAL, "layer 4294967296 does not exist" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0, 1]}]}", TLP_EFORMAT,
          "stages[0]: key \"mode\": missing" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0, 1], \"mode\": "
          "\"serial\"}]}",
          TLP_EINVAL, "cannot share a serial stage" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0], \"mode\": "
          "\"par\"}]}",
          TLP_EINVAL, "layer 0 stands alone" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0], \"mode\": "
          "\"fast\"}]}",
          TLP_EFORMAT, "not \"fast\"" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0], \"mode\": 1}]}",
          TLP_EFORMAT, "stages[0]: key \"mode\"" },
        { "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0]}]}", TLP_EINVAL,
          "layer 1 is in no stage and not in \"drop\"" },
        { "{\"tlp_plan\": 1, \"stages\": [], \"drop\": 3}", TLP_EFORMAT,
          "\"drop\": an array of layers expected" },
        { "{\"tlp_plan\": 1, \"stages\": [], \"order\": {}}", TLP_EFORMAT,
          "\"order\": an array of layers expected" },
    };

    check_refused(cases, TLPI_COUNT(cases));
}

Test(plan_json, stages_out_of_order_need_an_order)
{
    const refusal cases[] = {
        { json_with("", "{\"layers\": [1]}, {\"layers\": [0]}", 1), TLP_EINVAL,
          "stage 1: layer 0 comes after layer 1, which needs \"order\"" },
    };

    check_refused(cases, TLPI_COUNT(cases));
}

Test(plan_json, every_stage_repeated_is_refused)
{
    char text[4096];
    int n = snprintf(text, sizeof text, "{\"tlp_plan\": 1, \"stages\": [");

    for (int l = 0; l < 60; l++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s{\"layers\": [%d]}",
                      l > 0 ? "," : "", l % 30);
    snprintf(text + n, sizeof text - (size_t)n, "]}");
    const refusal cases[] = {
        { text, TLP_EINVAL, "layer 0 is in two groups (0 and 0)" },
    };
    check_refused(cases, TLPI_COUNT(cases));
}

Test(plan_json, nesting_and_size_are_bounded)
{
    size_t n = (1 << 20) + 2;
    char *text = malloc(n);
    tlp_plan *p = NULL;

    memset(text, '[', n);
    text[0] = '{';
    text[n - 1] = '\0';
    cr_expect_eq(tlp_plan_parse(&p, model, text), TLP_EFORMAT);
    cr_expect(strstr(tlp_last_error(), "at most 1048576"));
    text[n - 2] = '\0';
    cr_expect_eq(tlp_plan_parse(&p, model, text), TLP_EFORMAT);
    cr_expect(strstr(tlp_last_error(), "nested deeper than 32"));
    free(text);
    /* Brackets inside strings are not nesting. */
    p = parse(json_with("\"made\": {\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\": "
                        "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"},",
                        "", -1));
    tlp_plan_free(p);
}

/* ==== files ============================================================== */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    cr_assert_not_null(f);
    cr_assert_geq(fputs(text, f), 0);
    cr_assert_eq(fclose(f), 0);
}

Test(plan_json, a_saved_plan_loads_again_with_what_made_it)
{
    const char *path = tiny_path("plan.json");
    tlp_plan *p =
        parse(json_with("\"made\": {\"kl\": 0.1},",
                        "{\"layers\": [0, 1], \"mode\": \"asym\"}", 1));
    tlp_plan *q = NULL;

    cr_assert_eq(tlp_plan_save(p, path), TLP_OK, "%s", tlp_last_error());
    cr_assert_eq(tlp_plan_load(&q, model, path), TLP_OK, "%s",
                 tlp_last_error());
    check_same(p, q, path);
    cr_expect_str_eq(q->made, "{\"kl\": 0.1}");
    tlp_plan_free(q);
    tlp_plan_free(p);
}

Test(plan_json, a_failed_load_names_the_file)
{
    const char *path = tiny_path("bad.json");
    tlp_plan *p = NULL;

    write_file(path, "{\"tlp_plan\": 1,\n\"stages\" []}");
    cr_expect_eq(tlp_plan_load(&p, model, path), TLP_EFORMAT);
    cr_expect_null(p);
    cr_expect(strstr(tlp_last_error(), "bad.json: line 2, column "), "%s",
              tlp_last_error());
    write_file(path, "serial");
    cr_expect_eq(tlp_plan_load(&p, model, path), TLP_EFORMAT);
    cr_expect_eq(tlp_plan_load(&p, model, "/nonexistent/plan.json"), TLP_EIO);
    cr_expect(strstr(tlp_last_error(), "/nonexistent/plan.json"));
}

Test(plan_json, a_failed_save_leaves_the_old_file)
{
    char path[512];
    tlp_plan *p = parse("par:3-4");

    /* A name of 255 bytes is the longest: this file can be, a temporary one
     * that adds to its name cannot. */
    snprintf(path, sizeof path, "%s", tiny_path("plan.json"));
    char *name = strrchr(path, '/') + 1;
    memset(name, 'x', 255);
    name[255] = '\0';
    write_file(path, "old");
    cr_assert_eq(tlp_plan_save(p, path), TLP_EIO);
    FILE *f = fopen(path, "r");
    char text[8] = "";
    cr_assert_not_null(f);
    cr_assert_not_null(fgets(text, sizeof text, f));
    cr_expect_str_eq(text, "old");
    fclose(f);
    cr_expect_eq(tlp_plan_save(p, "/nonexistent/plan.json"), TLP_EIO);
    tlp_plan_free(p);
}
