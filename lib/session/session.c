/*
 * session.c - a session's lifetime, its sequences and its counters.
 */
#include "session/session.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/pool.h"
#include "group/handshake.h"
#include "plan/adapter.h"

/* ==== lifetime =========================================================== */

static tlp_status alloc_tables(tlp_session *s)
{
    size_t n_seq = (size_t)s->cfg.n_seq, n_rank = (size_t)s->cfg.n_rank;

    s->pos = tlpi_calloc(s->env, n_seq, sizeof(*s->pos));
    s->new_pos = tlpi_calloc(s->env, n_seq, sizeof(*s->new_pos));
    s->history = tlpi_alloc_array(s->env, n_seq * (size_t)s->cfg.n_ctx,
                                  sizeof(*s->history));
    s->mark = tlpi_calloc(s->env, n_seq, sizeof(*s->mark));
    s->next = tlpi_calloc(s->env, n_seq, sizeof(*s->next));
    s->top.all =
        tlpi_alloc_array(s->env, n_rank * TLPI_MAX_TOP, sizeof(*s->top.all));
    s->score = tlpi_alloc_array(s->env, n_rank * (size_t)s->cfg.n_batch,
                                sizeof(*s->score));
    s->kept_as = tlpi_calloc(s->env, n_seq, sizeof(*s->kept_as));
    s->state = tlpi_alloc_array(s->env, (size_t)s->plan->model->hp.n_embd,
                                sizeof(*s->state));
    if (!s->pos || !s->new_pos || !s->history || !s->mark || !s->next ||
        !s->kept_as || !s->top.all || !s->score || !s->state)
        return tlpi_fail_nomem_for("the tables of %zu sequences", n_seq);
    tlp_status st = tlpi_cache_create(s);
    return st == TLP_OK ? tlpi_session_fit_rows(s, 0) : st;
}

tlp_status tlp_session_create(tlp_session **out, tlp_plan *plan,
                              const tlp_session_options *opts)
{
    tlp_session_options o = { 0 };
    tlpi_process_group group = { 0 };
    tlpi_comm *comm = NULL;
    tlp_session *s = NULL;
    tlp_status st = TLP_OK;

    if (out)
        *out = NULL;
    if (!out || !plan)
        return tlpi_fail(TLP_EINVAL, "out and plan are required");
    TLP_TRY(tlpi_options_read(&o, sizeof(o), opts, "tlp_session_options"));
    TLP_TRY(tlpi_config_check(&o));
    TLP_TRY(tlpi_adapter_check(o.adapter, plan));
    s = tlpi_calloc(&plan->model->env, 1, sizeof(*s));
    if (!s)
        return tlpi_fail_nomem_for("a session");
    s->plan = tlpi_plan_retain(plan);
    s->adapter = tlpi_adapter_retain(o.adapter);
    s->env = &plan->model->env;
    s->pid = getpid();
    TLP_TRY(tlpi_process_group_find(&group, &o));
    TLP_TRY(tlpi_process_group_check(&group, &o));
    if (group.rank != 0)
        TLP_TRY(tlpi_fail(TLP_ESTATE,
                          "this is rank %d of %d, which serves the session of "
                          "rank 0",
                          group.rank, group.n_rank));
    tlpi_config_init(&s->cfg, &o, plan->model, &group);
    TLP_TRY(tlpi_config_devices(&s->cfg, &o, plan->model, &group));
    TLP_TRY(tlpi_shards_create(&s->shards, plan, s->cfg.n_rank));
    TLP_TRY(tlpi_config_pages(&s->cfg, &o, plan, s->shards));
    if (s->cfg.remote)
        TLP_TRY(tlpi_handshake_lead(&comm, &group, plan, &s->cfg,
                                    TLPI_TASK_SESSION));
    tlpi_rank_setup setup = {
        .plan = plan,
        .shards = s->shards,
        .cfg = &s->cfg,
        .comm = comm,
        .abort = &s->abort,
        .progress = o.progress,
        .progress_data = o.progress_data,
    };
    TLP_TRY(tlpi_rank_threads_create(&s->threads, &s->rank0, &setup));
    TLP_TRY(alloc_tables(s));
    tlpi_session_reset_stats(s); /* setting up used the communicator too */
    *out = s;
    s = NULL;
done:
    tlpi_session_free(s);
    return st;
}

void tlpi_session_free(tlp_session *s)
{
    if (!s)
        return;
    tlp_plan *plan = s->plan;
    const tlpi_env *env = s->env;

    tlpi_rank_threads_free(s->threads);
    tlpi_cache_free(s);
    tlpi_shards_free(s->shards);
    tlpi_free(env, s->pos);
    tlpi_free(env, s->new_pos);
    tlpi_free(env, s->history);
    tlpi_free(env, s->mark);
    tlpi_free(env, s->next);
    tlpi_free(env, s->row);
    tlpi_free(env, s->row_here);
    tlpi_free(env, s->place);
    tlpi_free(env, s->kept_as);
    tlpi_free(env, s->top.all);
    tlpi_free(env, s->score);
    tlpi_free(env, s->state);
    tlp_adapter_free((tlp_adapter *)(uintptr_t)s->adapter);
    tlpi_free(env, s);
    tlp_plan_free(plan); /* last: env lives in its model */
}

tlp_status tlpi_session_check(const tlp_session *s)
{
    if (!s)
        return tlpi_fail(TLP_EINVAL, "session is required");
    if (s->pid != getpid())
        return tlpi_fail(TLP_ESTATE,
                         "process %d created the session and forked process "
                         "%d, which has none of its threads: create a session "
                         "here",
                         (int)s->pid, (int)getpid());
    if (s->broken)
        return tlpi_fail(TLP_ECOMM, "a rank of this session failed earlier");
    return TLP_OK;
}

tlp_status tlpi_session_check_seq(const tlp_session *s, int32_t seq)
{
    tlp_status st = tlpi_session_check(s);

    if (st == TLP_OK && (seq < 0 || seq >= s->cfg.n_seq))
        st = tlpi_fail(TLP_EINVAL, "sequence %d: the session has 0 to %d", seq,
                       s->cfg.n_seq - 1);
    return st;
}

tlp_status tlpi_session_check_ids(const tlp_session *s, const int32_t *ids,
                                  size_t n)
{
    int n_vocab = s->plan->model->hp.n_vocab;

    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= n_vocab)
            return tlpi_fail(TLP_EINVAL, "token %zu: id %d is outside 0 to %d",
                             i, ids[i], n_vocab - 1);
    return TLP_OK;
}

tlp_status tlpi_session_command(tlp_session *s, tlpi_command *cmd,
                                const tlpi_results *res)
{
    tlp_status st = tlpi_command_run(s->rank0, cmd, res);

    if (st == TLP_OK || st == TLP_ENOMEM)
        return st;
    if (st == TLP_ECANCELED) {
        atomic_fetch_and(&s->abort, ~TLPI_ABORT_CALL);
        return st;
    }
    s->broken = true;
    return tlpi_rank_threads_fail(s->threads, st);
}

tlp_status tlpi_session_set_threads(tlp_session *s, int32_t n_decode,
                                    int32_t n_prefill)
{
    tlpi_command cmd = { .op = TLPI_OP_THREADS };
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_session_check(s));
    if (n_decode < 0 || n_decode > TLPI_MAX_THREAD || n_prefill < 0 ||
        n_prefill > TLPI_MAX_THREAD)
        return tlpi_fail(TLP_EINVAL,
                         "%d threads to decode, %d to prefill: 0 to %d "
                         "expected",
                         n_decode, n_prefill, TLPI_MAX_THREAD);
    if (s->cfg.device)
        return tlpi_fail(TLP_ENOTSUP,
                         "a rank on a device has one thread, whose number "
                         "does not change");
    cmd.n_tok = n_decode ? n_decode : s->rank0->n_thread;
    cmd.n_row = n_prefill ? n_prefill : s->rank0->n_prefill;
    st = tlpi_session_command(s, &cmd, NULL);
done:
    return st;
}

/* ==== sequences ========================================================== */

int32_t tlp_session_pos(const tlp_session *s, int32_t seq)
{
    if (!s || seq < 0 || seq >= s->cfg.n_seq)
        return -1;
    return s->pos[seq];
}

tlp_status tlpi_session_rewind(tlp_session *s, int32_t seq, int32_t pos)
{
    tlp_status st = tlpi_session_check_seq(s, seq);

    if (st != TLP_OK)
        return st;
    if (pos < 0 || pos > s->pos[seq])
        return tlpi_fail(TLP_EINVAL, "position %d: sequence %d holds 0 to %d",
                         pos, seq, s->pos[seq]);
    s->pos[seq] = pos;
    return tlpi_cache_rewind(s, seq, pos);
}

tlp_status tlpi_session_fork(tlp_session *s, int32_t dst, int32_t src)
{
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_session_check_seq(s, dst));
    TLP_TRY(tlpi_session_check_seq(s, src));
    if (dst == src)
        return TLP_OK;
    TLP_TRY(tlpi_cache_fork(s, dst, src));
    s->pos[dst] = s->pos[src];
    memcpy(tlpi_session_history(s, dst), tlpi_session_history(s, src),
           (size_t)s->pos[src] * sizeof(*s->history));
    s->kept_as[dst] = s->kept_as[src];
done:
    return st;
}

void tlp_session_abort(tlp_session *s)
{
    if (s)
        atomic_fetch_or(&s->abort, TLPI_ABORT_CALL);
}

/* ==== counters =========================================================== */

/* Number of rank 0's communicators: the communicators of activations, then the
 * communicator of commands if it is a separate one. */
static int n_comm(const tlpi_rank *r)
{
    return tlpi_exchange_n_comm(&r->exchange) + (r->comm != r->exchange.data);
}

static tlpi_comm *comm_at(const tlpi_rank *r, int i)
{
    return i < tlpi_exchange_n_comm(&r->exchange)
               ? tlpi_exchange_comm(&r->exchange, i)
               : r->comm;
}

/* Rank 0's time in communication, also outside evaluations. */
static double comm_seconds(const tlp_session *s)
{
    double sum = 0;

    for (int i = 0; i < n_comm(s->rank0); i++)
        if (comm_at(s->rank0, i))
            sum += comm_at(s->rank0, i)->stats.seconds;
    return sum;
}

tlpi_session_clock tlpi_session_clock_start(const tlp_session *s)
{
    return (tlpi_session_clock){ tlpi_now(), comm_seconds(s) };
}

void tlpi_session_clock_stop(tlp_session *s, const tlpi_session_clock *clock)
{
    s->stats.comm_seconds += comm_seconds(s) - clock->comm;
    s->stats.seconds += tlpi_now() - clock->start;
}

tlp_status tlpi_session_get_tokens(int32_t *ids, size_t cap, size_t *count,
                                   const tlp_session *s, int32_t seq)
{
    tlp_status st = TLP_OK;

    if (count)
        *count = 0;
    if (!count || !s || (!ids && cap > 0))
        return tlpi_fail(TLP_EINVAL, "ids, count and session are required");
    TLP_TRY(tlpi_session_check_seq(s, seq));
    *count = (size_t)s->pos[seq];
    if (*count > cap)
        return tlpi_fail(TLP_EBUFS, "room for %zu ids is needed, %zu given",
                         *count, cap);
    if (*count > 0)
        memcpy(ids, s->history + (size_t)seq * (size_t)s->cfg.n_ctx,
               *count * sizeof *ids);
done:
    return st;
}

tlp_status tlpi_session_get_stats(tlp_session_stats *out, const tlp_session *s)
{
    if (!s || !out)
        return tlpi_fail(TLP_EINVAL, "session and out are required");
    tlp_status st = tlpi_struct_check(out, sizeof(*out), "tlp_session_stats");
    if (st != TLP_OK)
        return st;
    tlp_session_stats stats = s->stats;

    for (int i = 0; i < n_comm(s->rank0); i++) {
        const tlpi_comm *c = comm_at(s->rank0, i);
        if (!c)
            continue;
        stats.allreduces += c->stats.allreduces;
        stats.comm_bytes += c->stats.bytes;
    }
    const tlpi_rank_sizes *sizes = tlpi_rank_threads_sizes(s->threads);
    stats.weight_bytes = sizes->weights;
    stats.kv_bytes = tlpi_cache_bytes(s);
    stats.kv_most_bytes = sizes->kv;
    stats.buffer_bytes = sizes->buffers;
    size_t row_bytes = (size_t)s->plan->model->hp.n_vocab * sizeof(float);
    stats.buffer_bytes += s->row_cap * row_bytes;
    /* The buffers of the ranks grew with these rows. */
    if (s->row_cap > TLPI_LOGIT_CHUNK)
        stats.buffer_bytes += (s->row_cap - TLPI_LOGIT_CHUNK) * row_bytes;
    stats.n_rank = s->cfg.n_rank;
    stats.n_thread = s->rank0->n_thread;
    stats.n_thread_prefill = s->rank0->n_prefill;
    snprintf(stats.isa, sizeof(stats.isa), "%s",
             s->rank0->b->ops->isa(s->rank0->b));
    snprintf(stats.link, sizeof(stats.link), "%s",
             s->rank0->exchange.data->link);
    return tlpi_struct_write(out, &stats, sizeof(stats), "tlp_session_stats");
}

void tlpi_session_reset_stats(tlp_session *s)
{
    s->stats = (tlp_session_stats){ 0 };
    for (int i = 0; i < n_comm(s->rank0); i++)
        if (comm_at(s->rank0, i))
            comm_at(s->rank0, i)->stats = (tlpi_comm_stats){ 0 };
}
