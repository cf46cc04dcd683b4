/*
 * memory.c - count the device memory that a rank will need, by a dry run of
 * loading, and compare it with the free memory before loading.
 */
#include "rank/memory.h"

#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "rank/dry_rank.h"

/* ==== widths ============================================================= */

static size_t times(size_t a, size_t b)
{
    size_t n = 0;

    return tlpi_mul(a, b, &n) ? n : SIZE_MAX;
}

/* Widths of a stage; qkv and hidden are floats a token. */
static void widen(tlpi_needs *max, const tlpi_stage_shard *s,
                  const tlpi_hparams *hp)
{
    size_t qkv = 0, hidden = 0;
    int h = hp->head_dim;

    for (int j = 0; j < s->n_attn; j++) {
        int kv = s->attn[j].kv1 - s->attn[j].kv0;
        int q = s->attn[j].q1 - s->attn[j].q0;
        qkv += (size_t)(2 * (kv + q) * h);
        max->cols = TLPI_MAX(max->cols, q * h);
    }
    for (int j = 0; j < s->n_ffn; j++) {
        int ff = s->ffn[j].ff1 - s->ffn[j].ff0;
        hidden += (size_t)ff * (size_t)tlpi_n_used(hp);
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
    const int *vocab = r->program->shards->vocab + r->rank;
    tlpi_needs n = {
        .parts = 1, .members = 1, .cols = hp->n_embd, .qkv = 1, .hidden = 1
    };
    int n_track = 0;

    for (int i = 0; i < r->n_program; i++) {
        const tlpi_program *p = &r->program[i];

        for (int j = 0; j < p->plan->n_stage; j++)
            widen(&n, tlpi_shard_at(p->shards, j, r->rank), hp);
        n.members = TLPI_MAX(n.members, tlpi_plan_max_members(p->plan));
        n_track = TLPI_MAX(n_track, p->plan->n_track);
        n.cols = TLPI_MAX(n.cols, tlpi_program_lora_rank(p->plan, r->cfg));
    }
    /* projections of all parts; corrections, which are two for a member */
    n.terms = TLPI_MAX(3 * n.parts, 2 * n.members);
    n.x = times(t, d);
    n.acc = times(n.x, (size_t)n.members + 1);
    n.track = times(n.x, (size_t)n_track);
    n.norm = times(n.x, (size_t)n.members);
    n.qkv = times(t, n.qkv);
    if (tlpi_arch_get(hp)->qk_norm == TLPI_QK_NORM_ROWS)
        n.squares = times(t, 2 * (size_t)n.members);
    n.hidden = times(t, n.hidden);
    n.scores = times(t, (size_t)hp->n_expert * (size_t)n.parts);
    n.rows = times((size_t)3 * TLPI_LOGIT_CHUNK, d);
    n.logits =
        times(TLPI_LOGIT_CHUNK, (size_t)TLPI_MAX(1, vocab[1] - vocab[0]));
    return n;
}

/* ==== bytes ============================================================== */

/* Sums that stay at the largest number. */
static void add(uint64_t *sum, uint64_t n)
{
    if (__builtin_add_overflow(*sum, n, sum))
        *sum = UINT64_MAX;
}

/* Will this rank find the embeddings on its device?  They are the head itself
 * where that is tied and whole, and ranks on one device share them. */
static bool finds_embeddings(const tlpi_rank *r)
{
    const tlpi_session_config *cfg = r->cfg;
    const tlpi_weights *w = &r->model->w;
    const int *vocab = r->program->shards->vocab + r->rank;
    bool whole = vocab[1] - vocab[0] == r->model->hp.n_vocab;
    bool found = w->t[TLPI_OUTPUT] == w->t[TLPI_TOKEN_EMBD] && whole;

    for (int i = 0; !cfg->remote && i < r->rank; i++)
        found = found || cfg->device_of[i] == cfg->device_of[r->rank];
    return found;
}

/* What only a device holds: angles, which the CPU does not count as buffers,
 * and the embeddings. */
static tlp_status add_device(const tlpi_rank *r, tlpi_backend *dry,
                             tlpi_rank_sizes *sum)
{
    const tlpi_tensor *t = r->model->w.t[TLPI_TOKEN_EMBD];
    tlpi_weight *w = NULL;
    bool copied = false;
    tlp_status st = TLP_OK;

    add(&sum->buffers, tlpi_dry_rope_bytes(dry));
    if (finds_embeddings(r))
        return TLP_OK;
    TLP_TRY(
        dry->ops->weight_create(dry, &w, t, 0, t->ne[1], 0, t->ne[0], &copied));
    add(&sum->weights, dry->ops->weight_bytes(w));
done:
    return st;
}

tlp_status tlpi_memory_estimate(const tlpi_rank *r, tlpi_rank_sizes *out)
{
    const tlpi_device_ops *device = r->cfg->device;
    tlpi_program_spec more[TLPI_MAX_PROGRAM];
    tlpi_dry_setup setup = {
        .plan = r->program->plan,
        .shards = r->program->shards,
        .more = more,
        .n_more = r->n_program - 1,
        .cfg = r->cfg,
        .rank = r->rank,
        .dry = { .weight_size = device ? device->weight_size : NULL,
                 .kv_size = device ? device->kv_size : NULL,
                 .cache = r->b ? r->model->weight_cache : NULL,
                 .layout = r->b ? r->b->layout : 0 },
    };
    tlpi_dry_rank dry = { .rank = NULL };
    tlp_status st = TLP_OK;

    if (!device)
        tlpi_backend_cpu_sizes(&setup.dry, r->cfg->isa);
    for (int i = 1; i < r->n_program; i++)
        more[i - 1] =
            (tlpi_program_spec){ r->program[i].plan, r->program[i].shards };
    TLP_TRY(tlpi_dry_rank_create(&dry, &setup));
    *out = tlpi_rank_bytes(dry.rank);
    if (device)
        TLP_TRY(add_device(r, dry.rank->b, out));
done:
    tlpi_dry_rank_free(&dry);
    return st;
}

tlp_status tlpi_memory_estimate_all(const tlpi_session_config *cfg,
                                    const tlp_plan *plan,
                                    const tlpi_shards *shards,
                                    tlpi_rank_sizes *out)
{
    tlp_status st = TLP_OK;

    *out = (tlpi_rank_sizes){ 0 };
    for (int i = 0; i < cfg->n_rank && st == TLP_OK; i++) {
        const tlpi_rank r = { .program = { { .plan = plan, .shards = shards } },
                              .n_program = 1,
                              .model = plan->model,
                              .cfg = cfg,
                              .rank = i };
        tlpi_rank_sizes one = { 0 };

        st = tlpi_memory_estimate(&r, &one);
        tlpi_rank_sizes_add(out, &one);
    }
    return st;
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
    tlpi_snprintf(out, 24, "%.1f %s", x, unit[i]);
}

/* The ranks on a device, and the memory that they need together. */
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
    add(&t->need.weights, note->need.weights);
    add(&t->need.kv, note->need.kv);
    add(&t->need.buffers, note->need.buffers);
    add(&t->total, note->need.weights);
    add(&t->total, note->need.kv);
    add(&t->total, note->need.buffers);
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
    TLP_TRY(tlpi_memory_estimate(r, &own.need));
    for (int i = 0; i < cfg->n_rank; i++)
        bytes[i] = sizeof(own);
    TLP_TRY(
        r->comm->ops->gather(r->comm, &own, bytes, r->rank == 0 ? all : NULL));
    for (int i = 0; r->rank == 0 && i < cfg->n_rank; i++)
        all[i].name[sizeof(all[i].name) - 1] = '\0'; /* another process's */
    if (r->rank == 0)
        TLP_TRY(tlpi_memory_judge(all, cfg->n_rank, cfg->remote));
    /* No rank loads before all ranks have passed the check. */
    st = r->comm->ops->allreduce(r->comm, &none, 1, &vote);
done:
    return st;
}
