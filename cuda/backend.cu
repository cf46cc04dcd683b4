/*
 * backend.cu - one rank's GPU: creation, buffers, the table of operations.
 */
#include "gpu.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/number.h"

const tlpi_device_host *tlpi_gpu_host;

/* ==== failing ============================================================ */

tlp_status tlpi_gpu_fail(tlp_status st, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    tlpi_locale l = tlpi_locale_begin();
    vsnprintf(text, sizeof text, fmt, args);
    tlpi_locale_end(l);
    va_end(args);
    return tlpi_gpu_host->fail(st, text);
}

tlp_status tlpi_gpu_status(cudaError_t e, const char *what)
{
    if (e == cudaSuccess)
        return TLP_OK;
    (void)cudaGetLastError(); /* clear the error, which is reported here */
    if (e == cudaErrorMemoryAllocation)
        return tlpi_gpu_fail(TLP_ENOMEM, "GPU memory: no room for %s", what);
    return tlpi_gpu_fail(TLP_EDEVICE, "CUDA, %s: %s", what,
                         cudaGetErrorString(e));
}

tlp_status tlpi_gpu_peek(tlpi_gpu *g)
{
    if (g->failed != TLP_OK)
        return tlpi_gpu_fail(g->failed, "%s", g->text);
    return tlpi_gpu_status(g->error, g->what);
}

tlp_status tlpi_gpu_wait(tlpi_gpu *g)
{
    tlp_status st = TLP_OK;

    if (g->wait)
        st = g->wait(g->check_arg, g->stream, NULL);
    else
        tlpi_gpu_keep_error(g, cudaStreamSynchronize(g->stream), "waiting");
    if (st == TLP_OK && g->check)
        st = g->check(g->check_arg);
    return st != TLP_OK ? st : tlpi_gpu_peek(g);
}

/* Failures are kept, and the next check reports them. */
void tlpi_gpu_wait_event(tlpi_gpu *g, cudaEvent_t e)
{
    if (g->wait)
        (void)g->wait(g->check_arg, g->stream, e);
    else
        tlpi_gpu_keep_error(g, cudaEventSynchronize(e), "waiting");
}

void tlpi_gpu_use(tlpi_gpu *g)
{
    tlpi_gpu_keep_error(g, cudaSetDevice(g->device), "choosing the device");
}

/* ==== buffers ============================================================ */

static const char *isa_name(const tlpi_backend *b)
{
    (void)b;
    return "cuda";
}

/* Allocate and free only when the stream is idle: the runtime may wait for all
 * work, and does not notice dead peers. */
static tlp_status buffer_create(tlpi_backend *b, float **out, size_t n)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    *out = NULL;
    if (n > SIZE_MAX / sizeof **out)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    tlpi_gpu_use(g);
    tlp_status st = tlpi_gpu_wait(g);
    if (st == TLP_OK)
        st = tlpi_gpu_status(cudaMalloc(out, n ? n * sizeof **out : 16),
                             "a buffer");
    if (st == TLP_OK)
        tlpi_gpu_keep_error(
            g, cudaMemsetAsync(*out, 0, n * sizeof **out, g->stream),
            "a buffer");
    return st;
}

static void buffer_free(tlpi_backend *b, float *x)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    if (!x)
        return;
    tlpi_gpu_use(g);
    (void)tlpi_gpu_wait(g);
    if (!tlpi_gpu_free_window(g, x))
        (void)cudaFree(x);
}

/*
 * Copies from and to memory that is not pinned.  The runtime may copy during
 * the call, after waiting for the stream without a deadline, or later, when
 * the memory may have changed.  So the stream is idle before the copy, and the
 * copy has finished on return.
 */
static tlp_status copy(tlpi_gpu *g, void *dst, const void *src, size_t bytes,
                       cudaMemcpyKind kind, const char *what)
{
    tlpi_gpu_use(g);
    tlp_status st = tlpi_gpu_wait(g);
    if (st != TLP_OK)
        return st;
    tlpi_gpu_keep_error(g, cudaMemcpyAsync(dst, src, bytes, kind, g->stream),
                        what);
    return tlpi_gpu_wait(g);
}

tlp_status tlpi_gpu_upload(tlpi_gpu *g, void *dst, const void *host,
                           size_t bytes, const char *what)
{
    return copy(g, dst, host, bytes, cudaMemcpyHostToDevice, what);
}

/* A failure is kept; the next wait reports it. */
static void write_floats(tlpi_backend *b, float *dst, const float *host,
                         size_t n)
{
    (void)tlpi_gpu_upload(tlpi_gpu_of(b), dst, host, n * sizeof *dst,
                          "writing");
}

static tlp_status read_floats(tlpi_backend *b, float *host, const float *src,
                              size_t n)
{
    return copy(tlpi_gpu_of(b), host, src, n * sizeof *host,
                cudaMemcpyDeviceToHost, "reading");
}

/* ==== lifetime =========================================================== */

static void backend_free(tlpi_backend *b)
{
    if (!b)
        return;
    tlpi_gpu *g = tlpi_gpu_of(b);

    tlpi_gpu_use(g);
    if (g->stream)
        (void)cudaStreamSynchronize(g->stream);
    tlpi_gpu_graphs_free(g);
    tlpi_gpu_gemm_free(g);
    tlpi_gpu_step_free(g);
    if (g->answer)
        (void)cudaFreeHost(g->answer);
    (void)cudaFree(g->top);
    (void)cudaFree(g->lse);
    (void)cudaFree(g->scratch);
    (void)cudaFree(g->part);
    if (g->stream)
        (void)cudaStreamDestroy(g->stream);
    (void)cudaGetLastError();
    tlpi_gpu_free(b->env, g, sizeof *g);
}

static const tlpi_backend_ops *ops()
{
    static const tlpi_backend_ops table = [] {
        tlpi_backend_ops o = {};
        o.isa = isa_name;
        o.weight_create = tlpi_gpu_weight_create;
        o.weight_free = tlpi_gpu_weight_free;
        o.weight_bytes = tlpi_gpu_weight_bytes;
        o.buffer_create = buffer_create;
        o.buffer_free = buffer_free;
        o.pages_create = tlpi_gpu_pages_create;
        o.pages_free = tlpi_gpu_pages_free;
        o.pages_bytes = tlpi_gpu_pages_bytes;
        o.pages_take = tlpi_gpu_pages_take;
        o.pages_drop = tlpi_gpu_pages_drop;
        o.pages_copy = tlpi_gpu_pages_copy;
        o.kv_create = tlpi_gpu_kv_create;
        o.kv_free = tlpi_gpu_kv_free;
        o.rope_create = tlpi_gpu_rope_create;
        o.rope_free = tlpi_gpu_rope_free;
        o.write = write_floats;
        o.read = read_floats;
        o.begin_step = tlpi_gpu_begin_step;
        o.end_step = tlpi_gpu_end_step;
        o.embed = tlpi_gpu_embed;
        o.gather = tlpi_gpu_gather;
        o.add_norm = tlpi_gpu_add_norm;
        o.sum_squares = tlpi_gpu_sum_squares;
        o.add = tlpi_gpu_add;
        o.zero = tlpi_gpu_zero;
        o.soft_cap = tlpi_gpu_soft_cap;
        o.matmul = tlpi_gpu_matmul;
        o.gate_up = tlpi_gpu_gate_up;
        o.attention = tlpi_gpu_attention;
        o.log_sum_exp = tlpi_gpu_log_sum_exp;
        o.top = tlpi_gpu_top;
        o.free = backend_free;
        return o;
    }();
    return &table;
}

/* Sums of decode attention for every query of the widest group, each cut
 * into at most SPLIT parts. */
static size_t part_floats(const tlpi_gpu *g)
{
    enum { SPLIT = 16 };
    size_t items = (size_t)g->max_attn;

    return (size_t)TLPI_GPU_DECODE * SPLIT * items * (size_t)g->max_cols / 4 *
           5;
}

static tlp_status create_memory(tlpi_gpu *g)
{
    size_t tok = (size_t)g->max_tok, cols = (size_t)g->max_cols;
    tlp_status st = TLP_OK;

    g->part_cap = part_floats(g);
    TLP_TRY(tlpi_gpu_status(cudaMalloc(&g->part, g->part_cap * sizeof(float)),
                            "sums of attention"));
    TLP_TRY(tlpi_gpu_status(cudaMalloc(&g->scratch, tok * cols * sizeof(float)),
                            "scratch"));
    TLP_TRY(tlpi_gpu_status(cudaMalloc(&g->lse, 2 * tok * sizeof(float)),
                            "log sum exp"));
    TLP_TRY(tlpi_gpu_status(cudaMalloc(&g->top, TLPI_MAX_TOP * sizeof(*g->top)),
                            "candidates"));
    TLP_TRY(tlpi_gpu_status(cudaHostAlloc(&g->answer,
                                          TLPI_MAX_TOP * sizeof(tlpi_candidate),
                                          cudaHostAllocDefault),
                            "candidates"));
    TLP_TRY(tlpi_gpu_step_create(g));
    TLP_TRY(tlpi_gpu_graphs_create(g));
    st = tlpi_gpu_gemm_create(g);
done:
    return st;
}

/* The oldest compute capability with machine code. */
static constexpr int LEAST_MAJOR = 8;

static tlp_status check_capability(const tlpi_gpu *g)
{
    int major = 0, minor = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_gpu_status(
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor,
                               g->device),
        "compute capability"));
    TLP_TRY(tlpi_gpu_status(
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor,
                               g->device),
        "compute capability"));
    if (major < LEAST_MAJOR)
        st = tlpi_gpu_fail(TLP_ENOTSUP,
                           "device %d: compute capability %d.%d, at least "
                           "%d.0 is needed",
                           g->device, major, minor, LEAST_MAJOR);
done:
    return st;
}

static tlp_status create_device(tlpi_gpu *g)
{
    int shared = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_gpu_status(cudaSetDevice(g->device), "choosing the device"));
    TLP_TRY(check_capability(g));
    TLP_TRY(tlpi_gpu_status(
        cudaDeviceGetAttribute(&g->n_sm, cudaDevAttrMultiProcessorCount,
                               g->device),
        "multiprocessors"));
    TLP_TRY(tlpi_gpu_status(
        cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                               g->device),
        "shared memory"));
    g->max_shared = (size_t)shared;
    st = tlpi_gpu_status(
        cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking),
        "a stream");
done:
    return st;
}

static tlp_status load_kernels(tlpi_gpu *g)
{
    tlpi_gpu_load_rows(g);
    tlpi_gpu_load_matmul(g);
    tlpi_gpu_load_gemv(g);
    tlpi_gpu_load_gemm(g);
    tlpi_gpu_load_attn(g);
    tlpi_gpu_load_attn_decode(g);
    tlpi_gpu_load_attn_prefill(g);
    tlpi_gpu_load_logits(g);
    tlpi_gpu_load_oneshot(g);
    return tlpi_gpu_peek(g);
}

tlp_status tlpi_gpu_backend_create(tlpi_backend **out, const tlpi_env *env,
                                   const tlpi_backend_options *opts, int device)
{
    tlpi_gpu *g = (tlpi_gpu *)tlpi_gpu_alloc(env, sizeof *g);
    tlp_status st = TLP_OK;

    *out = NULL;
    if (!g)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    g->base.ops = ops();
    g->base.env = env;
    g->base.reads_embd_weight = true;
    g->base.layout = 0x10000 + device; /* weights are bound to their device */
    g->device = device;
    g->f32 = opts->compute == TLP_COMPUTE_F32;
    g->max_tok = opts->max_tok;
    g->max_cols = opts->max_cols;
    g->max_attn = opts->max_attn;
    g->max_seq = opts->n_seq < opts->max_tok ? opts->n_seq : opts->max_tok;
    g->n_index = opts->n_index;
    g->bucket = 1;
    TLP_TRY(create_device(g));
    TLP_TRY(load_kernels(g));
    TLP_TRY(create_memory(g));
    *out = &g->base;
    g = NULL;
done:
    backend_free(g ? &g->base : NULL);
    return st;
}

tlp_status tlpi_gpu_get_stats(tlpi_backend *b, tlpi_device_stats *out)
{
    *out = tlpi_gpu_of(b)->stats;
    return TLP_OK;
}
