/*
 * vector_of.c - see vector_of.h.
 */
#include "vector_of.h"

#include <string.h>

#include "check.h"

size_t vector_of(const char *path, const char *text, int pooling, int raw,
                 float *out)
{
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_session *session = NULL;
    tlp_embed_options o = { sizeof o, pooling, raw };
    int32_t ids[64];
    size_t n = 0;

    CHECK_OK(tlp_model_open(&model, path, NULL));
    CHECK_OK(tlp_plan_parse(&plan, model, "serial"));
    CHECK_OK(tlp_session_create(&session, plan, NULL));
    CHECK_OK(tlp_tokenize(ids, 64, &n, model, text, strlen(text),
                          TLP_TOKENIZE_BOS | TLP_TOKENIZE_EOS |
                              TLP_TOKENIZE_SPECIAL));
    CHECK_OK(tlp_session_embed(out, session, 0, ids, n, &o));
    tlp_session_free(session);
    tlp_plan_free(plan);
    tlp_model_free(model);
    return n;
}
