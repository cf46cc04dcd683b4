/*
 * attn.cu - attention of a step: normalise and rotate queries and keys, cache
 * keys and values, then run the kernels of decoding or of prefill.
 */
#include "cache.cuh"
#include "warp.cuh"

static constexpr int WARPS = 4, MAX_HEAD = 256;

/* The mean of the squares of one head's row, by one warp. */
static __device__ float mean_square(const float *row, int h)
{
    float square = 0;

    for (int i = threadIdx.x % 32; i < h; i += 32)
        square += row[i] * row[i];
    return tlpi_lane_sum(square, 32) / (float)h;
}

/* Normalise one head's row in shared memory, by one warp: on its own, or as a
 * part of a token's row whose squares are summed already. */
static __device__ void norm_row(float *row, const float *w, int head, int h,
                                const tlpi_row_square &whole, int tok,
                                float eps)
{
    float mean =
        whole.sum ? whole.sum[tok] / (float)whole.cols : mean_square(row, h);
    float s = tlpi_gpu_norm_scale(mean, eps);

    if (whole.sum)
        w += head * h;
    for (int i = threadIdx.x % 32; i < h; i += 32)
        row[i] = s * row[i] * w[i];
    __syncwarp();
}

static __device__ void rotate_row(float *row, const tlpi_gpu_heads &r, int pos)
{
    size_t at = (size_t)pos * r.half;

    for (int i = threadIdx.x % 32; i < r.half; i += 32) {
        int a = r.neox ? i : 2 * i, b = r.neox ? i + r.half : 2 * i + 1;
        float c = r.cos[at + i], s = r.sin[at + i];
        float x = row[a], y = row[b];
        row[a] = x * c - y * s;
        row[b] = x * s + y * c;
    }
    __syncwarp();
}

template <int KV>
static __device__ void cache_row(uint8_t *cache, size_t at, const float *row,
                                 int h, int hp)
{
    for (int i = threadIdx.x % 32; i < hp; i += 32)
        tlpi_cache_put<KV>(cache, at + i, i < h ? row[i] : 0);
}

/* Tasks are an item's query heads, then its key heads, then its value heads.
 * A warp does one task for one token. */
template <int KV>
static __global__ void __launch_bounds__(WARPS * 32)
    prepare(const __grid_constant__ tlpi_gpu_attn a, float eps)
{
    __shared__ float rows[WARPS][MAX_HEAD];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, tok = blockIdx.y;
    int task = blockIdx.x * WARPS + warp, i = 0;
    float *row = rows[warp];

    for (; i < a.n; i++) {
        int n = a.item[i].n_head + 2 * a.item[i].n_head_kv;
        if (task < n)
            break;
        task -= n;
    }
    if (i == a.n)
        return;
    const tlpi_gpu_heads &it = a.item[i];
    int seq = a.seq[tok], pos = a.pos[tok], h = a.h;
    bool is_q = task < it.n_head,
         is_k = !is_q && task < it.n_head + it.n_head_kv;
    int head = is_q   ? task
               : is_k ? task - it.n_head
                      : task - it.n_head - it.n_head_kv;
    size_t n_head = is_q ? it.n_head : it.n_head_kv;
    size_t at = (tok * n_head + head) * h;
    const float *x = is_q ? it.q : is_k ? it.k : it.v;
    const float *w = is_q ? it.q_norm : it.k_norm;

    for (int k = lane; k < h; k += 32)
        row[k] = x[at + k];
    __syncwarp();
    if (is_q || is_k) {
        float *y = is_q ? it.q : it.k;
        if (w)
            norm_row(row, w, head, h, is_q ? it.q_row : it.k_row, tok, eps);
        if (it.cos)
            rotate_row(row, it, pos);
        float gain = is_q && it.q_gain ? it.q_gain[pos] : 1;
        for (int k = lane; k < h; k += 32)
            y[at + k] = gain * row[k];
    }
    if (!is_q)
        cache_row<KV>(is_k ? it.cache_k : it.cache_v,
                      tlpi_cache_at(a, it, seq, head, pos), row, h, a.hp);
}

/* ==== a step ============================================================= */

static constexpr double LOG2E = 1.4426950408889634;

static void add_item(const tlpi_gpu *g, tlpi_gpu_attn *a, const tlpi_attn *from)
{
    tlpi_gpu_heads *it = &a->item[a->n++];
    const tlpi_pages *pages = from->kv->pages;
    int n_rep = from->n_head / from->n_head_kv;

    it->q = from->q;
    it->k = from->k;
    it->v = from->v;
    it->q_norm = from->q_norm;
    it->k_norm = from->k_norm;
    it->q_row = from->q_row;
    it->k_row = from->k_row;
    it->cache_k = pages->memory + from->kv->k;
    it->cache_v = pages->memory + from->kv->v;
    it->page = pages->bytes / from->kv->size;
    it->table = g->dev.table + pages->kind * g->n_index;
    it->y = from->y;
    it->n_head = from->n_head;
    it->n_head_kv = from->n_head_kv;
    it->scale = (float)(from->scale != 0 ? LOG2E * (double)from->scale
                                         : LOG2E / sqrt((double)a->h));
    it->cap = (float)(LOG2E * (double)from->cap);
    it->window = from->window;
    if (from->rope) {
        it->cos = from->rope->cos;
        it->sin = from->rope->sin;
        it->q_gain = from->rope->q_gain;
        it->half = from->rope->half;
        it->neox = from->rope->neox;
    }
    it->first_q = a->n_head;
    it->first_kv = a->n_head_kv;
    a->n_head += from->n_head;
    a->n_head_kv += from->n_head_kv;
    a->n_rep = a->n_rep > n_rep ? a->n_rep : n_rep;
}

static void run(tlpi_gpu *g, const tlpi_gpu_attn *a, float eps, int kv_type)
{
    dim3 grid((unsigned)tlpi_ceil_div(a->n_head + 2 * a->n_head_kv, WARPS),
              (unsigned)a->n_tok);

#define RUN(KV)                                                                \
    tlpi_gpu_run(g, "keys and values", prepare<KV>, grid, dim3(WARPS * 32), 0, \
                 *a, eps)
    TLPI_EACH_KV(kv_type, RUN)
#undef RUN
    if (g->decodes)
        tlpi_gpu_attn_decode(g, a, kv_type);
    else
        tlpi_gpu_attn_prefill(g, a, kv_type);
}

void tlpi_gpu_attention(tlpi_backend *b, const tlpi_step *s,
                        const tlpi_attn *item, int n, int head_dim, float eps)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    for (int i = 0; i < n; i += TLPI_GPU_ITEMS) {
        const tlpi_kv *kv = item[i].kv; /* all caches have one shape and type */
        tlpi_gpu_attn a = {};

        a.h = head_dim;
        a.hp = kv->hp;
        a.n_pos = kv->pages->layout.n_pos;
        a.n_entry = TLPI_GPU_KINDS * g->n_index;
        a.n_tok = s->n_tok;
        a.seq = g->dev.seq;
        a.pos = g->dev.pos;
        a.tile = g->dev.tile;
        a.part = g->part;
        for (int k = i; k < n && k < i + TLPI_GPU_ITEMS; k++)
            add_item(g, &a, &item[k]);
        run(g, &a, eps, kv->type);
    }
}

void tlpi_gpu_load_attn(tlpi_gpu *g)
{
#define X(KV) tlpi_gpu_load(g, prepare<KV>);
    TLPI_ALL_KV(X)
#undef X
}
