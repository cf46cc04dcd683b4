/*
 * test_train_stage.c - training's forward pass against the reference, and its
 * gradients against differences of the reference's loss.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/train_subject.h"

TestSuite(train_stage, .timeout = 600);

static void check_case(const tiny_spec *spec, const grad_case *c, extras more)
{
    const tlpi_train_choice choice = {
        .norms = true, .gains = true, .corrections = true, .matrices = true
    };
    char what[128];
    subject s = subject_open(spec, c, more, &choice, 2);
    double kl, nll;

    s.loss = subject_mixed_loss;
    subject_begin(&s, 0);
    snprintf(what, sizeof(what), "%s \"%s\"%s", spec->arch, c->plan,
             more == PLAIN      ? ""
             : more == ADJUSTED ? " adjusted"
                                : " with LoRA");
    tlpi_train_loss loss = subject_run(&s, true);
    subject_loss(&s, &kl, &nll);
    cr_expect_float_eq(loss.kl, kl, 1e-4 * fmax(1, kl), "%s: KL %g, not %g",
                       what, loss.kl, kl);
    cr_expect_float_eq(loss.nll, nll, 1e-4 * nll, "%s: nll %g, not %g", what,
                       loss.nll, nll);
    tlpi_train_back(&s.pass);
    for (size_t i = 0; i < s.net.param.n; i++)
        if (s.net.param.item[i]->grad)
            check_gradient(&s, s.net.param.item[i], what);
    subject_close(&s);
}

/* Of all plans, in a model. */
static void check_plans(const char *arch, extras more)
{
    tiny_spec spec = tiny_default();

    spec.arch = arch;
    if (strcmp(arch, "olmo2") == 0) /* OLMo 3: layer 3 has no window */
        spec.yarn = 4;
    for (int i = 0; i < N_GRAD_PLAN; i++) {
        spec.type = grad_type(&grad_plans[i]);
        check_case(&spec, &grad_plans[i], more);
    }
}

Test(train_stage, gradients)
{
    check_plans("llama", PLAIN);
}

Test(train_stage, gradients_of_adjusted_plans)
{
    check_plans("llama", ADJUSTED);
}

/* LoRA that is not trained is a part of the function whose gradients these
 * are. */
Test(train_stage, gradients_beside_lora)
{
    check_plans("llama", WITH_LORA);
}

/* Norms of heads and of outputs, windows, gates of GELU, two kinds of angles.
 */
Test(train_stage, gradients_of_gemma3)
{
    check_plans("gemma3", PLAIN);
    check_plans("gemma3", ADJUSTED);
}

/* Soft caps of scores and of logits. */
Test(train_stage, gradients_of_gemma2)
{
    check_plans("gemma2", PLAIN);
    check_plans("gemma2", ADJUSTED);
}

/* Norms of rows and of outputs, inputs without a norm, windows, scaled
 * positions. */
Test(train_stage, gradients_of_olmo2)
{
    check_plans("olmo2", PLAIN);
    check_plans("olmo2", ADJUSTED);
}

/* Queries grow with their positions. */
Test(train_stage, gradients_of_mistral3)
{
    check_plans("mistral3", PLAIN);
    check_plans("mistral3", ADJUSTED);
}

/* Their equations are those of gemma3 and olmo2, with parts of others. */
Test(train_stage, gradients_of_glm4_and_exaone4)
{
    check_plans("glm4", PLAIN);
    check_plans("glm4", ADJUSTED);
    check_plans("exaone4", PLAIN);
    check_plans("exaone4", ADJUSTED);
}
