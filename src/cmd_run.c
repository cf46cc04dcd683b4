/*
 * cmd_run.c - tlp run: complete a prompt, answer it, or chat.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conversation.h"
#include "commands.h"
#include "files.h"

typedef struct run_state {
    engine e;
    /* options */
    const char *prompt, *file, *system;
    bool chat, raw, interactive, stats;
    int n_predict, n_ctx;
    float temperature, top_p, min_p, repeat_penalty;
    float frequency_penalty, presence_penalty;
    int top_k;
    uint64_t seed;
    cli_list stop;
    /* state of the run */
    tlp_sampler *sampler;
    char *answer; /* text of the last answer, kept while chatting */
    size_t n_answer;
    bool lost; /* an answer could not be stored or printed */
} run_state;

/* ==== one answer ========================================================= */

typedef struct turn {
    int32_t pos; /* length of the sequence before the answer */
    tlp_generate_result result;
} turn;

/* tlp_text_fn: print the text, and store it in a chat. */
static int on_text(const char *text, size_t len, void *user_data)
{
    run_state *r = user_data;

    fwrite(text, 1, len, stdout);
    r->lost |= fflush(stdout) != 0;
    if (r->interactive) {
        char *grown = realloc(r->answer, r->n_answer + len + 1);

        if (grown) {
            memcpy(grown + r->n_answer, text, len + 1);
            r->answer = grown;
            r->n_answer += len;
        }
        r->lost |= !grown;
    }
    return r->lost;
}

static void print_stats(const run_state *r, size_t n_prompt, double prefill,
                        double decode, int32_t n_generated)
{
    tlp_session_stats s = { .struct_size = sizeof s };

    if (tlp_session_get_stats(&s, r->e.session))
        return;
    fprintf(stderr,
            "prompt %zu token%s, %.1f tokens/s; generated %d, "
            "%.1f tokens/s\n",
            n_prompt, n_prompt == 1 ? "" : "s", (double)n_prompt / prefill,
            n_generated, n_generated / decode);
    fprintf(stderr,
            "%.0f all-reduces per token, %.0f%% of the time in "
            "communication; ranks %d, threads per rank %d, %s\n",
            s.n_step ? (double)s.allreduces / (double)s.n_step : 0.0,
            s.seconds > 0 ? 100 * s.comm_seconds / s.seconds : 0.0, s.n_rank,
            s.n_thread, s.isa);
}

/* Evaluate text at the end of the sequence and stream the answer. */
static int answer(run_state *r, const char *text, size_t n, uint32_t flags,
                  turn *t)
{
    tlp_generate_options opts = TLP_GENERATE_OPTIONS_INIT;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    int rc = engine_tokenize(&r->e, text, n, flags, &ids, &n_ids);

    if (rc == CLI_OK && n_ids == 0)
        rc = cli_fail("the prompt is empty");
    if (rc != CLI_OK) {
        free(ids);
        return rc;
    }
    opts.n_predict = r->n_predict;
    opts.stop = r->stop.item;
    opts.n_stop = r->stop.n;
    opts.text = on_text;
    opts.text_data = r;
    r->n_answer = 0;
    t->result = (tlp_generate_result){ .struct_size = sizeof t->result };

    double start = cli_now();
    tlp_status st = tlp_session_prefill(r->e.session, ids, n_ids);
    double middle = cli_now();

    free(ids);
    t->pos = tlp_session_pos(r->e.session, 0);
    tlp_session_reset_stats(r->e.session);
    if (st == TLP_OK)
        st = tlp_session_generate(&t->result, r->e.session, r->sampler, &opts);
    if (st == TLP_OK || t->result.n_generated > 0) {
        putchar('\n');
        fflush(stdout);
    }
    if (st != TLP_OK)
        return engine_fail(st);
    if (r->stats)
        print_stats(r, n_ids, middle - start, cli_now() - middle,
                    t->result.n_generated);
    if (r->lost)
        return cli_fail("the text could not be written");
    if (t->result.stop_reason == TLP_STOP_CONTEXT)
        (void)cli_fail("warning: the context of %d positions is full: the text "
                       "ends early (-c sets another size)",
                       (int)tlp_session_pos(r->e.session, 0));
    return CLI_OK;
}

/* ==== once =============================================================== */

static int run_raw(run_state *r, const char *prompt, size_t n)
{
    turn t;

    return answer(r, prompt, n, TLP_TOKENIZE_BOS | TLP_TOKENIZE_SPECIAL, &t);
}

static int run_templated(run_state *r, const char *prompt)
{
    chat c = { .model = r->e.model };
    char *text = NULL;
    size_t len = 0;
    turn t;
    int rc = r->system ? chat_add(&c, "system", r->system) : CLI_OK;

    if (rc == CLI_OK)
        rc = chat_add(&c, "user", prompt);
    if (rc == CLI_OK)
        rc = chat_format(&c, &text, &len);
    if (rc == CLI_OK)
        rc = answer(r, text, len, TLP_TOKENIZE_SPECIAL, &t);
    free(text);
    chat_free(&c);
    return rc;
}

static int run_once(run_state *r)
{
    char *text = NULL;
    size_t n = 0;
    int rc = CLI_OK;

    if (r->prompt)
        n = strlen(r->prompt);
    else
        rc = file_read(r->file, &text, &n);
    if (rc == CLI_OK) {
        const char *prompt = text ? text : r->prompt;
        bool plain = r->raw ||
                     (!r->chat && !r->system && !chat_has_template(r->e.model));

        if (!plain && strlen(prompt) < n)
            rc = cli_fail("the prompt holds a zero byte: --raw expected");
        else
            rc = plain ? run_raw(r, prompt, n) : run_templated(r, prompt);
    }
    free(text);
    return rc;
}

/* ==== chatting =========================================================== */

/*
 * The text in the KV cache between turns: the conversation up to the opening
 * of the last answer (n_laid bytes), then the answer.
 */
typedef struct held {
    char *text;
    size_t n_laid, n;
    turn last;
} held;

static bool begins_with(const char *text, size_t n, const char *start,
                        size_t n_start)
{
    /* memcmp must not get NULL, not even for 0 bytes. */
    return n_start == 0 || (n >= n_start && memcmp(text, start, n_start) == 0);
}

/*
 * Rewind the session to the longest prefix of `text` that it holds; *known is
 * its length.  An answer counts only if the model ended it.  Then the cache
 * holds its tokens and at most the end token, which the template writes into
 * the text again.
 */
static tlp_status reuse(run_state *r, const held *h, const char *text, size_t n,
                        size_t *known)
{
    int32_t pos = 0;

    *known = 0;
    if (h->last.result.stop_reason == TLP_STOP_END &&
        begins_with(text, n, h->text, h->n)) {
        *known = h->n;
        pos = h->last.pos + h->last.result.n_generated - 1;
    } else if (begins_with(text, n, h->text, h->n_laid)) {
        *known = h->n_laid;
        pos = h->last.pos;
    }
    return tlp_session_rewind(r->e.session, 0, pos);
}

/* Replace the held text by the text just evaluated and its answer. */
static int hold(const run_state *r, held *h, char *text, size_t n,
                const turn *t)
{
    char *grown = realloc(text, n + r->n_answer + 1);

    free(h->text);
    h->text = grown ? grown : text;
    if (!grown)
        return cli_fail("out of memory");
    if (r->n_answer)
        memcpy(grown + n, r->answer, r->n_answer);
    grown[n + r->n_answer] = '\0';
    h->n_laid = n;
    h->n = n + r->n_answer;
    h->last = *t;
    return CLI_OK;
}

static int chat_turn(run_state *r, chat *c, held *h, const char *line)
{
    char *text = NULL;
    size_t n = 0, known = 0;
    turn t;
    int rc = chat_add(c, "user", line);

    if (rc == CLI_OK)
        rc = chat_format(c, &text, &n);
    if (rc != CLI_OK)
        return rc;

    tlp_status st = reuse(r, h, text, n, &known);

    rc = st == TLP_OK
             ? answer(r, text + known, n - known, TLP_TOKENIZE_SPECIAL, &t)
             : engine_fail(st);
    if (rc != CLI_OK) {
        free(text);
        return rc;
    }
    rc = hold(r, h, text, n, &t);
    if (rc == CLI_OK)
        rc = chat_add(c, "assistant", h->text + h->n_laid);
    return rc;
}

static int run_interactive(run_state *r)
{
    chat c = { .model = r->e.model };
    held h = { 0 };
    char *line = NULL;
    size_t cap = 0;
    bool tty = isatty(STDIN_FILENO);
    int rc = r->system ? chat_add(&c, "system", r->system) : CLI_OK;

    if (tty && rc == CLI_OK)
        fprintf(stderr, "An empty line or Ctrl-D ends the conversation.\n");
    while (rc == CLI_OK) {
        if (tty) {
            fprintf(stderr, "> ");
            fflush(stderr);
        }

        ssize_t n = getline(&line, &cap, stdin);

        if (n > 0 && line[n - 1] == '\n')
            line[--n] = '\0';
        if (n <= 0)
            break;
        rc = chat_turn(r, &c, &h, line);
    }
    if (cli_interrupted())
        rc = CLI_INTERRUPTED;
    free(line);
    free(h.text);
    chat_free(&c);
    return rc;
}

/* ========================================================================= */

static int check_options(const run_state *r)
{
    bool piped = !isatty(STDIN_FILENO);

    if (r->raw && (r->chat || r->interactive || r->system))
        return cli_usage("--raw excludes --chat, --system and -i");
    if (!!r->prompt + !!r->file + r->interactive > 1)
        return cli_usage("-p, -f and -i exclude each other");
    if (!r->prompt && !r->file && !r->interactive && !piped)
        return cli_usage("no prompt: -p, -f, -i or text on standard input");
    return CLI_OK;
}

static int open_sampler(run_state *r)
{
    tlp_sampler_options opts = TLP_SAMPLER_OPTIONS_INIT;

    opts.temperature = r->temperature;
    opts.top_k = r->top_k;
    opts.top_p = r->top_p;
    opts.min_p = r->min_p;
    opts.repeat_penalty = r->repeat_penalty;
    opts.frequency_penalty = r->frequency_penalty;
    opts.presence_penalty = r->presence_penalty;
    opts.seed = r->seed;

    tlp_status st = tlp_sampler_create(&r->sampler, r->e.model, &opts);

    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

static int run_all(run_state *r)
{
    int rc = check_options(r);

    if (rc == CLI_OK)
        rc = engine_start(&r->e, r->n_ctx);
    if (rc == CLI_OK)
        rc = engine_open_session(&r->e, r->n_ctx);
    if (rc == CLI_OK)
        rc = open_sampler(r);
    if (rc == CLI_OK)
        rc = r->interactive ? run_interactive(r) : run_once(r);
    if (rc == CLI_OK)
        rc = cli_close_stdout();
    free(r->answer);
    tlp_sampler_free(r->sampler);
    engine_close(&r->e);
    return rc;
}

int cmd_run(int argc, char **argv)
{
    run_state r = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(r.e),
        { CLI_TEXT, 'p', "prompt", &r.prompt, "TEXT", "the prompt", 0, 0 },
        { CLI_TEXT, 'f', "file", &r.file, "FILE",
          "file with the prompt (standard input)", 0, 0 },
        { CLI_FLAG, 'i', "interactive", &r.interactive, NULL,
          "chat, line by line", 0, 0 },
        { CLI_FLAG, 0, "chat", &r.chat, NULL,
          "use the model's chat template (if it has one)", 0, 0 },
        { CLI_FLAG, 0, "raw", &r.raw, NULL, "complete the text as it is", 0,
          0 },
        { CLI_TEXT, 's', "system", &r.system, "TEXT",
          "system message of the chat (none)", 0, 0 },
        { CLI_INT, 'n', "predict", &r.n_predict, "N",
          "at most N tokens (0: until the model ends)", 0, INT32_MAX },
        { CLI_INT, 'c', "ctx", &r.n_ctx, "N",
          "positions (0: the model's own, at most 4096)", 0, INT32_MAX },
        { CLI_LIST, 0, "stop", &r.stop, "TEXT",
          "stop before this text; may be repeated", 0, 0 },
        { CLI_FLAG, 0, "stats", &r.stats, NULL,
          "tokens/s and all-reduces, to standard error", 0, 0 },
        { CLI_HEADING, .help = "Sampling:" },
        { CLI_FLOAT, 0, "temp", &r.temperature, "X", "temperature (0: greedy)",
          0, 1e6 },
        { CLI_INT, 0, "top-k", &r.top_k, "N", "best N tokens (0: all)", 0,
          INT32_MAX },
        { CLI_FLOAT, 0, "top-p", &r.top_p, "X",
          "smallest set of this probability (0: off)", 0, 1 },
        { CLI_FLOAT, 0, "min-p", &r.min_p, "X",
          "least share of the best probability (0: off)", 0, 1 },
        { CLI_FLOAT, 0, "repeat-penalty", &r.repeat_penalty, "X",
          "divides the logits of the last 64 tokens, prompt included (0: off)",
          0, 1e6 },
        { CLI_FLOAT, 0, "frequency-penalty", &r.frequency_penalty, "X",
          "subtracted once per recent occurrence (0: off)", -1e6, 1e6 },
        { CLI_FLOAT, 0, "presence-penalty", &r.presence_penalty, "X",
          "subtracted from recent tokens (0: off)", -1e6, 1e6 },
        { CLI_SEED, 0, "seed", &r.seed, "N",
          "seed of the sampler; equal seeds give equal text (0)", 0, 0 },
        { CLI_HEADING, .help = "Engine:" },
        ENGINE_PLAN_OPTION(r.e),
        ENGINE_SESSION_OPTIONS(r.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    return rc == CLI_GO ? run_all(&r) : rc;
}
