/*
 * cmd_embed.c - tlp embed: a vector for each text.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "engine.h"
#include "files.h"
#include "json.h"

typedef struct embed_text {
    const char *text; /* borrowed */
    size_t len;
    int32_t *ids;
    size_t n;
} embed_text;

typedef struct embed_state {
    engine e;
    /* options */
    cli_list prompts;
    const char *file;
    int pooling;
    bool no_normalize, json;
    /* what is embedded */
    char *data; /* of the file */
    embed_text *text;
    size_t n_text, n_longest, n_token;
    float *vector;
} embed_state;

/* ==== texts ============================================================== */

static size_t count_lines(const char *data, size_t n)
{
    size_t lines = n > 0 && data[n - 1] != '\n';

    for (size_t i = 0; i < n; i++)
        lines += data[i] == '\n';
    return lines;
}

/* The texts of the command line. */
static int take_prompts(embed_state *s)
{
    s->text = calloc(s->prompts.n, sizeof *s->text);
    if (!s->text)
        return cli_fail("out of memory");
    for (; s->n_text < s->prompts.n; s->n_text++) {
        const char *text = s->prompts.item[s->n_text];

        s->text[s->n_text] = (embed_text){ .text = text, .len = strlen(text) };
    }
    return CLI_OK;
}

/* A text for each line of the file. */
static int take_lines(embed_state *s)
{
    size_t n = 0;
    int rc = file_read(s->file, &s->data, &n);

    if (rc != CLI_OK)
        return rc;
    s->text = calloc(count_lines(s->data, n) + 1, sizeof *s->text);
    if (!s->text)
        return cli_fail("out of memory");
    for (const char *at = s->data, *end = at + n; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((stop ? stop : end) - at);

        s->text[s->n_text++] = (embed_text){ .text = at, .len = len };
        at += len + 1;
    }
    return CLI_OK;
}

static int tokenize(embed_state *s)
{
    int rc = s->prompts.n ? take_prompts(s) : take_lines(s);

    if (rc == CLI_OK && s->n_text == 0)
        rc = cli_fail("%s: no text", s->file ? s->file : "standard input");
    for (size_t i = 0; rc == CLI_OK && i < s->n_text; i++) {
        embed_text *t = &s->text[i];

        if (t->len == 0)
            return cli_fail("text %zu is empty", i + 1);
        rc = engine_tokenize(&s->e, t->text, t->len,
                             TLP_TOKENIZE_BOS | TLP_TOKENIZE_EOS |
                                 TLP_TOKENIZE_SPECIAL,
                             &t->ids, &t->n);
        if (rc == CLI_OK && t->n == 0)
            return cli_fail("text %zu has no tokens", i + 1);
        s->n_longest = t->n > s->n_longest ? t->n : s->n_longest;
        s->n_token += t->n;
    }
    return rc;
}

/* ==== vectors ============================================================ */

static void print_line(const embed_state *s)
{
    for (int i = 0; i < s->e.info.n_embd; i++)
        printf("%s%.9g", i ? " " : "", (double)s->vector[i]);
    putchar('\n');
}

static void print_json(json *j, const embed_state *s, size_t index)
{
    json_open(j, NULL, '{');
    json_text(j, "object", "embedding");
    json_int(j, "index", (int64_t)index);
    json_open(j, "embedding", '[');
    for (int i = 0; i < s->e.info.n_embd; i++)
        json_number(j, NULL, (double)s->vector[i]);
    json_close(j, ']');
    json_close(j, '}');
}

static int embed_one(embed_state *s, size_t index, json *j)
{
    tlp_embed_options o = TLP_EMBED_OPTIONS_INIT;
    const embed_text *t = &s->text[index];
    tlp_session *session = s->e.session;

    o.pooling = s->pooling;
    o.no_normalize = s->no_normalize;
    tlp_status st = tlp_session_clear(session, 0);
    if (st == TLP_OK)
        st = tlp_session_embed(s->vector, session, 0, t->ids, t->n, &o);
    if (st != TLP_OK)
        return engine_fail(st);
    if (s->json)
        print_json(j, s, index);
    else
        print_line(s);
    return CLI_OK;
}

static int embed_all(embed_state *s)
{
    json j = { .file = stdout };
    int rc = CLI_OK;

    s->vector = malloc((size_t)s->e.info.n_embd * sizeof *s->vector);
    if (!s->vector)
        return cli_fail("out of memory");
    if (s->json) {
        json_open(&j, NULL, '{');
        json_text(&j, "object", "list");
        json_open(&j, "data", '[');
    }
    for (size_t i = 0; rc == CLI_OK && i < s->n_text; i++)
        rc = embed_one(s, i, &j);
    if (rc != CLI_OK || !s->json)
        return rc;
    json_close(&j, ']');
    json_open(&j, "usage", '{');
    json_int(&j, "prompt_tokens", (int64_t)s->n_token);
    json_int(&j, "total_tokens", (int64_t)s->n_token);
    json_close(&j, '}');
    json_close(&j, '}');
    putchar('\n');
    return CLI_OK;
}

/* ========================================================================= */

static int run_all(embed_state *s)
{
    int rc = CLI_OK;

    if (s->prompts.n && s->file)
        return cli_usage("-p and -f exclude each other");
    if (!s->prompts.n && !s->file && isatty(STDIN_FILENO))
        return cli_usage("no text: -p, -f or text on standard input");
    rc = engine_start(&s->e, 0);
    if (rc == CLI_OK)
        rc = tokenize(s);
    if (rc == CLI_OK)
        rc = engine_open_session(&s->e, (int64_t)s->n_longest);
    if (rc == CLI_OK)
        rc = embed_all(s);
    if (rc == CLI_OK)
        rc = cli_close_stdout();
    for (size_t i = 0; i < s->n_text; i++)
        free(s->text[i].ids);
    free(s->text);
    free(s->data);
    free(s->vector);
    engine_close(&s->e);
    return rc;
}

int cmd_embed(int argc, char **argv)
{
    embed_state s = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(s.e),
        { CLI_LIST, 'p', "prompt", &s.prompts, "TEXT",
          "a text; may be repeated", 0, 0 },
        { CLI_TEXT, 'f', "file", &s.file, "FILE",
          "file with a text in each line (standard input)", 0, 0 },
        { CLI_CHOICE, 0, "pooling", &s.pooling, "default|last|mean",
          "states that make a vector (default: the file's, else last)", 0, 0 },
        { CLI_FLAG, 0, "no-normalize", &s.no_normalize, NULL,
          "keep the lengths of the vectors (else 1)", 0, 0 },
        { CLI_FLAG, 0, "json", &s.json, NULL,
          "print an object in the form of OpenAI's API", 0, 0 },
        { CLI_HEADING, .help = "Engine:" },
        ENGINE_PLAN_OPTION(s.e),
        ENGINE_SESSION_OPTIONS(s.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    return rc == CLI_GO ? run_all(&s) : rc;
}
