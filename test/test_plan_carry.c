/*
 * test_plan_carry.c - tlp_plan_carry: plans between files of one model, and
 * files that look like one model and are two.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/adjust.h"
#include "support/mem.h"
#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(plan_carry, .timeout = 60);

#define PLAN "par:1-2;lp:3-4"

/* A model and the same one with other types; names of files are reused. */
typedef struct files {
    tlp_model *from, *to;
} files;

static files two_files(void)
{
    tiny_spec spec = tiny_default();
    char path[512];
    files f;

    snprintf(path, sizeof path, "%s", tiny_path("from.gguf"));
    cr_assert(tiny_write(path, &spec));
    f.from = rig_open_changeable(path);
    snprintf(path, sizeof path, "%s", tiny_path("to.gguf"));
    CHECK_OK(tlp_model_quantize(NULL, f.from, path, "Q8_0", NULL));
    f.to = rig_open_changeable(path);
    return f;
}

static void close_files(files f)
{
    tlp_model_free(f.from);
    tlp_model_free(f.to);
}

static char *fingerprint(const tlp_model *m)
{
    tlp_model_info info = { .struct_size = sizeof info };

    CHECK_OK(tlp_model_get_info(&info, m));
    return strdup(info.fingerprint);
}

Test(plan_carry, stages_and_record)
{
    files f = two_files();
    char *old = fingerprint(f.from), *new = fingerprint(f.to);
    tlp_plan *plan = NULL, *carried = NULL, *back = NULL;

    cr_assert_str_neq(old, new);
    CHECK_OK(tlp_plan_parse(&plan, f.from, PLAN));
    char *text = plan_rig_format(plan, TLP_PLAN_JSON);
    cr_expect_eq(tlp_plan_parse(&carried, f.to, text), TLP_EMISMATCH);
    free(text);

    CHECK_OK(tlp_plan_carry(&carried, plan, f.to));
    text = plan_rig_format(carried, TLP_PLAN_JSON);
    cr_expect(strstr(text, new), "%s", text);
    const char *made = strstr(text, "\"carried_from\"");
    cr_assert_not_null(made, "%s", text);
    cr_expect(strstr(made, old), "%s", text);
    /* What is written is a plan for the other file alone. */
    CHECK_OK(tlp_plan_parse(&back, f.to, text));
    tlp_plan_free(back);
    cr_expect_eq(tlp_plan_parse(&back, f.from, text), TLP_EMISMATCH);
    free(text);

    size_t n = 0;
    char buf[64];
    CHECK_OK(tlp_plan_format(buf, sizeof buf, &n, carried, TLP_PLAN_TEXT));
    cr_expect_str_eq(buf, PLAN);
    tlp_plan_free(carried);
    tlp_plan_free(plan);
    free(new);
    free(old);
    close_files(f);
}

/* The record that a plan had stays. */
Test(plan_carry, record_is_added_to)
{
    files f = two_files();
    tlp_plan *plan = NULL, *carried = NULL;

    CHECK_OK(tlp_plan_parse(&plan, f.from,
                            "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0]}, "
                            "{\"layers\": [1]}, {\"layers\": [2]}, "
                            "{\"layers\": [3, 4], \"mode\": \"par\"}], "
                            "\"made\": {\"by\": \"hand\", \"kl\": 0.41}}"));
    CHECK_OK(tlp_plan_carry(&carried, plan, f.to));
    char *text = plan_rig_format(carried, TLP_PLAN_JSON);
    cr_expect(strstr(text, "\"by\": \"hand\", \"kl\": 0.41, \"carried_from\""),
              "%s", text);
    free(text);
    tlp_plan_free(carried);
    tlp_plan_free(plan);
    close_files(f);
}

/* ==== adjustments ======================================================== */

static tlp_plan *adjusted(tlp_model *m, const char *text)
{
    int32_t ids[512];
    tlp_session_options session = TLP_SESSION_OPTIONS_INIT;
    tlp_plan_adjust_options o = TLP_PLAN_ADJUST_OPTIONS_INIT;
    tlp_plan *plan = NULL, *out = NULL;

    rig_tokens(ids, 512, (size_t)m->hp.n_vocab, 5);
    o.gains = o.norms = 1;
    o.rank = 8;
    session.n_ctx = 32;
    session.n_thread = 1;
    o.session = &session;
    CHECK_OK(tlp_plan_parse(&plan, m, text));
    CHECK_OK(tlp_plan_adjust(&out, NULL, plan, ids, 512, &o));
    tlp_plan_free(plan);
    return out;
}

static void carry_adjusted(const char *text)
{
    files f = two_files();
    tlp_plan *plan = adjusted(f.from, text), *carried = NULL, *loaded = NULL;
    char path[512];

    CHECK_OK(tlp_plan_carry(&carried, plan, f.to));
    const tlpi_adjust *a = plan->adjust, *b = carried->adjust;
    cr_assert_not_null(b);
    cr_assert_eq(a->index->n_tensor, b->index->n_tensor);
    for (size_t i = 0; i < a->index->n_tensor; i++) {
        const tlpi_tensor *x = &a->index->tensor[i], *y = &b->index->tensor[i];

        cr_expect_str_eq(x->name, y->name);
        cr_assert_eq(x->n_bytes, y->n_bytes);
        cr_expect_eq(memcmp(x->data, y->data, x->n_bytes), 0, "%s", x->name);
    }
    /* and it is a plan like any other of that file */
    snprintf(path, sizeof path, "%s", tiny_path("p.json"));
    CHECK_OK(tlp_plan_save(carried, path));
    CHECK_OK(tlp_plan_load(&loaded, f.to, path));
    cr_expect_str_eq(loaded->adjust->sha256, b->sha256);
    tlp_plan_free(loaded);
    cr_expect_eq(tlp_plan_load(&loaded, f.from, path), TLP_EMISMATCH);
    tlp_plan_free(carried);
    tlp_plan_free(plan);
    close_files(f);
}

Test(plan_carry, adjustments_come_along)
{
    carry_adjusted(PLAN);
    carry_adjusted("nosync@3:0a;par:2-3");
}

/* ==== refusals =========================================================== */

static void refuse(const tlp_plan *plan, tlp_model *to, const char *text)
{
    tlp_plan *carried = NULL;

    cr_expect_eq(tlp_plan_carry(&carried, plan, to), TLP_EMISMATCH, "%s", text);
    cr_expect_null(carried);
    cr_expect(strstr(tlp_last_error(), text), "%s expected: %s", text,
              tlp_last_error());
}

Test(plan_carry, another_model)
{
    files f = two_files();
    tlp_plan *plan = NULL;
    float *norm = (float *)f.to->w.layer[3].t[TLPI_FFN_NORM]->data;

    CHECK_OK(tlp_plan_parse(&plan, f.from, PLAN));
    norm[7] *= 1.0001f; /* trained a little further */
    refuse(plan, f.to, "tensor blk.3.ffn_norm.weight");
    norm[7] /= 1.0001f;
    f.to->hp.rope_theta *= 2;
    refuse(plan, f.to, "rope_theta");
    tlp_plan_free(plan);
    close_files(f);
}

static void swap_rows(const tlpi_tensor *t, size_t i, size_t j)
{
    size_t n = tlpi_row_bytes(t->type, t->ne[0]);
    uint8_t *data = (uint8_t *)(uintptr_t)t->data;

    for (size_t k = 0; k < n; k++) {
        uint8_t x = data[i * n + k];

        data[i * n + k] = data[j * n + k];
        data[j * n + k] = x;
    }
}

/* A file with its units in another order is the same serial model, but a plan
 * with tracks would compute something else. */
Test(plan_carry, another_order_of_units)
{
    static const struct {
        tlpi_layer_id id;
        const char *words;
    } cut[] = { { TLPI_FFN_GATE, "row 8: not as in" },
                { TLPI_ATTN_Q, "heads" } };
    static const char *const free_plan[] = { PLAN, "nosync@2:1a" };
    files f = two_files();
    tlp_plan *plan = NULL, *other = NULL, *carried = NULL;

    CHECK_OK(tlp_plan_parse(&plan, f.from, "nosync@2:2f"));
    for (size_t i = 0; i < TLPI_COUNT(cut); i++) {
        const tlpi_tensor *t = f.to->w.layer[3].t[cut[i].id];

        swap_rows(t, 8, 11);
        refuse(plan, f.to, cut[i].words);
        for (size_t k = 0; k < TLPI_COUNT(free_plan); k++) {
            CHECK_OK(tlp_plan_parse(&other, f.from, free_plan[k]));
            CHECK_OK(tlp_plan_carry(&carried, other, f.to));
            tlp_plan_free(carried);
            tlp_plan_free(other);
        }
        swap_rows(t, 8, 11);
        CHECK_OK(tlp_plan_carry(&carried, plan, f.to));
        tlp_plan_free(carried);
    }
    tlp_plan_free(plan);
    close_files(f);
}

Test(plan_carry, every_hyper_parameter_that_makes_another_model)
{
    files f = two_files();
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, f.from, PLAN));
    for (size_t i = 0; i < TLPI_N_HPARAM; i++) {
        const tlpi_hparam *row = &tlpi_hparam_table[i];
        const tlpi_hparams old = f.from->hp;
        char *field = (char *)&f.from->hp + row->at;
        tlp_plan *carried = NULL;

        if (row->is_float)
            *(float *)(void *)field += 0.5f;
        else
            *(int *)(void *)field += 1;
        if (row->identity == TLPI_SAME_MODEL)
            CHECK_OK(tlp_plan_carry(&carried, plan, f.to));
        else
            refuse(plan, f.to, row->name);
        tlp_plan_free(carried);
        f.from->hp = old;
    }
    tlp_plan_free(plan);
    close_files(f);
}

Test(plan_carry, another_shape_and_arch)
{
    files f = two_files();
    tlp_plan *plan = NULL;
    tiny_spec spec = tiny_default();

    CHECK_OK(tlp_plan_parse(&plan, f.from, PLAN));
    spec.n_ff += 32;
    tlp_model *m = rig_open_changeable(tiny_make(&spec));
    refuse(plan, m, "n_ff");
    tlp_model_free(m);
    spec = tiny_default();
    spec.arch = "qwen3";
    m = rig_open_changeable(tiny_make(&spec));
    refuse(plan, m, "arch qwen3");
    tlp_model_free(m);
    tlp_plan_free(plan);
    close_files(f);
}

Test(plan_carry, arguments)
{
    files f = two_files();
    tlp_plan *plan = NULL, *carried = NULL;

    CHECK_OK(tlp_plan_parse(&plan, f.from, PLAN));
    cr_expect_eq(tlp_plan_carry(NULL, plan, f.to), TLP_EINVAL);
    cr_expect_eq(tlp_plan_carry(&carried, NULL, f.to), TLP_EINVAL);
    cr_expect_eq(tlp_plan_carry(&carried, plan, NULL), TLP_EINVAL);
    tlp_plan_free(plan);
    close_files(f);
}
