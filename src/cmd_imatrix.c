/*
 * cmd_imatrix.c - tlp imatrix: how much the columns of each matrix count on a
 * text, for tlp quantize.
 */
#include <stdio.h>

#include "commands.h"
#include "corpus.h"
#include "files.h"
#include "tlp_tune.h"

typedef struct weighing {
    engine e;
    corpus text;
    const char *out_path;
} weighing;

static int check_options(const weighing *w)
{
    int rc = corpus_check(&w->text);

    if (rc == CLI_OK && !w->out_path)
        rc = cli_usage("no output file: -o FILE is required");
    return rc == CLI_OK ? out_check_model(w->out_path) : rc;
}

static int weigh(weighing *w)
{
    cli_progress bar;
    tlp_session_options session = engine_session_options(&w->e, w->text.ctx);
    tlp_imatrix_options o = TLP_IMATRIX_OPTIONS_INIT;
    tlp_imatrix_result r = { .struct_size = sizeof r };
    double start = cli_now();

    o.session = &session;
    o.dataset = w->text.text_path ? w->text.text_path : w->text.id_path;
    o.progress = cli_progress_step;
    o.progress_data = &bar;
    cli_progress_start(&bar, "weighing");
    tlp_status st = tlp_model_imatrix(&r, w->e.model, w->out_path, w->text.ids,
                                      w->text.n, &o);
    cli_progress_end(&bar);
    if (st != TLP_OK)
        return engine_fail(st);
    printf("%s: importances of %d matrices from %lld tokens in %d windows in "
           "%.1f s\n",
           w->out_path, r.n_entry, (long long)r.n_token, r.n_window,
           cli_now() - start);
    return cli_close_stdout();
}

int cmd_imatrix(int argc, char **argv)
{
    weighing w = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(w.e),
        CORPUS_FILE_OPTIONS(w.text),
        CORPUS_MAX_OPTION(w.text),
        CORPUS_CTX_OPTION(w.text),
        { CLI_TEXT, 'o', "output", &w.out_path, "FILE",
          "the importance matrix, GGUF, replaced when complete", 0, 0 },
        ENGINE_TYPE_OPTIONS(w.e),
        ENGINE_THREAD_OPTIONS(w.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    rc = check_options(&w);
    if (rc == CLI_OK)
        rc = engine_open_model(&w.e, false);
    if (rc == CLI_OK)
        rc = corpus_read(&w.text, &w.e);
    if (rc == CLI_OK)
        rc = weigh(&w);
    corpus_free(&w.text);
    engine_close(&w.e);
    return rc;
}
