/*
 * plan_carry.c - tlp plan carry: make a plan for another file of a model.
 */
#include "engine.h"
#include "files.h"
#include "plan_commands.h"
#include "tlp_tune.h"

typedef struct carry {
    engine e, from;
    const char *out_path;
} carry;

static int check_options(const carry *v)
{
    if (!v->from.model_path)
        return cli_usage("no model of the plan: --from FILE is required");
    if (!v->e.plan_text)
        return cli_usage("no plan: --plan PLAN is required");
    if (!v->out_path)
        return cli_usage("no output file: -o FILE is required");
    return CLI_OK;
}

static int carry_plan(carry *v)
{
    tlp_plan *plan = NULL, *carried = NULL;
    int rc = engine_parse_plan(&v->from, v->e.plan_text, &plan);

    if (rc == CLI_OK && tlp_plan_carry(&carried, plan, v->e.model) != TLP_OK)
        rc = engine_fail(TLP_ERROR);
    if (rc == CLI_OK && tlp_plan_save(carried, v->out_path) != TLP_OK)
        rc = engine_fail(TLP_ERROR);
    tlp_plan_free(carried);
    tlp_plan_free(plan);
    return rc;
}

int plan_carry(int argc, char **argv)
{
    carry v = { .e = ENGINE_INIT, .from = ENGINE_INIT };
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(v.e),
        ENGINE_PLAN_OPTION(v.e),
        { CLI_TEXT, 0, "from", &v.from.model_path, "FILE",
          "the model of the plan", 0, 0 },
        { CLI_TEXT, 'o', "output", &v.out_path, "FILE",
          "the plan for the other model, JSON", 0, 0 },
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    rc = check_options(&v);
    v.from.trust_sample = v.e.trust_sample;
    if (rc == CLI_OK)
        rc = out_check(v.out_path);
    if (rc == CLI_OK)
        rc = engine_open_model(&v.from, false);
    if (rc == CLI_OK)
        rc = engine_open_model(&v.e, false);
    if (rc == CLI_OK)
        rc = carry_plan(&v);
    engine_close(&v.e);
    engine_close(&v.from);
    return rc;
}
