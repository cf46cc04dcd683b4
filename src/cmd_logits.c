/*
 * cmd_logits.c - tlp logits: one row of n_vocab little-endian float32 for
 * each token.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "engine.h"
#include "files.h"

/* Tokens evaluated at once; bounds the logits in memory. */
#define CHUNK 64

/* Write float32 in the file's byte order on every machine. */
static void write_row(FILE *f, const float *row, int n, uint32_t *buf)
{
    memcpy(buf, row, (size_t)n * sizeof *buf);
    for (int i = 0; i < n; i++)
        buf[i] = htole32(buf[i]);
    fwrite(buf, sizeof *buf, (size_t)n, f);
}

static int write_chunk(engine *e, const int32_t *ids, size_t n, FILE *f,
                       uint32_t *buf)
{
    uint8_t all[CHUNK];
    tlp_batch batch = TLP_BATCH_INIT;

    memset(all, 1, sizeof all);
    batch.n = n;
    batch.tokens = ids;
    batch.want_logits = all;

    tlp_status st = tlp_session_eval(e->session, &batch);

    for (size_t i = 0; st == TLP_OK && i < n; i++) {
        const float *row;

        st = tlp_session_logits(&row, e->session, i);
        if (st == TLP_OK)
            write_row(f, row, e->info.n_vocab, buf);
    }
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

static int write_logits(engine *e, const int32_t *ids, size_t n, out_file *out)
{
    cli_progress bar;
    uint32_t *buf = malloc((size_t)e->info.n_vocab * sizeof *buf);
    int rc = buf ? CLI_OK : cli_fail("out of memory");

    cli_progress_start(&bar, "evaluating");
    for (size_t i = 0; rc == CLI_OK && i < n && !ferror(out->file);
         i += CHUNK) {
        rc = write_chunk(e, ids + i, n - i < CHUNK ? n - i : CHUNK, out->file,
                         buf);
        cli_progress_step((double)i / (double)n, &bar);
    }
    cli_progress_end(&bar);
    free(buf);
    return rc == CLI_OK ? out_commit(out) : rc;
}

int cmd_logits(int argc, char **argv)
{
    engine e = ENGINE_INIT;
    const char *id_text = NULL, *id_file = NULL, *out_path = NULL;
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(e),
        { CLI_TEXT, 0, "ids", &id_text, "IDS",
          "token ids, separated by blanks; no BOS is added", 0, 0 },
        { CLI_TEXT, 0, "tokens", &id_file, "FILE",
          "token ids, little-endian int32; no BOS is added", 0, 0 },
        { CLI_TEXT, 'o', "output", &out_path, "FILE",
          "output file, replaced when complete; - for standard output", 0, 0 },
        ENGINE_PLAN_OPTION(e),
        ENGINE_SESSION_OPTIONS(e),
        { .kind = CLI_END },
    };
    out_file out = { 0 };
    int32_t *ids = NULL;
    size_t n = 0;
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (!id_text == !id_file)
        return cli_usage("either --ids or --tokens is required");
    if (!out_path)
        return cli_usage("no output: -o FILE is required");

    rc = engine_start(&e, 0);
    if (rc == CLI_OK)
        rc = id_text ? file_parse_ids(id_text, &ids, &n)
                     : file_read_ids(id_file, &ids, &n);
    if (rc == CLI_OK && n == 0)
        rc = cli_fail("no tokens");
    if (rc == CLI_OK)
        rc = engine_open_session(&e, (int64_t)n);
    if (rc == CLI_OK)
        rc = out_open(&out, out_path);
    if (rc == CLI_OK)
        rc = write_logits(&e, ids, n, &out);
    out_discard(&out);
    free(ids);
    engine_close(&e);
    return rc;
}
