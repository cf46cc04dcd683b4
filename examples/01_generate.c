/*
 * 01_generate.c - load a model, prompt it, print what follows.
 *
 *     cc 01_generate.c $(pkg-config --cflags --libs tlp) -o generate
 *     ./generate model.gguf "Once upon a time" [n_predict]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tlp.h>

#define MAX_PROMPT 1024 /* tokens */

static int print_text(const char *text, size_t len, void *user_data)
{
    (void)user_data;
    fwrite(text, 1, len, stdout);
    return fflush(stdout) != 0; /* stop if nobody reads */
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
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    tlp_generate_options gen = TLP_GENERATE_OPTIONS_INIT;
    int32_t prompt[MAX_PROMPT];
    size_t n_prompt;
    int ok;

    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL PROMPT [N]\n", argv[0]);
        return 2;
    }
    open.log = print_warning;
    gen.n_predict = argc > 3 ? atoi(argv[3]) : 64;
    gen.text = print_text;

    ok = !tlp_model_open(&model, argv[1], &open) &&
         !tlp_plan_parse(&plan, model, "serial") &&
         !tlp_session_create(&session, plan, NULL) &&
         !tlp_tokenize(prompt, MAX_PROMPT, &n_prompt, model, argv[2],
                       strlen(argv[2]), TLP_TOKENIZE_BOS) &&
         !tlp_session_prefill(session, prompt, n_prompt) &&
         !tlp_session_generate(NULL, session, NULL, &gen);
    if (!ok)
        fprintf(stderr, "%s\n", tlp_last_error());
    else
        putchar('\n');

    tlp_session_free(session);
    tlp_plan_free(plan);
    tlp_model_free(model);
    return ok ? 0 : 1;
}
