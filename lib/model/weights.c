/*
 * weights.c - bind tensors to their places by name, over all files of a model,
 * and check every shape.  A tensor that has no place would change the maths if
 * it were left out, so it is refused, but for a few that are known to be
 * tables of constants.
 */
#include <stdio.h>
#include <string.h>

#include "model/model.h"

/* Sizes of a place's rows and columns, looked up in the hyper-parameters. */
typedef enum extent {
    ONE,
    EMBD,
    Q_ROWS,
    KV_ROWS,
    FF,
    HEAD_DIM,
    HALF_ROT,
    VOCAB
} extent;

typedef struct place {
    const char *name;
    size_t offset; /* of the pointer in tlpi_layer or tlpi_weights */
    extent rows;   /* ONE for vectors */
    extent cols;
    bool need;
} place;

#define AT(member) offsetof(tlpi_layer, member)

static const place layer_places[] = {
    { "attn_norm.weight", AT(attn_norm), ONE, EMBD, true },
    { "attn_q.weight", AT(attn_q), Q_ROWS, EMBD, true },
    { "attn_k.weight", AT(attn_k), KV_ROWS, EMBD, true },
    { "attn_v.weight", AT(attn_v), KV_ROWS, EMBD, true },
    { "attn_output.weight", AT(attn_output), EMBD, Q_ROWS, true },
    { "ffn_norm.weight", AT(ffn_norm), ONE, EMBD, true },
    { "ffn_gate.weight", AT(ffn_gate), FF, EMBD, true },
    { "ffn_up.weight", AT(ffn_up), FF, EMBD, true },
    { "ffn_down.weight", AT(ffn_down), EMBD, FF, true },
    { "attn_q.bias", AT(attn_q_bias), ONE, Q_ROWS, false },
    { "attn_k.bias", AT(attn_k_bias), ONE, KV_ROWS, false },
    { "attn_v.bias", AT(attn_v_bias), ONE, KV_ROWS, false },
    { "attn_output.bias", AT(attn_output_bias), ONE, EMBD, false },
};

static const place qwen3_places[] = {
    { "attn_q_norm.weight", AT(attn_q_norm), ONE, HEAD_DIM, true },
    { "attn_k_norm.weight", AT(attn_k_norm), ONE, HEAD_DIM, true },
};

#undef AT
#define AT(member) offsetof(tlpi_weights, member)

static const place model_places[] = {
    { "token_embd.weight", AT(token_embd), VOCAB, EMBD, true },
    { "output_norm.weight", AT(output_norm), ONE, EMBD, true },
    { "output.weight", AT(output), VOCAB, EMBD, false },
    { "rope_freqs.weight", AT(rope_freqs), ONE, HALF_ROT, false },
};

#undef AT

/* Every layer has at least these. */
#define MIN_LAYER_TENSORS 9

static int64_t extent_of(const tlpi_hparams *hp, extent e)
{
    switch (e) {
    case ONE:
        return 1;
    case EMBD:
        return hp->n_embd;
    case Q_ROWS:
        return (int64_t)hp->n_head * hp->head_dim;
    case KV_ROWS:
        return (int64_t)hp->n_head_kv * hp->head_dim;
    case FF:
        return hp->n_ff;
    case HEAD_DIM:
        return hp->head_dim;
    case HALF_ROT:
        return hp->n_rot / 2;
    case VOCAB:
        return hp->n_vocab;
    }
    return 0;
}

static const place *find_place(const place *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    }
    return NULL;
}

static const place *find_layer_place(const tlpi_hparams *hp, const char *name)
{
    const place *p = find_place(layer_places, TLPI_COUNT(layer_places), name);

    if (!p && hp->arch == TLPI_ARCH_QWEN3)
        p = find_place(qwen3_places, TLPI_COUNT(qwen3_places), name);
    return p;
}

/* Split "blk.12.attn_q.weight" into 12 and the rest; false for other names. */
static bool split_name(const char *name, int *layer, const char **rest)
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

/* Tables that converters of some files wrote out; the values follow from the
 * hyper-parameters. */
static bool is_harmless(const char *rest)
{
    return strcmp(rest, "attn_rot_embd.weight") == 0 ||
           strcmp(rest, "attn_rot_embd") == 0;
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

static tlp_status check_shape(const tlp_model *m, const tlpi_tensor *t,
                              int64_t rows, int64_t cols)
{
    if (t->ne[0] == cols && t->ne[1] == rows && t->ne[2] == 1 && t->ne[3] == 1)
        return TLP_OK;
    return tlpi_fail(TLP_EFORMAT,
                     "%s: tensor %s: shape %lld x %lld x %lld x %lld, "
                     "%lld x %lld expected",
                     file_of(m, t), t->name, (long long)t->ne[0],
                     (long long)t->ne[1], (long long)t->ne[2],
                     (long long)t->ne[3], (long long)cols, (long long)rows);
}

/* Put t into its place in `object`, a tlpi_layer or tlpi_weights. */
static tlp_status bind(const tlp_model *m, void *object, const place *p,
                       const tlpi_tensor *t)
{
    const tlpi_tensor **slot =
        (const tlpi_tensor **)(void *)((char *)object + p->offset);

    if (*slot)
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: also in %s",
                         file_of(m, t), t->name, file_of(m, *slot));
    *slot = t;
    tlp_status st = check_shape(m, t, extent_of(&m->hp, p->rows),
                                extent_of(&m->hp, p->cols));
    return st == TLP_OK && p->rows == ONE ? check_vector_type(m, t) : st;
}

static tlp_status bind_named(tlp_model *m, const tlpi_tensor *t)
{
    int layer;
    const char *rest;
    const place *p;

    if (split_name(t->name, &layer, &rest)) {
        if (layer >= m->hp.n_layer)
            return tlpi_fail(
                TLP_EFORMAT, "%s: tensor %s: the model has %d layers (0-%d)",
                file_of(m, t), t->name, m->hp.n_layer, m->hp.n_layer - 1);
        p = find_layer_place(&m->hp, rest);
        if (p)
            return bind(m, &m->w.layer[layer], p, t);
        if (is_harmless(rest))
            return TLP_OK;
    } else {
        p = find_place(model_places, TLPI_COUNT(model_places), t->name);
        if (p)
            return bind(m, &m->w, p, t);
    }
    return tlpi_fail(TLP_ENOTSUP, "%s: tensor %s: not known for %s models",
                     file_of(m, t), t->name, tlpi_arch_name(m->hp.arch));
}

static tlp_status check_places(const tlp_model *m, const void *object,
                               const place *list, size_t n, const char *prefix)
{
    for (size_t i = 0; i < n; i++) {
        const tlpi_tensor *const *slot =
            (const tlpi_tensor *const *)(const void *)((const char *)object +
                                                       list[i].offset);
        if (list[i].need && !*slot)
            return tlpi_fail(TLP_EFORMAT, "%s: tensor %s%s: missing", m->path,
                             prefix, list[i].name);
    }
    return TLP_OK;
}

static tlp_status check_complete(const tlp_model *m)
{
    tlp_status st;

    TLP_TRY(check_places(m, &m->w, model_places, TLPI_COUNT(model_places), ""));
    for (int l = 0; l < m->hp.n_layer; l++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "blk.%d.", l);
        TLP_TRY(check_places(m, &m->w.layer[l], layer_places,
                             TLPI_COUNT(layer_places), prefix));
        if (m->hp.arch == TLPI_ARCH_QWEN3)
            TLP_TRY(check_places(m, &m->w.layer[l], qwen3_places,
                                 TLPI_COUNT(qwen3_places), prefix));
    }
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
    size_t n_tensor = 0;

    for (size_t f = 0; f < m->n_file; f++)
        n_tensor += m->file[f]->n_tensor;
    if (n_tensor / MIN_LAYER_TENSORS < (size_t)m->hp.n_layer)
        return tlpi_fail(TLP_EFORMAT, "%s: %zu tensors do not make %d layers",
                         m->path, n_tensor, m->hp.n_layer);
    TLP_TRY(read_n_vocab(m));
    m->w.layer =
        tlpi_calloc(&m->env, (size_t)m->hp.n_layer, sizeof *m->w.layer);
    if (!m->w.layer)
        return tlpi_fail_nomem();
    for (size_t f = 0; f < m->n_file; f++) {
        const tlpi_gguf *g = m->file[f];
        for (size_t i = 0; i < g->n_tensor; i++)
            TLP_TRY(bind_named(m, &g->tensor[i]));
    }
    TLP_TRY(check_complete(m));
    if (!m->w.output)
        m->w.output = m->w.token_embd;
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
