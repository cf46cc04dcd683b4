/*
 * test_train_golden.c - losses of twenty steps beside those of PyTorch.
 *
 * test/data/train.txt has a line for each training: model, stages, losses
 * (scripts/make-golden.py --train).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "support/golden.h"
#include "support/rig.h"
#include "train/train_head.h"

enum { N_TOKEN = 13, N_STEP = 20, N_TOP = 64 };

#define TOLERANCE 1e-4 /* of a loss */

TestSuite(train_golden, .timeout = 300);

typedef struct golden {
    char model[32], stages[64];
    double loss[N_STEP];
} golden;

/* "0 par:1,2 3" to "par:1-2"; groups have neighbours. */
static void plan_of(const char *stages, char *plan, size_t cap)
{
    size_t n = 0;
    char text[64], *rest = text;

    snprintf(text, sizeof text, "%s", stages);
    plan[0] = 0;
    for (char *s; (s = strtok_r(rest, " ", &rest));) {
        char mode[16];
        int a, b;

        if (sscanf(s, "%15[a-z]:%d,%d", mode, &a, &b) == 3)
            n += (size_t)snprintf(plan + n, cap - n, "%s%s:%d-%d", n ? ";" : "",
                                  mode, a, b);
    }
}

static tlp_model *model_of(const char *name)
{
    tiny_spec spec = golden_spec(name);
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    return m;
}

/* A net of a plan, with what a window needs. */
typedef struct pupil {
    tlpi_train_net net;
    tlpi_train_pass pass;
    tlpi_train_head head;
} pupil;

static void open_pupil(pupil *p, tlp_model *m, const char *plan_text,
                       const tlpi_train_choice *choice, tlpi_pool *pool)
{
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_parse(&plan, m, plan_text));
    CHECK_OK(tlpi_train_net_create(&p->net, plan, choice));
    CHECK_OK(tlpi_train_pass_create(&p->pass, &p->net, pool, TLP_ISA_AUTO,
                                    N_TOKEN, 0));
    CHECK_OK(tlpi_train_head_create(&p->head, &p->pass));
    tlp_plan_free(plan);
}

static void close_pupil(pupil *p)
{
    tlpi_train_head_free(&p->head);
    tlpi_train_pass_free(&p->pass);
    tlpi_train_net_free(&p->net);
}

static void run(pupil *p, const int32_t *ids)
{
    tlpi_train_embed(&p->pass, ids, N_TOKEN);
    tlpi_train_forward(&p->pass, 0, p->net.plan->n_stage);
}

static double step(pupil *student, pupil *serial, tlpi_adam *adam,
                   const int32_t *ids)
{
    int32_t top[N_TOKEN * N_TOP];
    float prob[N_TOKEN * N_TOP];
    const tlpi_train_target target = { N_TOP, top, prob, ids + 1 };
    tlpi_train_loss loss = { 0 };
    double norm;

    run(serial, ids);
    tlpi_train_logits(&serial->head, N_TOKEN);
    tlpi_train_take_top(&serial->pass.ops, serial->head.logits, N_TOKEN,
                        serial->net.model->hp.n_vocab, N_TOP, top, prob);
    run(student, ids);
    tlpi_train_params_clear_grad(&student->net.param);
    CHECK_OK(
        tlpi_train_head_loss(&student->head, &target, N_TOKEN, 1, true, &loss));
    tlpi_train_back(&student->pass);
    CHECK_OK(tlpi_adam_step(adam, &student->net.param, &student->pass.ops,
                            1.0 / N_TOKEN, &norm));
    return loss.kl / N_TOKEN;
}

static void check_line(const golden *g)
{
    const tlpi_train_choice choice = { .norms = true, .matrices = true };
    const tlpi_train_choice nothing = { .norms = false };
    const tlpi_pool_options threads = { .n_thread = 2, .n_machine = 2 };
    tlpi_adam adam = { .rate = 1e-3,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .decay = 0.1,
                       .clip = 1 };
    tlp_model *m = model_of(g->model);
    tlpi_pool *pool = NULL;
    pupil student, serial;
    char plan[64];

    plan_of(g->stages, plan, sizeof plan);
    CHECK_OK(tlpi_pool_create(&pool, &m->env, &threads));
    open_pupil(&student, m, plan, &choice, pool);
    open_pupil(&serial, m, "serial", &nothing, pool);
    for (int i = 0; i < N_STEP; i++) {
        int32_t ids[N_TOKEN + 1];

        rig_tokens(ids, N_TOKEN, (size_t)m->hp.n_vocab, (uint64_t)i + 1);
        ids[N_TOKEN] = 0; /* no -log p in the loss */
        double loss = step(&student, &serial, &adam, ids);

        cr_expect_float_eq(loss, g->loss[i], TOLERANCE * g->loss[i],
                           "%s %s: loss %.7f in step %d, PyTorch has %.7f",
                           g->model, g->stages, loss, i, g->loss[i]);
    }
    close_pupil(&serial);
    close_pupil(&student);
    tlpi_pool_free(pool);
    tlp_model_free(m);
}

static bool read_line(FILE *f, golden *g)
{
    char line[1024];

    if (!fgets(line, sizeof line, f))
        return false;
    cr_assert_eq(sscanf(line, "%31s | %63[^|]", g->model, g->stages), 2);
    g->stages[strcspn(g->stages, "\n") - 1] = 0; /* the blank before the bar */
    char *at = strrchr(line, '|') + 1;

    for (int i = 0; i < N_STEP; i++)
        g->loss[i] = tlpi_strtod(at, &at);
    cr_assert(g->loss[N_STEP - 1] > 0);
    return true;
}

Test(train_golden, losses_of_twenty_steps)
{
    FILE *f = fopen("test/data/train.txt", "r");
    golden g;
    int n = 0;

    cr_assert(f != NULL, "test/data/train.txt");
    for (; read_line(f, &g); n++)
        check_line(&g);
    cr_expect_eq(n, 16);
    fclose(f);
}
