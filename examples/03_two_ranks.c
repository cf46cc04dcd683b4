/*
 * 03_two_ranks.c - run one prompt serially and with pairs of layers side by
 * side, on two ranks of this process; print both texts and the cost of both
 * plans.
 *
 *     ./two_ranks model.gguf "Once upon a time" par:1-2,3-4
 */
#include <stdio.h>
#include <string.h>

#include <tlp.h>

#define MAX_PROMPT 1024 /* tokens */
#define N_PREDICT 24

static int print_text(const char *text, size_t len, void *user_data)
{
    (void)user_data;
    return fwrite(text, 1, len, stdout) != len;
}

static tlp_status run_plan(tlp_model *model, const char *text,
                           const int32_t *prompt, size_t n_prompt)
{
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    tlp_session_options opts = TLP_SESSION_OPTIONS_INIT;
    tlp_generate_options gen = TLP_GENERATE_OPTIONS_INIT;
    tlp_plan_cost cost;
    tlp_session_stats stats;
    tlp_status st;

    cost.struct_size = sizeof cost;
    stats.struct_size = sizeof stats;
    opts.n_rank = 2;
    opts.n_thread = 1;
    gen.n_predict = N_PREDICT;
    gen.text = print_text;

    st = tlp_plan_parse(&plan, model, text);
    if (!st)
        st = tlp_plan_get_cost(&cost, plan, opts.n_rank);
    if (!st)
        st = tlp_session_create(&session, plan, &opts);
    if (!st)
        printf("%s: depth %d, %d all-reduces per token\n", text,
               (int)cost.effective_depth, (int)cost.allreduces);
    if (!st)
        st = tlp_session_prefill(session, prompt, n_prompt);
    if (!st)
        tlp_session_reset_stats(session);
    if (!st)
        st = tlp_session_generate(NULL, session, NULL, &gen);
    if (!st)
        st = tlp_session_get_stats(&stats, session);
    if (!st)
        printf("\n[%.1f tokens/s, %.0f%% of the time in communication]\n\n",
               (double)stats.n_decode / stats.seconds,
               100 * stats.comm_seconds / stats.seconds);

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
    tlp_model *model = NULL;
    int32_t prompt[MAX_PROMPT];
    size_t n_prompt;
    tlp_status st;

    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL PROMPT PLAN\n", argv[0]);
        return 2;
    }
    open.log = print_warning;
    st = tlp_model_open(&model, argv[1], &open);
    if (!st)
        st = tlp_tokenize(prompt, MAX_PROMPT, &n_prompt, model, argv[2],
                          strlen(argv[2]), TLP_TOKENIZE_BOS);
    if (!st)
        st = run_plan(model, "serial", prompt, n_prompt);
    if (!st)
        st = run_plan(model, argv[3], prompt, n_prompt);
    if (st)
        fprintf(stderr, "%s\n", tlp_last_error());
    tlp_model_free(model);
    return st ? 1 : 0;
}
