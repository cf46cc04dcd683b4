/*
 * bake_twin.c - a model whose sites have twins: layers behind the model's own.
 * A twin has the tensors of its site, except that those with hidden units are
 * in a new order.  A plan over this model takes a site's layer or one of its
 * twins, so that any choice of orders can be run without writing a file.
 *
 * The twin model is a copy of the struct.  It shares files, tensors and packed
 * weights with the model.
 */
#include <string.h>

#include "tune/bake.h"

static const tlpi_layer_id unit_tensor[TLPI_N_UNIT_TENSOR] = { TLPI_FFN_GATE,
                                                               TLPI_FFN_UP,
                                                               TLPI_FFN_DOWN };

static tlp_status make_tensor(const tlpi_bake *b, const int32_t *unit,
                              const tlpi_tensor *from, bool columns,
                              tlpi_tensor *to)
{
    const tlpi_unit_moves moves = { unit, b->model->hp.n_ff, columns };
    size_t row_bytes = tlpi_row_bytes(from->type, from->ne[0]);
    uint8_t *data = tlpi_alloc(b->env, from->n_bytes);

    if (!data)
        return tlpi_fail_nomem_for("a layer in another order");
    for (int64_t r = 0; r < from->ne[1]; r++)
        tlpi_unit_row(&moves, from, r, data + (size_t)r * row_bytes);
    *to = *from;
    to->data = data;
    return TLP_OK;
}

static tlp_status make_twin(const tlpi_bake *b, tlpi_bake_order *o,
                            tlpi_layer *twin)
{
    tlp_status st = TLP_OK;

    for (int i = 0; i < TLPI_N_UNIT_TENSOR; i++) {
        tlpi_layer_id id = unit_tensor[i];

        TLP_TRY(make_tensor(b, o->unit, twin->t[id], id == TLPI_FFN_DOWN,
                            &o->twin[i]));
        twin->t[id] = &o->twin[i];
    }
done:
    return st;
}

tlp_status tlpi_bake_twins_create(tlp_model **out, tlpi_bake *b)
{
    int n_layer = b->model->hp.n_layer;
    size_t n = (size_t)n_layer + (size_t)b->n_site * TLPI_N_ORDER;
    tlp_model *m = tlpi_alloc(b->env, sizeof *m);
    tlp_status st = TLP_OK;

    *out = NULL;
    if (!m)
        return tlpi_fail_nomem_for("a layer in another order");
    *m = (tlp_model){ .refs = 1,
                      .env = b->model->env,
                      .path = b->model->path,
                      .file = b->model->file,
                      .n_file = b->model->n_file,
                      .hp = b->model->hp,
                      .w = b->model->w,
                      .weight_cache = b->model->weight_cache };
    m->hp.n_layer = (int)n;
    m->w.layer = tlpi_calloc(b->env, n, sizeof *m->w.layer);
    if (!m->w.layer)
        TLP_TRY(tlpi_fail_nomem_for("a layer in another order"));
    memcpy(m->w.layer, b->model->w.layer, (size_t)n_layer * sizeof *m->w.layer);
    for (int i = 0; i < b->n_site; i++)
        for (int k = 0; k < TLPI_N_ORDER; k++) {
            tlpi_layer *twin = &m->w.layer[n_layer + i * (int)TLPI_N_ORDER + k];

            *twin = m->w.layer[b->site[i].layer];
            if (b->site[i].order[k].unit)
                TLP_TRY(make_twin(b, &b->site[i].order[k], twin));
        }
    *out = m;
    m = NULL;
done:
    tlpi_bake_twins_free(m);
    return st;
}

void tlpi_bake_twins_free(tlp_model *m)
{
    if (!m)
        return;
    tlpi_env env = m->env;

    tlpi_free(&env, m->w.layer);
    tlpi_free(&env, m);
}

int tlpi_bake_twin(const tlpi_bake *b, int site, int order)
{
    if (!b->site[site].order[order].unit)
        return b->site[site].layer;
    return b->model->hp.n_layer + site * (int)TLPI_N_ORDER + order;
}
