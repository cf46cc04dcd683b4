/*
 * worker.c - a rank other than 0 in a process of its own: one session from the
 * hello to its end.
 */
#include "group/handshake.h"
#include "group/command.h"
#include "plan/adapter.h"

/* The parts of a worker; they are freed in reverse order. */
typedef struct worker {
    const tlpi_env *env;
    tlpi_process_group group;
    tlp_session_options o; /* this rank's, then with rank 0's values */
    tlpi_session_config cfg;
    char *message; /* [TLPI_HELLO_BYTES + 1] */
    tlpi_hello hello;
    tlpi_hash_ahead hash;
    tlp_plan *plan;
    tlp_adapter *adapter; /* rank 0's */
    tlpi_shards *shards;
    tlpi_comm *comm; /* until the rank takes it over */
    tlpi_cores *cores;
    tlpi_rank *rank;
    tlpi_train_fn train;
} worker;

static tlp_status find_place(worker *v, const tlp_model *model,
                             const tlp_plan *plan)
{
    tlp_status st = TLP_OK;

    if (plan && plan->model != model)
        return tlpi_fail(TLP_EMISMATCH, "the plan was made for another model");
    if (v->o.adapter && v->o.adapter->model != model)
        return tlpi_fail(TLP_EMISMATCH,
                         "the adapter was opened for another model");
    if (model->vocab_only)
        return tlpi_fail(TLP_EINVAL, "%s was opened with vocab_only",
                         model->path);
    TLP_TRY(tlpi_config_check(&v->o));
    if (v->o.comm == TLP_COMM_THREADS)
        return tlpi_fail(TLP_EINVAL,
                         "session option comm: serving needs processes, not "
                         "threads");
    TLP_TRY(tlpi_process_group_find(&v->group, &v->o));
    if (v->group.rank == 0)
        return tlpi_fail(TLP_ESTATE,
                         "this is rank 0 of %d, which drives the session",
                         v->group.n_rank);
    if (v->o.n_rank == 0)
        v->o.n_rank = v->group.n_rank; /* not rank 0's to choose */
done:
    return st;
}

/* All that can fail before this rank gives its verdict. */
static tlp_status prepare(worker *v, tlp_model *model, const tlp_plan *plan)
{
    const char *digest = "";
    tlp_status st = TLP_OK;

    if (v->hello.protocol == TLPI_PROTOCOL) {
        TLP_TRY(tlpi_hash_ahead_wait(&v->hash, &v->group, &v->hello,
                                     tlpi_config_timeout(&v->o)));
        digest = v->hash.digest;
    }
    TLP_TRY(tlpi_hello_check(&v->hello, model, digest, &v->o));
    TLP_TRY(tlpi_hello_plan(&v->hello, model, plan, &v->plan));
    tlpi_hello_adopt(&v->hello, &v->o);
    tlpi_config_init(&v->cfg, &v->o, model, &v->group);
    v->cfg.n_page = v->hello.n_page;
    v->cfg.kv_ahead = v->hello.kv_ahead;
    TLP_TRY(tlpi_config_devices(&v->cfg, &v->o, model, &v->group));
    if (v->cfg.pin)
        TLP_TRY(tlpi_cores_create(&v->cores, v->env));
    if (v->hello.task == TLPI_TASK_SESSION)
        TLP_TRY(tlpi_shards_create(&v->shards, v->plan, v->cfg.n_rank));
    TLP_TRY(tlpi_handshake_comm(&v->comm, &v->group, v->plan, &v->cfg,
                                v->hello.channel));
done:
    if (st != TLP_OK)
        st = tlpi_fail_prefix(st, "rank %d: ", v->group.rank);
    return st;
}

/* TLP_OK: a session begins.  Where the decision did not come, rank 0 may wait
 * for this rank. */
static tlp_status agree(worker *v, const tlp_model *model, tlp_status verdict)
{
    int timeout_ms = tlpi_config_timeout(&v->o);
    tlp_status decision = TLP_OK, st = TLP_OK;

    if (verdict == TLP_EMISMATCH &&
        tlpi_hello_other_bytes(&v->hello, v->hash.digest))
        TLP_TRY(tlpi_handshake_show_manifest(&v->group, &v->hello, model,
                                             timeout_ms));
    st = tlpi_handshake_answer(&v->group, &v->hello, verdict, timeout_ms,
                               &decision);
done:

    if (st != TLP_OK && v->comm)
        tlpi_rank_give_up(&v->cfg, v->comm, st);
    return st == TLP_OK ? decision : st;
}

static tlp_status take_adapter(worker *v)
{
    tlp_status st = tlpi_handshake_take_adapter(
        v->comm, &v->hello, v->plan->model, &v->adapter, &v->cfg.adapter_scale);

    v->cfg.adapter = v->adapter;
    return st == TLP_OK ? tlpi_adapter_check(v->adapter, v->plan) : st;
}

static tlp_status work(worker *v)
{
    tlpi_rank_setup setup = {
        .plan = v->plan,
        .shards = v->shards,
        .cfg = &v->cfg,
        .comm = v->comm,
        .cores = v->cores,
        .progress = v->o.progress,
        .progress_data = v->o.progress_data,
    };
    tlp_status st = TLP_OK;

    st = tlpi_handshake_take_adjust(v->comm, v->plan);
    if (st == TLP_OK)
        st = take_adapter(v);
    if (st != TLP_OK) {
        tlpi_rank_give_up(&v->cfg, v->comm, st);
        return st;
    }
    v->comm = NULL;
    if (v->hello.task == TLPI_TASK_TRAINING)
        return v->train(setup.comm, v->plan, &v->cfg, &v->o);
    TLP_TRY(tlpi_rank_create(&v->rank, &setup, NULL));
    st = tlpi_command_loop(v->rank);
    if (st != TLP_OK)
        tlpi_rank_abort(v->rank, st);
done:
    return st;
}

tlp_status tlpi_worker_run(tlp_model *model, tlp_plan *plan,
                           const tlp_session_options *opts, tlpi_train_fn train)
{
    worker v = { .train = train };
    size_t n = 0;
    tlp_status st = TLP_OK;

    if (!model)
        return tlpi_fail(TLP_EINVAL, "model is required");
    v.env = &model->env;
    TLP_TRY(tlpi_options_read(&v.o, sizeof(v.o), opts, "tlp_session_options"));
    TLP_TRY(find_place(&v, model, plan));
    v.message = tlpi_alloc(v.env, TLPI_HELLO_BYTES + 1);
    if (!v.message)
        TLP_TRY(tlpi_fail_nomem_for("a worker"));
    tlpi_hash_ahead_begin(&v.hash, model);
    TLP_TRY(tlpi_handshake_await(&v.group, v.message, &n));
    TLP_TRY(tlpi_hello_read(&v.hello, v.message, n));
    TLP_TRY(agree(&v, model, prepare(&v, model, plan)));
    TLP_TRY(work(&v));
done:
    tlpi_hash_ahead_end(&v.hash);
    tlpi_rank_free(v.rank);
    tlpi_comm_free(v.comm);
    tlpi_cores_free(v.cores);
    tlpi_shards_free(v.shards);
    tlp_plan_free(v.plan);
    tlp_adapter_free(v.adapter);
    tlpi_free(v.env, v.message);
    return st;
}
