/*
 * need.c - tlp_session_need: what the ranks of a session would hold, by dry
 * runs of their loading.
 */
#include "group/config.h"
#include "plan/adapter.h"
#include "rank/memory.h"

/* Rows of logits, which rank 0 collects and each rank has its columns of. */
static uint64_t row_bytes(const tlpi_rank *r)
{
    const int *vocab = r->program->shards->vocab + r->rank;
    uint64_t rows = (uint64_t)r->cfg->n_row, n = 0;

    if (r->rank == 0)
        n += rows * (uint64_t)r->model->hp.n_vocab;
    if (rows > TLPI_LOGIT_CHUNK) /* the chunk is the scratch's */
        n += (rows - TLPI_LOGIT_CHUNK) * (uint64_t)(vocab[1] - vocab[0]);
    return n * sizeof(float);
}

static tlp_status add_rank(tlp_need *sum, const tlp_plan *plan,
                           const tlpi_shards *shards,
                           const tlpi_session_config *cfg, int rank)
{
    const tlpi_rank r = { .program = { { .plan = plan, .shards = shards } },
                          .n_program = 1,
                          .model = plan->model,
                          .cfg = cfg,
                          .rank = rank };
    tlpi_rank_sizes sizes = { 0 };
    tlp_status st = tlpi_memory_estimate(&r, &sizes);

    sum->weight_bytes += sizes.weights;
    sum->kv_bytes += sizes.kv;
    sum->buffer_bytes += sizes.buffers + row_bytes(&r);
    return st;
}

/* The config of the session, without a word to other processes. */
static tlp_status configure(tlpi_session_config *cfg, const tlp_plan *plan,
                            const tlp_session_options *o)
{
    tlpi_process_group group = { .n_rank = tlpi_config_ranks(o), .n_local = 1 };

    if (o->comm != TLP_COMM_THREADS && o->n_rank == 0)
        return tlpi_fail(TLP_EINVAL,
                         "session option n_rank: 0, the number of processes "
                         "expected");
    tlpi_config_init(cfg, o, plan->model, &group);
    return tlpi_config_devices(cfg, o, plan->model, &group);
}

tlp_status tlp_session_need(tlp_need *out, tlp_plan *plan,
                            const tlp_session_options *opts, int32_t rank)
{
    tlp_session_options o = { 0 };
    tlpi_session_config cfg = { 0 };
    tlpi_shards *shards = NULL;
    tlp_need need = { 0 };
    tlp_status st = TLP_OK;

    if (!out || !plan)
        return tlpi_fail(TLP_EINVAL, "out and plan are required");
    TLP_TRY(tlpi_struct_check(out, sizeof need, "tlp_need"));
    TLP_TRY(tlpi_options_read(&o, sizeof o, opts, "tlp_session_options"));
    TLP_TRY(tlpi_config_check(&o));
    TLP_TRY(tlpi_adapter_check(o.adapter, plan));
    TLP_TRY(configure(&cfg, plan, &o));
    need.n_rank = cfg.n_rank;
    if (rank < -1 || rank >= cfg.n_rank)
        return tlpi_fail(TLP_EINVAL, "rank %d: -1 to %d expected", rank,
                         cfg.n_rank - 1);
    TLP_TRY(tlpi_shards_create(&shards, plan, cfg.n_rank));
    TLP_TRY(tlpi_config_pages(&cfg, &o, plan, shards));
    for (int i = TLPI_MAX(rank, 0); i < cfg.n_rank; i++) {
        TLP_TRY(add_rank(&need, plan, shards, &cfg, i));
        if (rank >= 0)
            break;
    }
    st = tlpi_struct_write(out, &need, sizeof need, "tlp_need");
done:
    tlpi_shards_free(shards);
    return st;
}
