/*
 * hf_stacks.c - the tensors that GGUF files stack: a matrix of each expert.
 *
 * The slices of a stack may come from several files, so that they are copied
 * when all files are open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/mapfile.h"
#include "hf/hf_tensors.h"

#define ALIGNMENT 64 /* of stacks */

static const char *const stack_names[] = {
    [TLPI_HF_GATE] = "ffn_gate_exps.weight",
    [TLPI_HF_UP] = "ffn_up_exps.weight",
    [TLPI_HF_DOWN] = "ffn_down_exps.weight",
    [TLPI_HF_GATE_BIAS] = "ffn_gate_exps.bias",
    [TLPI_HF_UP_BIAS] = "ffn_up_exps.bias",
};

/* ==== slices ============================================================= */

static tlp_status push(tlpi_hf_stacks *s, const tlpi_hf_slice *x)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        tlpi_hf_slice *more = tlpi_alloc_array(s->env, cap, sizeof *more);

        if (!more)
            return tlpi_fail_nomem_for("the tensors of a model");
        if (s->n > 0)
            memcpy(more, s->slice, s->n * sizeof *more);
        tlpi_free(s->env, s->slice);
        s->slice = more;
        s->cap = cap;
    }
    s->slice[s->n++] = *x;
    return TLP_OK;
}

tlp_status tlpi_hf_stacks_add(tlpi_hf_stacks *s, const tlpi_hf_model *m,
                              const tlpi_hf_tensor *to, const tlpi_tensor *t,
                              const char *where, const struct tlpi_map *map)
{
    const bool bias = to->part == TLPI_HF_GATE_UP_BIAS;
    const bool pair = bias || to->part == TLPI_HF_GATE_UP;
    const bool whole = pair || to->layout != TLPI_HF_ROWS;
    const tlpi_hf_part first = bias   ? TLPI_HF_GATE_BIAS
                               : pair ? TLPI_HF_GATE
                                      : to->part;
    int e = whole ? 0 : to->expert, end = whole ? m->n_expert : e + 1;
    tlp_status st = tlpi_hf_slice_check(m, to, t, where);

    for (; e < end && st == TLP_OK; e++)
        for (int i = 0; i <= (int)pair && st == TLP_OK; i++) {
            tlpi_hf_part part = (tlpi_hf_part)((int)first + i);
            tlpi_hf_slice x = tlpi_hf_slice_of(m, to, t, part, e);

            x.map = map;
            st = push(s, &x);
        }
    return st;
}

void tlpi_hf_stacks_free(tlpi_hf_stacks *s)
{
    tlpi_free(s->env, s->slice);
    s->slice = NULL;
}

/* ==== stacks ============================================================= */

static bool is_scales(const tlpi_hf_slice *x)
{
    return x->layout == TLPI_HF_SCALES;
}

/* Exponents come behind the codes that they belong to. */
static int by_place(const void *a, const void *b)
{
    const tlpi_hf_slice *x = a, *y = b;

    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    if (is_scales(x) != is_scales(y))
        return is_scales(x) ? 1 : -1;
    return (x->expert > y->expert) - (x->expert < y->expert);
}

/* Do both belong to one stack, or to its exponents? */
static bool is_beside(const tlpi_hf_slice *x, const tlpi_hf_slice *y)
{
    return x->layer == y->layer && x->part == y->part &&
           is_scales(x) == is_scales(y);
}

/* The slices from x on must be those of all experts, of one type. */
static tlp_status check_run(const tlpi_hf_model *m, const tlpi_hf_slice *x,
                            const tlpi_hf_slice *end)
{
    char name[128] = "";

    for (int i = 0; i < m->n_expert; i++) {
        bool is_part = x + i < end && is_beside(x, x + i);

        tlpi_hf_expert_source(m, is_part ? x + i : x, i, name, sizeof name);
        if (!is_part || x[i].expert > i)
            return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: missing, %s is %d",
                             m->folder, name, m->expert_key, m->n_expert);
        if (x[i].type != x->type)
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: tensor %s: type %s, %s as of expert 0 "
                             "expected",
                             m->folder, name, tlpi_dtype_name(x[i].type),
                             tlpi_dtype_name(x->type));
        if (x[i].expert < i ||
            (x + i + 1 < end && by_place(x + i, x + i + 1) == 0))
            return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: there twice",
                             m->folder, name);
    }
    return TLP_OK;
}

/* Codes need exponents, and exponents need codes. */
static tlp_status check_pair(const tlpi_hf_model *m, const tlpi_hf_slice *x,
                             const tlpi_hf_slice *end)
{
    const tlpi_hf_slice *next = x + m->n_expert;
    tlpi_hf_slice other = *x;
    char name[128] = "";
    bool has = next < end && next->layer == x->layer && next->part == x->part &&
               is_scales(next);

    if (has == (x->layout == TLPI_HF_CODES) && !is_scales(x))
        return TLP_OK;
    other.layout = has || is_scales(x) ? TLPI_HF_CODES : TLPI_HF_SCALES;
    tlpi_hf_expert_source(m, &other, 0, name, sizeof name);
    return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: missing", m->folder, name);
}

/* Slices of the stack that begins at x. */
static size_t run_of(const tlpi_hf_model *m, const tlpi_hf_slice *x)
{
    return (size_t)m->n_expert * (x->layout == TLPI_HF_CODES ? 2 : 1);
}

static size_t bytes_of(const tlpi_hf_model *m, const tlpi_hf_slice *x)
{
    return (size_t)tlpi_hf_slice_rows(m, x->part) *
           tlpi_row_bytes(tlpi_hf_slice_type(x),
                          tlpi_hf_slice_cols(m, x->part));
}

/* Bytes from a stack to the next. */
static size_t room_of(const tlpi_hf_model *m, const tlpi_hf_slice *x)
{
    size_t n = bytes_of(m, x) * (size_t)m->n_expert;

    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static tlp_status measure(tlpi_hf_stacks *s, const tlpi_hf_model *m,
                          size_t *n_bytes)
{
    const tlpi_hf_slice *end = s->slice + s->n;
    tlp_status st = TLP_OK;

    qsort(s->slice, s->n, sizeof *s->slice, by_place);
    for (size_t i = 0; i < s->n; i += (size_t)m->n_expert)
        TLP_TRY(check_run(m, s->slice + i, end));
    for (size_t i = 0; i < s->n; i += run_of(m, &s->slice[i])) {
        TLP_TRY(check_pair(m, s->slice + i, end));
        if (!tlpi_add(*n_bytes, room_of(m, &s->slice[i]), n_bytes))
            return tlpi_fail_nomem_for("the experts of a model");
    }
done:
    return st;
}

static void drop(const tlpi_hf_model *m, const tlpi_hf_slice *x)
{
    tlpi_map_drop(x->map, x->data, bytes_of(m, x));
}

/* Copy the slices of a stack to `at`. */
static tlpi_tensor copy_stack(const tlpi_hf_model *m, const tlpi_hf_slice *x,
                              uint8_t *at, char *name, size_t cap)
{
    const bool packed = x->layout == TLPI_HF_CODES;
    const int64_t rows = tlpi_hf_slice_rows(m, x->part);
    size_t n = bytes_of(m, x);
    tlpi_tensor t = { .name = name,
                      .type = tlpi_hf_slice_type(x),
                      .n_dim = 3,
                      .ne = { tlpi_hf_slice_cols(m, x->part), rows, m->n_expert,
                              1 },
                      .data = at,
                      .n_bytes = n * (size_t)m->n_expert };

    if (x->part >= TLPI_HF_GATE_BIAS) {
        t.n_dim = 2;
        t.ne[0] = rows;
        t.ne[1] = m->n_expert;
        t.ne[2] = 1;
    }
    snprintf(name, cap, "blk.%d.%s", x->layer, stack_names[x->part]);
    for (int i = 0; i < m->n_expert; i++) {
        tlpi_hf_slice_copy(m, &x[i], packed ? &x[m->n_expert + i] : NULL,
                           at + (size_t)i * n);
        drop(m, &x[i]);
    }
    return t;
}

tlp_status tlpi_hf_stacks_make(tlpi_gguf **out, tlpi_hf_stacks *s,
                               const tlpi_hf_model *m)
{
    tlpi_gguf_build build = { .env = s->env, .kv.env = s->env };
    uint8_t *made = NULL;
    size_t n_bytes = 0;
    tlp_status st;

    *out = NULL;
    if (s->n == 0)
        return TLP_OK;
    TLP_TRY(measure(s, m, &n_bytes));
    TLP_TRY(tlpi_build_reserve(&build, s->n / (size_t)m->n_expert));
    made = tlpi_alloc(s->env, n_bytes);
    if (!made)
        TLP_TRY(tlpi_fail_nomem_for("the experts of a model"));
    uint8_t *at = made;
    for (size_t i = 0; i < s->n; i += run_of(m, &s->slice[i])) {
        char name[TLPI_GGUF_MAX_NAME + 1];
        tlpi_tensor t = copy_stack(m, &s->slice[i], at, name, sizeof name);

        at += room_of(m, &s->slice[i]);
        tlpi_build_tensor(&build, &t, (tlpi_gguf_source){ .at = 0 });
    }
    TLP_TRY(tlpi_build_finish(out, &build, m->folder, NULL, made));
    made = NULL;
done:
    tlpi_free(s->env, made);
    tlpi_build_end(&build);
    return st;
}
