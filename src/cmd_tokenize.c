/*
 * cmd_tokenize.c - tlp tokenize, tlp detokenize: text to ids and back.
 */
#include <stdlib.h>

#include "commands.h"
#include "engine.h"
#include "files.h"

/* One line for each token: id, tab, text; '?' replaces control characters. */
static int print_pieces(const engine *e, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char piece[256];
        size_t len;
        tlp_status st = tlp_detokenize(piece, sizeof piece, &len, e->model,
                                       &ids[i], 1, TLP_DETOKENIZE_SPECIAL);

        if (st != TLP_OK && st != TLP_EBUFS)
            return engine_fail(st);
        printf("%d\t", ids[i]);
        cli_print_clean(stdout, st == TLP_OK ? piece : "(long)");
        putchar('\n');
    }
    return CLI_OK;
}

int cmd_tokenize(int argc, char **argv)
{
    engine e = ENGINE_INIT;
    bool special = false, bos = false, eos = false, only_ids = false,
         pieces = false;
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(e),
        { CLI_FLAG, 0, "special", &special, NULL,
          "text like <|im_start|> becomes one token", 0, 0 },
        { CLI_FLAG, 0, "bos", &bos, NULL,
          "add BOS where the model's file says so", 0, 0 },
        { CLI_FLAG, 0, "eos", &eos, NULL,
          "add EOS where the model's file says so", 0, 0 },
        { CLI_FLAG, 0, "ids", &only_ids, NULL,
          "print ids, separated by blanks (the default)", 0, 0 },
        { CLI_FLAG, 0, "pieces", &pieces, NULL,
          "print a line for each token: id, tab, text", 0, 0 },
        { .kind = CLI_END },
    };
    uint32_t flags = 0;
    char *text = NULL;
    int32_t *ids = NULL;
    size_t n_text = 0, n_ids = 0;
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (only_ids && pieces)
        return cli_usage("--ids and --pieces exclude each other");
    flags |= special ? TLP_TOKENIZE_SPECIAL : 0;
    flags |= bos ? TLP_TOKENIZE_BOS : 0;
    flags |= eos ? TLP_TOKENIZE_EOS : 0;

    rc = engine_open_model(&e, true);
    if (rc == CLI_OK)
        rc = file_read(NULL, &text, &n_text);
    if (rc == CLI_OK)
        rc = engine_tokenize(&e, text, n_text, flags, &ids, &n_ids);
    if (rc == CLI_OK && pieces)
        rc = print_pieces(&e, ids, n_ids);
    else if (rc == CLI_OK) {
        for (size_t i = 0; i < n_ids; i++)
            printf("%s%d", i ? " " : "", ids[i]);
        putchar('\n');
    }
    if (rc == CLI_OK)
        rc = cli_close_stdout();
    free(ids);
    free(text);
    engine_close(&e);
    return rc;
}

static int print_text(const engine *e, const int32_t *ids, size_t n,
                      uint32_t flags)
{
    size_t len = 0;
    char *text = NULL;
    int rc = engine_detokenize(e, ids, n, flags, &text, &len);

    if (rc == CLI_OK)
        fwrite(text, 1, len, stdout);
    free(text);
    return rc;
}

int cmd_detokenize(int argc, char **argv)
{
    engine e = ENGINE_INIT;
    bool special = false;
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(e),
        { CLI_FLAG, 0, "special", &special, NULL,
          "control tokens give their text", 0, 0 },
        { .kind = CLI_END },
    };
    char *text = NULL;
    int32_t *ids = NULL;
    size_t n_text = 0, n_ids = 0;
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    rc = engine_open_model(&e, true);
    if (rc == CLI_OK)
        rc = file_read(NULL, &text, &n_text);
    if (rc == CLI_OK)
        rc = file_parse_ids(text, &ids, &n_ids);
    if (rc == CLI_OK)
        rc = print_text(&e, ids, n_ids, special ? TLP_DETOKENIZE_SPECIAL : 0);
    if (rc == CLI_OK)
        rc = cli_close_stdout();
    free(ids);
    free(text);
    engine_close(&e);
    return rc;
}
