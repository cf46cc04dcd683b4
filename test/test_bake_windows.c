/*
 * test_bake_windows.c - tlp_plan_bake: windows for validation choose among
 * orders of hidden units, and have no part in making them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "support/plan_rig.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "tune/windows.h"

TestSuite(bake_windows, .timeout = 300);

enum { N_CTX = 32, N_TOKEN = 12 * N_CTX, N_LAYER = 4, N_END = 4 };

static int32_t ids[N_TOKEN];

/* The bytes of the gate of layer l in the baked file; free() them.  NULL where
 * no order helps. */
static void *bake_gate(tlp_model *m, int l, char half, size_t *n)
{
    const char *path = tiny_path("baked.gguf");
    tlp_session_options session = plan_rig_session(N_CTX);
    tlp_plan_bake_options o = TLP_PLAN_BAKE_OPTIONS_INIT;
    tlp_plan *plan = NULL, *baked = NULL;
    void *copy = NULL;
    char form[32];

    snprintf(form, sizeof form, "nosync:%d%c", l, half);
    o.session = &session;
    CHECK_OK(tlp_plan_parse(&plan, m, form));
    tlp_status st = tlp_plan_bake(&baked, NULL, plan, path, ids, N_TOKEN, &o);
    cr_assert(st == TLP_OK || st == TLP_ENOGAIN, "%s", tlp_last_error());
    if (st == TLP_OK) {
        tlp_model *b = rig_open_changeable(path);
        const tlpi_tensor *gate = b->w.layer[l].t[TLPI_FFN_GATE];

        copy = malloc(gate->n_bytes);
        memcpy(copy, gate->data, gate->n_bytes);
        *n = gate->n_bytes;
        tlp_model_free(b);
    }
    tlp_plan_free(baked);
    tlp_plan_free(plan);
    return copy;
}

/* Change the last tokens of the windows for validation. */
static void change_held_out(const tlp_model *m)
{
    tlpi_windows text = { 0 };

    CHECK_OK(tlpi_windows_cut(&text, &m->env, ids, N_TOKEN, N_CTX, 0));
    CHECK_OK(tlpi_windows_hold_out(&text, 0.25));
    for (int i = 0; i < text.n_held; i++)
        for (int t = N_CTX - N_END; t < N_CTX; t++)
            ids[text.window[i].ids - ids + t] ^= 1;
    tlpi_windows_free(&text);
}

static void expect_equal_orders(char half)
{
    tiny_spec spec = tiny_default();
    int compared = 0;
    size_t n = 0;

    spec.type = TLPI_F32;
    tlp_model *m = rig_open_changeable(tiny_make(&spec));
    rig_tokens(ids, N_TOKEN, (size_t)spec.n_vocab, 11);
    for (int l = 0; l < N_LAYER; l++) {
        void *before = bake_gate(m, l, half, &n);

        change_held_out(m);
        void *after = bake_gate(m, l, half, &n);
        if (before && after) {
            cr_expect_eq(memcmp(before, after, n), 0, "layer %d%c", l, half);
            compared++;
        }
        free(after);
        free(before);
    }
    cr_expect_gt(compared, 0);
    tlp_model_free(m);
}

Test(bake_windows, validation_makes_no_order)
{
    expect_equal_orders('a');
    expect_equal_orders('f');
}
