/*
 * fake_model.c - see fake_model.h.
 */
#include "fake_model.h"

#include "model/digest.h"

#include <stdlib.h>

#define TENSORS_PER_LAYER 7

typedef struct model_maker {
    const tlpi_dtype *type;
    size_t n_type, n_made;
    tlpi_tensor *at;
} model_maker;

static const tlpi_tensor *matrix(model_maker *k, int64_t rows, int64_t cols)
{
    tlpi_tensor *t = k->at++;

    t->name = "fake";
    t->n_dim = 2;
    t->type = k->type[k->n_made++ % k->n_type];
    if (cols % tlpi_dtype_get(t->type)->block != 0)
        t->type = cols % 32 == 0 ? TLPI_Q8_0 : TLPI_F16;
    t->ne[0] = cols;
    t->ne[1] = rows;
    t->ne[2] = t->ne[3] = 1;
    t->n_bytes = (size_t)rows * tlpi_row_bytes(t->type, cols);
    return t;
}

tlp_model *fake_model(const fake_shape *s, const tlpi_dtype *type,
                      size_t n_type)
{
    tlpi_env env;
    size_t n_layer = (size_t)s->n_layer;

    if (tlpi_env_init(&env, NULL, NULL, NULL))
        abort();
    /* The tensors are in one allocation with the layers, which tlp_model_free
     * releases. */
    size_t n_tensor = n_layer * TENSORS_PER_LAYER + 2;
    tlp_model *m = tlpi_calloc(&env, 1, sizeof *m);
    tlpi_layer *layer = tlpi_calloc(
        &env, 1, n_layer * sizeof *layer + n_tensor * sizeof(tlpi_tensor));
    if (!m || !layer)
        abort();
    m->refs = 1;
    m->env = env;
    m->path = tlpi_strndup(&env, "fake.gguf", 9);
    m->w.layer = layer;
    m->hp = (tlpi_hparams){ .n_layer = s->n_layer,
                            .n_embd = s->n_embd,
                            .n_ff = s->n_ff,
                            .n_head = s->n_head,
                            .n_head_kv = s->n_head_kv,
                            .head_dim = s->head_dim,
                            .n_vocab = s->n_vocab,
                            .n_rot = s->head_dim,
                            .rope_theta = 10000,
                            .rope_scale = 1,
                            .expert_scale = 1,
                            .norm_eps = 1e-5f,
                            .embedding_scale = 1,
                            .residual_scale = 1,
                            .logit_scale = 1 };
    if (tlpi_fingerprint_create(&m->fingerprint, &m->env) ||
        tlpi_digest_create(&m->digest, &m->env))
        abort();
    model_maker k = { type, n_type, 0,
                      (tlpi_tensor *)(void *)(layer + n_layer) };
    for (int l = 0; l < s->n_layer; l++) {
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_tensor_row *row = &tlpi_layer_table[i];
            if (tlpi_row_is_matrix(row) && tlpi_row_is_needed(row, &m->hp))
                layer[l].t[i] = matrix(&k, tlpi_extent_size(row->rows, &m->hp),
                                       tlpi_extent_size(row->cols, &m->hp));
        }
        layer[l].rope = TLPI_ROPE_MODEL;
    }
    m->w.t[TLPI_TOKEN_EMBD] = m->w.t[TLPI_OUTPUT] =
        matrix(&k, s->n_vocab, s->n_embd);
    *k.at = (tlpi_tensor){ .name = "fake",
                           .n_dim = 1,
                           .type = TLPI_F32,
                           .ne = { s->n_embd, 1, 1, 1 },
                           .n_bytes = (size_t)s->n_embd * sizeof(float) };
    m->w.t[TLPI_OUTPUT_NORM] = k.at;
    return m;
}
