/*
 * train_rig.c - see train_rig.h.
 */
#include "train_rig.h"

#include "rig.h"
#include "tiny.h"

int32_t train_ids[TRAIN_TOKENS];
const text_windows train_text = { train_ids, TRAIN_TOKENS, TRAIN_CTX };
tlp_session_options train_session;

tlp_model *train_model(tlpi_dtype type)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;

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
