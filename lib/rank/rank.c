/*
 * rank.c - build and tear down one rank.
 */
#include "rank/rank.h"

#include <math.h>
#include <string.h>

#include "comm/comm_peer.h"
#include "rank/dry_rank.h"
#include "rank/memory.h"

/* ==== lifetime =========================================================== */

/* Angles per position: theta^(-2i/n_rot), slowed by linear scaling and by the
 * file's rope_freqs (Llama 3). */
static tlp_status create_rope(tlpi_rank *r)
{
    const tlpi_hparams *hp = &r->model->hp;
    const tlpi_tensor *freqs = r->dry ? NULL : r->model->w.t[TLPI_ROPE_FREQS];
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
                                tlpi_arch_get(hp)->rope_neox);
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

static tlp_status create_exchange(tlpi_rank *r)
{
    const tlpi_exchange_setup setup = { .device = r->cfg->device,
                                        .b = r->b,
                                        .comm = r->comm,
                                        .abort = r->abort,
                                        .timeout_ms = r->cfg->timeout_ms };
    tlp_status st = tlpi_exchange_create(&r->exchange, &setup);

    return st == TLP_OK
               ? tlpi_exchange_add_spans(&r->exchange, r->plan, r->shards)
               : st;
}

static tlp_status create_scratch(tlpi_rank *r, const tlpi_needs *n)
{
    const int *vocab = r->shards->vocab + r->rank;
    const tlpi_hparams *hp = &r->model->hp;
    const tlpi_scratch_setup setup = { .env = r->env,
                                       .exchange = &r->exchange,
                                       .needs = n,
                                       .n_batch = r->cfg->n_batch,
                                       .n_embd = hp->n_embd,
                                       .n_vocab = hp->n_vocab,
                                       .logit_cols = vocab[1] - vocab[0] };

    return tlpi_scratch_create(&r->scratch, &setup);
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
    tlpi_exchange_abort(&r->exchange);
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
    if (!r->dry)
        TLP_TRY(create_backend(r, &n));
    TLP_TRY(create_exchange(r));
    if (r->cfg->device)
        TLP_TRY(tlpi_rank_count_step(r));
    TLP_TRY(tlpi_memory_check(r));
    TLP_TRY(create_rope(r));
    TLP_TRY(create_scratch(r, &n));
    TLP_TRY(tlpi_rank_load(r, setup->progress, setup->progress_data));
done:
    return st;
}

tlpi_rank_sizes tlpi_rank_bytes(const tlpi_rank *r)
{
    tlpi_rank_sizes sizes = r->bytes;

    sizes.buffers += r->scratch.n_bytes;
    return sizes;
}

/* Ranks load unevenly: a rank that is done waits here until all are. */
static tlp_status agree(tlpi_rank *r, tlpi_rank_sizes *total)
{
    tlpi_rank_sizes mine = tlpi_rank_bytes(r), all[TLPI_MAX_RANK], sum = { 0 };
    size_t *bytes = r->scratch.gather_bytes;
    uint32_t vote = 0;
    float none = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(r->comm->ops->allreduce(r->comm, &none, 1, &vote));
    for (int i = 0; i < r->cfg->n_rank; i++)
        bytes[i] = sizeof(all[i]);
    TLP_TRY(
        r->comm->ops->gather(r->comm, &mine, bytes, r->rank == 0 ? all : NULL));
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
        if (setup->dry)
            setup->dry->ops->free(setup->dry);
        return st;
    }
    r->env = env;
    r->plan = setup->plan;
    r->model = setup->plan->model;
    r->shards = setup->shards;
    r->cfg = setup->cfg;
    r->abort = setup->abort;
    r->comm = setup->comm;
    r->b = setup->dry;
    r->dry = setup->dry;
    r->rank = setup->comm->rank;
    r->comm->patient = true;
    TLP_TRY(build(r, setup));
    if (!r->dry)
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

static void free_memory(tlpi_rank *r)
{
    if (!r->b)
        return;
    tlpi_rank_unload(r);
    tlpi_scratch_free(&r->scratch);
    r->b->ops->rope_free(r->b, r->rope);
    r->b->ops->free(r->b);
}

void tlpi_rank_free(tlpi_rank *r)
{
    char text[512] = "";

    if (!r)
        return;
    /* Freeing may set another text than the failure's. */
    strncat(text, tlp_last_error(), sizeof(text) - 1);
    tlpi_exchange_free(&r->exchange);
    free_memory(r);
    tlpi_free(r->env, r->step_stats);
    tlpi_comm_free(r->comm);
    tlpi_free(r->env, r);
    (void)tlpi_fail(TLP_OK, "%s", text);
}
