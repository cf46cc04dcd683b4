/*
 * cmd_convert.c - tlp convert: write a folder of Hugging Face as a GGUF file.
 */
#include <stdio.h>

#include "commands.h"
#include "engine.h"
#include "tlp_tune.h"

typedef struct converting {
    engine e;
    const char *out_path, *type; /* type NULL: types stay */
    bool pure;
} converting;

static int convert(const converting *c)
{
    cli_progress bar;
    tlp_quantize_options opts = TLP_QUANTIZE_OPTIONS_INIT;
    tlp_quantize_result r = { .struct_size = sizeof r };
    double start = cli_now();

    opts.n_thread = c->e.n_thread;
    opts.pure = c->pure;
    opts.progress = cli_progress_step;
    opts.progress_data = &bar;
    cli_progress_start(&bar, "converting");
    tlp_status st =
        tlp_model_quantize(&r, c->e.model, c->out_path, c->type, &opts);
    cli_progress_end(&bar);
    if (st != TLP_OK)
        return engine_fail(st);
    printf("%s: %s, %s, %.1f MB in %d tensors in %.1f s\n", c->out_path,
           c->e.info.arch, c->type ? c->type : c->e.info.quant,
           (double)r.n_bytes / 1e6, r.n_tensor, cli_now() - start);
    if (r.n_fallback > 0)
        printf("tensors whose rows do not fit the type's blocks: %d; each got "
               "the nearest type that fits\n",
               r.n_fallback);
    return cli_close_stdout();
}

int cmd_convert(int argc, char **argv)
{
    converting c = { .e = ENGINE_INIT };
    const cli_option table[] = {
        { .kind = CLI_NAME,
          .value = &c.e.model_path,
          .arg = "FOLDER",
          .help =
              "config.json, *.safetensors, tokenizer.json; or a model file" },
        { .kind = CLI_NAME,
          .value = &c.out_path,
          .arg = "OUT.gguf",
          .help = "output file, replaced when complete" },
        { .kind = CLI_NAME,
          .value = &c.type,
          .arg = "TYPE",
          .help = "a type of tlp quantize (types stay)" },
        { CLI_FLAG, 0, "pure", &c.pure, NULL,
          "with TYPE: no better type for the output matrix or others", 0, 0 },
        { CLI_INT, 't', "threads", &c.e.n_thread, "N", "threads (0: all cores)",
          0, 256 },
        { CLI_FLAG, 0, "no-mmap", &c.e.no_mmap, NULL,
          "read the files instead of mapping them", 0, 0 },
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (!c.out_path)
        return cli_usage("FOLDER and OUT.gguf are required");
    if (c.pure && !c.type)
        return cli_usage("--pure is of a type: TYPE is required");
    rc = engine_open_model(&c.e, false);
    if (rc == CLI_OK)
        rc = convert(&c);
    engine_close(&c.e);
    return rc;
}
