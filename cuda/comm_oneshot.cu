/*
 * comm_oneshot.cu - sums and messages between GPUs of one process, by writing
 * into each other's memory.
 *
 * A float travels as a word of 64 bits: its bits, and the tag of the exchange,
 * which is the exchange's number.  A word is read and written whole, so whoever
 * finds the tag has the float too: no fence, no second message, and each thread
 * goes on when its own words are there.
 *
 * Every rank has a slot for each rank and parity of the exchange.  Rank a
 * writes its vector into slot a of all others, then adds up what lies in its
 * own slots, in rank order, so that all ranks get the same bits.  Nobody waits
 * for slots to be free: a rank at exchange s has seen the others' words of
 * s - 1, which they wrote after their kernel of s - 2, the slot's last reader,
 * had ended.
 *
 * A message goes into the next rank's mail, of two parities as well; there the
 * reader says how far it is, and the sender waits for that.
 *
 * Numbers are counted in device memory, by the kernels, so a recorded launch
 * can be repeated.  (Were a slot's end not written for exactly 2^32 - 2
 * exchanges, an old word would pass for a new one.)
 */
#include "norm.cuh"
#include "oneshot.cuh"

/* Few enough blocks that ranks which share a device leave each other room. */
#define MAX_BLOCKS 32
#define BLOCK 256

/* Tokens of a sum that is normalised too: no more threads than other sums. */
static constexpr int MAX_NORM_TOKENS = MAX_BLOCKS * BLOCK / TLPI_NORM_THREADS;

typedef struct hub {
    const tlpi_env *env;
    int n, refs; /* refs: atomic */
    int device[TLPI_SHOT_RANKS];
    rank_memory of[TLPI_SHOT_RANKS];
} hub;

struct tlpi_shot {
    hub *all;
};

/* ==== kernels ============================================================ */

/* x[i] = sum over ranks of x[i], i < n <= SLOT_FLOATS */
static __global__ void __launch_bounds__(BLOCK)
    sum_kernel(exchange e, float *x, int n)
{
    counters *c = e.of[e.rank].count;
    unsigned long long number = read_count(&c->sums) + 1;
    size_t step = (size_t)gridDim.x * blockDim.x, end = (size_t)n;
    float sum[AHEAD] = {};

    push(e, number, x, thread_number(), step, end);
    for (size_t i = thread_number(); i < end; i += AHEAD * step) {
        sum_words(e, number, x, i, step, end, sum);
        for (int j = 0; j < AHEAD && i + j * step < end; j++)
            x[i + j * step] = sum[j];
    }
    (void)count_once(c, &c->sums, number);
}

/* The same of delta [gridDim.x][cols], then x += delta and its norms: a block
 * does a token, as in rows.cu. */
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
        for (int j = 0; j < AHEAD && i + j * step < end; j++) {
            size_t k = i + j * step;
            float v = x[k] + sum[j];
            delta[k] = sum[j];
            x[k] = v;
            square = tlpi_norm_add(square, v);
        }
    }
    if (a.n > 0)
        tlpi_norm_row(a, at, cols, eps, x + at, square, part);
    (void)count_once(c, &c->sums, number);
}

static __device__ uint64_t *mail_of(const exchange &e, int owner,
                                    unsigned long long number)
{
    return e.of[owner].mail + (size_t)(number & 1) * SLOT_FLOATS;
}

/* x into the next rank's mail, once the message before the last is taken */
static __global__ void __launch_bounds__(BLOCK)
    send_kernel(exchange e, const float *x, int n)
{
    counters *c = e.of[e.rank].count;
    unsigned long long number = read_count(&c->sent) + 1;
    uint64_t tag = tag_of(number), since = 0;
    size_t step = (size_t)gridDim.x * blockDim.x;
    uint64_t *mail = mail_of(e, e.rank + 1, number);

    for (unsigned polls = 1; tlpi_load_system(&c->taken) + 2 < number; polls++)
        if (polls % 128 == 0 && is_over(e, e.rank + 1, &since))
            break;
    for (size_t i = thread_number(); i < (size_t)n; i += step)
        tlpi_store_system(mail + i, tag | __float_as_uint(x[i]));
    (void)count_once(c, &c->sent, number);
}

static __global__ void __launch_bounds__(BLOCK)
    receive_kernel(exchange e, float *x, int n)
{
    counters *c = e.of[e.rank].count;
    unsigned long long number = read_count(&c->received) + 1;
    uint64_t tag = tag_of(number);
    size_t step = (size_t)gridDim.x * blockDim.x;
    const uint64_t *mail = mail_of(e, e.rank, number);

    for (size_t i = thread_number(); i < (size_t)n; i += step)
        x[i] =
            __uint_as_float((unsigned)await_tag(e, mail + i, tag, e.rank - 1));
    if (count_once(c, &c->received, number)) {
        __threadfence_system();
        tlpi_store_system(&e.of[e.rank - 1].count->taken, number);
    }
}

/* ==== memory ============================================================= */

static size_t memory_bytes(int n_rank)
{
    return (sizeof(counters) + 255) / 256 * 256 +
           2 * (size_t)(n_rank + 1) * SLOT_FLOATS * sizeof(uint64_t);
}

/* Zero is no tag. */
static tlp_status allocate(tlpi_gpu_comm *c, rank_memory *out)
{
    size_t bytes = memory_bytes(c->base.size);
    char *p = NULL;

    *out = {};
    tlp_status st =
        tlpi_gpu_status(cudaMalloc(&p, bytes), "slots of an all-reduce");
    if (st != TLP_OK)
        return st;
    st = tlpi_gpu_status(cudaMemsetAsync(p, 0, bytes, c->g->stream), "slots");
    if (st == TLP_OK)
        st = tlpi_gpu_status(cudaStreamSynchronize(c->g->stream), "slots");
    if (st != TLP_OK) {
        (void)cudaFree(p);
        return st;
    }
    out->count = (counters *)p;
    out->mail = (uint64_t *)(p + (sizeof(counters) + 255) / 256 * 256);
    out->slot = out->mail + 2 * SLOT_FLOATS;
    return TLP_OK;
}

/* Kernels of this device reach the memory of all others.  The kernels are
 * loaded now: later it might have to wait for one that waits for it. */
static tlp_status prepare(const hub *h, int rank)
{
    const void *const kernel[] = { (const void *)sum_kernel,
                                   (const void *)sum_norm_kernel,
                                   (const void *)send_kernel,
                                   (const void *)receive_kernel };
    cudaFuncAttributes unused;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < sizeof kernel / sizeof *kernel && st == TLP_OK; i++)
        st = tlpi_gpu_status(cudaFuncGetAttributes(&unused, kernel[i]),
                             "kernels of the all-reduce");
    for (int r = 0; r < h->n && st == TLP_OK; r++) {
        if (h->device[r] == h->device[rank])
            continue;
        cudaError_t e = cudaDeviceEnablePeerAccess(h->device[r], 0);
        if (e == cudaErrorPeerAccessAlreadyEnabled)
            (void)cudaGetLastError();
        else
            st = tlpi_gpu_status(e, "peer access");
    }
    return st;
}

/* ==== lifetime =========================================================== */

typedef struct offer {
    rank_memory memory;
    int device;
} offer;

/* All memory is given back by the last rank: until then kernels of others may
 * write into it. */
static void put_hub(hub *h)
{
    int before = -1;

    if (__atomic_sub_fetch(&h->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    (void)cudaGetDevice(&before);
    for (int r = 0; r < h->n; r++)
        if (h->of[r].count && cudaSetDevice(h->device[r]) == cudaSuccess)
            (void)cudaFree(h->of[r].count);
    if (before >= 0)
        (void)cudaSetDevice(before);
    (void)cudaGetLastError();
    tlpi_gpu_free(h->env, h, sizeof *h);
}

/* Rank 0: the hub of what all offer, or NULL. */
static hub *make_hub(const tlpi_gpu_comm *c, const offer *all)
{
    hub *h = (hub *)tlpi_gpu_alloc(c->base.env, sizeof *h);

    if (!h)
        return NULL;
    h->env = c->base.env;
    h->n = h->refs = c->base.size;
    for (int r = 0; r < h->n; r++) {
        h->of[r] = all[r].memory;
        h->device[r] = all[r].device;
    }
    return h;
}

tlp_status tlpi_shot_create(tlpi_gpu_comm *c)
{
    offer mine = {}, all[TLPI_SHOT_RANKS];
    size_t bytes[TLPI_SHOT_RANKS];
    hub *h = NULL;
    bool whole = true;
    tlp_status st = TLP_OK;

    for (int r = 0; r < c->base.size; r++)
        bytes[r] = sizeof mine;
    c->shot = (tlpi_shot *)tlpi_gpu_alloc(c->base.env, sizeof *c->shot);
    tlp_status own = c->shot ? allocate(c, &mine.memory)
                             : tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    mine.device = c->g->device;
    TLP_TRY(c->host->ops->gather(c->host, &mine, bytes,
                                 c->base.rank == 0 ? all : NULL));
    if (c->base.rank == 0) {
        for (int r = 0; r < c->base.size; r++)
            whole = whole && all[r].memory.count;
        h = whole ? make_hub(c, all) : NULL;
    }
    TLP_TRY(c->host->ops->bcast(c->host, &h, sizeof h, false));
    if (h) {
        mine = {}; /* the hub's now */
        c->shot->all = h;
        st = prepare(h, c->base.rank);
    } else {
        st = own != TLP_OK
                 ? own
                 : tlpi_gpu_fail(TLP_ENOMEM, "another rank's GPU has no room "
                                             "for all-reduces");
    }
done:
    if (mine.memory.count)
        (void)cudaFree(mine.memory.count);
    return st;
}

void tlpi_shot_free(tlpi_gpu_comm *c)
{
    if (!c->shot)
        return;
    if (c->shot->all)
        put_hub(c->shot->all);
    tlpi_gpu_free(c->base.env, c->shot, sizeof *c->shot);
    c->shot = NULL;
}

/* ==== operations ========================================================= */

bool tlpi_shot_shares(const tlpi_gpu_comm *c)
{
    const hub *h = c->shot->all;

    for (int a = 0; a < h->n; a++)
        for (int b = 0; b < a; b++)
            if (h->device[a] == h->device[b])
                return true;
    return false;
}

static exchange exchange_of(const tlpi_gpu_comm *c)
{
    exchange e = {};

    memcpy(e.of, c->shot->all->of, sizeof e.of);
    e.rank = c->base.rank;
    e.n_rank = c->base.size;
    e.first = c->first;
    e.stop = c->family->word;
    e.report = c->family->word + 1 + c->first + c->base.rank;
    e.timeout_ns = (uint64_t)c->timeout_ms * 1000000;
    return e;
}

static int blocks_of(size_t n)
{
    int64_t blocks = tlpi_ceil_div((int64_t)n, BLOCK);

    return (int)(blocks < MAX_BLOCKS ? blocks : MAX_BLOCKS);
}

static size_t piece(size_t n)
{
    return n < SLOT_FLOATS ? n : SLOT_FLOATS;
}

void tlpi_shot_allreduce(tlpi_gpu_comm *c, float *x, size_t n)
{
    for (size_t i = 0, k; i < n; i += k) {
        k = piece(n - i);
        tlpi_gpu_run(c->g, "an all-reduce", sum_kernel, blocks_of(k), BLOCK, 0,
                     exchange_of(c), x + i, (int)k);
    }
}

bool tlpi_shot_can_norm(int n_tok, int cols, int n_norm)
{
    return n_tok <= MAX_NORM_TOKENS && n_norm <= TLPI_NORMS &&
           (size_t)n_tok * (size_t)cols <= SLOT_FLOATS;
}

void tlpi_shot_allreduce_add_norm(tlpi_gpu_comm *c, int n_tok, int cols,
                                  float *x, float *delta, const tlpi_norm *norm,
                                  int n_norm, float eps)
{
    tlpi_gpu_run(c->g, "an all-reduce", sum_norm_kernel, dim3((unsigned)n_tok),
                 dim3(TLPI_NORM_THREADS), 0, exchange_of(c), cols, x, delta,
                 tlpi_gpu_norms_of(norm, n_norm), eps);
}

void tlpi_shot_send(tlpi_gpu_comm *c, const float *x, size_t n)
{
    for (size_t i = 0, k; i < n; i += k) {
        k = piece(n - i);
        tlpi_gpu_run(c->g, "a message", send_kernel, blocks_of(k), BLOCK, 0,
                     exchange_of(c), x + i, (int)k);
    }
}

void tlpi_shot_recv(tlpi_gpu_comm *c, float *x, size_t n)
{
    for (size_t i = 0, k; i < n; i += k) {
        k = piece(n - i);
        tlpi_gpu_run(c->g, "a message", receive_kernel, blocks_of(k), BLOCK, 0,
                     exchange_of(c), x + i, (int)k);
    }
}
