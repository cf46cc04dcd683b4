/*
 * merge.c - the paper's "merge" study: one layer whose weights are the
 * element-wise mean of several.  Facts that are no tensors, such as whether
 * queries are rotated, are taken from the first layer.
 */
#include "rank/program.h"

tlp_status tlpi_merge_tensor(const tlp_model *m, const tlpi_stage *stage,
                             tlpi_layer_id id, tlpi_tensor *out)
{
    const tlpi_tensor *first = m->w.layer[stage->layers[0]].t[id];
    int64_t rows = first->ne[1], cols = first->ne[0];
    size_t n = (size_t)rows * (size_t)cols;
    float *sum = tlpi_calloc(&m->env, n, sizeof(float));
    float *row = tlpi_alloc_array(&m->env, (size_t)cols, sizeof(float));
    float share = 1.0f / (float)stage->n_member;

    *out = *first;
    out->data = NULL;
    if (!sum || !row) {
        tlpi_free(&m->env, sum);
        tlpi_free(&m->env, row);
        return tlpi_fail_nomem_for("a merged tensor");
    }
    for (int i = 0; i < stage->n_member; i++) {
        const tlpi_tensor *t = m->w.layer[stage->layers[i]].t[id];

        for (int64_t j = 0; j < rows; j++) {
            float *dst = sum + j * cols;
            tlpi_read_row(t, j, row, cols);
            for (int64_t k = 0; k < cols; k++)
                dst[k] += share * row[k];
        }
    }
    tlpi_free(&m->env, row);
    out->type = TLPI_F32;
    out->data = sum;
    out->n_bytes = n * sizeof(float);
    return TLP_OK;
}
