/*
 * fit_apply.c - give the fits of a stage to the rank that runs the student.
 */
#include "tune/calibration.h"

tlp_status tlpi_fitted_init(const tlpi_env *env, tlpi_fitted_stage *s,
                            int n_member)
{
    *s = (tlpi_fitted_stage){ 0 };
    s->member = tlpi_calloc(env, (size_t)n_member, sizeof(*s->member));
    if (!s->member)
        return tlpi_fail_nomem_for("a fit");
    for (int m = 0; m < n_member; m++)
        s->member[m].attn_gain = s->member[m].ffn_gain = 1;
    return TLP_OK;
}

void tlpi_fitted_clear(const tlpi_env *env, tlpi_fitted_stage *s, int n_member)
{
    for (int m = 0; s->member && m < n_member; m++) {
        tlpi_fitted_member *x = &s->member[m];

        tlpi_free(env, x->attn_norm);
        tlpi_free(env, x->ffn_norm);
        tlpi_free(env, x->attn_post);
        tlpi_free(env, x->ffn_post);
        tlpi_free(env, x->out_down);
        tlpi_fitted_lowrank_free(env, &x->attn_in);
        tlpi_fitted_lowrank_free(env, &x->ffn_in);
    }
    tlpi_free(env, s->member);
    tlpi_free(env, s->out_up);
    *s = (tlpi_fitted_stage){ 0 };
}

static tlpi_tensor view(const float *x, int rows, int cols)
{
    return (tlpi_tensor){ .name = "fitted",
                          .type = TLPI_F32,
                          .n_dim = 2,
                          .ne = { cols, rows, 1, 1 },
                          .data = x,
                          .n_bytes = (size_t)rows * (size_t)cols * sizeof(*x) };
}

static tlpi_lowrank view_lowrank(const tlpi_fitted_lowrank *x, int d)
{
    if (x->rank == 0)
        return (tlpi_lowrank){ 0 };
    return (tlpi_lowrank){ x->rank, view(x->down, x->rank, d),
                           view(x->up, d, x->rank) };
}

enum { N_NORM = 4 };

/* Views of a member's norms, in norm [N_NORM]. */
static void view_norms(const tlpi_fitted_member *x, int d, tlpi_tensor *norm,
                       tlpi_member_adjust *to)
{
    const float *from[N_NORM] = { x->attn_norm, x->ffn_norm, x->attn_post,
                                  x->ffn_post };
    const tlpi_tensor **at[N_NORM] = { &to->attn_norm, &to->ffn_norm,
                                       &to->attn_post, &to->ffn_post };

    for (int i = 0; i < N_NORM; i++) {
        norm[i] = view(from[i], 1, d);
        *at[i] = from[i] ? &norm[i] : NULL;
    }
}

tlp_status tlpi_fitted_apply(tlpi_calibration *c, int stage)
{
    const tlpi_fitted_stage *s = &c->fitted[stage];
    int n = tlpi_plan_n_member(c->plan, stage), d = (int)c->d;
    tlpi_member_adjust *member =
        tlpi_calloc(c->env, (size_t)n, sizeof(*member));
    tlpi_tensor *norm = tlpi_calloc(c->env, N_NORM * (size_t)n, sizeof(*norm));
    tlpi_stage_adjust adjust = { .member = member, .out_rank = s->out_rank };
    tlp_status st = TLP_OK;

    if (!member || !norm) {
        st = tlpi_fail_nomem_for("a fit");
        goto done;
    }
    for (int m = 0; m < n; m++) {
        const tlpi_fitted_member *x = &s->member[m];

        member[m] = (tlpi_member_adjust){
            .attn_gain = x->attn_gain,
            .ffn_gain = x->ffn_gain,
            .attn_in = view_lowrank(&x->attn_in, d),
            .ffn_in = view_lowrank(&x->ffn_in, d),
        };
        view_norms(x, d, &norm[N_NORM * m], &member[m]);
        if (s->out_rank)
            member[m].out_down = view(x->out_down, s->out_rank, d);
    }
    if (s->out_rank)
        adjust.out_up = view(s->out_up, d, s->out_rank);
    st = tlpi_program_adjust_stage(c->student.rank->program, stage, &adjust);
done:
    tlpi_free(c->env, norm);
    tlpi_free(c->env, member);
    return st;
}
