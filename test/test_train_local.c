/*
 * test_train_local.c - local losses of training, and their gradients, against
 * the reference.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/ref_local.h"
#include "support/train_subject.h"
#include "train/train_local.h"

TestSuite(train_local, .timeout = 300);

static double local_loss(const subject *s)
{
    return ref_local_loss(s->ref, &s->ref_plan, s->serial, SUBJECT_TOKENS);
}

static void check_local(const char *arch, const grad_case *c, bool adjusted)
{
    const tlpi_train_choice choice = {
        .norms = true, .gains = true, .corrections = true, .matrices = true
    };
    tiny_spec spec = tiny_default();
    tlpi_train_local local;
    double got = 0;
    char what[128];

    spec.arch = arch;
    spec.type = grad_type(c);
    subject s = subject_open(&spec, c, adjusted, &choice, 2);

    s.loss = local_loss;
    s.serial = ref_serial_streams(s.ref, s.ids, SUBJECT_TOKENS);
    subject_begin(&s, 0);
    snprintf(what, sizeof(what), "%s, local \"%s\"%s", arch, c->plan,
             adjusted ? " adjusted" : "");
    CHECK_OK(tlpi_train_local_create(&local, &s.pass, TLP_ISA_AUTO));
    CHECK_OK(tlpi_train_local_window(&local, s.ids, SUBJECT_TOKENS, &got));
    double want = local_loss(&s);

    cr_expect_float_eq(got, want, 1e-4 * want, "%s: loss %g, not %g", what, got,
                       want);
    for (size_t i = 0; i < s.net.param.n; i++)
        if (s.net.param.item[i]->grad)
            check_gradient(&s, s.net.param.item[i], what);
    tlpi_train_local_free(&local);
    ref_streams_free(s.ref, s.serial);
    subject_close(&s);
}

Test(train_local, gradients)
{
    for (int i = 0; i < N_GRAD_PLAN; i++)
        check_local(i % 3 == 0   ? "gemma3"
                    : i % 3 == 1 ? "gemma2"
                                 : "llama",
                    &grad_plans[i], i % 2);
}

/* Matrices that are trained change no target. */
Test(train_local, targets_stay)
{
    const tlpi_train_choice choice = { .matrices = true };
    const tiny_spec spec = tiny_default();
    subject s = subject_open(&spec, &grad_plans[1], false, &choice, 1);
    tlpi_train_local local;
    double before = 0, after = 0;

    subject_begin(&s, 0);
    CHECK_OK(tlpi_train_local_create(&local, &s.pass, TLP_ISA_AUTO));
    CHECK_OK(tlpi_train_local_window(&local, s.ids, SUBJECT_TOKENS, &before));
    float old[SUBJECT_TOKENS]; /* of the first columns */
    memcpy(old, local.serial.border[3].x, sizeof old);
    for (size_t i = 0; i < s.net.param.n; i++)
        if (s.net.param.item[i]->grad)
            s.net.param.item[i]->value[0] += 1;
    CHECK_OK(tlpi_train_local_window(&local, s.ids, SUBJECT_TOKENS, &after));
    cr_expect(memcmp(old, local.serial.border[3].x, sizeof old) == 0);
    cr_expect(before != after);
    tlpi_train_local_free(&local);
    subject_close(&s);
}
