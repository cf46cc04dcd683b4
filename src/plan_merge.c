/*
 * plan_merge.c - tlp plan merge: write a model with a plan's LoRA in its
 * matrices, or the LoRA as an adapter.
 */
#include "bake_files.h"
#include "files.h"
#include "plan_commands.h"

static int write_model(const bake *v, const tlp_plan *plan)
{
    tlp_quantize_result result = { .struct_size = sizeof result };
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    tlp_plan *merged = NULL;
    cli_progress bar;

    o.n_thread = v->e.n_thread;
    o.pure = v->pure;
    o.progress = cli_progress_step;
    o.progress_data = &bar;
    cli_progress_start(&bar, "merging");
    tlp_status st = tlp_plan_merge(&merged, &result, plan, v->out_path,
                                   v->plan_path, v->type, &o);
    cli_progress_end(&bar);
    tlp_plan_free(merged);
    if (st != TLP_OK)
        return engine_fail(st);
    printf("%s: %d tensors, %d in another type, %lld bytes\n", v->out_path,
           result.n_tensor, result.n_converted, (long long)result.n_bytes);
    return cli_close_stdout();
}

static int merge_plan(bake *v, const char *adapter)
{
    tlp_plan *plan = NULL;
    int rc = engine_parse_plan(&v->e, v->e.plan_text, &plan);
    tlp_status st = TLP_OK;

    if (rc == CLI_OK && adapter)
        st = tlp_plan_save_adapter(plan, adapter);
    if (st != TLP_OK)
        rc = engine_fail(st);
    if (rc == CLI_OK && v->out_path)
        rc = write_model(v, plan);
    tlp_plan_free(plan);
    return rc;
}

static int check_options(bake *v, const char *adapter)
{
    const char *const written[] = { v->out_path, v->plan_path, adapter };

    if (!v->e.plan_text)
        return cli_usage("no plan: --plan PLAN is required");
    if (!v->out_path && !adapter)
        return cli_usage("no output file: -o FILE or --lora-out FILE is "
                         "required");
    if (!v->out_path && (v->plan_path || v->type || v->pure))
        return cli_usage("--plan-out, --type and --pure are for -o FILE");
    int rc = out_check_distinct(written, sizeof written / sizeof *written);

    if (rc == CLI_OK && adapter)
        rc = out_check(adapter);
    return rc == CLI_OK && v->out_path ? bake_check_files(v) : rc;
}

int plan_merge(int argc, char **argv)
{
    bake v = { .e = ENGINE_INIT };
    const char *adapter = NULL;
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_PLAN_OPTION(v.e),
        { CLI_TEXT, 'o', "output", &v.out_path, "FILE",
          "the model with the plan's LoRA in its matrices, GGUF", 0, 0 },
        BAKE_PLAN_OPTION(v),
        { CLI_TEXT, 0, "lora-out", &adapter, "FILE",
          "the plan's LoRA as an adapter for --lora and llama.cpp, GGUF", 0,
          0 },
        { CLI_TEXT, 0, "type", &v.type, "TYPE",
          "type of its matrices, as in tlp quantize (they stay, but matrices "
          "with LoRA get Q8_0 instead of fewer bits)",
          0, 0 },
        { CLI_FLAG, 0, "pure", &v.pure, NULL,
          "all matrices get this type, with --type", 0, 0 },
        { CLI_INT, 't', "threads", &v.e.n_thread, "N", "threads (0: cores)", 0,
          256 },
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    rc = check_options(&v, adapter);
    if (rc == CLI_OK)
        rc = engine_open_model(&v.e, false);
    if (rc == CLI_OK)
        rc = merge_plan(&v, adapter);
    bake_close(&v);
    return rc;
}
