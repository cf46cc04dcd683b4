/*
 * comm_oneshot.cu - one-shot sums and messages between GPUs of one process:
 * ranks write into each other's memory.
 *
 * A float travels in a word of 64 bits: its bits, and a tag, which is the
 * number of the exchange.  Words are read and written whole, so a thread that
 * finds the tag also has the float.  No fence and no second message is needed,
 * and a thread continues as soon as its own words have arrived.
 *
 * Every rank has a slot for each rank and each parity of the exchange.  Rank a
 * writes its vector into slot a of all other ranks, then adds the vectors in
 * its own slots in rank order, so that all ranks get equal bits.  No rank
 * waits for free slots.  A rank at exchange s has seen the words that the
 * other ranks wrote in s - 1.  They wrote them after their kernel of s - 2,
 * the last reader of the slot, had ended.
 *
 * A message goes into the inbox of the next rank, which also has two parities.
 * The reader stores the number of messages that it has taken, and the sender
 * waits for this number.
 *
 * Kernels count exchanges in device memory, so that a recorded launch can be
 * repeated.  (If the end of a slot were not written for exactly 2^32 - 2
 * exchanges, an old word would look new.)
 */
#include "norm.cuh"
#include "oneshot.cuh"

/* Limit of blocks, so that ranks which share a device can all run. */
#define MAX_BLOCKS 32
#define THREADS 256

/* Most tokens of a sum with norms: no more threads than other sums. */
static constexpr int MAX_NORM_TOKENS = MAX_BLOCKS * THREADS / TLPI_NORM_THREADS;

/* Reference-counted memory of a rank.  Every rank holds it, because its
 * kernels may write into it. */
typedef struct shared_memory {
    tlpi_shared_object shared;
    const tlpi_env *env;
    int device;
    rank_memory memory;
} shared_memory;

struct tlpi_oneshot {
    shared_memory *
        /* NULL beyond the last rank, and before take_all */
        of[TLPI_ONESHOT_RANKS];
};

/* ==== kernels ============================================================ */

/* x[i] = sum over ranks of x[i], i < n <= SLOT_FLOATS */
static __global__ void __launch_bounds__(THREADS)
    sum_kernel(exchange e, float *x, int n)
{
    counters *c = e.of[e.rank].count;
    unsigned long long number = read_count(&c->sums) + 1;
    size_t step = (size_t)gridDim.x * blockDim.x, end = (size_t)n;
    float sum[AHEAD] = {};

    push(e, number, x, thread_number(), step, end);
    for (size_t i = thread_number(); i < end; i += AHEAD * step) {
        sum_words(e, number, x, i, step, end, sum);
        for (int object = 0; object < AHEAD && i + object * step < end;
             object++)
            x[i + object * step] = sum[object];
    }
    (void)count_once(c, &c->sums, number);
}

/* x[i] += sum over ranks of delta [gridDim.x][cols], then its norms.  delta
 * becomes the sum.  A block handles a token, as in rows.cu. */
static __global__ void __launch_bounds__(TLPI_NORM_THREADS)
    sum_norm_kernel(exchange e, int cols, float *x, float *delta,
                    const __grid_constant__ tlpi_gpu_norms a, float eps)
{
    __shared__ float part[32];
    counters *c = e.of[e.rank].count;
    unsigned long long number = read_count(&c->sums) + 1;
    size_t at = (size_t)blockIdx.x * cols, end = at + cols;
    size_t step = TLPI_NORM_THREADS;
    float square = 0, sum[AHEAD] = {};

    push(e, number, delta, at + threadIdx.x, step, end);
    for (size_t i = at + threadIdx.x; i < end; i += AHEAD * step) {
        sum_words(e, number, delta, i, step, end, sum);
        for (int object = 0; object < AHEAD && i + object * step < end;
             object++) {
            size_t k = i + object * step;
            float v = x[k] + sum[object];
            delta[k] = sum[object];
            x[k] = v;
            square = tlpi_norm_add(square, v);
        }
    }
    if (a.n > 0)
        tlpi_norm_row(a, at, cols, eps, x + at, square, part);
    (void)count_once(c, &c->sums, number);
}

static __device__ uint64_t *inbox_of(const exchange &e, int owner,
                                     unsigned long long number)
{
    return e.of[owner].inbox + (size_t)(number & 1) * SLOT_FLOATS;
}

/* Write x into the next rank's inbox, once the message before the previous one
 * is taken. */
static __global__ void __launch_bounds__(THREADS)
    send_kernel(exchange e, const float *x, int n)
{
    counters *c = e.of[e.rank].count;
    unsigned long long number = read_count(&c->sent) + 1;
    uint64_t tag = tag_of(number), since = 0;
    size_t step = (size_t)gridDim.x * blockDim.x;
    uint64_t *inbox = inbox_of(e, e.rank + 1, number);

    for (unsigned polls = 1; tlpi_load_system(&c->taken) + 2 < number; polls++)
        if (polls % TLPI_POLLS == 0 && is_over(e, e.rank + 1, &since))
            break;
    for (size_t i = thread_number(); i < (size_t)n; i += step)
        tlpi_store_system(inbox + i, tag | __float_as_uint(x[i]));
    (void)count_once(c, &c->sent, number);
}

static __global__ void __launch_bounds__(THREADS)
    receive_kernel(exchange e, float *x, int n)
{
    counters *c = e.of[e.rank].count;
    unsigned long long number = read_count(&c->received) + 1;
    uint64_t tag = tag_of(number);
    size_t step = (size_t)gridDim.x * blockDim.x;
    const uint64_t *inbox = inbox_of(e, e.rank, number);

    for (size_t i = thread_number(); i < (size_t)n; i += step)
        x[i] =
            __uint_as_float((unsigned)await_tag(e, inbox + i, tag, e.rank - 1));
    if (count_once(c, &c->received, number)) {
        __threadfence_system();
        tlpi_store_system(&e.of[e.rank - 1].count->taken, number);
    }
}

void tlpi_gpu_load_oneshot(tlpi_gpu *g)
{
    tlpi_gpu_load(g, sum_kernel);
    tlpi_gpu_load(g, sum_norm_kernel);
    tlpi_gpu_load(g, send_kernel);
    tlpi_gpu_load(g, receive_kernel);
}

/* ==== memory ============================================================= */

static size_t memory_bytes(int n_rank)
{
    return (sizeof(counters) + 255) / 256 * 256 +
           2 * (size_t)(n_rank + 1) * SLOT_FLOATS * sizeof(uint64_t);
}

static void destroy(tlpi_shared_object *object)
{
    shared_memory *m = (shared_memory *)object;
    int before = -1;

    (void)cudaGetDevice(&before);
    if (cudaSetDevice(m->device) == cudaSuccess)
        (void)cudaFree(m->memory.count);
    if (before >= 0)
        (void)cudaSetDevice(before);
    (void)cudaGetLastError();
    tlpi_gpu_free(m->env, m, sizeof *m);
}

/* Zero is not a valid tag. */
static tlp_status zeros(tlpi_gpu_comm *c, char **out, size_t bytes)
{
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_gpu_status(cudaMalloc(out, bytes), "slots of an all-reduce"));
    TLP_TRY(tlpi_gpu_status(cudaMemsetAsync(*out, 0, bytes, c->g->stream),
                            "slots"));
    st = tlpi_gpu_status(cudaStreamSynchronize(c->g->stream), "slots");
done:
    return st;
}

/* Publish this rank's memory. */
static tlp_status give(tlpi_gpu_comm *c)
{
    shared_memory *m = (shared_memory *)tlpi_gpu_alloc(c->base.env, sizeof *m);
    char *p = NULL;

    if (!m)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    tlp_status st = zeros(c, &p, memory_bytes(c->base.size));
    if (st != TLP_OK) {
        (void)cudaFree(p);
        tlpi_gpu_free(c->base.env, m, sizeof *m);
        return st;
    }
    m->env = c->base.env;
    m->device = c->g->device;
    m->memory.count = (counters *)p;
    m->memory.inbox = (uint64_t *)(p + (sizeof(counters) + 255) / 256 * 256);
    m->memory.slot = m->memory.inbox + 2 * SLOT_FLOATS;
    tlpi_shared_object_publish(&m->shared, destroy);
    c->oneshot->of[c->base.rank] = m;
    return TLP_OK;
}

/* Let kernels of this device access the memory of all other devices. */
static tlp_status reach_all(const tlpi_gpu_comm *c)
{
    tlp_status st = TLP_OK;

    for (int r = 0; r < c->base.size && st == TLP_OK; r++) {
        int device = c->oneshot->of[r]->device;
        if (device == c->g->device)
            continue;
        cudaError_t e = cudaDeviceEnablePeerAccess(device, 0);
        if (e == cudaErrorPeerAccessAlreadyEnabled)
            (void)cudaGetLastError();
        else
            st = tlpi_gpu_status(e, "peer access");
    }
    return st;
}

/* ==== lifetime =========================================================== */

/* Get the memory of all ranks by id; id 0: a rank had no memory. */
static tlp_status take_all(tlpi_gpu_comm *c, const uint64_t *id)
{
    for (int r = 0; r < c->base.size; r++)
        if (id[r] == 0)
            return tlpi_gpu_fail(TLP_ENOMEM, "another rank's GPU has no room "
                                             "for all-reduces");
    for (int r = 0; r < c->base.size; r++) {
        if (r == c->base.rank)
            continue;
        c->oneshot->of[r] = (shared_memory *)tlpi_shared_object_get(id[r]);
        if (!c->oneshot->of[r])
            return tlpi_gpu_fail(TLP_ECOMM, "rank %d gave up", c->first + r);
    }
    return TLP_OK;
}

tlp_status tlpi_oneshot_create(tlpi_gpu_comm *c)
{
    uint64_t mine = 0, all[TLPI_ONESHOT_RANKS] = {};
    size_t bytes[TLPI_ONESHOT_RANKS];
    tlp_status st = TLP_OK;

    for (int r = 0; r < c->base.size; r++)
        bytes[r] = sizeof mine;
    c->oneshot =
        (tlpi_oneshot *)tlpi_gpu_alloc(c->base.env, sizeof *c->oneshot);
    tlp_status own =
        c->oneshot ? give(c) : tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    if (own == TLP_OK)
        mine = c->oneshot->of[c->base.rank]->shared.id;
    TLP_TRY(c->host->ops->gather(c->host, &mine, bytes,
                                 c->base.rank == 0 ? all : NULL));
    TLP_TRY(c->host->ops->bcast(c->host, all, sizeof all, false));
    TLP_TRY(own);
    TLP_TRY(take_all(c, all));
    st = reach_all(c);
done:
    return st;
}

void tlpi_oneshot_free(tlpi_gpu_comm *c)
{
    if (!c->oneshot)
        return;
    for (int r = 0; r < c->base.size; r++)
        if (c->oneshot->of[r])
            tlpi_shared_object_put(&c->oneshot->of[r]->shared);
    tlpi_gpu_free(c->base.env, c->oneshot, sizeof *c->oneshot);
    c->oneshot = NULL;
}

/* ==== operations ========================================================= */

bool tlpi_oneshot_shares(const tlpi_gpu_comm *c)
{
    for (int a = 0; c->oneshot && a < c->base.size; a++)
        for (int b = 0; b < a; b++)
            if (c->oneshot->of[a]->device == c->oneshot->of[b]->device)
                return true;
    return false;
}

static exchange exchange_of(const tlpi_gpu_comm *c)
{
    exchange e = {};

    for (int r = 0; r < c->base.size; r++)
        e.of[r] = c->oneshot->of[r]->memory;
    e.rank = c->base.rank;
    e.n_rank = c->base.size;
    e.first = c->first;
    e.stop = c->root->word;
    e.report = c->root->word + 1 + c->first + c->base.rank;
    e.timeout_ns = (uint64_t)c->timeout_ms * 1000000;
    return e;
}

static int blocks_of(size_t n)
{
    int64_t blocks = tlpi_ceil_div((int64_t)n, THREADS);

    return (int)(blocks < MAX_BLOCKS ? blocks : MAX_BLOCKS);
}

static size_t piece(size_t n)
{
    return n < SLOT_FLOATS ? n : SLOT_FLOATS;
}

void tlpi_oneshot_allreduce(tlpi_gpu_comm *c, float *x, size_t n)
{
    for (size_t i = 0, k; i < n; i += k) {
        k = piece(n - i);
        tlpi_gpu_run(c->g, "an all-reduce", sum_kernel, blocks_of(k), THREADS,
                     0, exchange_of(c), x + i, (int)k);
    }
}

bool tlpi_oneshot_can_norm(int n_tok, int cols, int n_norm)
{
    return n_tok <= MAX_NORM_TOKENS && n_norm <= TLPI_NORMS &&
           (size_t)n_tok * (size_t)cols <= SLOT_FLOATS;
}

void tlpi_oneshot_allreduce_add_norm(tlpi_gpu_comm *c, int n_tok, int cols,
                                     float *x, float *delta,
                                     const tlpi_norm *norm, int n_norm,
                                     float eps)
{
    tlpi_gpu_run(c->g, "an all-reduce", sum_norm_kernel, dim3((unsigned)n_tok),
                 dim3(TLPI_NORM_THREADS), 0, exchange_of(c), cols, x, delta,
                 tlpi_gpu_norms_of(norm, n_norm), eps);
}

void tlpi_oneshot_send(tlpi_gpu_comm *c, const float *x, size_t n)
{
    for (size_t i = 0, k; i < n; i += k) {
        k = piece(n - i);
        tlpi_gpu_run(c->g, "a message", send_kernel, blocks_of(k), THREADS, 0,
                     exchange_of(c), x + i, (int)k);
    }
}

void tlpi_oneshot_recv(tlpi_gpu_comm *c, float *x, size_t n)
{
    for (size_t i = 0, k; i < n; i += k) {
        k = piece(n - i);
        tlpi_gpu_run(c->g, "a message", receive_kernel, blocks_of(k), THREADS,
                     0, exchange_of(c), x + i, (int)k);
    }
}
