/*
 * 07_two_gpu_pair.c - layer parallelism as in the paper: two GPUs, each with
 * one layer of a pair, against tensor parallelism on the same two.
 *
 *     ./07_two_gpu_pair model.gguf "Once upon a time" [pairs:8-23@lp [64]]
 *
 * On a machine with one GPU both ranks use it; without a GPU they use the CPU.
 * All-reduces are then cheaper than between two GPUs, and the plan gains less.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tlp.h>

#define MAX_PROMPT 1024 /* tokens */

/* Greedy text, cut where it would not fit. */
typedef struct answer {
    char text[4096];
    size_t n;
} answer;

static int keep_text(const char *text, size_t len, void *user_data)
{
    answer *a = (answer *)user_data;

    if (a->n + len >= sizeof a->text)
        return 1; /* stops */
    memcpy(a->text + a->n, text, len + 1);
    a->n += len;
    return 0;
}

/* Choose the devices of the two ranks, and print them. */
static void choose_devices(tlp_session_options *opts, int32_t devices[2])
{
    tlp_device_info info[2];
    int32_t n = 0;

    opts->n_rank = 2;
    info[0].struct_size = info[1].struct_size = sizeof info[0];
    if (tlp_device_count(&n, TLP_BACKEND_CUDA) ||
        tlp_device_get_info(&info[0], TLP_BACKEND_CUDA, 0) ||
        (n > 1 && tlp_device_get_info(&info[1], TLP_BACKEND_CUDA, 1))) {
        printf("no GPU, two ranks on the CPU: %s\n\n", tlp_last_error());
        return;
    }
    devices[0] = 0;
    devices[1] = n > 1;
    opts->backend = TLP_BACKEND_CUDA;
    opts->devices = devices;
    opts->n_device = 2;
    if (n == 1)
        printf("one GPU, both ranks on it: %s\n\n", info[0].name);
    else
        printf("two GPUs: %s and %s, %s\n\n", info[0].name, info[1].name,
               info[0].peers & 2 ? "which reach each other"
                                 : "which do not reach each other");
}

/* The pairs of the middle half of the layers. */
static void default_plan(const tlp_model_info *info, char text[64])
{
    int first = info->n_layer / 4, n_pair = info->n_layer / 4;

    snprintf(text, 64, "pairs:%d-%d@lp", first, first + 2 * n_pair - 1);
}

static tlp_status run_plan(tlp_model *model, const char *name,
                           const char *plan_text, const int32_t *prompt,
                           size_t n_prompt, int n_predict,
                           const tlp_session_options *opts)
{
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    tlp_generate_options gen = TLP_GENERATE_OPTIONS_INIT;
    tlp_plan_cost cost;
    tlp_session_stats stats;
    answer greedy;
    tlp_status st;
    int run;

    cost.struct_size = sizeof cost;
    stats.struct_size = sizeof stats;
    gen.n_predict = n_predict;
    gen.text = keep_text;
    gen.text_data = &greedy;

    st = tlp_plan_parse(&plan, model, plan_text);
    if (!st)
        st = tlp_plan_get_cost(&cost, plan, opts->n_rank);
    if (!st)
        st = tlp_session_create(&session, plan, opts);
    /* The first run loads everything; only the second run counts. */
    for (run = 0; run < 2 && !st; run++) {
        greedy.n = 0;
        greedy.text[0] = '\0';
        st = tlp_session_clear(session, 0);
        if (!st)
            st = tlp_session_prefill(session, prompt, n_prompt);
        tlp_session_reset_stats(session);
        if (!st)
            st = tlp_session_generate(NULL, session, NULL, &gen);
    }
    if (!st)
        st = tlp_session_get_stats(&stats, session);
    if (!st)
        printf("%s (%s): %.1f tokens/s, %.0f all-reduces per token, depth %d\n"
               "%s\n\n",
               name, plan_text,
               stats.seconds > 0 ? (double)stats.n_decode / stats.seconds : 0,
               stats.n_step ? (double)stats.allreduces / (double)stats.n_step
                            : 0,
               (int)cost.effective_depth, greedy.text);
    tlp_session_free(session);
    tlp_plan_free(plan);
    return st;
}

static void print_warning(int level, const char *text, void *user_data)
{
    (void)user_data;
    if (level == TLP_LOG_WARN)
        fprintf(stderr, "warning: %s\n", text);
}

int main(int argc, char **argv)
{
    tlp_model_options open = TLP_MODEL_OPTIONS_INIT;
    tlp_session_options opts = TLP_SESSION_OPTIONS_INIT;
    tlp_model_info info;
    tlp_model *model = NULL;
    int32_t prompt[MAX_PROMPT], devices[2];
    char pairs[64] = "";
    int n_predict = argc > 4 ? atoi(argv[4]) : 64;
    size_t n_prompt;
    tlp_status st;

    if (argc < 3 || n_predict < 1) {
        fprintf(stderr, "usage: %s MODEL PROMPT [PLAN [TOKENS]]\n", argv[0]);
        return 2;
    }
    info.struct_size = sizeof info;
    open.log = print_warning;
    st = tlp_model_open(&model, argv[1], &open);
    if (!st)
        st = tlp_model_get_info(&info, model);
    if (!st)
        st = tlp_tokenize(prompt, MAX_PROMPT, &n_prompt, model, argv[2],
                          strlen(argv[2]), TLP_TOKENIZE_BOS);
    if (!st) {
        default_plan(&info, pairs);
        choose_devices(&opts, devices);
        st = run_plan(model, "tensor parallelism", "serial", prompt, n_prompt,
                      n_predict, &opts);
    }
    if (!st)
        st = run_plan(model, "layer parallelism", argc > 3 ? argv[3] : pairs,
                      prompt, n_prompt, n_predict, &opts);
    if (st)
        fprintf(stderr, "%s\n", tlp_last_error());
    tlp_model_free(model);
    return st ? 1 : 0;
}
