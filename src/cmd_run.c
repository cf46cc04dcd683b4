/*
 * cmd_run.c - tlp run: complete a prompt, answer it, or chat.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "commands.h"
#include "conversation.h"
#include "files.h"

typedef struct run_state {
    engine e;
    answerer a;
    /* options */
    const char *prompt, *file, *system, *grammar, *schema;
    bool chat, raw, interactive;
    chat_files files;
    int n_ctx;
    float temperature, top_p, min_p, repeat_penalty;
    float frequency_penalty, presence_penalty;
    int top_k;
    uint64_t seed;
} run_state;

/* ==== once =============================================================== */

static int run_raw(run_state *r, const char *prompt, size_t n)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    int rc =
        engine_tokenize(&r->e, prompt, n,
                        TLP_TOKENIZE_BOS | TLP_TOKENIZE_SPECIAL, &ids, &n_ids);

    if (rc == CLI_OK)
        rc = answer(&r->a, ids, n_ids);
    free(ids);
    return rc;
}

static int answer_chat(run_state *r, const chat *c)
{
    int32_t *ids = NULL;
    size_t n = 0;
    int rc = chat_tokenize(c, &ids, &n);

    r->a.in_channels = chat_has_channels(c);
    if (rc == CLI_OK)
        rc = answer(&r->a, ids, n);
    free(ids);
    return rc;
}

/* prompt NULL: the messages come from a file. */
static int run_templated(run_state *r, const char *prompt)
{
    chat c;
    int rc = chat_open(&c, r->e.model, &r->files);

    if (rc == CLI_OK && r->system)
        rc = chat_add(&c, "system", r->system);
    if (rc == CLI_OK && prompt)
        rc = chat_add(&c, "user", prompt);
    if (rc == CLI_OK)
        rc = answer_chat(r, &c);
    chat_free(&c);
    return rc;
}

static bool is_plain(const run_state *r)
{
    return r->raw || (!r->chat && !r->system && !chat_files_any(&r->files) &&
                      !chat_has_template(r->e.model));
}

static int run_once(run_state *r)
{
    char *text = NULL;
    size_t n = 0;
    int rc = CLI_OK;

    if (r->files.messages_file)
        return run_templated(r, NULL);
    if (r->prompt)
        n = strlen(r->prompt);
    else
        rc = file_read(r->file, &text, &n);
    if (rc == CLI_OK) {
        const char *prompt = text ? text : r->prompt;
        bool plain = is_plain(r);

        if (!plain && strlen(prompt) < n)
            rc = cli_fail("the prompt holds a zero byte: --raw expected");
        else
            rc = plain ? run_raw(r, prompt, n) : run_templated(r, prompt);
    }
    free(text);
    return rc;
}

/* ==== chatting =========================================================== */

static int chat_turn(run_state *r, chat *c, const char *line)
{
    int rc = chat_add(c, "user", line);

    if (rc == CLI_OK)
        rc = answer_chat(r, c);
    if (rc != CLI_OK)
        return rc;

    const char *said = r->a.n_text ? r->a.text : "";

    if (strlen(said) < r->a.n_text)
        return cli_fail("the answer holds a zero byte: the conversation cannot "
                        "go on");
    return chat_add(c, "assistant", said);
}

/* The next line without its newline; false at the end of the conversation. */
static bool read_line(char **line, size_t *cap, int *rc)
{
    ssize_t n = getline(line, cap, stdin);

    if (n > 0 && (*line)[n - 1] == '\n')
        (*line)[--n] = '\0';
    if (n > 0 && strlen(*line) < (size_t)n) {
        *rc = cli_fail("the line holds a zero byte at %zu", strlen(*line));
        return false;
    }
    if (n < 0 && ferror(stdin) && !cli_interrupted())
        *rc = cli_fail("standard input: %s", strerror(errno));
    return n > 0;
}

static int run_interactive(run_state *r)
{
    chat c;
    char *line = NULL;
    size_t cap = 0;
    bool tty = isatty(STDIN_FILENO);
    int rc = chat_open(&c, r->e.model, &r->files);

    r->a.keep = true;
    if (rc == CLI_OK && r->system)
        rc = chat_add(&c, "system", r->system);
    if (tty && rc == CLI_OK)
        fprintf(stderr, "An empty line or Ctrl-D ends the conversation.\n");
    while (rc == CLI_OK) {
        if (tty) {
            fprintf(stderr, "> ");
            fflush(stderr);
        }
        if (!read_line(&line, &cap, &rc))
            break;
        rc = chat_turn(r, &c, line);
    }
    if (cli_interrupted())
        rc = CLI_INTERRUPTED;
    free(line);
    chat_free(&c);
    return rc;
}

/* ========================================================================= */

static int check_options(const run_state *r)
{
    bool piped = !isatty(STDIN_FILENO);

    const chat_files *f = &r->files;

    if (r->raw && (r->chat || r->interactive || r->system || chat_files_any(f)))
        return cli_usage("--raw excludes -i and all options of chats");
    if (!!r->prompt + !!r->file + r->interactive + !!f->messages_file > 1)
        return cli_usage("-p, -f, -i and --messages exclude each other");
    if (f->messages_file && r->system)
        return cli_usage("--messages excludes --system");
    if (r->a.cache.read_only && !r->a.cache.path)
        return cli_usage("--prompt-cache-ro needs --prompt-cache");
    if (r->grammar && r->schema)
        return cli_usage("--grammar excludes --json-schema");
    if (r->temperature == 0 && (r->top_k || r->top_p > 0 || r->min_p > 0))
        return cli_usage("--top-k, --top-p and --min-p need --temp");
    if (f->continue_message && !f->messages_file)
        return cli_usage("--continue needs --messages");
    if (!r->prompt && !r->file && !r->interactive && !f->messages_file &&
        !piped)
        return cli_usage("no prompt: -p, -f, -i, --messages or text on "
                         "standard input");
    return CLI_OK;
}

/* Most bytes of a grammar or a schema. */
enum { MAX_GRAMMAR = 16 << 20 };

/* The grammar of --grammar or --json-schema; NULL without them. */
static int open_grammar(const run_state *r, tlp_grammar **out)
{
    const char *path = r->grammar ? r->grammar : r->schema;
    char *text = NULL;
    tlp_status st = TLP_OK;

    *out = NULL;
    if (!path)
        return CLI_OK;
    int rc = file_read_text(path, MAX_GRAMMAR, &text);
    if (rc == CLI_OK)
        st = r->grammar
                 ? tlp_grammar_parse(out, r->e.model, text, strlen(text))
                 : tlp_grammar_from_schema(out, r->e.model, text, strlen(text));
    free(text);
    if (st != TLP_OK)
        rc = cli_fail("%s: %s", path, tlp_last_error());
    return rc;
}

static int open_sampler(run_state *r)
{
    tlp_sampler_options opts = TLP_SAMPLER_OPTIONS_INIT;
    int rc = open_grammar(r, &opts.grammar);

    if (rc != CLI_OK)
        return rc;
    opts.temperature = r->temperature;
    opts.top_k = r->top_k;
    opts.top_p = r->top_p;
    opts.min_p = r->min_p;
    opts.repeat_penalty = r->repeat_penalty;
    opts.frequency_penalty = r->frequency_penalty;
    opts.presence_penalty = r->presence_penalty;
    opts.seed = r->seed;

    tlp_status st = tlp_sampler_create(&r->a.sampler, r->e.model, &opts);

    tlp_grammar_free(opts.grammar);
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
    r->a.session = r->e.session;
    if (rc == CLI_OK)
        rc = prompt_cache_load(&r->a.cache, r->e.session);
    if (rc == CLI_OK)
        rc = r->interactive ? run_interactive(r) : run_once(r);
    if (rc == CLI_OK)
        rc = cli_close_stdout();
    answer_free(&r->a);
    tlp_sampler_free(r->a.sampler);
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
        { CLI_INT, 'n', "predict", &r.a.n_predict, "N",
          "at most N tokens (0: until the model ends)", 0, INT32_MAX },
        { CLI_INT, 'c', "ctx", &r.n_ctx, "N",
          "positions (0: the model's own, at most 4096)", 0, INT32_MAX },
        { CLI_LIST, 0, "stop", &r.a.stop, "TEXT",
          "stop before this text; may be repeated", 0, 0 },
        { CLI_FLAG, 0, "stats", &r.a.stats, NULL,
          "tokens/s and all-reduces, to standard error", 0, 0 },
        PROMPT_CACHE_OPTIONS(r.a.cache),
        CHAT_OPTIONS(r.files),
        { CLI_HEADING, .help = "Sampling:" },
        { CLI_FLOAT, 0, "temp", &r.temperature, "X", "temperature (0: greedy)",
          0, 1000 },
        { CLI_INT, 0, "top-k", &r.top_k, "N", "best N tokens (0: all)", 0,
          INT32_MAX },
        { CLI_FLOAT, 0, "top-p", &r.top_p, "X",
          "smallest set of this probability (0: off)", 0, 1 },
        { CLI_FLOAT, 0, "min-p", &r.min_p, "X",
          "least share of the best probability (0: off)", 0, 1 },
        { CLI_FLOAT, 0, "repeat-penalty", &r.repeat_penalty, "X",
          "divides the logits of the last 64 tokens, prompt included (0: off)",
          0, 1000 },
        { CLI_FLOAT, 0, "frequency-penalty", &r.frequency_penalty, "X",
          "subtracted once per recent occurrence (0: off)", -1000, 1000 },
        { CLI_FLOAT, 0, "presence-penalty", &r.presence_penalty, "X",
          "subtracted from recent tokens (0: off)", -1000, 1000 },
        { CLI_SEED, 0, "seed", &r.seed, "N",
          "seed of the sampler; equal seeds give equal text (0)", 0, 0 },
        { CLI_TEXT, 0, "grammar", &r.grammar, "FILE",
          "text that matches this grammar (GBNF) alone", 0, 0 },
        { CLI_TEXT, 0, "json-schema", &r.schema, "FILE",
          "JSON that matches this schema alone", 0, 0 },
        { CLI_HEADING, .help = "Engine:" },
        ENGINE_PLAN_OPTION(r.e),
        ENGINE_SESSION_OPTIONS(r.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    return rc == CLI_GO ? run_all(&r) : rc;
}
