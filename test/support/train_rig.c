/*
 * train_rig.c - see train_rig.h.
 */
#include "train_rig.h"

#include <stdlib.h>

#include "plan/plan.h"
#include "rig.h"
#include "text_kl.h"
#include "tiny.h"

int32_t train_ids[TRAIN_TOKENS];
const text_windows train_text = { train_ids, TRAIN_TOKENS, TRAIN_CTX };
tlp_session_options train_session;

tlp_model *train_model(tlpi_dtype type)
{
    return train_model_of("llama", type);
}

tlp_model *train_model_of(const char *arch, tlpi_dtype type)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

    spec.arch = arch;
    spec.type = type;
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), NULL));
    rig_tokens(train_ids, TRAIN_TOKENS, (size_t)spec.n_vocab, 11);
    return m;
}

tlp_plan_train_options train_options(void)
{
    tlp_plan_train_options o = TLP_PLAN_TRAIN_OPTIONS_INIT;

    train_session = plan_rig_session(TRAIN_CTX);
    o.session = &train_session;
    o.n_token = 3 * TRAIN_TOKENS;
    o.rate = 1e-3;
    o.held_out = 0.2;
    return o;
}

tlp_plan *train_plan(tlp_model *m, const char *text)
{
    tlp_plan *p = NULL;

    CHECK_OK(tlp_plan_parse(&p, m, text));
    return p;
}

void train_expect_gain(const char *arch, tlpi_dtype type, const char *text,
                       const tlp_plan_train_options *o, double share)
{
    tlp_model *m = train_model_of(arch, type);
    tlp_plan *plan = train_plan(m, text), *trained = NULL;
    tlp_plan_train_report r = { .struct_size = sizeof r };
    bool writes = o->full || o->rank;
    const char *path = writes ? tiny_path("trained.gguf") : NULL;
    float *reference = text_serial_logits(m, &train_text);
    double before = text_compare(m, plan, &train_text, reference).kl, after;

    CHECK_OK(
        tlp_plan_train(&trained, &r, plan, path, train_ids, TRAIN_TOKENS, o));
    after = text_compare(trained->model, trained, &train_text, reference).kl;
    cr_expect_lt(after, share * before, "%s, %s: KL %g, %g before", arch, text,
                 after, before);
    cr_expect_lt(r.kl_after, r.kl_before, "%s", text);
    cr_expect(r.n_token > 0 && r.n_number > 0 && r.n_window == 20 &&
              r.n_held_out == 4);
    free(reference);
    tlp_plan_free(trained);
    tlp_plan_free(plan);
    tlp_model_free(m);
}
