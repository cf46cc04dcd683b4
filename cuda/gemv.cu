/*
 * gemv.cu - matmul of a few tokens: every weight is read once, in its stored
 * type.
 *
 * A launch computes a whole grouped matmul; its table of items and terms is
 * the kernel's parameter.  A warp computes two rows of one item (or a row of
 * gate and that row of up); its lanes take the units of the rows in turn.
 * Loads of weights run some units ahead of the sums, and begin before the
 * block loads the inputs into shared memory.
 *
 * Inputs in shared memory have four unused floats after every 32.  Lanes that
 * read float4s at strides of 8, 16 or 32 floats then have no bank conflicts.
 */
#include "blocks.cuh"
#include "warp.cuh"

static constexpr int WARPS = 4;
static constexpr int ROWS = 2;    /* rows of a warp */
static constexpr int N_ITEM = 24; /* items of a launch */
static constexpr int N_TERM = 24;
/* Floats of inputs in shared memory, over all tokens. */
static constexpr int CHUNK_FLOATS = 8192;

typedef struct item {
    float *y;
    const float *bias;
    int n_row;
    int first_block;
    int term, n_term;
    bool add;
    tlpi_gate gate_fn; /* of gate and up */
} item;

typedef struct term {
    tlpi_gpu_matrix w;
    const float *x;
    float scale;
} term;

/* For gated items the terms come in pairs: gate, then up. */
typedef struct table {
    item items[N_ITEM];
    term terms[N_TERM];
    int n_item, n_term;
    int n_tok;
    int chunk; /* columns in shared memory at once, a multiple of 256 */
} table;

static __host__ __device__ constexpr int padded(int n)
{
    return n + n / 32 * 4;
}

/* Load columns [c0, c0 + n) of all tokens' inputs, zeros after the last
 * column; n is a multiple of 4. */
template <int NT>
static __device__ __forceinline__ void
stage_inputs(float *s, int stride, const term &t, int n_tok, int c0, int n)
{
    int cols = t.w.n_col;
    bool whole = ((uintptr_t)t.x | (uintptr_t)cols * sizeof(float)) % 16 == 0;

    __syncthreads();
#pragma unroll
    for (int tok = 0; tok < NT; tok++) {
        const float *x = t.x + (size_t)tok * cols;
        for (int i = 4 * threadIdx.x; i < n; i += 4 * WARPS * 32) {
            int c = c0 + i, end = tok < n_tok ? cols : 0;
            float4 v = {};
            if (whole && c < end) {
                v = *(const float4 *)(x + c);
            } else {
                v.x = c < end ? x[c] : 0;
                v.y = c + 1 < end ? x[c + 1] : 0;
                v.z = c + 2 < end ? x[c + 2] : 0;
                v.w = c + 3 < end ? x[c + 3] : 0;
            }
            v.x *= t.scale, v.y *= t.scale, v.z *= t.scale, v.w *= t.scale;
            *(float4 *)(s + tok * stride + padded(i)) = v;
        }
    }
    __syncthreads();
}

template <int TYPE, int NT>
static __device__ __forceinline__ void
add_unit(const tlpi_unit *unit, const float *s, int stride, int c, float *acc)
{
    typedef tlpi_unit_of<TYPE> type;

#pragma unroll
    for (int j = 0; j < type::n / type::piece; j++) {
        float w[ROWS][type::piece];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            tlpi_decode<TYPE>(unit[r], j, w[r]);
#pragma unroll
        for (int t = 0; t < NT; t++) {
            const float *x = s + t * stride + padded(c + type::piece * j);
#pragma unroll
            for (int i = 0; i < type::piece; i += 4) {
                float4 v = *(const float4 *)(x + i);
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    float a = acc[r * NT + t];
                    a = fmaf(w[r][i], v.x, a);
                    a = fmaf(w[r][i + 1], v.y, a);
                    a = fmaf(w[r][i + 2], v.z, a);
                    acc[r * NT + t] = fmaf(w[r][i + 3], v.w, a);
                }
            }
        }
    }
}

/* acc[r][tok] += row r of m[r] times the inputs of a term. */
template <int TYPE, int NT>
static __device__ __forceinline__ void
add_term(const term &t, const tlpi_gpu_matrix *const m[ROWS],
         const int row[ROWS], float *s, const table &a, float *acc)
{
    typedef tlpi_unit_of<TYPE> type;
    constexpr int ahead = type::quantised ? 2 : 4;
    int lane = threadIdx.x % 32, stride = padded(a.chunk);

    for (int c0 = 0; c0 < t.w.n_col; c0 += a.chunk) {
        int n = min(a.chunk, t.w.n_unit * type::n - c0);
        int u0 = c0 / type::n, end = u0 + n / type::n;
        tlpi_unit unit[ahead][ROWS];

#pragma unroll
        for (int d = 0; d < ahead; d++)
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                if (u0 + 32 * d + lane < end)
                    unit[d][r] =
                        tlpi_load_unit<TYPE>(*m[r], row[r], u0 + 32 * d + lane);
        stage_inputs<NT>(s, stride, t, a.n_tok, c0, n);
        for (int base = u0 + lane; base < end; base += 32 * ahead) {
#pragma unroll
            for (int d = 0; d < ahead; d++) {
                int u = base + 32 * d, next = u + 32 * ahead;
                if (u < end)
                    add_unit<TYPE, NT>(unit[d], s, stride, (u - u0) * type::n,
                                       acc);
#pragma unroll
                for (int r = 0; r < ROWS; r++)
                    if (next < end)
                        unit[d][r] = tlpi_load_unit<TYPE>(*m[r], row[r], next);
            }
        }
    }
}

template <int TYPE, int NT, bool GATED>
static __global__ void __launch_bounds__(WARPS * 32)
    gemv(const __grid_constant__ table a)
{
    TLPI_SHARED_BYTES(shared);
    float *s = (float *)shared;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, i = 0;
    float acc[ROWS * NT] = {};
    int row[ROWS];

    while (i + 1 < a.n_item && (int)blockIdx.x >= a.items[i + 1].first_block)
        i++;
    const item &it = a.items[i];
    int block = (int)blockIdx.x - it.first_block;
    int row0 = (block * WARPS + warp) * (GATED ? 1 : ROWS);
    /* Beyond the last row repeat it; the result is dropped. */
    for (int r = 0; r < ROWS; r++)
        row[r] = min(row0 + (GATED ? 0 : r), it.n_row - 1);
    for (int j = 0; j < it.n_term; j += GATED ? 2 : 1) {
        const term &t = a.terms[it.term + j];
        const tlpi_gpu_matrix *m[ROWS] = { &t.w, GATED ? &(&t)[1].w : &t.w };
        add_term<TYPE, NT>(t, m, row, s, a, acc);
    }
#pragma unroll
    for (int k = 0; k < ROWS * NT; k++)
        acc[k] = tlpi_lane_sum(acc[k], 32);
#pragma unroll
    for (int t = 0; t < NT; t++) {
        if (t >= a.n_tok || lane != t)
            continue;
        float *y = it.y + (size_t)t * it.n_row;
        if constexpr (GATED) {
            if (row0 < it.n_row)
                y[row0] = tlpi_gate_of(it.gate_fn, acc[t]) * acc[NT + t];
        } else {
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (row0 + r >= it.n_row)
                    continue;
                float v = acc[r * NT + t];
                v += it.bias ? it.bias[row0 + r] : 0;
                y[row0 + r] = it.add ? y[row0 + r] + v : v;
            }
        }
    }
}

/* ==== launching ========================================================== */

/* Every kernel stays below the limit that needs cudaFuncSetAttribute. */
static_assert(padded(CHUNK_FLOATS) * sizeof(float) <= 48 * 1024, "shared");

template <int TYPE, bool GATED>
static void launch_type(tlpi_gpu *g, const table &a, int n_block)
{
    int nt = a.n_tok == 1 ? 1 : a.n_tok <= 4 ? 4 : 8;
    size_t bytes = (size_t)(nt * padded(a.chunk)) * sizeof(float);
    void (*kernel)(table) = nt == 1   ? gemv<TYPE, 1, GATED>
                            : nt == 4 ? gemv<TYPE, 4, GATED>
                                      : gemv<TYPE, 8, GATED>;

    tlpi_gpu_run(g, GATED ? "gate and up" : "matmul", kernel, dim3(n_block),
                 dim3(WARPS * 32), bytes, a);
}

/* Set the fields that depend on all items, launch, empty the table. */
static void flush(tlpi_gpu *g, table &a, tlpi_dtype type, bool gated)
{
    int per_block = WARPS * (gated ? 1 : ROWS), n_block = 0, cols = 1;
    int nt = a.n_tok == 1 ? 1 : a.n_tok <= 4 ? 4 : 8;

    for (int i = 0; i < a.n_item; i++) {
        a.items[i].first_block = n_block;
        n_block += (int)tlpi_ceil_div(a.items[i].n_row, per_block);
    }
    for (int i = 0; i < a.n_term; i++)
        cols = cols > a.terms[i].w.n_col ? cols : a.terms[i].w.n_col;
    int room = CHUNK_FLOATS / nt, need = (int)tlpi_ceil_div(cols, 256) * 256;
    a.chunk = need < room ? need : room;
    if (a.n_item > 0)
        switch (type) {
#define X(T)                                                                   \
    case T:                                                                    \
        gated ? launch_type<T, true>(g, a, n_block)                            \
              : launch_type<T, false>(g, a, n_block);                          \
        break;
            TLPI_EACH_TYPE(X)
#undef X
        }
    a.n_item = a.n_term = 0;
}

static term term_of(const tlpi_weight *w, const float *x, float scale)
{
    term t = { tlpi_gpu_matrix_of(w), x, scale };

    return t;
}

/* Whether no term of the item has a type that is done. */
static bool is_new(const tlpi_matmul *m, const bool *done)
{
    for (int j = 0; j < m->n_term; j++)
        if (done[m->term[j].w->type])
            return false;
    return true;
}

/* All terms of one type; items with terms of earlier types are added to. */
static void run_type(tlpi_gpu *g, table &a, const tlpi_matmul *mm, int n,
                     tlpi_dtype type, const bool *done)
{
    for (int i = 0; i < n; i++) {
        bool begun = false, first = is_new(&mm[i], done);
        for (int j = 0; j < mm[i].n_term; j++) {
            const tlpi_term *t = &mm[i].term[j];
            if (t->w->type != type)
                continue;
            if (a.n_term == N_TERM || (!begun && a.n_item == N_ITEM)) {
                flush(g, a, type, false);
                if (begun) {
                    begun = false;
                    first = false;
                }
            }
            if (!begun) {
                item it = { mm[i].y,
                            first ? mm[i].bias : NULL,
                            (int)t->w->n_row,
                            0,
                            a.n_term,
                            0,
                            mm[i].add || !first,
                            TLPI_GATE_SILU };
                a.items[a.n_item++] = it;
                begun = true;
            }
            a.terms[a.n_term++] = term_of(t->w, t->x, t->scale);
            a.items[a.n_item - 1].n_term++;
        }
    }
    flush(g, a, type, false);
}

void tlpi_gpu_gemv(tlpi_gpu *g, int n_tok, const tlpi_matmul *mm, int n)
{
    bool done[32] = { false }; /* by tensor type */
    table a = {};

    a.n_tok = n_tok;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < mm[i].n_term; j++) {
            tlpi_dtype type = mm[i].term[j].w->type;
            if (done[type])
                continue;
            run_type(g, a, mm, n, type, done);
            done[type] = true;
        }
}

void tlpi_gpu_gemv_gate_up(tlpi_gpu *g, int n_tok, const tlpi_gate_up *gu,
                           int n)
{
    bool done[32] = { false };
    table a = {};

    a.n_tok = n_tok;
    for (int i = 0; i < n; i++) {
        tlpi_dtype type = gu[i].gate->type;
        if (done[type])
            continue;
        done[type] = true;
        for (int k = i; k < n; k++) {
            if (gu[k].gate->type != type)
                continue;
            if (a.n_term + 2 > N_TERM)
                flush(g, a, type, true);
            item it = { gu[k].y, NULL,  (int)gu[k].gate->n_row, 0, a.n_term,
                        2,       false, gu[k].gate_fn };
            a.items[a.n_item++] = it;
            a.terms[a.n_term++] = term_of(gu[k].gate, gu[k].x, 1);
            a.terms[a.n_term++] = term_of(gu[k].up, gu[k].x, 1);
        }
        flush(g, a, type, true);
    }
}

/* ==== loading ============================================================ */

template <int TYPE, int NT>
static void load(tlpi_gpu *g)
{
    tlpi_gpu_load(g, gemv<TYPE, NT, false>);
    tlpi_gpu_load(g, gemv<TYPE, NT, true>);
}

void tlpi_gpu_load_gemv(tlpi_gpu *g)
{
#define X(T)                                                                   \
    load<T, 1>(g);                                                             \
    load<T, 4>(g);                                                             \
    load<T, 8>(g);
    TLPI_EACH_TYPE(X)
#undef X
}
