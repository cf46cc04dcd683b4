/*
 * store_copy.c - what a rank holds of a page, to and from memory of the host.
 *
 * The caches of a kind follow each other by layer, and in a layer in the order
 * in which the plan took them.
 */
#include "rank/store.h"

static bool is_of_kind(const tlpi_store *s, int layer, int kind)
{
    return (int)tlpi_kv_kind_of(&s->shape, s->model->w.layer[layer].window) ==
           kind;
}

uint64_t tlpi_store_panel_bytes(const tlpi_store *s, int kind)
{
    uint64_t sum = 0;
    tlpi_kv *kv;

    for (int l = 0; l < s->model->hp.n_layer; l++)
        for (int i = 0; is_of_kind(s, l, kind) && (kv = tlpi_store_kv(s, l, i));
             i++)
            sum += s->b->ops->kv_panel_bytes(kv);
    return sum;
}

bool tlpi_store_can_copy(const tlpi_store *s, int kind, int32_t page, int n)
{
    return kind >= 0 && kind < s->shape.n_kind && n > 0 &&
           n <= s->shape.n_pos && page >= 0 && page < s->shape.n_page[kind] &&
           s->has_memory[kind][page];
}

/* Bytes of a cache for n positions. */
static size_t bytes_of(const tlpi_store *s, const tlpi_kv *kv, int n)
{
    return s->b->ops->kv_panel_bytes(kv) * tlpi_kv_n_panel(n);
}

void tlpi_store_read_page(const tlpi_store *s, void *host, int kind,
                          int32_t page, int n)
{
    char *to = host;
    tlpi_kv *kv;

    for (int l = 0; l < s->model->hp.n_layer; l++)
        for (int i = 0; is_of_kind(s, l, kind) && (kv = tlpi_store_kv(s, l, i));
             i++) {
            s->b->ops->kv_read(s->b, to, kv, page, n);
            to += bytes_of(s, kv, n);
        }
}

void tlpi_store_write_page(const tlpi_store *s, int kind, int32_t page,
                           const void *host, int n)
{
    const char *from = host;
    tlpi_kv *kv;

    for (int l = 0; l < s->model->hp.n_layer; l++)
        for (int i = 0; is_of_kind(s, l, kind) && (kv = tlpi_store_kv(s, l, i));
             i++) {
            s->b->ops->kv_write(s->b, kv, page, from, n);
            from += bytes_of(s, kv, n);
        }
}
