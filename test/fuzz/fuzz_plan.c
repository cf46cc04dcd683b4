/*
 * fuzz_plan.c - any bytes as a plan, in text or JSON: what is accepted must
 * hold together, and read back the same from both forms.
 */
#include <string.h>

#include "plan/shard.h"
#include "support/fake_model.h"
#include "fuzz.h"

#define N_LAYER 12

static char *format(const tlp_plan *p, int form)
{
    size_t n = 0;

    promise(tlp_plan_format(NULL, 0, &n, p, form) == TLP_EBUFS);
    char *text = malloc(n + 1);
    promise(text && tlp_plan_format(text, n + 1, &n, p, form) == TLP_OK);
    promise(strlen(text) == n);
    return text;
}

/* Every layer at most once, in a stage whose mode fits. */
static void check_stages(const tlp_plan *p)
{
    bool seen[N_LAYER] = { false };
    tlp_stage_info s = { .struct_size = sizeof s };
    int n_stage = 0;

    while (tlp_plan_get_stage(&s, p, (size_t)n_stage) == TLP_OK) {
        promise((s.n_member == 1) == (s.mode == TLP_MODE_SERIAL));
        for (int i = 0; i < s.n_member; i++) {
            promise(s.layers[i] >= 0 && s.layers[i] < N_LAYER);
            promise(!seen[s.layers[i]]);
            seen[s.layers[i]] = true;
        }
        n_stage++;
    }
    promise(n_stage > 0 && n_stage == p->n_stage);
}

static void check_same(const tlp_plan *a, const tlp_plan *b)
{
    promise(a->n_stage == b->n_stage);
    for (int i = 0; i < a->n_stage; i++) {
        size_t n = (size_t)a->stage[i].n_member;
        promise(a->stage[i].mode == b->stage[i].mode);
        promise(a->stage[i].n_member == b->stage[i].n_member);
        promise(!memcmp(a->stage[i].layers, b->stage[i].layers,
                        n * sizeof *a->stage[i].layers));
    }
}

static void check_round_trip(const tlp_plan *p, tlp_model *m, int form)
{
    char *text = format(p, form);
    tlp_plan *again = NULL;

    promise(tlp_plan_parse(&again, m, text) == TLP_OK);
    check_same(p, again);
    char *text_again = format(again, form);
    promise(strcmp(text, text_again) == 0);
    free(text_again);
    free(text);
    tlp_plan_free(again);
}

static void check_cost(const tlp_plan *p)
{
    tlp_plan_cost one = { .struct_size = sizeof one };

    promise(tlp_plan_get_cost(&one, p, 1) == TLP_OK);
    promise(one.allreduces + one.inner_allreduces + one.sends == 0);
    for (int n_rank = 2; n_rank < 6; n_rank++) {
        tlp_plan_cost c = { .struct_size = sizeof c };
        promise(tlp_plan_get_cost(&c, p, n_rank) == TLP_OK);
        /* More where two ranks hold the same kv head. */
        promise(c.sum_rank_bytes >= one.sum_rank_bytes);
        promise(c.allreduces >= p->n_stage);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fake_shape shape = { N_LAYER, 64, 96, 6, 3, 16, 100 };
    static const tlpi_dtype types[] = { TLPI_F32, TLPI_Q8_0, TLPI_Q4_1 };
    tlp_model *m = fake_model(&shape, types, TLPI_COUNT(types));
    char *text = malloc(size + 1);
    tlp_plan *p = NULL;

    promise(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (tlp_plan_parse(&p, m, text) == TLP_OK) {
        check_stages(p);
        check_round_trip(p, m, TLP_PLAN_TEXT);
        check_round_trip(p, m, TLP_PLAN_JSON);
        check_cost(p);
    } else {
        promise(p == NULL && *tlp_last_error() != '\0');
    }
    tlp_plan_free(p);
    tlp_model_free(m);
    free(text);
    return 0;
}
