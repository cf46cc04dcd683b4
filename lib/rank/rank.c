/*
 * rank.c - build and tear down one rank.
 */
#include "rank/rank.h"

#include <string.h>

#include "comm/comm_peer.h"
#include "rank/dry_rank.h"
#include "rank/memory.h"

/* ==== lifetime =========================================================== */

static tlp_status create_backend(tlpi_rank *r, const tlpi_needs *n,
                                 const tlpi_cores *cores)
{
    const tlpi_session_config *cfg = r->cfg;
    tlpi_backend_options o = {
        .n_thread = cfg->n_thread,
        .n_prefill = cfg->n_prefill,
        .n_machine = cfg->n_machine,
        .n_core = cfg->n_core,
        .spin_us = cfg->spin_us,
        .cores = cores,
        .first_core = r->rank * TLPI_MAX(cfg->n_thread, cfg->n_prefill),
        .host = cfg->host,
        .isa = cfg->isa,
        .compute = cfg->compute,
        .max_tok = TLPI_MAX(cfg->n_batch, TLPI_LOGIT_CHUNK),
        .max_cols = n->cols,
        .max_terms = n->terms,
        .max_attn = n->parts,
        .max_used = r->model->hp.n_expert_used,
        .n_seq = cfg->n_seq,
        .n_index = tlpi_kv_n_index(cfg->n_ctx),
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

    for (int i = 0; i < r->n_program && st == TLP_OK; i++)
        st = tlpi_exchange_add_spans(&r->exchange, r->program[i].plan,
                                     r->program[i].shards);
    return st;
}

static tlp_status create_scratch(tlpi_rank *r, const tlpi_needs *n)
{
    const int *vocab = r->program->shards->vocab + r->rank;
    const tlpi_hparams *hp = &r->model->hp;
    const tlpi_route_rule rule = { .n_expert = hp->n_expert,
                                   .n_used = hp->n_expert_used,
                                   .norm = hp->expert_norm,
                                   .scale = hp->expert_scale };
    const tlpi_scratch_setup setup = { .env = r->env,
                                       .exchange = &r->exchange,
                                       .needs = n,
                                       .rule = hp->n_expert ? &rule : NULL,
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

static void set_programs(tlpi_rank *r, const tlpi_rank_setup *setup)
{
    r->n_program = 1 + setup->n_more;
    for (int i = 0; i < r->n_program; i++)
        r->program[i] =
            (tlpi_program){ .store = &r->store,
                            .scratch = &r->scratch,
                            .plan = i ? setup->more[i - 1].plan : setup->plan,
                            .shards =
                                i ? setup->more[i - 1].shards : setup->shards,
                            .rank = r->rank };
}

/* The stages of all programs, then the head. */
static tlp_status load(tlpi_rank *r, const tlpi_rank_setup *setup)
{
    const int *vocab = r->program->shards->vocab + r->rank;
    tlpi_loading loading = { .fn = setup->progress,
                             .arg = setup->progress_data,
                             .total = 1 };
    tlp_status st = TLP_OK;

    for (int i = 0; i < r->n_program; i++)
        loading.total += r->program[i].plan->n_stage;
    for (int i = 0; i < r->n_program; i++)
        TLP_TRY(tlpi_program_load(&r->program[i], &loading));
    TLP_TRY(tlpi_loading_say(&loading));
    tlpi_store_busy(&r->store);
    TLP_TRY(tlpi_store_load_head(&r->store, vocab[0], vocab[1]));
    TLP_TRY(tlpi_store_fill_pages(&r->store));
    loading.done++;
    st = tlpi_loading_say(&loading);
done:
    return st;
}

static tlp_status build(tlpi_rank *r, const tlpi_rank_setup *setup)
{
    tlp_status st = TLP_OK;

    tlpi_needs n = tlpi_memory_needs(r);
    if (!setup->dry)
        TLP_TRY(create_backend(r, &n, setup->cores));
    TLP_TRY(create_exchange(r));
    for (int i = 0; i < r->n_program && r->cfg->device; i++)
        TLP_TRY(tlpi_rank_count_step(r, &r->program[i]));
    TLP_TRY(tlpi_memory_check(r));
    r->store.b = r->b;
    TLP_TRY(tlpi_store_create(&r->store));
    TLP_TRY(create_scratch(r, &n));
    TLP_TRY(load(r, setup));
done:
    return st;
}

void tlpi_rank_sizes_add(tlpi_rank_sizes *sum, const tlpi_rank_sizes *a)
{
    sum->weights += a->weights;
    sum->kv += a->kv;
    sum->buffers += a->buffers;
    for (int k = 0; k < TLPI_N_KV_KIND; k++)
        sum->page[k] += a->page[k];
}

tlpi_rank_sizes tlpi_rank_bytes(const tlpi_rank *r)
{
    const tlpi_store *s = &r->store;
    tlpi_rank_sizes sum = s->bytes;

    for (int k = 0; k < s->shape.n_kind; k++)
        sum.page[k] = r->b->ops->pages_bytes(s->pages[k]);
    sum.kv = tlpi_kv_bytes(&s->shape, sum.page, s->shape.n_page[TLPI_KV_ALL]);
    for (int i = 0; i < r->n_program; i++)
        tlpi_rank_sizes_add(&sum, &r->program[i].bytes);
    sum.buffers += r->scratch.n_bytes;
    return sum;
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
    for (int i = 0; r->rank == 0 && i < r->cfg->n_rank; i++)
        tlpi_rank_sizes_add(&sum, &all[i]);
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
        st = tlpi_fail_nomem_for("a rank");
        tlpi_rank_give_up(setup->cfg, setup->comm, st);
        tlpi_comm_free(setup->comm);
        if (setup->dry)
            setup->dry->ops->free(setup->dry);
        return st;
    }
    r->env = env;
    r->model = setup->plan->model;
    r->cfg = setup->cfg;
    r->n_thread = r->cfg->n_thread;
    r->n_prefill = r->cfg->n_prefill;
    r->abort = setup->abort;
    r->comm = setup->comm;
    r->b = setup->dry;
    r->rank = setup->comm->rank;
    r->store = (tlpi_store){ .env = env,
                             .model = r->model,
                             .cfg = r->cfg,
                             .comm = r->comm,
                             .dry = setup->dry };
    set_programs(r, setup);
    r->comm->patient = true;
    TLP_TRY(build(r, setup));
    if (!setup->dry)
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
    for (int i = 0; i < r->n_program; i++)
        tlpi_program_free(&r->program[i]);
    tlpi_store_free(&r->store);
    tlpi_scratch_free(&r->scratch);
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
    tlpi_comm_free(r->comm);
    tlpi_free(r->env, r);
    (void)tlpi_fail(TLP_OK, "%s", text);
}
