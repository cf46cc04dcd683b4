/*
 * rank.c - build and tear down one rank.
 */
#include "rank/forward.h"

#include <math.h>
#include <string.h>

#include "comm/comm_peer.h"
#include "rank/memory.h"

/* ==== communicators ====================================================== */

/* A communicator for every span of ranks that shares a member of some stage;
 * all ranks walk the stages alike, as split asks. */
static tlp_status split_spans(tlpi_rank *r)
{
    int n = r->cfg->n_rank;

    r->span_comm =
        tlpi_calloc(r->env, (size_t)(n * (n + 1)), sizeof(*r->span_comm));
    bool *done = tlpi_calloc(r->env, (size_t)(n * (n + 1)), sizeof(*done));
    tlp_status st = r->span_comm && done ? TLP_OK : tlpi_fail_nomem();

    for (int i = 0; i < r->plan->n_stage && st == TLP_OK; i++) {
        const tlpi_span *span = r->shards->span[i];
        for (int m = 0; span && m < r->plan->stage[i].n_member; m++) {
            int key = span[m].first * (n + 1) + span[m].count;
            if (span[m].count < 2 || done[key] || st != TLP_OK)
                continue;
            done[key] = true;
            st = r->data->ops->split(r->data, span[m].first, span[m].count,
                                     &r->span_comm[key]);
        }
    }
    tlpi_free(r->env, done);
    return st;
}

/* ==== buffers ============================================================ */

/* What a buffer is for: all-reduces carry EXCHANGED ones. */
enum use { OWN, EXCHANGED };

static tlp_status buffer(tlpi_rank *r, enum use use, float **out, size_t n)
{
    const tlpi_device_ops *device = r->cfg->device;
    tlp_status st = use == EXCHANGED && device
                        ? device->exchange_buffer(r->data, out, n)
                        : r->b->ops->buffer_create(r->b, out, n);
    if (st == TLP_OK)
        r->bytes.buffers += n * sizeof(float);
    return st;
}

static tlp_status create_buffers(tlpi_rank *r, const tlpi_needs *n)
{
    const tlpi_hparams *hp = &r->model->hp;
    size_t t = (size_t)r->cfg->n_batch;
    size_t members = (size_t)n->members, parts = (size_t)n->parts;
    size_t terms = (size_t)n->terms;
    tlpi_rank_buffers *buf = &r->buf;
    tlp_status st = TLP_OK;

    TLP_TRY(buffer(r, OWN, &buf->x, n->x));
    TLP_TRY(buffer(r, EXCHANGED, &buf->delta, n->x));
    TLP_TRY(buffer(r, EXCHANGED, &buf->acc, n->acc));
    TLP_TRY(buffer(r, OWN, &buf->norm, n->norm));
    TLP_TRY(buffer(r, OWN, &buf->qkv, n->qkv));
    TLP_TRY(buffer(r, OWN, &buf->hidden, n->hidden));
    TLP_TRY(buffer(r, OWN, &buf->rows, n->rows));
    r->term = tlpi_calloc(r->env, terms, sizeof(*r->term));
    r->mm = tlpi_calloc(r->env, terms, sizeof(*r->mm));
    r->gate_up = tlpi_calloc(r->env, parts, sizeof(*r->gate_up));
    r->attn = tlpi_calloc(r->env, parts, sizeof(*r->attn));
    r->norm = tlpi_calloc(r->env, members, sizeof(*r->norm));
    r->host = tlpi_alloc_array(r->env, (size_t)hp->n_vocab, sizeof(float));
    r->step.id = tlpi_alloc_array(r->env, 5 * t, sizeof(*r->step.id));
    r->wire = tlpi_alloc_array(r->env, 5 * t, sizeof(*r->wire));
    r->score = tlpi_alloc_array(r->env, t, sizeof(*r->score));
    r->gather_bytes =
        tlpi_calloc(r->env, (size_t)r->cfg->n_rank, sizeof(size_t));
    if (!r->term || !r->mm || !r->gate_up || !r->attn || !r->norm || !r->host ||
        !r->step.id || !r->wire || !r->score || !r->gather_bytes)
        return tlpi_fail_nomem();
    r->step.seq = r->step.id + t;
    r->step.pos = r->step.id + 2 * t;
    r->step.row = r->step.id + 3 * t;
    r->step.target = r->step.id + 4 * t;
    st = tlpi_rank_reserve(r, TLPI_LOGIT_CHUNK);
done:
    return st;
}

tlp_status tlpi_rank_reserve(tlpi_rank *r, size_t rows)
{
    size_t cols = (size_t)TLPI_MAX(1, r->vocab1 - r->vocab0), n = 0;
    float *grown = NULL;

    if (rows <= r->logit_cap)
        return TLP_OK;
    if (!tlpi_mul(rows, cols, &n))
        return tlpi_fail_nomem();
    tlp_status st = r->b->ops->buffer_create(r->b, &grown, n);
    if (st != TLP_OK)
        return st;
    r->b->ops->buffer_free(r->b, r->buf.logits);
    r->buf.logits = grown;
    r->bytes.buffers += (rows - r->logit_cap) * cols * sizeof(float);
    r->logit_cap = rows;
    return TLP_OK;
}

/* ==== lifetime =========================================================== */

/* Angles per position: theta^(-2i/n_rot), slowed by linear scaling and by the
 * file's rope_freqs (Llama 3). */
static tlp_status create_rope(tlpi_rank *r)
{
    const tlpi_hparams *hp = &r->model->hp;
    const tlpi_tensor *freqs = r->model->w.rope_freqs;
    size_t n = (size_t)hp->n_rot / 2;
    double *inv = tlpi_alloc_array(r->env, n, sizeof(*inv));
    float *divisor = tlpi_calloc(r->env, n, sizeof(*divisor));
    tlp_status st = TLP_OK;

    if (!inv || !divisor) {
        st = tlpi_fail_nomem();
        goto done;
    }
    if (freqs)
        tlpi_dequantize(freqs->type, freqs->data, divisor, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        inv[i] = pow((double)hp->rope_theta, -2.0 * (double)i / hp->n_rot);
        inv[i] /= (double)hp->rope_scale;
        if (freqs)
            inv[i] /= (double)divisor[i];
    }
    st = r->b->ops->rope_create(r->b, &r->rope, inv, hp->n_rot, r->cfg->n_ctx,
                                hp->rope_neox);
done:
    tlpi_free(r->env, divisor);
    tlpi_free(r->env, inv);
    return st;
}

static tlp_status create_backend(tlpi_rank *r, const tlpi_needs *n)
{
    const tlpi_session_config *cfg = r->cfg;
    tlpi_backend_options o = {
        .n_thread = cfg->n_thread,
        .n_machine = cfg->n_machine,
        .first_core = r->rank * cfg->n_thread,
        .pin = cfg->pin,
        .isa = cfg->isa,
        .compute = cfg->compute,
        .max_tok = TLPI_MAX(cfg->n_batch, TLPI_LOGIT_CHUNK),
        .max_cols = n->cols,
        .max_terms = n->terms,
        .max_attn = n->parts,
    };

    if (cfg->device)
        return cfg->device->backend_create(&r->b, r->env, &o,
                                           cfg->device_of[r->rank]);
    return tlpi_backend_cpu_create(&r->b, r->env, &o);
}

/* On the CPU activations go where commands go. */
static tlp_status create_data(tlpi_rank *r)
{
    const tlpi_session_config *cfg = r->cfg;

    if (cfg->device)
        return cfg->device->comm_create(&r->data, r->comm, r->b,
                                        cfg->timeout_ms);
    r->data = r->comm;
    return TLP_OK;
}

void tlpi_rank_give_up(const tlpi_session_config *cfg, tlpi_comm *c,
                       tlp_status st)
{
    if (cfg->remote && st != TLP_ECOMM && st != TLP_ETIMEDOUT)
        tlpi_comm_peer_set_reason(c, tlp_last_error());
    c->ops->abort(c);
}

void tlpi_rank_abort(tlpi_rank *r, tlp_status st)
{
    tlpi_rank_give_up(r->cfg, r->comm, st);
    if (r->data && r->data != r->comm)
        r->data->ops->abort(r->data);
}

void tlpi_rank_busy(tlpi_rank *r)
{
    if (r->comm->ops->busy)
        r->comm->ops->busy(r->comm);
}

static tlp_status build(tlpi_rank *r, const tlpi_rank_setup *setup)
{
    tlp_status st = TLP_OK;

    tlpi_needs n = tlpi_memory_needs(r);
    TLP_TRY(create_backend(r, &n));
    TLP_TRY(create_data(r));
    TLP_TRY(split_spans(r));
    TLP_TRY(tlpi_replay_create(r));
    TLP_TRY(tlpi_memory_check(r));
    TLP_TRY(create_rope(r));
    TLP_TRY(tlpi_rank_load(r, setup->progress, setup->progress_data));
    TLP_TRY(create_buffers(r, &n));
done:
    return st;
}

/* Ranks load unevenly: whoever is done waits here for the others. */
static tlp_status agree(tlpi_rank *r, tlpi_rank_sizes *total)
{
    tlpi_rank_sizes all[TLPI_MAX_RANK], sum = { 0 };
    uint32_t vote = 0;
    float none = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(r->comm->ops->allreduce(r->comm, &none, 1, &vote));
    for (int i = 0; i < r->cfg->n_rank; i++)
        r->gather_bytes[i] = sizeof(all[i]);
    TLP_TRY(r->comm->ops->gather(r->comm, &r->bytes, r->gather_bytes,
                                 r->rank == 0 ? all : NULL));
    for (int i = 0; r->rank == 0 && i < r->cfg->n_rank; i++) {
        sum.weights += all[i].weights;
        sum.kv += all[i].kv;
        sum.buffers += all[i].buffers;
    }
    if (total)
        *total = sum;
done:
    return st;
}

tlp_status tlpi_rank_create(tlpi_rank **out, const tlpi_rank_setup *setup,
                            tlpi_rank_sizes *total)
{
    const tlpi_env *env = &setup->plan->model->env;
    tlpi_rank *r = tlpi_calloc(env, 1, sizeof(*r));
    tlp_status st = TLP_OK;

    *out = NULL;
    if (!r) {
        st = tlpi_fail_nomem();
        tlpi_rank_give_up(setup->cfg, setup->comm, st);
        tlpi_comm_free(setup->comm);
        return st;
    }
    r->env = env;
    r->plan = setup->plan;
    r->model = setup->plan->model;
    r->shards = setup->shards;
    r->cfg = setup->cfg;
    r->abort = setup->abort;
    r->comm = setup->comm;
    r->rank = setup->comm->rank;
    r->comm->patient = true;
    TLP_TRY(build(r, setup));
    TLP_TRY(agree(r, total));
    r->comm->patient = false;
    *out = r;
    r = NULL;
done:
    if (r)
        tlpi_rank_abort(r, st);
    tlpi_rank_free(r);
    return st;
}

/* The communicators of activations end first: on a device they see to it that
 * nothing is under way, for which freeing memory would wait for ever. */
static void free_data(tlpi_rank *r)
{
    for (int i = tlpi_rank_n_data(r) - 1; i > 0 && r->span_comm; i--)
        tlpi_comm_free(tlpi_rank_data(r, i));
    if (r->data != r->comm)
        tlpi_comm_free(r->data);
}

static void free_memory(tlpi_rank *r)
{
    tlpi_rank_buffers *buf = &r->buf;
    float *all[] = { buf->x,      buf->delta, buf->acc,  buf->norm,  buf->qkv,
                     buf->hidden, buf->low,   buf->rows, buf->logits };

    if (!r->b)
        return;
    tlpi_rank_unload(r);
    for (size_t i = 0; i < TLPI_COUNT(all); i++)
        r->b->ops->buffer_free(r->b, all[i]);
    r->b->ops->rope_free(r->b, r->rope);
    r->b->ops->free(r->b);
}

void tlpi_rank_free(tlpi_rank *r)
{
    char text[512] = "";

    if (!r)
        return;
    /* What is said of the end is not why it came. */
    strncat(text, tlp_last_error(), sizeof(text) - 1);
    free_data(r);
    free_memory(r);
    tlpi_free(r->env, r->term);
    tlpi_free(r->env, r->mm);
    tlpi_free(r->env, r->gate_up);
    tlpi_free(r->env, r->attn);
    tlpi_free(r->env, r->norm);
    tlpi_free(r->env, r->host);
    tlpi_free(r->env, r->seen);
    tlpi_free(r->env, r->step.id);
    tlpi_free(r->env, r->wire);
    tlpi_free(r->env, r->score);
    tlpi_free(r->env, r->gather_bytes);
    tlpi_free(r->env, r->span_comm);
    tlpi_free(r->env, r->pass);
    tlpi_comm_free(r->comm);
    tlpi_free(r->env, r);
    (void)tlpi_fail(TLP_OK, "%s", text);
}
