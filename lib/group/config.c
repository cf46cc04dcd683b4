/*
 * config.c - session options: their limits, their defaults, the names of their
 * values.
 */
#include <math.h>

#include "base/pool.h"
#include "group/config.h"
#include "rank/memory.h"

#define MAX_SCALE 1e6 /* of an adapter */

static const char *const backend_names[] = { "cpu", "cuda" };
static const char *const compute_names[] = { "default", "f32" };
static const char *const kv_names[] = { "default", "f32", "f16", "bf16",
                                        "q8_0" };
static const char *const wire_names[] = { "f32", "bf16", "q8" };

const tlpi_names tlpi_backend_names = { backend_names, 2 };
const tlpi_names tlpi_compute_names = { compute_names, 2 };
const tlpi_names tlpi_kv_names = { kv_names, 5 };
const tlpi_names tlpi_wire_names = { wire_names, 3 };

static tlp_status in_range(const char *name, int64_t value, int64_t lo,
                           int64_t hi)
{
    if (value >= lo && value <= hi)
        return TLP_OK;
    return tlpi_fail(TLP_EINVAL,
                     "session option %s: %lld is outside %lld to %lld", name,
                     (long long)value, (long long)lo, (long long)hi);
}

/* What can be said without asking which devices there are. */
static tlp_status check_devices(const tlp_session_options *o)
{
    tlp_status st = TLP_OK;

    if (o->n_device > TLPI_MAX_DEVICE)
        return tlpi_fail(TLP_EINVAL,
                         "session option n_device: %zu, at most %d expected",
                         o->n_device, TLPI_MAX_DEVICE);
    if (o->n_device > 0 && !o->devices)
        return tlpi_fail(TLP_EINVAL,
                         "session option devices: none, n_device is %zu",
                         o->n_device);
    for (size_t i = 0; i < o->n_device; i++)
        TLP_TRY(in_range("devices", o->devices[i], 0, TLPI_MAX_DEVICE - 1));
done:
    return st;
}

/* The delay is made by the threads' communicator, which carries activations
 * between CPU ranks of one process only. */
static tlp_status check_link_delay(const tlp_session_options *o)
{
    if (o->link_delay_us != 0 && o->comm != TLP_COMM_THREADS)
        return tlpi_fail(TLP_EINVAL,
                         "session option link_delay_us: %d, but ranks in "
                         "several processes have a link of their own",
                         o->link_delay_us);
    if (o->link_delay_us != 0 && o->backend != TLP_BACKEND_CPU)
        return tlpi_fail(TLP_EINVAL,
                         "session option link_delay_us: %d is not for backend "
                         "%s",
                         o->link_delay_us, backend_names[o->backend]);
    return in_range("link_delay_us", o->link_delay_us, 0, 1000 * 1000);
}

static tlp_status check_pool(const tlp_session_options *o)
{
    tlp_pool pool = { 0 };
    tlp_status st = tlpi_options_read(&pool, sizeof(pool), o->pool, "tlp_pool");

    if (st != TLP_OK || !o->pool)
        return st;
    if (!pool.run)
        return tlpi_fail(TLP_EINVAL, "session option pool: run is required");
    if (o->backend != TLP_BACKEND_CPU)
        return tlpi_fail(TLP_EINVAL,
                         "session option pool: backend %s uses no threads",
                         backend_names[o->backend]);
    if (o->pin)
        return tlpi_fail(TLP_EINVAL,
                         "session option pin: the host binds the threads of "
                         "its pool");
    return TLP_OK;
}

static tlp_status check_adapter_scale(const tlp_session_options *o)
{
    if (!o->adapter && o->adapter_scale != 0)
        return tlpi_fail(TLP_EINVAL,
                         "session option adapter_scale: %g, but no adapter",
                         o->adapter_scale);
    if (!(fabs(o->adapter_scale) <= MAX_SCALE))
        return tlpi_fail(TLP_EINVAL,
                         "session option adapter_scale: %g is outside -%g to "
                         "%g",
                         o->adapter_scale, MAX_SCALE, MAX_SCALE);
    return TLP_OK;
}

tlp_status tlpi_config_check(const tlp_session_options *o)
{
    tlp_status st = TLP_OK;

    TLP_TRY(in_range("n_ctx", o->n_ctx, 0, TLPI_MAX_CTX));
    TLP_TRY(in_range("n_seq", o->n_seq, 0, TLPI_MAX_SEQ));
    TLP_TRY(in_range("n_batch", o->n_batch, 0, TLPI_MAX_BATCH));
    TLP_TRY(in_range("n_row", (int64_t)TLPI_MIN(o->n_row, INT64_MAX), 0,
                     TLPI_MAX_ROW));
    TLP_TRY(in_range("n_rank", o->n_rank, 0, TLPI_MAX_RANK));
    TLP_TRY(in_range("n_thread", o->n_thread, 0, TLPI_MAX_THREAD));
    TLP_TRY(
        in_range("n_thread_prefill", o->n_thread_prefill, 0, TLPI_MAX_THREAD));
    TLP_TRY(in_range("spin_us", o->spin_us, -1, 1000 * 1000));
    TLP_TRY(in_range("compute", o->compute, 0, TLP_COMPUTE_F32));
    TLP_TRY(in_range("kv_type", o->kv_type, 0, TLP_KV_Q8_0));
    TLP_TRY(in_range("kv_alloc", o->kv_alloc, 0, TLP_KV_AHEAD));
    TLP_TRY(in_range("isa", o->isa, 0, TLP_ISA_AMX));
    TLP_TRY(tlpi_flag_check("session option pin", o->pin));
    TLP_TRY(in_range("timeout_ms", o->timeout_ms, 0, INT32_MAX));
    TLP_TRY(in_range("wire", o->wire, 0, TLP_WIRE_Q8));
    TLP_TRY(check_adapter_scale(o));
    TLP_TRY(check_link_delay(o));
    TLP_TRY(check_pool(o));
    TLP_TRY(check_devices(o));
    if (o->backend != TLP_BACKEND_CPU && o->backend != TLP_BACKEND_CUDA)
        return tlpi_fail(TLP_ENOTSUP, "session option backend: %d is not built",
                         o->backend);
    if (o->comm != TLP_COMM_THREADS && o->comm != TLP_COMM_MPI)
        return tlpi_fail(TLP_ENOTSUP, "session option comm: %d is not built",
                         o->comm);
    if (o->comm == TLP_COMM_THREADS && o->wire != TLP_WIRE_F32)
        return tlpi_fail(TLP_EINVAL,
                         "session option wire: %s needs ranks in several "
                         "processes",
                         wire_names[o->wire]);
    if (o->backend != TLP_BACKEND_CPU && o->wire != TLP_WIRE_F32)
        return tlpi_fail(TLP_EINVAL,
                         "session option wire: %s is not for backend %s",
                         wire_names[o->wire], backend_names[o->backend]);
    if (o->backend != TLP_BACKEND_CPU && o->kv_alloc == TLP_KV_AS_USED)
        return tlpi_fail(TLP_EINVAL,
                         "session option kv_alloc: %d is not for backend %s",
                         o->kv_alloc, backend_names[o->backend]);
    if (o->backend != TLP_BACKEND_CPU && o->kv_type == TLP_KV_Q8_0)
        return tlpi_fail(TLP_EINVAL,
                         "session option kv_type: %s is not for backend %s",
                         kv_names[o->kv_type], backend_names[o->backend]);
done:
    return st;
}

static int or_default(int value, int dflt)
{
    return value ? value : dflt;
}

int tlpi_config_ranks(const tlp_session_options *o)
{
    return or_default(o->n_rank, TLPI_MAX(1, (int)o->n_device));
}

int tlpi_config_timeout(const tlp_session_options *o)
{
    return or_default(o->timeout_ms, 5000);
}

int tlpi_config_batch(int n_batch, int n_ctx, int n_seq)
{
    int64_t held = (int64_t)n_ctx * n_seq;

    return (int)TLPI_MIN(or_default(n_batch, 512), held);
}

float tlpi_config_adapter_scale(const tlp_session_options *o)
{
    return o->adapter_scale != 0 ? (float)o->adapter_scale : 1;
}

/* The cores are divided among the ranks of this machine. */
static int default_threads(int n_core, int n_local)
{
    return TLPI_MIN(TLPI_MAX(1, n_core / n_local), TLPI_MAX_THREAD);
}

void tlpi_config_init(tlpi_session_config *c, const tlp_session_options *o,
                      const tlp_model *model, const tlpi_process_group *w)
{
    int train = model->hp.n_ctx_train;
    int n_local = w->ops ? w->n_local : w->n_rank;
    bool on_cpu = o->backend == TLP_BACKEND_CPU;

    c->n_ctx = or_default(o->n_ctx, train > 0 ? TLPI_MIN(train, 4096) : 4096);
    c->n_seq = or_default(o->n_seq, 1);
    c->n_batch = tlpi_config_batch(o->n_batch, c->n_ctx, c->n_seq);
    c->n_row = or_default((int)o->n_row, c->n_seq);
    c->n_rank = w->n_rank;
    c->n_core = tlpi_n_cores();
    c->n_thread = or_default(o->n_thread,
                             on_cpu ? default_threads(c->n_core, n_local) : 1);
    c->n_prefill = or_default(o->n_thread_prefill, c->n_thread);
    c->n_machine = TLPI_MAX(c->n_thread, c->n_prefill) * n_local;
    c->spin_us = o->spin_us;
    c->host = (tlp_pool){ 0 };
    /* the options were checked */
    (void)tlpi_options_read(&c->host, sizeof(c->host), o->pool, "tlp_pool");
    c->remote = w->ops && w->n_rank > 1;
    c->backend = o->backend;
    c->device = NULL;
    c->wire = o->wire;
    c->compute = o->compute;
    c->kv_type = or_default(
        o->kv_type, o->compute == TLP_COMPUTE_F32 ? TLP_KV_F32 : TLP_KV_F16);
    c->n_page = 0;
    c->kv_ahead = !on_cpu || o->kv_alloc == TLP_KV_AHEAD;
    c->isa = o->isa;
    c->pin = o->pin;
    c->timeout_ms = tlpi_config_timeout(o);
    c->link_delay_us = o->link_delay_us;
    c->adapter = o->adapter;
    c->adapter_scale = tlpi_config_adapter_scale(o);
}

tlp_status tlpi_config_pages(tlpi_session_config *c,
                             const tlp_session_options *o, const tlp_plan *plan,
                             const tlpi_shards *shards)
{
    tlpi_rank_sizes sizes = { 0 };
    tlp_status st = TLP_OK;

    c->n_page = c->n_seq * tlpi_kv_n_index(c->n_ctx);
    if (o->kv_bytes == 0)
        return TLP_OK;
    TLP_TRY(tlpi_memory_estimate_all(c, plan, shards, &sizes));
    tlpi_kv_shape shape = tlpi_kv_shape_of(c, &plan->model->hp);
    c->n_page = tlpi_kv_pages_within(&shape, sizes.page, o->kv_bytes);
    if (c->n_page == 0)
        st =
            tlpi_fail(TLP_EINVAL,
                      "session option kv_bytes: %llu, but a page of %d "
                      "positions takes %llu",
                      (unsigned long long)o->kv_bytes, shape.n_pos,
                      (unsigned long long)tlpi_kv_bytes(&shape, sizes.page, 1));
done:
    return st;
}

tlp_status tlpi_config_devices(tlpi_session_config *c,
                               const tlp_session_options *o,
                               const tlp_model *model,
                               const tlpi_process_group *w)
{
    int n = 0;
    tlp_status st = TLP_OK;

    if (c->backend == TLP_BACKEND_CPU)
        return o->n_device == 0
                   ? TLP_OK
                   : tlpi_fail(TLP_EINVAL,
                               "session option devices: backend cpu has none");
    TLP_TRY(tlpi_model_check_experts(model, "session option backend",
                                     "devices do not run"));
    TLP_TRY(tlpi_device_load(&c->device, c->backend));
    TLP_TRY(tlpi_device_count(c->device, &n));
    for (size_t i = 0; i < o->n_device; i++)
        TLP_TRY(in_range("devices", o->devices[i], 0, n - 1));
    for (int r = 0; r < c->n_rank; r++) {
        size_t i = (size_t)(w->ops ? w->local_rank : r);

        c->device_of[r] =
            o->n_device ? o->devices[i % o->n_device] : (int)(i % (size_t)n);
    }
done:
    return st;
}
