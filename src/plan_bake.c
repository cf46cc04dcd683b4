/*
 * plan_bake.c - tlp plan bake: write a model in which each track of a plan has
 * the hidden units that it serves best.
 */
#include "bake_files.h"
#include "plan_commands.h"

static void print_json(const tlp_plan_bake_report *r)
{
    json j = { .file = stdout };

    json_open(&j, NULL, '{');
    fit_json(&FIT_QUALITY(r), &j);
    json_int(&j, "sites", r->n_site);
    json_int(&j, "layers", r->n_layer);
    json_int(&j, "units", r->n_unit);
    json_close(&j, '}');
    printf("\n");
}

static int write_model(const bake *v, const tlp_plan *plan)
{
    tlp_plan_bake_report report = { .struct_size = sizeof report };
    tlp_status st = bake_write(v, plan, &report);

    if (st != TLP_OK)
        return engine_fail(st);
    if (v->as_json)
        print_json(&report);
    else
        bake_print(v, &report);
    return cli_close_stdout();
}

static int bake_plan(bake *v)
{
    tlp_plan *plan = NULL;
    int rc = engine_parse_plan(&v->e, v->e.plan_text, &plan);

    if (rc == CLI_OK)
        rc = corpus_read(&v->text, &v->e);
    if (rc == CLI_OK)
        rc = write_model(v, plan);
    tlp_plan_free(plan);
    return rc;
}

int plan_bake(int argc, char **argv)
{
    bake v = { .e = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_PLAN_OPTION(v.e),
        CORPUS_FILE_OPTIONS(v.text),
        CORPUS_MAX_OPTION(v.text),
        FIT_WINDOW_OPTIONS(v),
        { CLI_TEXT, 'o', "output", &v.out_path, "FILE",
          "the model with its hidden units in the new order, GGUF", 0, 0 },
        BAKE_PLAN_OPTION(v),
        { CLI_FLAG, 0, "json", &v.as_json, NULL, "print JSON", 0, 0 },
        ENGINE_TYPE_OPTIONS(v.e),
        ENGINE_THREAD_OPTIONS(v.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    rc = fit_check_options(&v.text, v.e.plan_text, v.out_path);
    if (rc == CLI_OK)
        rc = bake_check_files(&v);
    if (rc == CLI_OK)
        rc = engine_open_model(&v.e, false);
    if (rc == CLI_OK)
        rc = bake_plan(&v);
    bake_close(&v);
    return rc;
}
