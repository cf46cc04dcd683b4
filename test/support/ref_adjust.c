/*
 * ref_adjust.c - see ref_adjust.h.
 */
#include "ref_adjust.h"

#include <stdlib.h>

#include "check.h"

double *ref_doubles(const tlpi_tensor *t)
{
    size_t n = t ? (size_t)(t->ne[0] * t->ne[1]) : 0;
    float *x = malloc((n + 1) * sizeof *x);
    double *y = malloc((n + 1) * sizeof *y);

    cr_assert(x && y, "out of memory");
    if (t)
        tlpi_dequantize(t->type, t->data, x, (int64_t)n);
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    free(x);
    return y;
}

static ref_lowrank lowrank(const tlpi_lowrank *l)
{
    return (ref_lowrank){ l->rank, ref_doubles(l->rank ? &l->down : NULL),
                          ref_doubles(l->rank ? &l->up : NULL) };
}

ref_plan ref_adjusted(const char *stages, const tlp_plan *plan)
{
    ref_plan p = ref_parse(stages);

    cr_assert_eq(p.n_stage, plan->n_stage);
    for (int i = 0; i < p.n_stage; i++) {
        const tlpi_stage_adjust *s = &plan->adjust->stage[i];

        int n = tlpi_plan_n_member(plan, i);

        for (int j = 0; s->member && j < n; j++) {
            const tlpi_member_adjust *m = &s->member[j];
            ref_member *to = &p.stage[i].adjust[j];
            tlpi_lowrank out = { s->out_rank, m->out_down, s->out_up };

            *to = (ref_member){
                .attn_norm = m->attn_norm ? ref_doubles(m->attn_norm) : NULL,
                .ffn_norm = m->ffn_norm ? ref_doubles(m->ffn_norm) : NULL,
                .attn_post = m->attn_post ? ref_doubles(m->attn_post) : NULL,
                .ffn_post = m->ffn_post ? ref_doubles(m->ffn_post) : NULL,
                .attn_gain = (double)m->attn_gain,
                .ffn_gain = (double)m->ffn_gain,
                .attn_in = lowrank(&m->attn_in),
                .ffn_in = lowrank(&m->ffn_in),
                .out = lowrank(&out),
            };
        }
    }
    return p;
}

void ref_adjust_free(ref_plan *p)
{
    for (int i = 0; i < p->n_stage; i++)
        for (int j = 0; j < REF_MAX_MEMBER; j++) {
            ref_member *m = &p->stage[i].adjust[j];
            void *all[] = { m->attn_norm,   m->ffn_norm,     m->attn_post,
                            m->ffn_post,    m->attn_in.down, m->attn_in.up,
                            m->ffn_in.down, m->ffn_in.up,    m->out.down,
                            m->out.up };

            for (size_t k = 0; k < TLPI_COUNT(all); k++)
                free(all[k]);
        }
}
