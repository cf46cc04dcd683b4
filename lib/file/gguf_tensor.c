/*
 * gguf_tensor.c - the table of tensors, and the place of their data.
 */
#include <string.h>

#include "file/gguf_parse.h"

#define MAX_NAME 64 /* bytes; limit of the format */

static tlp_status take_shape(tlpi_cursor *c, tlpi_str name, tlpi_tensor *t)
{
    uint32_t n_dim;
    tlp_status st = tlpi_cursor_take(c, &n_dim, sizeof n_dim, "a tensor");

    if (st != TLP_OK)
        return st;
    if (n_dim < 1 || n_dim > 4)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %.*s: %u dims, 1 to 4 expected", c->path,
                         TLPI_STR_ARGS(name), (unsigned)n_dim);
    t->n_dim = (int)n_dim;
    for (int i = 0; i < 4; i++)
        t->ne[i] = 1;
    for (int i = 0; i < t->n_dim; i++) {
        uint64_t ne;
        st = tlpi_cursor_take(c, &ne, sizeof ne, "a tensor");
        if (st != TLP_OK)
            return st;
        if (ne < 1 || ne > INT64_MAX)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: tensor %.*s: dim %d is %llu, at least 1 "
                             "expected",
                             c->path, TLPI_STR_ARGS(name), i,
                             (unsigned long long)ne);
        t->ne[i] = (int64_t)ne;
    }
    return TLP_OK;
}

static tlp_status take_type(tlpi_cursor *c, tlpi_str name, tlpi_tensor *t)
{
    uint32_t number;
    tlp_status st = tlpi_cursor_take(c, &number, sizeof number, "a tensor");

    if (st != TLP_OK)
        return st;
    const tlpi_dtype_info *info = tlpi_dtype_get(number);
    if (!info)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: tensor %.*s: type %s (%u) is not supported",
                         c->path, TLPI_STR_ARGS(name), tlpi_dtype_name(number),
                         (unsigned)number);
    t->type = info->type;
    if (t->ne[0] % info->block != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %.*s: rows of %lld, a multiple of %d "
                         "expected for %s",
                         c->path, TLPI_STR_ARGS(name), (long long)t->ne[0],
                         info->block, info->name);

    size_t bytes;
    int64_t elements = t->ne[0];
    bool fits = true;
    for (int i = 1; i < 4; i++)
        fits = fits && !__builtin_mul_overflow(elements, t->ne[i], &elements);
    if (!fits ||
        !tlpi_mul((size_t)(elements / info->block), (size_t)info->size, &bytes))
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %.*s: the size overflows",
                         c->path, TLPI_STR_ARGS(name));
    t->n_bytes = bytes;
    return TLP_OK;
}

tlp_status tlpi_gguf_parse_tensors(tlpi_gguf *g, tlpi_cursor *c, uint64_t n,
                                   uint64_t *offset)
{
    tlp_status st = TLP_OK;
    tlpi_str name;

    g->tensor = tlpi_calloc(g->env, (size_t)n, sizeof *g->tensor);
    if (!g->tensor)
        return tlpi_fail_nomem_for("the tensors of a model file");
    for (; g->n_tensor < n; g->n_tensor++) {
        tlpi_tensor *t = &g->tensor[g->n_tensor];
        TLP_TRY(tlpi_cursor_name(c, &name, MAX_NAME, "a tensor name"));
        t->name = name.s;
        TLP_TRY(take_shape(c, name, t));
        TLP_TRY(take_type(c, name, t));
        TLP_TRY(tlpi_cursor_take(c, &offset[g->n_tensor], sizeof *offset,
                                 "a tensor"));
    }
done:
    return st;
}

static bool offset_less(const void *ctx, uint32_t a, uint32_t b)
{
    const uint64_t *offset = ctx;

    return offset[a] < offset[b];
}

/* All ranges lie inside the file, so offset + size cannot overflow. */
static tlp_status check_overlap(const tlpi_gguf *g, const uint64_t *offset)
{
    tlp_status st = TLP_OK;
    uint32_t *order = tlpi_alloc_array(g->env, g->n_tensor, sizeof *order);

    if (!order)
        return tlpi_fail_nomem_for("the tensors of a model file");
    for (size_t i = 0; i < g->n_tensor; i++)
        order[i] = (uint32_t)i;
    tlpi_sort(order, g->n_tensor, offset_less, offset);
    for (size_t i = 1; i < g->n_tensor; i++) {
        const tlpi_tensor *t = &g->tensor[order[i - 1]];
        if (offset[order[i - 1]] + t->n_bytes > offset[order[i]])
            TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: tensors %s and %s overlap",
                              g->path, t->name, g->tensor[order[i]].name));
    }
done:
    tlpi_free(g->env, order);
    return st;
}

tlp_status tlpi_gguf_place(tlpi_gguf *g, const tlpi_cursor *c,
                           const uint64_t *offset)
{
    uint64_t at = (uint64_t)(c->at - c->begin);
    uint64_t start = (at + g->alignment - 1) & ~(g->alignment - 1);
    uint64_t size = (uint64_t)(c->end - c->begin);
    uint64_t room = start < size ? size - start : 0;

    for (size_t i = 0; i < g->n_tensor; i++) {
        tlpi_tensor *t = &g->tensor[i];
        if (offset[i] % g->alignment != 0)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: tensor %s: offset %llu, a multiple of %llu "
                             "expected",
                             g->path, t->name, (unsigned long long)offset[i],
                             (unsigned long long)g->alignment);
        if (offset[i] > room || t->n_bytes > room - offset[i])
            return tlpi_fail(
                TLP_EFORMAT,
                "%s: tensor %s: %zu bytes at offset %llu, past the "
                "file's %llu bytes of data",
                g->path, t->name, t->n_bytes, (unsigned long long)offset[i],
                (unsigned long long)room);
        t->data = c->begin + start + offset[i];
    }
    return check_overlap(g, offset);
}
