/*
 * unit_order.c - rows of tensors whose hidden units are in another order.
 */
#include "model/unit_order.h"

#include <string.h>

int tlpi_unit_block(const tlp_model *m, int layer)
{
    const tlpi_tensor *down = m->w.layer[layer].t[TLPI_FFN_DOWN];

    return tlpi_dtype_get((uint32_t)down->type)->block;
}

/* Is `part` the tensor t, or a view of some of its rows? */
static bool holds(const tlpi_tensor *t, const tlpi_tensor *part)
{
    const char *begin = t->data, *at = part->data;

    return at >= begin && at < begin + t->n_bytes;
}

tlpi_unit_moves tlpi_unit_find(const tlp_model *m, const tlpi_unit_order *order,
                               const tlpi_tensor *t)
{
    tlpi_unit_moves u = { .n_ff = m->hp.n_ff };

    for (int l = 0; l < m->hp.n_layer && !u.unit; l++) {
        const tlpi_layer *layer = &m->w.layer[l];

        if (!order->unit[l])
            continue;
        u.columns = holds(t, layer->t[TLPI_FFN_DOWN]);
        if (u.columns || holds(t, layer->t[TLPI_FFN_GATE]) ||
            holds(t, layer->t[TLPI_FFN_UP]))
            u.unit = order->unit[l];
    }
    return u;
}

bool tlpi_unit_columns(const tlpi_unit_moves *u, const float *x, float *out)
{
    if (!u->unit || !u->columns)
        return false;
    for (int64_t i = 0; i < u->n_ff; i++)
        out[i] = x[u->unit[i]];
    return true;
}

void tlpi_unit_row(const tlpi_unit_moves *u, const tlpi_tensor *t, int64_t row,
                   uint8_t *out)
{
    const tlpi_dtype_info *type = tlpi_dtype_get((uint32_t)t->type);
    size_t row_bytes = tlpi_row_bytes(t->type, t->ne[0]);
    int64_t block = type->block;
    size_t bytes = tlpi_row_bytes(t->type, block);
    int64_t from = row;

    if (u->unit && !u->columns)
        from = row - row % u->n_ff + u->unit[row % u->n_ff];
    const uint8_t *src = (const uint8_t *)t->data + (size_t)from * row_bytes;
    if (!u->unit || !u->columns) {
        memcpy(out, src, row_bytes);
        return;
    }
    for (int64_t i = 0; i < u->n_ff; i += block)
        memcpy(out + (size_t)(i / block) * bytes,
               src + (size_t)(u->unit[i] / block) * bytes, bytes);
}
