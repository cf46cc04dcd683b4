/*
 * expert_rig.c - see expert_rig.h.
 */
#include "expert_rig.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *plan, *stages;
} plans[EXPERT_PLANS] = {
    { "serial", "0 1 2" },
    { "lp:0-1", "lp:0,1 2" },
    { "par:1-2", "0 par:1,2" },
    { "asym:0-2", "asym:0,1,2" },
    { "nosync:0,1a", "@2 0af 1a 2" },
};

expert_subject expert_open(const char *path, int n)
{
    expert_subject s = { .path = path, .ref = ref_open(path), .n = n };

    rig_tokens(s.ids, n, (size_t)ref_n_vocab(s.ref), 1);
    return s;
}

void expert_close(expert_subject *s)
{
    ref_close(s->ref);
}

double expert_off_by(const expert_subject *s, int plan,
                     const tlp_session_options *o)
{
    ref_plan p = ref_parse(plans[plan].stages);
    double *want = ref_logits(s->ref, &p, s->ids, s->n);
    float *got = rig_run(s->path, plans[plan].plan, o, s->ids, s->n);
    double d = rig_diff(got, want, (size_t)(s->n * ref_n_vocab(s->ref)));

    free(got);
    free(want);
    return d;
}

void expert_expect_close(const expert_subject *s, int plan,
                         const tlp_session_options *o, double tolerance,
                         const char *what)
{
    double d = expert_off_by(s, plan, o);

    cr_assert(d <= tolerance, "%s, %s, %d ranks, %s: off by %g", what,
              plans[plan].plan, o->n_rank, rig_isa_name(o->isa), d);
}

void expert_expect_plans(const tiny_spec *spec, int n_rank, const char *what)
{
    expert_subject s = expert_open(tiny_make(spec), EXPERT_TOKENS);

    for (int i = 0; i < EXPERT_PLANS; i++)
        for (int r = 1; r <= n_rank; r++) {
            tlp_session_options o = rig_f32(r, 1 + r % 2);

            if (r == 1 || r % 2 == 0 || !strstr(plans[i].plan, "nosync"))
                expert_expect_close(&s, i, &o, EXPERT_TOLERANCE, what);
        }
    expert_close(&s);
}
