/*
 * plan_rig.c - see plan_rig.h.
 */
#include "plan_rig.h"

#include <stdlib.h>

#include "tiny.h"

tlp_model *plan_rig_open(int n_layer, uint64_t seed)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    spec.n_layer = n_layer;
    spec.seed = seed;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    return m;
}

tlp_session_options plan_rig_session(int n_ctx)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.n_ctx = n_ctx;
    o.n_thread = 1;
    o.compute = TLP_COMPUTE_F32;
    return o;
}

char *plan_rig_format(const tlp_plan *plan, int form)
{
    size_t n = 0;

    CHECK_FAILS(TLP_EBUFS, tlp_plan_format(NULL, 0, &n, plan, form));
    char *text = malloc(n + 1);
    CHECK_OK(tlp_plan_format(text, n + 1, &n, plan, form));
    return text;
}

char *plan_rig_make(tlp_model *m, const text_windows *text,
                    const tlp_plan_make_options *o)
{
    tlp_plan *plan = NULL;

    CHECK_OK(tlp_plan_make(&plan, m, text->ids, (size_t)text->n, o));
    char *json = plan_rig_format(plan, TLP_PLAN_JSON);
    tlp_plan_free(plan);
    return json;
}
