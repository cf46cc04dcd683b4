/*
 * 08_requests.c - answer several questions at once with an engine, and print
 * each answer when it is complete.
 *
 *     ./requests model.gguf QUESTION...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tlp.h>

typedef struct answer {
    const char *question;
    char text[4096];
    size_t n;
} answer;

static tlp_status ask(tlp_engine *engine, answer *a)
{
    const tlp_chat_message message = { "user", a->question };
    tlp_request r = TLP_REQUEST_INIT;
    uint64_t id;

    r.messages = &message;
    r.n_message = 1;
    r.n_predict = 64;
    r.user = a;
    return tlp_engine_submit(&id, engine, &r);
}

/* Add what an event says to its answer; 1 when the answer is complete. */
static int take(const tlp_event *event)
{
    answer *a = event->user;

    if (event->status) {
        fprintf(stderr, "%s: %s\n", a->question, event->text);
    } else if (a->n + event->n_text < sizeof a->text) {
        memcpy(a->text + a->n, event->text, event->n_text);
        a->n += event->n_text;
    }
    if (event->kind != TLP_EVENT_END)
        return 0;
    printf("%s\n  %.*s\n  (%d tokens, %d of %d prompt tokens known)\n",
           a->question, (int)a->n, a->text, event->n_generated, event->n_cached,
           event->n_prompt);
    return 1;
}

static tlp_status answer_all(tlp_engine *engine, answer *answers, int n)
{
    tlp_event *event;
    tlp_status st = TLP_OK;

    for (int i = 0; st == TLP_OK && i < n; i++)
        st = ask(engine, &answers[i]);
    if (st == TLP_OK)
        st = tlp_engine_start(engine);
    while (st == TLP_OK && n > 0) {
        st = tlp_engine_next(&event, engine, -1);
        if (event)
            n -= take(event);
        tlp_event_free(event);
    }
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
    tlp_plan *plan = NULL;
    tlp_engine *engine = NULL;
    answer *answers;
    tlp_status st;

    if (argc < 3) {
        fprintf(stderr, "usage: %s model.gguf QUESTION...\n", argv[0]);
        return 2;
    }
    answers = calloc((size_t)argc, sizeof *answers);
    if (!answers)
        return 1;
    for (int i = 2; i < argc; i++)
        answers[i - 2].question = argv[i];
    open.log = print_warning;
    st = tlp_model_open(&model, argv[1], &open);
    if (!st)
        st = tlp_plan_parse(&plan, model, "serial");
    if (!st)
        st = tlp_engine_create(&engine, plan, NULL);
    if (!st)
        st = answer_all(engine, answers, argc - 2);
    if (st)
        fprintf(stderr, "error: %s\n", tlp_last_error());
    tlp_engine_free(engine);
    tlp_plan_free(plan);
    tlp_model_free(model);
    free(answers);
    return st != TLP_OK;
}
