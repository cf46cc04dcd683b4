/*
 * 09_saved_prompt.c - keep the keys and values of a prompt in a file, and begin
 * with them the next time.
 *
 *     cc 09_saved_prompt.c $(pkg-config --cflags --libs tlp) -o saved_prompt
 *     ./saved_prompt model.gguf "Once upon a time" prompt.seq [n_predict]
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

/* Does sequence 0 hold these tokens? */
static int holds(const tlp_session *s, const int32_t *ids, size_t n)
{
    int32_t held[MAX_PROMPT];
    size_t count = 0;

    return !tlp_session_get_tokens(held, MAX_PROMPT, &count, s, 0) &&
           count == n && memcmp(held, ids, n * sizeof *ids) == 0;
}

/* Sequence 0 gets n tokens, from the file if it has them. */
static int begin(tlp_session *s, const int32_t *ids, size_t n, const char *path)
{
    tlp_status st = tlp_session_load_file(s, 0, path);

    if (st == TLP_OK && holds(s, ids, n)) {
        printf("[%zu tokens loaded]\n", n);
        return 1;
    }
    if (st == TLP_EMISMATCH) /* another model, plan or type of cache */
        fprintf(stderr, "%s\n", tlp_last_error());
    if (tlp_session_clear(s, 0) || (n > 0 && tlp_session_prefill(s, ids, n)) ||
        tlp_session_save_file(s, 0, path))
        return 0;
    printf("[%zu tokens evaluated]\n", n);
    return 1;
}

int main(int argc, char **argv)
{
    tlp_model_options open = TLP_MODEL_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    tlp_generate_options gen = TLP_GENERATE_OPTIONS_INIT;
    int32_t prompt[MAX_PROMPT];
    size_t n = 0;
    int ok;

    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL PROMPT FILE [N]\n", argv[0]);
        return 2;
    }
    open.log = print_warning;
    gen.n_predict = argc > 4 ? atoi(argv[4]) : 64;
    gen.text = print_text;

    /* The last token is evaluated in any case, because its logits begin the
     * text and are not in the file. */
    ok = !tlp_model_open(&model, argv[1], &open) &&
         !tlp_plan_parse(&plan, model, "serial") &&
         !tlp_session_create(&session, plan, NULL) &&
         !tlp_tokenize(prompt, MAX_PROMPT, &n, model, argv[2], strlen(argv[2]),
                       TLP_TOKENIZE_BOS) &&
         n > 0 && begin(session, prompt, n - 1, argv[3]) &&
         !tlp_session_decode(session, prompt[n - 1]) &&
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
