/*
 * test_backend_cpu.c - what a CPU backend promises beside the numbers: results
 * that depend on nothing but their inputs, and its resources.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/random_weights.h"

TestSuite(backend_cpu, .timeout = 120);

/* ==== what must not matter =============================================== */

static void check_bits(const float *got, const float *want, int n,
                       const char *isa, tlpi_dtype type, const char *what)
{
    for (int i = 0; i < n; i++)
        cr_assert(!memcmp(&got[i], &want[i], sizeof *got),
                  "%s %s, %s: output %d is %.9g, not %.9g", isa,
                  tlpi_dtype_name(type), what, i, (double)got[i],
                  (double)want[i]);
}

Test(backend_cpu, threads_and_neighbours_do_not_matter)
{
    enum { ROWS = 100, COLS = 256, TOKENS = 139 };
    static float y[TOKENS * ROWS], z[TOKENS * ROWS];

    for (size_t i = 0; i < WEIGHTS_N_ISA * 2; i++) {
        int isa = weights_isa[i / 2];
        const char *name = weights_isa_name[i / 2];
        tlpi_backend *b[] = { weights_backend(isa, i % 2, 1),
                              weights_backend(isa, i % 2, 2),
                              weights_backend(isa, i % 2, 3) };
        for (size_t k = 0; b[0] && k < WEIGHTS_N_TYPE; k++) {
            tlpi_tensor t = random_tensor(weights_type[k], ROWS, COLS);
            float *x = random_floats(TOKENS * COLS);
            tlpi_weight *w = weigh_all(b[0], &t);
            multiply(b[0], w, x, TOKENS, y);
            for (int n = 1; n < 3; n++) {
                multiply(b[n], w, x, TOKENS, z);
                check_bits(z, y, TOKENS * ROWS, name, weights_type[k],
                           "threads");
            }
            for (int t0 = 0, n = 1; t0 < TOKENS; t0 += n, n = n % 17 + 1) {
                n = TLPI_MIN(n, TOKENS - t0);
                multiply(b[1], w, x + t0 * COLS, n, z + t0 * ROWS);
            }
            check_bits(z, y, TOKENS * ROWS, name, weights_type[k],
                       "neighbours");
            b[0]->ops->weight_free(w);
            free(x);
            tensor_free(&t);
        }
        for (int n = 0; n < 3 && b[0]; n++)
            b[n]->ops->free(b[n]);
    }
}

/* ==== resources ========================================================== */

Test(backend_cpu, weights_are_cut_on_blocks_only)
{
    tlpi_backend *b = weights_backend(TLP_ISA_AUTO, TLP_COMPUTE_DEFAULT, 1);
    tlpi_tensor t = random_tensor(TLPI_Q4_0, 16, 64);
    static const int64_t bad[][4] = { { 0, 17, 0, 64 },  { -1, 4, 0, 64 },
                                      { 9, 8, 0, 64 },   { 0, 16, 0, 48 },
                                      { 0, 16, 16, 64 }, { 0, 16, 0, 96 } };
    bool copied;

    for (size_t i = 0; i < TLPI_COUNT(bad); i++) {
        tlpi_weight *w = (tlpi_weight *)&t;
        cr_assert_eq(b->ops->weight_create(b, &w, &t, bad[i][0], bad[i][1],
                                           bad[i][2], bad[i][3], &copied),
                     TLP_EINVAL);
        cr_assert_null(w);
    }
    b->ops->free(b);
    tensor_free(&t);
}

Test(backend_cpu, packed_weights_are_hardly_larger_than_the_file)
{
    for (size_t i = 0; i < WEIGHTS_N_ISA; i++) {
        tlpi_backend *b =
            weights_backend(weights_isa[i], TLP_COMPUTE_DEFAULT, 2);
        for (size_t k = 0; b && k < WEIGHTS_N_TYPE; k++) {
            tlpi_tensor t = random_tensor(weights_type[k], 64, 512);
            tlpi_weight *w = NULL;
            bool copied;
            cr_assert_eq(
                b->ops->weight_create(b, &w, &t, 0, 64, 0, 512, &copied),
                TLP_OK);
            cr_assert_eq(copied, weights_isa[i] != TLP_ISA_SCALAR);
            cr_assert_leq((double)b->ops->weight_bytes(w),
                          1.04 * (double)t.n_bytes);
            b->ops->weight_free(w);
            tensor_free(&t);
        }
        if (b)
            b->ops->free(b);
    }
}

Test(backend_cpu, embed_reads_rows)
{
    tlpi_backend *b = weights_backend(TLP_ISA_AUTO, TLP_COMPUTE_DEFAULT, 1);
    static const int32_t id[] = { 6, 0, 6 };
    tlpi_step step = { 3, id, NULL, NULL };
    float x[3 * 256];

    for (size_t k = 0; k < WEIGHTS_N_TYPE; k++) {
        tlpi_tensor t = random_tensor(weights_type[k], 7, 256);
        float *wf = tensor_floats(&t);
        b->ops->embed(b, &step, &t, NULL, 1, x);
        for (int i = 0; i < 3; i++)
            check_bits(x + i * 256, wf + id[i] * 256, 256, "auto",
                       weights_type[k], "embed");
        b->ops->embed(b, &step, &t, NULL, 1.5f, x);
        for (int i = 0; i < 7 * 256; i++)
            wf[i] *= 1.5f;
        for (int i = 0; i < 3; i++)
            check_bits(x + i * 256, wf + id[i] * 256, 256, "auto",
                       weights_type[k], "scaled embed");
        free(wf);
        tensor_free(&t);
    }
    b->ops->free(b);
}

Test(backend_cpu, buffers_start_cleared_and_copy)
{
    tlpi_backend *b = weights_backend(TLP_ISA_AUTO, TLP_COMPUTE_DEFAULT, 1);
    static const float in[3] = { 1.0f, -2.0f, 3.0f };
    float out[4] = { 9.0f, 9.0f, 9.0f, 9.0f }, *x = NULL;

    cr_assert_eq(b->ops->buffer_create(b, &x, 4), TLP_OK);
    b->ops->write(b, x, in, 3);
    b->ops->read(b, out, x, 4);
    cr_assert_arr_eq(out, ((float[]){ 1.0f, -2.0f, 3.0f, 0.0f }), sizeof out);
    b->ops->buffer_free(b, x);
    b->ops->free(b);
}

Test(backend_cpu, isa_names)
{
    for (size_t i = 0; i < WEIGHTS_N_ISA; i++) {
        tlpi_backend *b =
            weights_backend(weights_isa[i], TLP_COMPUTE_DEFAULT, 1);
        if (!b)
            continue;
        cr_assert_str_eq(b->ops->isa(b), weights_isa_name[i]);
        b->ops->free(b);
    }
    tlpi_backend *b = weights_backend(TLP_ISA_AUTO, TLP_COMPUTE_DEFAULT, 1);
    cr_assert_str_eq(b->ops->isa(b), tlpi_cpu_best_isa());
    b->ops->free(b);
}

/* What threads have for themselves is made for the longest row there is, of any
 * length; each must find its own where it wants it. */
Test(backend_cpu, longest_rows_of_any_length)
{
    enum { ROWS = 64, TOKENS = 40 };
    float y[TOKENS * ROWS], z[TOKENS * ROWS];
    tlpi_tensor t = random_tensor(TLPI_Q6_K, ROWS, 256);
    float *x = random_floats(TOKENS * 256);
    tlpi_env env;

    cr_assert_eq(tlpi_env_init(&env, NULL, NULL, NULL), TLP_OK);
    tlpi_backend *one = weights_backend(TLP_ISA_AUTO, TLP_COMPUTE_DEFAULT, 1);
    tlpi_weight *w = weigh_all(one, &t);
    multiply(one, w, x, TOKENS, z);
    for (int longest = 256; longest < 290; longest++) {
        tlpi_backend *b = NULL;
        tlpi_backend_options o = { .n_thread = 3,
                                   .n_machine = 3,
                                   .max_tok = TOKENS,
                                   .max_cols = longest,
                                   .max_terms = 1 };
        cr_assert_eq(tlpi_backend_cpu_create(&b, &env, &o), TLP_OK);
        multiply(b, w, x, TOKENS, y);
        check_bits(y, z, TOKENS * ROWS, "auto", t.type, "longest row");
        b->ops->free(b);
    }
    one->ops->weight_free(w);
    one->ops->free(one);
    free(x);
    tensor_free(&t);
}

/* The kernel gives no tiles to a process with a thread whose signals could not
 * save them: that is a reason to do without. */
Test(backend_cpu, amx_that_is_refused_is_done_without)
{
    static char stack[4096];
    stack_t small = { .ss_sp = stack, .ss_size = sizeof stack };
    tlpi_env env;
    tlpi_backend *b = NULL;
    tlpi_backend_options o = { .n_thread = 1,
                               .n_machine = 1,
                               .max_tok = 32,
                               .max_cols = 64,
                               .max_terms = 1 };
    float x[32 * 64] = { 1.0f }, y[32 * 16];

    if (strcmp(tlpi_cpu_best_isa(), "amx")) {
        printf("skipped: this machine lacks AMX\n");
        return;
    }
    cr_assert_eq(sigaltstack(&small, NULL), 0);
    cr_assert_eq(tlpi_env_init(&env, NULL, NULL, NULL), TLP_OK);
    o.isa = TLP_ISA_AMX;
    cr_assert_eq(tlpi_backend_cpu_create(&b, &env, &o), TLP_ENOTSUP);
    cr_assert(strstr(tlp_last_error(), "isa amx: refused by the kernel"), "%s",
              tlp_last_error());
    o.isa = TLP_ISA_AUTO;
    cr_assert_eq(tlpi_backend_cpu_create(&b, &env, &o), TLP_OK);
    cr_assert_str_eq(b->ops->isa(b), "avx512");
    tlpi_tensor t = random_tensor(TLPI_Q8_0, 16, 64);
    tlpi_weight *w = weigh_all(b, &t);
    multiply(b, w, x, 32, y);
    b->ops->weight_free(w);
    b->ops->free(b);
    tensor_free(&t);
}
