/*
 * memory.c - what a rank will keep in its device's memory: counted by its part
 * of the plan, compared with what is free before anything is loaded.
 *
 * The walk over the stages is that of rank_weights.c, without the loading.
 */
#include "rank/memory.h"

#include <stdio.h>
#include <string.h>

/* ==== widths ============================================================= */

static size_t times(size_t a, size_t b)
{
    size_t n = 0;

    return tlpi_mul(a, b, &n) ? n : SIZE_MAX;
}

/* Widths of a stage; qkv and hidden are floats a token. */
static void widen(tlpi_needs *max, const tlpi_stage_shard *s, int h)
{
    size_t qkv = 0, hidden = 0;

    for (int j = 0; j < s->n_attn; j++) {
        int kv = s->attn[j].kv1 - s->attn[j].kv0;
        int q = s->attn[j].q1 - s->attn[j].q0;
        qkv += (size_t)(2 * (kv + q) * h);
        max->cols = TLPI_MAX(max->cols, q * h);
    }
    for (int j = 0; j < s->n_ffn; j++) {
        int ff = s->ffn[j].ff1 - s->ffn[j].ff0;
        hidden += (size_t)ff;
        max->cols = TLPI_MAX(max->cols, ff);
    }
    max->qkv = TLPI_MAX(max->qkv, qkv);
    max->hidden = TLPI_MAX(max->hidden, hidden);
    max->parts = TLPI_MAX(max->parts, TLPI_MAX(s->n_attn, s->n_ffn));
}

tlpi_needs tlpi_memory_needs(const tlpi_rank *r)
{
    const tlpi_hparams *hp = &r->model->hp;
    size_t t = (size_t)r->cfg->n_batch, d = (size_t)hp->n_embd;
    const int *vocab = r->shards->vocab + r->rank;
    tlpi_needs n = { .parts = 1, .cols = hp->n_embd, .qkv = 1, .hidden = 1 };

    for (int i = 0; i < r->plan->n_stage; i++)
        widen(&n, tlpi_shard_at(r->shards, i, r->rank), hp->head_dim);
    n.members = TLPI_MAX(1, tlpi_plan_max_members(r->plan));
    /* projections of all parts; corrections, which are two for a member */
    n.terms = TLPI_MAX(3 * n.parts, 2 * n.members);
    n.x = times(t, d);
    n.acc = times(n.x, (size_t)n.members + 1);
    n.norm = times(n.x, (size_t)n.members);
    n.qkv = times(t, n.qkv);
    n.hidden = times(t, n.hidden);
    n.rows = times((size_t)3 * TLPI_LOGIT_CHUNK, d);
    n.logits =
        times(TLPI_LOGIT_CHUNK, (size_t)TLPI_MAX(1, vocab[1] - vocab[0]));
    return n;
}

/* ==== bytes ============================================================== */

/* Sums that stay at the largest number. */
static void add(uint64_t *sum, uint64_t a, uint64_t b)
{
    uint64_t n = 0;

    if (__builtin_mul_overflow(a, b, &n) ||
        __builtin_add_overflow(*sum, n, sum))
        *sum = UINT64_MAX;
}

typedef struct count {
    const tlpi_rank *r;
    const tlpi_stage *stage;
    tlpi_rank_sizes sum;
} count;

#define FIELD(name) offsetof(tlpi_layer, name)

static void count_slice(count *c, const tlpi_tensor *t, bool merged,
                        tlpi_slice s)
{
    const tlpi_device_ops *device = c->r->cfg->device;
    const tlpi_backend *b = c->r->b;
    tlpi_dtype type = merged ? TLPI_F32 : t->type;

    if (b && !merged) {
        tlpi_weight_cache_key key = tlpi_weight_key(b, t, s);
        if (tlpi_weight_cache_has(c->r->model->weight_cache, &key))
            return;
    }
    if (device)
        add(&c->sum.weights, 1,
            device->weight_size(type, s.r1 - s.r0, s.c1 - s.c0));
    else
        add(&c->sum.weights, (uint64_t)(s.r1 - s.r0),
            tlpi_row_bytes(type, s.c1 - s.c0));
}

static const tlpi_tensor *tensor_of(const count *c, int member, size_t field)
{
    return tlpi_layer_tensor(c->r->model, c->stage->layers[member], field);
}

static void count_matrix(count *c, int member, size_t field, tlpi_slice s)
{
    count_slice(c, tensor_of(c, member, field),
                c->stage->mode == TLP_MODE_MERGE, s);
}

/* n floats of a vector that not every model has. */
static void count_vector(count *c, int member, size_t field, int64_t n)
{
    if (tensor_of(c, member, field))
        add(&c->sum.buffers, (uint64_t)n, sizeof(float));
}

static void count_attn(count *c, const tlpi_attn_part *p)
{
    const tlpi_session_config *cfg = c->r->cfg;
    const tlpi_hparams *hp = &c->r->model->hp;
    int64_t h = hp->head_dim, d = hp->n_embd;
    int64_t q0 = p->q0 * h, q1 = p->q1 * h, k0 = p->kv0 * h, k1 = p->kv1 * h;
    uint64_t element = cfg->kv_type == TLP_KV_F32 ? 4 : 2;

    count_matrix(c, p->member, FIELD(attn_q), (tlpi_slice){ q0, q1, 0, d });
    count_matrix(c, p->member, FIELD(attn_k), (tlpi_slice){ k0, k1, 0, d });
    count_matrix(c, p->member, FIELD(attn_v), (tlpi_slice){ k0, k1, 0, d });
    count_matrix(c, p->member, FIELD(attn_output),
                 (tlpi_slice){ 0, d, q0, q1 });
    count_vector(c, p->member, FIELD(attn_q_bias), q1 - q0);
    count_vector(c, p->member, FIELD(attn_k_bias), k1 - k0);
    count_vector(c, p->member, FIELD(attn_v_bias), k1 - k0);
    count_vector(c, p->member, FIELD(attn_q_norm), h);
    count_vector(c, p->member, FIELD(attn_k_norm), h);
    if (p->q0 == 0)
        count_vector(c, p->member, FIELD(attn_output_bias), d);
    add(&c->sum.kv, 2 * element * (uint64_t)(k1 - k0),
        (uint64_t)cfg->n_seq * (uint64_t)cfg->n_ctx);
}

static void count_ffn(count *c, const tlpi_ffn_part *p)
{
    int64_t d = c->r->model->hp.n_embd;
    tlpi_slice rows = { p->ff0, p->ff1, 0, d }, cols = { 0, d, p->ff0, p->ff1 };

    count_matrix(c, p->member, FIELD(ffn_gate), rows);
    count_matrix(c, p->member, FIELD(ffn_up), rows);
    count_matrix(c, p->member, FIELD(ffn_down), cols);
}

/* A norm for each member that the rank holds a part of; parts are ordered by
 * member. */
static void count_stage(count *c, const tlpi_stage_shard *s)
{
    int64_t d = c->r->model->hp.n_embd;

    for (int i = 0; i < s->n_attn; i++) {
        count_attn(c, &s->attn[i]);
        if (i == 0 || s->attn[i].member != s->attn[i - 1].member)
            count_vector(c, s->attn[i].member, FIELD(attn_norm), d);
    }
    for (int i = 0; i < s->n_ffn; i++) {
        count_ffn(c, &s->ffn[i]);
        if (i == 0 || s->ffn[i].norm != s->ffn[i - 1].norm)
            count_vector(c, s->ffn[i].norm, FIELD(ffn_norm), d);
    }
}

/* Its rows of the output head; on devices all embeddings, which are the head
 * itself where that is tied and whole, and are shared by ranks on one. */
static void count_ends(count *c)
{
    const tlpi_session_config *cfg = c->r->cfg;
    const tlpi_weights *w = &c->r->model->w;
    const int *vocab = c->r->shards->vocab + c->r->rank;
    int64_t n = c->r->model->hp.n_vocab, d = c->r->model->hp.n_embd;
    bool shared = w->output == w->token_embd && vocab[1] - vocab[0] == n;

    if (vocab[1] > vocab[0])
        count_slice(c, w->output, false,
                    (tlpi_slice){ vocab[0], vocab[1], 0, d });
    for (int i = 0; !cfg->remote && i < c->r->rank; i++)
        shared = shared || cfg->device_of[i] == cfg->device_of[c->r->rank];
    if (cfg->device && !shared)
        count_slice(c, w->token_embd, false, (tlpi_slice){ 0, n, 0, d });
}

void tlpi_memory_estimate(const tlpi_rank *r, tlpi_rank_sizes *out)
{
    tlpi_needs n = tlpi_memory_needs(r);
    const size_t buffers[] = { n.x,   n.x,      n.acc,  n.norm,
                               n.qkv, n.hidden, n.rows, n.logits };
    count c = { .r = r };

    for (int i = 0; i < r->plan->n_stage; i++) {
        c.stage = &r->plan->stage[i];
        count_stage(&c, tlpi_shard_at(r->shards, i, r->rank));
    }
    count_ends(&c);
    add(&c.sum.buffers, (uint64_t)r->model->hp.n_embd, sizeof(float));
    for (size_t i = 0; i < TLPI_COUNT(buffers); i++)
        add(&c.sum.buffers, buffers[i], sizeof(float));
    if (r->cfg->device) /* angles: two tables of the half of n_rot */
        add(&c.sum.buffers, (uint64_t)r->cfg->n_ctx * sizeof(float),
            (uint64_t)r->model->hp.n_rot);
    if (r->plan->adjust)
        add(&c.sum.weights, r->plan->adjust->n_image, 1); /* at most */
    *out = c.sum;
}

/* ==== does it fit? ======================================================= */

/* "13.5 GB", "20.1 MB", "96 bytes" */
static void show_bytes(uint64_t n, char out[24])
{
    static const char *const unit[] = { "kB", "MB", "GB", "TB" };
    double x = (double)n / 1e3;
    int i = 0;

    if (n < 1000) {
        snprintf(out, 24, "%d bytes", (int)n);
        return;
    }
    for (; x >= 999.95 && i < 3; i++)
        x /= 1e3;
    snprintf(out, 24, "%.1f %s", x, unit[i]);
}

/* The ranks on a device, and what they need there together. */
typedef struct tenants {
    char list[4 * TLPI_MAX_RANK]; /* "0, 1" */
    int n;
    uint64_t free, total;
    tlpi_rank_sizes need;
} tenants;

static void move_in(tenants *t, int rank, const tlpi_memory_note *note)
{
    size_t len = strlen(t->list);

    snprintf(t->list + len, sizeof(t->list) - len, "%s%d", len ? ", " : "",
             rank);
    t->free = t->n++ ? TLPI_MIN(t->free, note->free) : note->free;
    add(&t->need.weights, note->need.weights, 1);
    add(&t->need.kv, note->need.kv, 1);
    add(&t->need.buffers, note->need.buffers, 1);
    add(&t->total, note->need.weights, 1);
    add(&t->total, note->need.kv, 1);
    add(&t->total, note->need.buffers, 1);
}

static tlp_status too_small(const tlpi_memory_note *note, const tenants *t)
{
    char weights[24], kv[24], buffers[24], total[24], free[24];

    show_bytes(t->need.weights, weights);
    show_bytes(t->need.kv, kv);
    show_bytes(t->need.buffers, buffers);
    show_bytes(t->total, total);
    show_bytes(t->free, free);
    return tlpi_fail(TLP_ENOMEM,
                     "device %d (%s): weights %s + cache %s + buffers %s for "
                     "rank%s %s need %s, %s are free",
                     note->device, note->name, weights, kv, buffers,
                     t->n > 1 ? "s" : "", t->list, total, free);
}

tlp_status tlpi_memory_judge(const tlpi_memory_note *note, int n_rank,
                             bool apart)
{
    for (int r = 0; r < n_rank; r++) {
        tenants t = { .list = "" };
        bool seen = false;

        for (int i = 0; i < r && !apart; i++)
            seen = seen || note[i].device == note[r].device;
        for (int i = r; i < n_rank && !seen; i++)
            if (i == r || (!apart && note[i].device == note[r].device))
                move_in(&t, i, &note[i]);
        if (!seen && t.total > t.free)
            return too_small(&note[r], &t);
    }
    return TLP_OK;
}

tlp_status tlpi_memory_check(tlpi_rank *r)
{
    const tlpi_session_config *cfg = r->cfg;
    tlpi_memory_note own = { .name = "" }, all[TLPI_MAX_RANK];
    size_t bytes[TLPI_MAX_RANK];
    tlpi_device_info info = { .name = "" };
    uint32_t vote = 0;
    float none = 0;
    tlp_status st = TLP_OK;

    if (!cfg->device)
        return TLP_OK;
    own.device = cfg->device_of[r->rank];
    TLP_TRY(cfg->device->info(own.device, &info));
    snprintf(own.name, sizeof(own.name), "%s", info.name);
    own.free = info.free;
    tlpi_memory_estimate(r, &own.need);
    for (int i = 0; i < cfg->n_rank; i++)
        bytes[i] = sizeof(own);
    TLP_TRY(
        r->comm->ops->gather(r->comm, &own, bytes, r->rank == 0 ? all : NULL));
    for (int i = 0; r->rank == 0 && i < cfg->n_rank; i++)
        all[i].name[sizeof(all[i].name) - 1] = '\0'; /* another process's */
    if (r->rank == 0)
        TLP_TRY(tlpi_memory_judge(all, cfg->n_rank, cfg->remote));
    /* Nobody loads before all is well. */
    st = r->comm->ops->allreduce(r->comm, &none, 1, &vote);
done:
    return st;
}
