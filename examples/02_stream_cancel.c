/*
 * 02_stream_cancel.c - answer a chat message, and stop in three ways: the
 * callback has seen enough, a stop string appears, or Ctrl-C aborts the
 * session from a signal handler.
 *
 *     ./stream_cancel model.gguf "What is the capital of France?" [max_bytes]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <tlp.h>

#define MAX_PROMPT 2048 /* tokens */

static tlp_session *session;

static void on_sigint(int sig)
{
    (void)sig;
    tlp_session_abort(session); /* safe in a signal handler */
}

/* Prints, and ends the generation when the budget is spent. */
static int print_text(const char *text, size_t len, void *user_data)
{
    long *budget = user_data;

    fwrite(text, 1, len, stdout);
    fflush(stdout);
    *budget -= (long)len;
    return *budget <= 0;
}

static tlp_status answer(tlp_model *model, const char *question, long budget,
                         tlp_generate_result *result)
{
    static const char *const stop[] = { "\n\n" };
    static int32_t prompt[MAX_PROMPT];
    tlp_chat_message message = { "user", NULL };
    tlp_chat_options chat = TLP_CHAT_OPTIONS_INIT;
    tlp_generate_options gen = TLP_GENERATE_OPTIONS_INIT;
    size_t n_prompt;
    tlp_status st;

    message.content = question;
    chat.add_generation_prompt = 1;
    gen.stop = stop;
    gen.n_stop = 1;
    gen.text = print_text;
    gen.text_data = &budget;
    result->struct_size = sizeof *result;

    st = tlp_chat_tokenize(prompt, MAX_PROMPT, &n_prompt, model, &message, 1,
                           &chat);
    if (!st)
        st = tlp_session_prefill(session, prompt, n_prompt);
    if (!st)
        st = tlp_session_generate(result, session, NULL, &gen);
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
    static const char *const reasons[] = {
        "?", "length", "end of turn", "stop string", "context full", "callback"
    };
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_generate_result result;
    tlp_status st;

    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL QUESTION [BYTES]\n", argv[0]);
        return 2;
    }
    open.log = print_warning;
    st = tlp_model_open(&model, argv[1], &open);
    if (!st)
        st = tlp_plan_parse(&plan, model, "serial");
    if (!st)
        st = tlp_session_create(&session, plan, NULL);
    if (!st) {
        signal(SIGINT, on_sigint);
        st = answer(model, argv[2], argc > 3 ? atol(argv[3]) : 400, &result);
        signal(SIGINT, SIG_DFL);
    }
    if (!st)
        printf("\n[stopped by: %s]\n", reasons[result.stop_reason]);
    else
        fprintf(stderr, "%s\n", tlp_last_error());
    tlp_session_free(session);
    tlp_plan_free(plan);
    tlp_model_free(model);
    return st ? 1 : 0;
}
