/*
 * train_panel.c - convert frozen matrices once.
 *
 * The forward direction comes first for every matrix, because its panels are
 * transposed, which costs most.
 */
#include "train/train_panel.h"

static tlp_status add(tlpi_train_panels *p, tlpi_gemm *gemm,
                      const tlpi_tensor *t, bool back, const float **out)
{
    int64_t in = t->ne[0], n_out = t->ne[1];
    int64_t k = back ? n_out : in, n = back ? in : n_out;
    uint64_t n_byte = tlpi_gemm_panel_floats(gemm, k, n) * sizeof(float);
    tlpi_gemm_source b = tlpi_gemm_weight(t, 0, 0);

    if (n_byte > p->budget || p->n == p->cap)
        return TLP_OK; /* products convert it */
    float *x = tlpi_alloc_huge(p->env, n_byte);

    if (!x)
        return tlpi_fail_nomem_for("converted matrices in training");
    b.trans = !back;
    tlpi_gemm_pack(gemm, &b, k, n, x);
    p->block[p->n++] = x;
    p->budget -= n_byte;
    *out = x;
    return TLP_OK;
}

static tlp_status add_matrix(tlpi_train_panels *p, tlpi_gemm *gemm,
                             tlpi_train_matrix *w, bool back)
{
    if (!w->tensor || w->full)
        return TLP_OK;
    return add(p, gemm, w->tensor, back, back ? &w->panels_back : &w->panels);
}

/* Members of a stage with tracks have parts of matrices, which are not kept. */
static tlp_status add_stage(tlpi_train_panels *p, tlpi_gemm *gemm,
                            tlpi_train_net *net, int stage, bool back)
{
    const tlpi_train_stage *s = &net->stage[stage];
    tlp_status st = TLP_OK;

    for (int j = 0; j < s->n_member && !tlpi_train_has_tracks(s); j++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++)
            TLP_TRY(add_matrix(p, gemm, &net->layer[s->member[j].layer].w[i],
                               back));
done:
    return st;
}

tlp_status tlpi_train_panels_create(tlpi_train_panels *p, tlpi_train_net *net,
                                    tlpi_train_pass *pass, uint64_t budget)
{
    tlp_status st = TLP_OK;

    *p = (tlpi_train_panels){ .env = net->env, .budget = budget };
    p->cap = 2 * ((size_t)net->model->hp.n_layer * TLPI_N_LAYER_TENSOR + 1);
    p->block = tlpi_calloc(p->env, p->cap, sizeof(*p->block));
    if (!p->block)
        return tlpi_fail_nomem_for("converted matrices in training");
    for (int back = 0; back < 2; back++) {
        TLP_TRY(add_matrix(p, pass->gemm, &net->output, back));
        for (int i = net->first; i < net->plan->n_stage; i++)
            TLP_TRY(add_stage(p, pass->gemm, net, i, back));
    }
done:
    return st;
}

void tlpi_train_panels_free(tlpi_train_panels *p)
{
    if (!p->env)
        return;
    for (size_t i = 0; p->block && i < p->n; i++)
        tlpi_free(p->env, p->block[i]);
    tlpi_free(p->env, p->block);
    *p = (tlpi_train_panels){ 0 };
}
