/*
 * store.c - weights and caches that the programs of a rank share.
 *
 * Matrices come from the model's weight cache, so that ranks and sessions which
 * cut a tensor alike share one packed copy.
 */
#include "rank/store.h"

#include <string.h>

#include "backend/weight_key.h"

typedef struct weight_entry {
    tlpi_weight_cache_key key;
    tlpi_weight *w;
    int n_ref;
} weight_entry;

typedef struct kv_entry {
    tlpi_kv_key key;
    tlpi_kv *kv;
    int n_ref;
} kv_entry;

struct tlpi_store_layer {
    weight_entry *weight;
    int n_weight;
    kv_entry *kv;
    int n_kv;
};

void tlpi_store_busy(const tlpi_store *s)
{
    if (s->comm->ops->busy)
        s->comm->ops->busy(s->comm);
}

/* ==== vectors ============================================================ */

tlp_status tlpi_store_vector(tlpi_store *s, const float *host, size_t n,
                             float **out, uint64_t *bytes)
{
    tlp_status st = s->b->ops->buffer_create(s->b, out, n);

    if (st != TLP_OK)
        return st;
    if (host)
        s->b->ops->write(s->b, *out, host, n);
    *bytes += n * sizeof(float);
    return TLP_OK;
}

tlp_status tlpi_store_elements(tlpi_store *s, const tlpi_tensor *t, int64_t i0,
                               int64_t i1, float scale, float **out,
                               uint64_t *bytes)
{
    size_t n = (size_t)(i1 - i0), all = n * (size_t)t->ne[1];

    if (s->dry)
        return tlpi_store_vector(s, NULL, all, out, bytes);
    float *host =
        tlpi_alloc_array(s->env, all + (size_t)t->ne[0], sizeof(float));
    if (!host)
        return tlpi_fail_nomem_for("the weights and caches of a layer");
    float *row = host + all;
    for (size_t at = 0; at < all; at += n) {
        tlpi_read_row(t, (int64_t)(at / n), row, t->ne[0]);
        for (size_t i = 0; i < n; i++)
            host[at + i] = row[(size_t)i0 + i] * scale;
    }
    tlp_status st = tlpi_store_vector(s, host, all, out, bytes);
    tlpi_free(s->env, host);
    return st;
}

/* ==== matrices =========================================================== */

typedef struct make_arg {
    tlpi_backend *b;
    const tlpi_tensor *t;
    tlpi_slice s;
    bool copied;
} make_arg;

static tlp_status make_weight(void **object, void *arg)
{
    make_arg *a = arg;
    tlpi_weight *w = NULL;
    tlp_status st = a->b->ops->weight_create(a->b, &w, a->t, a->s.r0, a->s.r1,
                                             a->s.c0, a->s.c1, &a->copied);

    *object = w;
    return st;
}

/* From the model's weight cache; a dry store makes its own. */
static tlp_status load_weight(tlpi_store *s, const tlpi_weight_cache_key *key,
                              const tlpi_tensor *t, tlpi_slice slice,
                              tlpi_weight **out)
{
    make_arg arg = { s->b, t, slice, false };
    void *object = NULL;

    tlpi_store_busy(s);
    tlp_status st =
        s->dry
            ? make_weight(&object, &arg)
            : tlpi_weight_cache_take(s->model->weight_cache, key, make_weight,
                                     &arg, s->b->ops->weight_free, &object);
    if (st != TLP_OK)
        return st;
    *out = object;
    if (arg.copied && !s->dry)
        tlpi_model_drop_pages(s->model, t);
    s->bytes.weights += s->b->ops->weight_bytes(*out);
    return TLP_OK;
}

static void unload_weight(tlpi_store *s, tlpi_weight *w)
{
    if (!w)
        return;
    s->bytes.weights -= s->b->ops->weight_bytes(w);
    if (s->dry)
        s->b->ops->weight_free(w);
    else
        tlpi_weight_cache_put(s->model->weight_cache, w);
}

static tlpi_weight_cache_key key_of(const tlpi_store *s, const tlpi_tensor *t,
                                    tlpi_slice x)
{
    return tlpi_weight_key(s->b->layout, t, x.r0, x.r1, x.c0, x.c1);
}

tlp_status tlpi_store_take(tlpi_store *s, int layer, const tlpi_tensor *t,
                           tlpi_slice slice, tlpi_weight **out)
{
    tlpi_store_layer *l = &s->layer[layer];
    weight_entry e = { .key = key_of(s, t, slice), .n_ref = 1 };
    tlp_status st = TLP_OK;

    for (int i = 0; i < l->n_weight; i++)
        if (memcmp(&l->weight[i].key, &e.key, sizeof(e.key)) == 0) {
            l->weight[i].n_ref++;
            *out = l->weight[i].w;
            return TLP_OK;
        }
    weight_entry *list = tlpi_realloc_array(
        s->env, l->weight, (size_t)l->n_weight + 1, sizeof(*list));
    if (!list)
        return tlpi_fail_nomem_for("the weights and caches of a layer");
    l->weight = list;
    TLP_TRY(load_weight(s, &e.key, t, slice, &e.w));
    l->weight[l->n_weight++] = e;
    *out = e.w;
done:
    return st;
}

void tlpi_store_put(tlpi_store *s, int layer, tlpi_weight *w)
{
    tlpi_store_layer *l = &s->layer[layer];

    for (int i = 0; w && i < l->n_weight; i++) {
        if (l->weight[i].w != w)
            continue;
        if (--l->weight[i].n_ref == 0) {
            unload_weight(s, w);
            l->weight[i] = l->weight[--l->n_weight];
        }
        return;
    }
}

static size_t layer_bytes(const tlpi_store *s, const tlpi_store_layer *l)
{
    size_t bytes = 0;

    for (int i = 0; i < l->n_weight; i++)
        bytes += (size_t)s->b->ops->weight_bytes(l->weight[i].w);
    return bytes;
}

tlp_status tlpi_store_keep(const tlpi_store *s, int layer,
                           tlpi_kept_weights *kept, size_t *budget)
{
    const tlpi_store_layer *l = &s->layer[layer];
    size_t bytes = layer_bytes(s, l);
    tlp_status st = TLP_OK;

    if (bytes > *budget)
        return TLP_OK;
    void **list = tlpi_realloc_array(
        s->env, kept->w, (size_t)(kept->n + l->n_weight), sizeof(*list));
    if (!list)
        return tlpi_fail_nomem_for("the weights and caches of a layer");
    kept->w = list;
    /* The objects are there, so that the cache makes none. */
    for (int i = 0; i < l->n_weight; i++) {
        TLP_TRY(tlpi_weight_cache_take(s->model->weight_cache,
                                       &l->weight[i].key, NULL, NULL, NULL,
                                       &kept->w[kept->n]));
        kept->n++;
    }
    *budget -= bytes;
done:
    return st;
}

void tlpi_kept_weights_free(const tlp_model *m, tlpi_kept_weights *kept)
{
    for (int i = 0; i < kept->n; i++)
        tlpi_weight_cache_put(m->weight_cache, kept->w[i]);
    tlpi_free(&m->env, kept->w);
    *kept = (tlpi_kept_weights){ 0 };
}

/* ==== caches ============================================================= */

static bool shares(const tlpi_kv_key *a, const tlpi_kv_key *b)
{
    return !a->merged && !b->merged && a->kv0 == b->kv0 && a->kv1 == b->kv1 &&
           a->track == b->track;
}

tlp_status tlpi_store_take_kv(tlpi_store *s, int layer, const tlpi_kv_key *key,
                              tlpi_kv **out)
{
    tlpi_store_layer *l = &s->layer[layer];
    tlpi_kv_kind kind =
        tlpi_kv_kind_of(&s->shape, s->model->w.layer[layer].window);
    kv_entry e = { *key, NULL, 1 };
    tlp_status st = TLP_OK;

    for (int i = 0; i < l->n_kv; i++)
        if (shares(&l->kv[i].key, key)) {
            l->kv[i].n_ref++;
            *out = l->kv[i].kv;
            return TLP_OK;
        }
    kv_entry *list =
        tlpi_realloc_array(s->env, l->kv, (size_t)l->n_kv + 1, sizeof(*list));
    if (!list)
        return tlpi_fail_nomem_for("the weights and caches of a layer");
    l->kv = list;
    TLP_TRY(s->b->ops->kv_create(s->b, &e.kv, s->pages[kind],
                                 key->kv1 - key->kv0, s->model->hp.head_dim,
                                 s->cfg->kv_type));
    l->kv[l->n_kv++] = e;
    *out = e.kv;
done:
    return st;
}

void tlpi_store_put_kv(tlpi_store *s, int layer, tlpi_kv *kv)
{
    tlpi_store_layer *l = &s->layer[layer];

    for (int i = 0; kv && i < l->n_kv; i++) {
        if (l->kv[i].kv != kv)
            continue;
        if (--l->kv[i].n_ref == 0) {
            s->b->ops->kv_free(s->b, kv);
            l->kv[i] = l->kv[--l->n_kv];
        }
        return;
    }
}

tlpi_kv *tlpi_store_kv(const tlpi_store *s, int layer, int i)
{
    const tlpi_store_layer *l = &s->layer[layer];

    return i < l->n_kv ? l->kv[i].kv : NULL;
}

/* ==== lifetime =========================================================== */

static tlp_status create_rope(tlpi_store *s, tlpi_rope_kind kind)
{
    const tlpi_hparams *hp = &s->model->hp;
    const tlpi_tensor *divisors =
        s->dry ? NULL : tlpi_rope_divisors(s->model, s->cfg->n_ctx);
    double *inv = NULL;
    float *q_gain = NULL;
    tlp_status st;

    TLP_TRY(tlpi_rope_inv_freq(&inv, s->env, hp, kind, divisors));
    TLP_TRY(tlpi_rope_query_gains(&q_gain, s->env, hp, s->cfg->n_ctx));
    st = s->b->ops->rope_create(
        s->b, &s->rope[kind], inv, tlpi_rope_gain(hp, kind), hp->n_rot,
        s->cfg->n_ctx, tlpi_arch_get(hp)->rope_neox, q_gain);
done:
    tlpi_free(s->env, q_gain);
    tlpi_free(s->env, inv);
    return st;
}

static tlp_status create_ropes(tlpi_store *s)
{
    tlp_status st = TLP_OK;

    for (int i = 0; i < s->model->hp.n_layer; i++) {
        tlpi_rope_kind kind = s->model->w.layer[i].rope;

        if (kind != TLPI_ROPE_NONE && !s->rope[kind])
            TLP_TRY(create_rope(s, kind));
    }
done:
    return st;
}

tlp_status tlpi_store_create(tlpi_store *s)
{
    tlp_status st = TLP_OK;

    s->layer =
        tlpi_calloc(s->env, (size_t)s->model->hp.n_layer, sizeof(*s->layer));
    if (!s->layer)
        return tlpi_fail_nomem_for("the weights and caches of a layer");
    TLP_TRY(tlpi_store_create_pages(s));
    st = create_ropes(s);
done:
    return st;
}

/* The embeddings are the head itself where that is tied and whole. */
tlp_status tlpi_store_load_head(tlpi_store *s, int vocab0, int vocab1)
{
    const tlpi_weights *w = &s->model->w;
    const tlpi_tensor *output = w->t[TLPI_OUTPUT],
                      *embd = w->t[TLPI_TOKEN_EMBD];
    int64_t d = s->model->hp.n_embd;
    tlpi_slice rows = { vocab0, vocab1, 0, d };
    tlpi_slice all = { 0, s->model->hp.n_vocab, 0, d };
    tlpi_weight_cache_key key = key_of(s, output, rows);
    tlp_status st = TLP_OK;

    s->vocab0 = vocab0;
    s->vocab1 = vocab1;
    TLP_TRY(tlpi_store_elements(s, w->t[TLPI_OUTPUT_NORM], 0, d, 1,
                                &s->output_norm, &s->bytes.buffers));
    if (vocab1 > vocab0)
        TLP_TRY(load_weight(s, &key, output, rows, &s->head));
    key = key_of(s, embd, all);
    if (s->b->reads_embd_weight)
        TLP_TRY(load_weight(s, &key, embd, all, &s->embd));
done:
    return st;
}

void tlpi_store_free(tlpi_store *s)
{
    if (!s->b)
        return;
    unload_weight(s, s->head);
    unload_weight(s, s->embd);
    s->b->ops->buffer_free(s->b, s->output_norm);
    for (int i = 0; i < TLPI_N_ROPE; i++)
        s->b->ops->rope_free(s->b, s->rope[i]);
    for (int i = 0; s->layer && i < s->model->hp.n_layer; i++) {
        tlpi_free(s->env, s->layer[i].weight);
        tlpi_free(s->env, s->layer[i].kv);
    }
    tlpi_free(s->env, s->layer);
    tlpi_store_free_pages(s);
    *s = (tlpi_store){ 0 };
}
