/*
 * test_plan_record.c - records of the commands that made and changed a plan.
 */
#include <string.h>

#include "plan/plan.h"
#include "support/check.h"
#include "support/tiny.h"

TestSuite(plan_record, .timeout = 60);

/* The record of a command that is run again is the latest one. */
Test(plan_record, the_latest_comes_last)
{
    static const char records[] =
        ", \"made\": {\"kl\": 0.5, \"adjusted\": {\"kl_after\": 0.25}, "
        "\"trained\": {\"kl_after\": 0.125}}}";
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    tlp_plan *plan = NULL;
    size_t n;
    char text[1024], *made = NULL, *adjusted, *trained;

    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    CHECK_OK(tlp_plan_parse(&plan, m, "par:1-2"));
    CHECK_OK(tlp_plan_format(text, sizeof text, &n, plan, TLP_PLAN_JSON));
    strcpy(strrchr(text, '}'), records);
    tlp_plan_free(plan);
    CHECK_OK(tlp_plan_parse(&plan, m, text));
    CHECK_OK(tlpi_plan_record(plan, "adjusted", "{\"kl_after\": 2}", &made));
    adjusted = strstr(made, "\"adjusted\"");
    trained = strstr(made, "\"trained\"");
    cr_expect(trained && adjusted && trained < adjusted, "%s", made);
    cr_expect(strstr(made, "0.125") && !strstr(made, "0.25"), "%s", made);
    tlpi_free(&m->env, made);
    tlp_plan_free(plan);
    tlp_model_free(m);
}
