/*
 * weights.c - bind tensors to their places by name, over all files of a model,
 * and check every shape.  A tensor without a place is refused, because leaving
 * it out would change the results.  The exception is a table of constants.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/hparams_read.h"

bool tlpi_layer_name(const char *name, int *layer, const char **rest)
{
    int n = 0;
    const char *p = name + 4;

    if (strncmp(name, "blk.", 4) != 0 || *p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9' && n < 100000; p++)
        n = n * 10 + (*p - '0');
    if (*p != '.')
        return false;
    *layer = n;
    *rest = p + 1;
    return true;
}

/* Is this the table of frequencies that some converters write, although its
 * values follow from the hyper-parameters? */
static bool is_frequencies(const char *rest)
{
    return strcmp(rest, "attn_rot_embd.weight") == 0 ||
           strcmp(rest, "attn_rot_embd") == 0;
}

/* "ffn_gate.7.weight": files of 2023 have a tensor for each expert. */
static bool is_single_expert(const char *rest)
{
    static const char *const names[] = { "ffn_gate.", "ffn_up.", "ffn_down." };

    for (size_t i = 0; i < TLPI_COUNT(names); i++) {
        const char *digits = rest + strlen(names[i]);

        if (strncmp(rest, names[i], strlen(names[i])) == 0 && *digits >= '0' &&
            *digits <= '9')
            return true;
    }
    return false;
}

static const char *file_of(const tlp_model *m, const tlpi_tensor *t)
{
    return m->file[t->file]->path;
}

static tlp_status check_vector_type(const tlp_model *m, const tlpi_tensor *t)
{
    if (t->type != TLPI_F32)
        return tlpi_fail(TLP_ENOTSUP, "%s: tensor %s: type %s, F32 expected",
                         file_of(m, t), t->name, tlpi_dtype_name(t->type));
    return TLP_OK;
}

/* depth: matrices of a stack, or 1. */
static tlp_status check_stack(const tlp_model *m, const tlpi_tensor *t,
                              int depth, int64_t rows, int64_t cols)
{
    char want[32] = "";

    if (t->ne[0] == cols && t->ne[1] == rows && t->ne[2] == depth &&
        t->ne[3] == 1)
        return TLP_OK;
    if (depth > 1)
        snprintf(want, sizeof want, " x %d", depth);
    return tlpi_fail(TLP_EFORMAT,
                     "%s: tensor %s: shape %lld x %lld x %lld x %lld, "
                     "%lld x %lld%s expected",
                     file_of(m, t), t->name, (long long)t->ne[0],
                     (long long)t->ne[1], (long long)t->ne[2],
                     (long long)t->ne[3], (long long)cols, (long long)rows,
                     want);
}

static tlp_status check_shape(const tlp_model *m, const tlpi_tensor *t,
                              int64_t rows, int64_t cols)
{
    return check_stack(m, t, 1, rows, cols);
}

/* Vectors, and matrices that decide between experts, are never rounded. */
static tlp_status check_type(const tlp_model *m, const tlpi_tensor_row *row,
                             const tlpi_tensor *t)
{
    if (!tlpi_row_is_matrix(row))
        return check_vector_type(m, t);
    if (row->float_alone && t->type != TLPI_F32 && t->type != TLPI_F16)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: tensor %s: type %s, F32 or F16 expected",
                         file_of(m, t), t->name, tlpi_dtype_name(t->type));
    return TLP_OK;
}

/* The table may be left out if it has the values that the rotation uses. */
static tlp_status check_frequencies(const tlp_model *m, const tlpi_tensor *t)
{
    int n = m->hp.n_rot / 2;
    tlp_status st;

    TLP_TRY(check_vector_type(m, t));
    TLP_TRY(check_shape(m, t, 1, n));
    for (int i = 0; i < n; i++) {
        double want = pow((double)m->hp.rope_theta, -(double)i / n);
        float x;
        memcpy(&x, (const char *)t->data + (size_t)i * sizeof x, sizeof x);
        if (!(fabs((double)x - want) <= 1e-4 * want))
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: tensor %s: %g at %d, %g expected from "
                             "rope.freq_base",
                             file_of(m, t), t->name, (double)x, i, want);
    }
done:
    return st;
}

/* Put t into its place. */
static tlp_status bind(const tlp_model *m, const tlpi_tensor **place,
                       const tlpi_tensor_row *row, const tlpi_tensor *t)
{
    if (*place)
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: also in %s",
                         file_of(m, t), t->name, file_of(m, *place));
    *place = t;
    tlp_status st = check_stack(m, t, tlpi_row_depth(row, &m->hp),
                                tlpi_extent_size(row->rows, &m->hp),
                                tlpi_extent_size(row->cols, &m->hp));
    return st == TLP_OK ? check_type(m, row, t) : st;
}

/* The n rows of a matrix, or elements of a vector, behind the first *done. */
static tlpi_tensor view_of(const tlpi_tensor *t, bool is_matrix, int64_t n,
                           int64_t *done)
{
    tlpi_tensor v = *t;
    size_t bytes = tlpi_row_bytes(t->type, is_matrix ? t->ne[0] : 1);

    v.ne[is_matrix ? 1 : 0] = n;
    v.data = (const char *)t->data + (size_t)*done * bytes;
    v.n_bytes = (size_t)n * bytes;
    *done += n;
    return v;
}

static tlp_status make_views(tlp_model *m)
{
    size_t n = (size_t)m->hp.n_layer * TLPI_N_LAYER_TENSOR;

    if (!m->w.view)
        m->w.view = tlpi_calloc(&m->env, n, sizeof *m->w.view);
    return m->w.view ? TLP_OK : tlpi_fail_nomem_for("the tensors of a model");
}

/* Bind each part of a fused tensor to the place of its own row. */
static tlp_status bind_fused(tlp_model *m, int layer,
                             const tlpi_fused_row *fused, const tlpi_tensor *t)
{
    const tlpi_tensor_row *first = &tlpi_layer_table[fused->part[0]];
    bool is_matrix = tlpi_row_is_matrix(first);
    int64_t size[TLPI_MAX_FUSED], sum = 0, done = 0;
    tlp_status st;

    for (int i = 0; i < fused->n; i++) {
        const tlpi_tensor_row *row = &tlpi_layer_table[fused->part[i]];
        size[i] = tlpi_extent_size(is_matrix ? row->rows : row->cols, &m->hp);
        sum += size[i];
    }
    if (is_matrix)
        TLP_TRY(check_shape(m, t, sum, tlpi_extent_size(first->cols, &m->hp)));
    else
        TLP_TRY(check_shape(m, t, 1, sum));
    if (!is_matrix)
        TLP_TRY(check_vector_type(m, t));
    TLP_TRY(make_views(m));
    for (int i = 0; i < fused->n; i++) {
        tlpi_layer_id id = fused->part[i];
        tlpi_tensor *view = &m->w.view[layer * TLPI_N_LAYER_TENSOR + (int)id];

        *view = view_of(t, is_matrix, size[i], &done);
        TLP_TRY(bind(m, &m->w.layer[layer].t[id], &tlpi_layer_table[id], view));
    }
done:
    return st;
}

static tlp_status bind_named(tlp_model *m, const tlpi_tensor *t)
{
    int layer;
    const char *rest;
    const tlpi_tensor_row *row;
    const tlpi_fused_row *fused;

    if (tlpi_layer_name(t->name, &layer, &rest)) {
        if (layer >= m->hp.n_layer)
            return tlpi_fail(
                TLP_EFORMAT, "%s: tensor %s: the model has %d layers (0-%d)",
                file_of(m, t), t->name, m->hp.n_layer, m->hp.n_layer - 1);
        fused = tlpi_fused_find(rest, &m->hp);
        if (fused)
            return bind_fused(m, layer, fused, t);
        row =
            tlpi_row_find(tlpi_layer_table, TLPI_N_LAYER_TENSOR, rest, &m->hp);
        if (row)
            return bind(m, &m->w.layer[layer].t[row - tlpi_layer_table], row,
                        t);
        if (is_frequencies(rest))
            return check_frequencies(m, t);
        if (m->hp.n_expert && is_single_expert(rest))
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: tensor %s: a tensor of one expert; one of "
                             "all experts (ffn_gate_exps, ffn_up_exps, "
                             "ffn_down_exps) expected, as newer converters "
                             "write them",
                             file_of(m, t), t->name);
    } else {
        row = tlpi_row_find(tlpi_model_table, TLPI_N_MODEL_TENSOR, t->name,
                            &m->hp);
        if (row)
            return bind(m, &m->w.t[row - tlpi_model_table], row, t);
    }
    return tlpi_fail(TLP_ENOTSUP, "%s: tensor %s: not known for %s models",
                     file_of(m, t), t->name, tlpi_arch_get(&m->hp)->name);
}

static tlp_status check_places(const tlp_model *m,
                               const tlpi_tensor *const *place,
                               const tlpi_tensor_row *row, size_t n,
                               const char *prefix)
{
    for (size_t i = 0; i < n; i++)
        if (tlpi_row_is_needed(&row[i], &m->hp) && !place[i])
            return tlpi_fail(TLP_EFORMAT, "%s: tensor %s%s: missing", m->path,
                             prefix, tlpi_row_name(&row[i], &m->hp));
    return TLP_OK;
}

static tlp_status check_complete(const tlp_model *m)
{
    tlp_status st;

    TLP_TRY(check_places(m, m->w.t, tlpi_model_table, TLPI_N_MODEL_TENSOR, ""));
    for (int l = 0; l < m->hp.n_layer; l++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "blk.%d.", l);
        TLP_TRY(check_places(m, m->w.layer[l].t, tlpi_layer_table,
                             TLPI_N_LAYER_TENSOR, prefix));
    }
done:
    return st;
}

/* Tensors that every layer has at least. */
static size_t min_layer_tensors(const tlpi_hparams *hp)
{
    size_t n = 0;

    for (size_t i = 0; i < TLPI_N_LAYER_TENSOR; i++)
        n += tlpi_row_is_needed(&tlpi_layer_table[i], hp);
    return n;
}

/* Tensors of all files; a fused tensor counts as its parts. */
static size_t count_tensors(const tlp_model *m)
{
    size_t n = 0;

    for (size_t f = 0; f < m->n_file; f++)
        for (size_t i = 0; i < m->file[f]->n_tensor; i++) {
            const tlpi_fused_row *fused = NULL;
            const char *rest;
            int layer;

            if (tlpi_layer_name(m->file[f]->tensor[i].name, &layer, &rest))
                fused = tlpi_fused_find(rest, &m->hp);
            n += fused ? (size_t)fused->n : 1;
        }
    return n;
}

static void set_layer_facts(tlp_model *m)
{
    const tlpi_hparams *hp = &m->hp;

    for (int l = 0; l < hp->n_layer; l++) {
        tlpi_layer *layer = &m->w.layer[l];

        layer->rope = TLPI_ROPE_MODEL;
        if (hp->no_rope_step && (l + 1) % hp->no_rope_step == 0)
            layer->rope = TLPI_ROPE_NONE;
        if (!hp->n_window ||
            (hp->window_step && (l + 1) % hp->window_step == 0))
            continue;
        layer->window = hp->n_window;
        if (layer->rope == TLPI_ROPE_MODEL && hp->window_theta > 0)
            layer->rope = TLPI_ROPE_WINDOW;
    }
}

/* The tensor divides angles. */
static tlp_status check_divisors(const tlp_model *m, const tlpi_tensor *t)
{
    for (int i = 0; t && i < m->hp.n_rot / 2; i++) {
        float x;
        memcpy(&x, (const char *)t->data + (size_t)i * sizeof x, sizeof x);
        if (!(x > 0 && isfinite(x)))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: tensor %s: %g at %d, a finite number above 0 "
                             "expected",
                             file_of(m, t), t->name, (double)x, i);
    }
    return TLP_OK;
}

/* Tensors of longrope come in pairs, and without rope_freqs. */
static tlp_status check_rope(tlp_model *m)
{
    const tlpi_tensor *const *t = m->w.t;
    const tlpi_tensor *one =
        t[TLPI_ROPE_LONG] ? t[TLPI_ROPE_LONG] : t[TLPI_ROPE_SHORT];
    tlpi_model_id other = t[TLPI_ROPE_LONG] ? TLPI_ROPE_SHORT : TLPI_ROPE_LONG;
    tlp_status st;

    if (one && m->hp.long_ctx == 0 && tlpi_arch_get(&m->hp)->untyped_long)
        TLP_TRY(tlpi_hparams_long(&m->hp, m->file[0]));
    if (one && m->hp.long_ctx == 0)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: tensor %s: key %s.rope.scaling.type \"longrope\" "
                         "expected",
                         file_of(m, one), one->name,
                         tlpi_arch_get(&m->hp)->name);
    if (one && t[TLPI_ROPE_FREQS])
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: also rope_freqs.weight",
                         file_of(m, one), one->name);
    if (m->hp.long_ctx > 0 && !t[other])
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: missing", m->path,
                         tlpi_model_table[other].name);
    TLP_TRY(check_divisors(m, t[TLPI_ROPE_FREQS]));
    TLP_TRY(check_divisors(m, t[TLPI_ROPE_LONG]));
    st = check_divisors(m, t[TLPI_ROPE_SHORT]);
done:
    return st;
}

/* The rows of token_embd are the vocabulary; the key may give fewer, where the
 * matrix was padded. */
static tlp_status read_n_vocab(tlp_model *m)
{
    const tlpi_tensor *t = tlpi_model_tensor(m, "token_embd.weight");

    if (!t)
        return tlpi_fail(TLP_EFORMAT, "%s: tensor token_embd.weight: missing",
                         m->path);
    if (t->ne[1] > INT32_MAX || t->ne[1] < m->hp.n_vocab)
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: %lld rows for %d tokens",
                         file_of(m, t), t->name, (long long)t->ne[1],
                         m->hp.n_vocab);
    m->hp.n_vocab = (int)t->ne[1];
    return TLP_OK;
}

tlp_status tlpi_weights_bind(tlp_model *m)
{
    tlp_status st;
    size_t n_tensor = count_tensors(m);

    if (n_tensor / min_layer_tensors(&m->hp) < (size_t)m->hp.n_layer)
        return tlpi_fail(TLP_EFORMAT, "%s: %zu tensors do not make %d layers",
                         m->path, n_tensor, m->hp.n_layer);
    TLP_TRY(read_n_vocab(m));
    m->w.layer =
        tlpi_calloc(&m->env, (size_t)m->hp.n_layer, sizeof *m->w.layer);
    if (!m->w.layer)
        return tlpi_fail_nomem_for("the tensors of a model");
    for (size_t f = 0; f < m->n_file; f++) {
        const tlpi_gguf *g = m->file[f];
        for (size_t i = 0; i < g->n_tensor; i++)
            TLP_TRY(bind_named(m, &g->tensor[i]));
    }
    TLP_TRY(check_complete(m));
    TLP_TRY(check_rope(m));
    if (!m->w.t[TLPI_OUTPUT])
        m->w.t[TLPI_OUTPUT] = m->w.t[TLPI_TOKEN_EMBD];
    set_layer_facts(m);
done:
    return st;
}

const tlpi_tensor *tlpi_model_tensor(const tlp_model *m, const char *name)
{
    for (size_t f = 0; f < m->n_file; f++) {
        const tlpi_tensor *t = tlpi_gguf_tensor(m->file[f], name);
        if (t)
            return t;
    }
    return NULL;
}
