/*
 * plan_record.c - see plan_record.h.
 */
#include "plan_record.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "engine.h"

/* The record of plan make has "kl"; those of commands that changed the plan
 * are objects in it, in their order, with "kl_after". */
static double last_kl(json_t *made)
{
    const json_t *kl = json_object_get(made, "kl");
    const char *key;
    json_t *value;

    json_object_foreach(made, key, value)
    {
        const json_t *after = json_object_get(value, "kl_after");

        if (after)
            kl = after;
    }
    return json_is_number(kl) ? json_number_value(kl) : NAN;
}

int plan_recorded_kl(const tlp_plan *plan, double *kl)
{
    char *text = NULL;
    int rc = engine_format_plan(plan, TLP_PLAN_JSON, &text);

    *kl = NAN;
    if (rc != CLI_OK) {
        free(text);
        return rc;
    }
    json_t *root = json_loads(text, 0, NULL);

    *kl = last_kl(json_object_get(root, "made"));
    json_decref(root);
    free(text);
    return CLI_OK;
}
