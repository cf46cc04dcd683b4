/*
 * dry.c - the backend that counts; see dry.h.
 */
#include "backend/dry.h"

#include <math.h>
#include <string.h>

#include "backend/dry_cache.h"
#include "backend/weight_key.h"

/* Buffers that are longer are beyond all memory, and their sums would wrap. */
#define MAX_BUFFER ((size_t)1 << 56)

/* Weights that one allocation holds. */
#define N_CHUNK 126

struct tlpi_weight {
    uint64_t bytes; /* of memory; 0 for a weight that the cache has */
    double read;    /* bytes that a product reads, in the file's type */
};

typedef struct chunk {
    struct chunk *next;
    int n; /* used */
    tlpi_weight weight[N_CHUNK];
} chunk;

typedef struct dry {
    tlpi_backend base;
    tlpi_dry_options o;
    chunk *chunks; /* the first one has room, or is full */
    uint64_t rope_bytes;
    tlpi_dry_work work;
} dry;

static dry *dry_of(tlpi_backend *b)
{
    return (dry *)b;
}

const tlpi_dry_options *tlpi_dry_options_of(tlpi_backend *b)
{
    return &dry_of(b)->o;
}

static const char *dry_isa(const tlpi_backend *b)
{
    (void)b;
    return "dry";
}

/* ==== weights ============================================================ */

/* Weights live as long as the backend. */
static tlpi_weight *new_weight(dry *d)
{
    chunk *c = d->chunks;

    if (!c || c->n == N_CHUNK) {
        c = tlpi_alloc(d->base.env, sizeof(*c));
        if (!c)
            return NULL;
        c->next = d->chunks;
        c->n = 0;
        d->chunks = c;
    }
    return &c->weight[c->n++];
}

static bool is_cached(const dry *d, const tlpi_tensor *t, int64_t r0,
                      int64_t r1, int64_t c0, int64_t c1)
{
    if (!d->o.cache)
        return false;
    tlpi_weight_cache_key key = tlpi_weight_key(d->o.layout, t, r0, r1, c0, c1);
    return tlpi_weight_cache_has(d->o.cache, &key);
}

/* A merged tensor has F32 as its type, and n_bytes of a layer's tensor. */
static tlp_status dry_weight_create(tlpi_backend *b, tlpi_weight **out,
                                    const tlpi_tensor *t, int64_t r0,
                                    int64_t r1, int64_t c0, int64_t c1,
                                    bool *copied)
{
    dry *d = dry_of(b);
    int64_t rows = r1 - r0, cols = c1 - c0;
    tlpi_weight *w = new_weight(d);

    *out = w;
    *copied = true;
    if (!w)
        return tlpi_fail_nomem_for("a dry run");
    w->bytes = 0;
    w->read = (double)t->n_bytes * (double)rows / (double)t->ne[1] *
              (double)cols / (double)t->ne[0];
    if (is_cached(d, t, r0, r1, c0, c1))
        return TLP_OK;
    if (d->o.weight_size)
        w->bytes = d->o.weight_size(t->type, rows, cols);
    else
        w->bytes = (uint64_t)rows * tlpi_row_bytes(t->type, cols);
    w->bytes *= (uint64_t)t->ne[2];
    return TLP_OK;
}

static void dry_weight_free(void *weight)
{
    (void)weight;
}

static size_t dry_weight_bytes(const tlpi_weight *w)
{
    return w->bytes;
}

/* ==== buffers and angles ================================================= */

static tlp_status dry_buffer_create(tlpi_backend *b, float **out, size_t n)
{
    (void)b;
    *out = n > MAX_BUFFER ? NULL : TLPI_DRY_NOWHERE;
    return *out ? TLP_OK : tlpi_fail_nomem_for("a dry run");
}

static void dry_buffer_free(tlpi_backend *b, float *x)
{
    (void)b;
    (void)x;
}

/* Angles of a position are the cosines and sines of n_rot / 2 pairs. */
static tlp_status dry_rope_create(tlpi_backend *b, tlpi_rope **out,
                                  const double *inv_freq, double gain,
                                  int n_rot, int n_ctx, bool neox,
                                  const float *q_gain)
{
    (void)inv_freq;
    (void)gain;
    (void)neox;
    *out = TLPI_DRY_NOWHERE;
    dry_of(b)->rope_bytes +=
        (uint64_t)n_ctx * (uint64_t)(n_rot + (q_gain ? 1 : 0)) * sizeof(float);
    return TLP_OK;
}

static void dry_rope_free(tlpi_backend *b, tlpi_rope *r)
{
    (void)b;
    (void)r;
}

/* ==== experts ============================================================ */

struct tlpi_routes {
    double share; /* of the experts that a token reads */
};

static tlp_status dry_routes_create(tlpi_backend *b, tlpi_routes **out,
                                    const tlpi_route_rule *rule)
{
    tlpi_routes *r = tlpi_alloc(b->env, sizeof(*r));

    *out = r;
    if (!r)
        return tlpi_fail_nomem_for("a dry run");
    r->share = (double)rule->n_used / rule->n_expert;
    return TLP_OK;
}

static void dry_routes_free(tlpi_backend *b, tlpi_routes *routes)
{
    tlpi_free(b->env, routes);
}

static void dry_route(tlpi_backend *b, int n_tok, const tlpi_route *item, int n)
{
    (void)b;
    (void)n_tok;
    (void)item;
    (void)n;
}

/* Bytes that a product reads for one token. */
static double read_of(tlpi_dry_work *work, const tlpi_weight *w,
                      const tlpi_routes *routes)
{
    if (!routes)
        return w->read;
    work->expert_bytes += w->read;
    work->expert_share = routes->share;
    return routes->share * w->read;
}

static void dry_write(tlpi_backend *b, float *dst, const float *host, size_t n)
{
    (void)b;
    (void)dst;
    (void)host;
    (void)n;
}

static tlp_status dry_read(tlpi_backend *b, float *host, const float *src,
                           size_t n)
{
    (void)b;
    (void)src;
    memset(host, 0, n * sizeof(*host));
    return TLP_OK;
}

/* ==== a step ============================================================= */

static bool dry_begin_step(tlpi_backend *b, const tlpi_step *s,
                           const tlpi_want *want)
{
    (void)b;
    (void)s;
    (void)want;
    return false;
}

static tlp_status dry_end_step(tlpi_backend *b, tlp_status st)
{
    (void)b;
    return st;
}

static void dry_embed(tlpi_backend *b, const tlpi_step *s, const tlpi_tensor *t,
                      const tlpi_weight *w, float scale, float *x)
{
    (void)b;
    (void)s;
    (void)t;
    (void)w;
    (void)scale;
    (void)x;
}

static void dry_gather(tlpi_backend *b, const float *x, const int32_t *rows,
                       int n, int cols, float *y)
{
    (void)b;
    (void)x;
    (void)rows;
    (void)n;
    (void)cols;
    (void)y;
}

static void dry_add_norm(tlpi_backend *b, int n_tok, int cols, const float *x,
                         const float *delta, float *sum, const tlpi_norm *norm,
                         int n_norm, float eps)
{
    (void)b;
    (void)n_tok;
    (void)cols;
    (void)x;
    (void)delta;
    (void)sum;
    (void)norm;
    (void)n_norm;
    (void)eps;
}

static void dry_add(tlpi_backend *b, float *y, const float *x, size_t n)
{
    (void)b;
    (void)y;
    (void)x;
    (void)n;
}

static void dry_zero(tlpi_backend *b, float *y, size_t n)
{
    (void)b;
    (void)y;
    (void)n;
}

static void dry_matmul(tlpi_backend *b, int n_tok, const tlpi_matmul *item,
                       int n)
{
    tlpi_dry_work *w = &dry_of(b)->work;
    double *bytes = w->n_ffn                   ? &w->ffn_bytes
                    : w->n_attn || w->n_square ? &w->attn_bytes
                                               : &w->other_bytes;

    (void)n_tok;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < item[i].n_term; j++)
            *bytes += read_of(w, item[i].term[j].w, item[i].term[j].routes);
}

static void dry_gate_up(tlpi_backend *b, int n_tok, const tlpi_gate_up *item,
                        int n)
{
    tlpi_dry_work *w = &dry_of(b)->work;

    (void)n_tok;
    w->n_ffn++;
    w->ffn_bytes += w->other_bytes;
    w->other_bytes = 0;
    for (int i = 0; i < n; i++) {
        const tlpi_weight *more[] = { item[i].gate_more.w, item[i].up_more.w };

        w->ffn_bytes += read_of(w, item[i].gate, item[i].routes) +
                        read_of(w, item[i].up, item[i].routes);
        for (size_t j = 0; j < TLPI_COUNT(more); j++)
            w->ffn_bytes += more[j] ? more[j]->read : 0;
    }
}

static void dry_soft_cap(tlpi_backend *b, float *x, size_t n, float cap)
{
    (void)b;
    (void)x;
    (void)n;
    (void)cap;
}

static void dry_sum_squares(tlpi_backend *b, int n_tok, const tlpi_square *item,
                            int n)
{
    tlpi_dry_work *w = &dry_of(b)->work;

    (void)n_tok;
    (void)item;
    (void)n;
    w->n_square++;
    w->attn_bytes += w->other_bytes;
    w->other_bytes = 0;
}

static void dry_attention(tlpi_backend *b, const tlpi_step *s,
                          const tlpi_attn *item, int n, int head_dim, float eps)
{
    tlpi_dry_work *w = &dry_of(b)->work;

    (void)s;
    (void)head_dim;
    (void)eps;
    w->n_attn++;
    w->attn_bytes += w->other_bytes;
    w->other_bytes = 0;
    for (int i = 0; i < n; i++)
        w->n_head += item[i].n_head;
}

static tlp_status dry_log_sum_exp(tlpi_backend *b, const float *x, int n,
                                  int cols, const int32_t *index, float *lse,
                                  float *at)
{
    (void)b;
    (void)x;
    (void)cols;
    for (int i = 0; i < n; i++) {
        lse[i] = 0;
        at[i] = index[i] < 0 ? -INFINITY : 0;
    }
    return TLP_OK;
}

static tlp_status dry_top(tlpi_backend *b, const float *x, int n, int cols,
                          int base, int k, tlpi_candidate *out)
{
    (void)b;
    (void)x;
    (void)cols;
    (void)base;
    for (int i = 0; i < n * k; i++)
        out[i] = (tlpi_candidate){ .id = -1 };
    return TLP_OK;
}

/* ==== lifetime =========================================================== */

static void dry_free(tlpi_backend *b)
{
    dry *d = dry_of(b);

    while (d->chunks) {
        chunk *next = d->chunks->next;
        tlpi_free(b->env, d->chunks);
        d->chunks = next;
    }
    tlpi_free(b->env, d);
}

static const tlpi_backend_ops dry_ops = {
    .isa = dry_isa,
    .weight_create = dry_weight_create,
    .weight_free = dry_weight_free,
    .weight_bytes = dry_weight_bytes,
    .buffer_create = dry_buffer_create,
    .buffer_free = dry_buffer_free,
    .pages_create = tlpi_dry_pages_create,
    .pages_free = tlpi_dry_pages_free,
    .pages_bytes = tlpi_dry_pages_bytes,
    .pages_take = tlpi_dry_pages_take,
    .pages_drop = tlpi_dry_pages_drop,
    .pages_copy = tlpi_dry_pages_copy,
    .kv_create = tlpi_dry_kv_create,
    .kv_free = tlpi_dry_kv_free,
    .rope_create = dry_rope_create,
    .rope_free = dry_rope_free,
    .routes_create = dry_routes_create,
    .routes_free = dry_routes_free,
    .write = dry_write,
    .read = dry_read,
    .begin_step = dry_begin_step,
    .end_step = dry_end_step,
    .embed = dry_embed,
    .gather = dry_gather,
    .add_norm = dry_add_norm,
    .add = dry_add,
    .zero = dry_zero,
    .route = dry_route,
    .matmul = dry_matmul,
    .gate_up = dry_gate_up,
    .soft_cap = dry_soft_cap,
    .sum_squares = dry_sum_squares,
    .attention = dry_attention,
    .log_sum_exp = dry_log_sum_exp,
    .top = dry_top,
    .free = dry_free,
};

tlp_status tlpi_backend_dry_create(tlpi_backend **out, const tlpi_env *env,
                                   const tlpi_dry_options *opts)
{
    dry *d = tlpi_calloc(env, 1, sizeof(*d));

    *out = NULL;
    if (!d)
        return tlpi_fail_nomem_for("a dry run");
    d->base.ops = &dry_ops;
    d->base.env = env;
    d->base.layout = opts->layout;
    d->o = *opts;
    *out = &d->base;
    return TLP_OK;
}

uint64_t tlpi_dry_rope_bytes(const tlpi_backend *b)
{
    return ((const dry *)b)->rope_bytes;
}

tlpi_dry_work tlpi_dry_take_work(tlpi_backend *b)
{
    dry *d = dry_of(b);
    tlpi_dry_work w = d->work;

    d->work = (tlpi_dry_work){ 0 };
    return w;
}
