/*
 * bench_train_step.c - time of the steps of tlp_plan_train.
 *
 *   bench_train_step MODEL PLAN TEXT WINDOW WINDOWS THREADS RANK MIB SPIN
 *
 * The text's first tokens are cut into windows.  With one window the text has
 * it twice, to validate and to train on.  RANK is that of LoRA, or 0 to train
 * the matrices; MIB is max_bytes, and SPIN the session's spin_us.  The serial
 * model computes in f32.
 *
 * The program prints the ids, and then waits for a line on standard input
 * before each step.  After the step it prints `step N wall MS cpu MS scored S`,
 * where S is 1 if the time includes a validation, or `loss X kl Y` of a
 * validation. The end of the input ends the program.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tlp_tune.h"

enum { N_STEP = 400 };

typedef struct step_bench {
    double wall, cpu; /* ms, when the step began */
    int step;
    bool scored;
} step_bench;

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_train_step: %s: %s\n", what, tlp_last_error());
        exit(1);
    }
}

static double wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double cpu_ms(void)
{
    return (double)clock() * 1e3 / CLOCKS_PER_SEC;
}

static bool wait_for_go(step_bench *b)
{
    char line[16];

    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return false;
    b->wall = wall_ms();
    b->cpu = cpu_ms();
    return true;
}

static void see_point(const tlp_train_point *p, void *arg)
{
    step_bench *b = arg;

    printf("loss %.7f kl %.7f\n", p->loss, p->kl);
    b->scored = true;
    if (p->step == 0 && !wait_for_go(b)) /* the first step is next */
        exit(0);
    if (p->step == 0)
        b->scored = false;
}

static int see_step(double done, void *arg)
{
    step_bench *b = arg;

    (void)done;
    printf("step %d wall %.3f cpu %.3f scored %d\n", ++b->step,
           wall_ms() - b->wall, cpu_ms() - b->cpu, b->scored);
    b->scored = false;
    return wait_for_go(b) ? 0 : 1;
}

static char *read_text(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *text = malloc(1 << 20);

    must(f && text, path);
    *n = fread(text, 1, 1 << 20, f);
    fclose(f);
    return text;
}

static int32_t *read_ids(const tlp_model *model, const char *path, int window,
                         int n_window)
{
    size_t n_text, n = 0, size = (size_t)window * (size_t)n_window;
    char *text = read_text(path, &n_text);
    int32_t *ids = malloc((n_text + size + 16) * sizeof *ids);

    must(ids, "memory");
    must(!tlp_tokenize(ids, n_text + 16, &n, model, text, n_text, 0), path);
    must(n >= size, "the text is too short");
    free(text);
    printf("ids");
    for (size_t i = 0; i < size; i++)
        printf(" %d", ids[i]);
    printf("\n");
    if (n_window == 1)
        memcpy(ids + size, ids, size * sizeof *ids);
    return ids;
}

int main(int argc, char **argv)
{
    step_bench b = { 0 };
    tlp_session_options session = TLP_SESSION_OPTIONS_INIT;
    tlp_plan_train_options o = TLP_PLAN_TRAIN_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL, *trained = NULL;

    must(argc == 10,
         "MODEL PLAN TEXT WINDOW WINDOWS THREADS RANK MIB SPIN expected");
    int window = atoi(argv[4]), n_window = atoi(argv[5]);

    must(!tlp_model_open(&model, argv[1], NULL), argv[1]);
    must(!tlp_plan_parse(&plan, model, argv[2]), argv[2]);
    int32_t *ids = read_ids(model, argv[3], window, n_window);
    size_t n = (size_t)window * (size_t)(n_window > 1 ? n_window : 2);

    session.n_ctx = window;
    session.n_thread = atoi(argv[6]);
    session.compute = TLP_COMPUTE_F32;
    session.spin_us = atoi(argv[9]);
    o.session = &session;
    o.n_token = (int64_t)window * N_STEP;
    o.rank = atoi(argv[7]);
    o.full = o.rank == 0;
    o.rate = 1e-5;
    o.held_out = 1e-6;
    o.max_bytes = (uint64_t)atoi(argv[8]) << 20;
    o.point = see_point;
    o.progress = see_step;
    o.point_data = o.progress_data = &b;
    tlp_status st =
        tlp_plan_train(&trained, NULL, plan, "/dev/null", ids, n, &o);
    must(st == TLP_OK || st == TLP_ECANCELED, "training");
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    tlp_model_free(model);
    free(ids);
    return 0;
}
