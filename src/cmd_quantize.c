/*
 * cmd_quantize.c - tlp quantize: convert a model's weights to another type.
 */
#include "commands.h"
#include "engine.h"
#include "tlp_tune.h"

typedef struct quantize {
    engine e;
    const char *out, *type;
    bool pure;
} quantize;

static void print_result(const quantize *q, const tlp_quantize_result *r,
                         double seconds)
{
    printf("%s: %s, %.1f MB in %d tensors (%.1f MB before), %d converted in "
           "%.1f s\n",
           q->out, q->type, (double)r->n_bytes / 1e6, r->n_tensor,
           (double)q->e.info.n_bytes / 1e6, r->n_converted, seconds);
    if (r->n_fallback > 0)
        printf("tensors whose rows do not fit the type's blocks: %d; each got "
               "the nearest type that fits\n",
               r->n_fallback);
}

static int write_model(quantize *q)
{
    cli_progress bar;
    double start = cli_now();
    tlp_quantize_result result = { .struct_size = sizeof result };
    tlp_quantize_options opts = TLP_QUANTIZE_OPTIONS_INIT;

    opts.n_thread = q->e.n_thread;
    opts.pure = q->pure;
    opts.progress = cli_progress_step;
    opts.progress_data = &bar;

    cli_progress_start(&bar, "quantizing");
    tlp_status st =
        tlp_model_quantize(&result, q->e.model, q->out, q->type, &opts);
    cli_progress_end(&bar);
    if (st != TLP_OK)
        return engine_fail(st);
    print_result(q, &result, cli_now() - start);
    return cli_close_stdout();
}

int cmd_quantize(int argc, char **argv)
{
    quantize q = { .e = ENGINE_INIT };
    const cli_option table[] = {
        { .kind = CLI_NAME,
          .value = &q.e.model_path,
          .arg = "IN.gguf",
          .help = "the model; of a split one, the first file" },
        { .kind = CLI_NAME,
          .value = &q.out,
          .arg = "OUT.gguf",
          .help = "output file, replaced when complete" },
        { .kind = CLI_NAME,
          .value = &q.type,
          .arg = "TYPE",
          .help = "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K "
                  "Q4_K_M Q5_K_M" },
        { CLI_FLAG, 0, "pure", &q.pure, NULL,
          "no better type for the output matrix or others", 0, 0 },
        { CLI_INT, 't', "threads", &q.e.n_thread, "N", "threads (0: all cores)",
          0, 256 },
        { CLI_FLAG, 0, "no-mmap", &q.e.no_mmap, NULL,
          "read the model instead of mapping it", 0, 0 },
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    if (!q.type)
        return cli_usage("IN.gguf, OUT.gguf and TYPE are required");
    rc = engine_open_model(&q.e, false);
    if (rc == CLI_OK)
        rc = write_model(&q);
    engine_close(&q.e);
    return rc;
}
