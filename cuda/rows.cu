/*
 * rows.cu - operations on rows of activations: embedding, gathering, residual
 * sums and RMS norms.
 */
#include "blocks.cuh"
#include "norm.cuh"

/* ==== embed ============================================================== */

/* A thread decodes a unit of one token's row. */
template <int TYPE>
static __global__ void embed(tlpi_gpu_matrix w, const int32_t *id, float scale,
                             float *x)
{
    typedef tlpi_unit_of<TYPE> type;
    int u = blockIdx.x * blockDim.x + threadIdx.x, tok = blockIdx.y;

    if (u >= w.n_unit)
        return;
    tlpi_unit unit = tlpi_load_unit<TYPE>(w, id[tok], u);
    float *y = x + (size_t)tok * w.n_col;
#pragma unroll
    for (int j = 0; j < type::n / type::piece; j++) {
        float v[type::piece];
        tlpi_decode<TYPE>(unit, j, v);
        for (int i = 0; i < type::piece; i++) {
            int c = u * type::n + j * type::piece + i;
            if (c < w.n_col)
                y[c] = scale * v[i];
        }
    }
}

void tlpi_gpu_embed(tlpi_backend *b, const tlpi_step *s, const tlpi_tensor *t,
                    const tlpi_weight *w, float scale, float *x)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    tlpi_gpu_matrix m = tlpi_gpu_matrix_of(w);
    dim3 grid((unsigned)tlpi_ceil_div(m.n_unit, 64), (unsigned)s->n_tok);

    (void)t;
    switch (w->type) {
#define X(T)                                                                   \
    case T:                                                                    \
        tlpi_gpu_run(g, "embedding", embed<T>, grid, dim3(64), 0, m,           \
                     g->dev.id, scale, x);                                     \
        break;
        TLPI_EACH_TYPE(X)
#undef X
    }
}

/* ==== gather ============================================================= */

static constexpr int N_LISTED = 64;

typedef struct listed {
    int32_t at[N_LISTED];
} listed;

static __device__ void copy_row(float *to, const float *from, int cols)
{
    for (int i = threadIdx.x; i < cols; i += blockDim.x)
        to[i] = from[i];
}

static __global__ void gather(const float *x, const int32_t *rows, int cols,
                              float *y)
{
    copy_row(y + (size_t)blockIdx.x * cols, x + (size_t)rows[blockIdx.x] * cols,
             cols);
}

static __global__ void gather_listed(const float *x,
                                     const __grid_constant__ listed rows,
                                     int cols, float *y)
{
    copy_row(y + (size_t)blockIdx.x * cols,
             x + (size_t)rows.at[blockIdx.x] * cols, cols);
}

/* Gather rows whose numbers are only on the host: these are kernel
 * arguments. */
static void gather_from_host(tlpi_gpu *g, const float *x, const int32_t *rows,
                             int n, int cols, float *y)
{
    for (int i = 0; i < n; i += N_LISTED) {
        int k = n - i < N_LISTED ? n - i : N_LISTED;
        listed some = {};

        memcpy(some.at, rows + i, (size_t)k * sizeof *rows);
        tlpi_gpu_run(g, "gather", gather_listed, dim3((unsigned)k), dim3(256),
                     0, x, some, cols, y + (size_t)i * (size_t)cols);
    }
}

void tlpi_gpu_gather(tlpi_backend *b, const float *x, const int32_t *rows,
                     int n, int cols, float *y)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    const tlpi_want *want = g->want;

    /* The numbers of the step's own rows are already on the device. */
    if (want && rows >= want->row && rows + n <= want->row + want->n_row)
        tlpi_gpu_run(g, "gather", gather, dim3((unsigned)n), dim3(256), 0, x,
                     g->dev.row + (rows - want->row), cols, y);
    else
        gather_from_host(g, x, rows, n, cols, y);
}

/* ==== add_norm =========================================================== */

/* A block handles a token.  z is stored in sum or, without it, in the last
 * norm's row, which is written last. */
static __global__ void __launch_bounds__(TLPI_NORM_THREADS)
    add_norm(int cols, const float *x, const float *delta, float *sum,
             const __grid_constant__ tlpi_gpu_norms a, float eps)
{
    __shared__ float part[32];
    size_t at = (size_t)blockIdx.x * cols;
    float square = 0;
    float *z = sum ? sum + at : a.norm[a.n - 1].y + at;

    for (int i = threadIdx.x; i < cols; i += TLPI_NORM_THREADS) {
        float v = x[at + i];
        if (delta)
            v += delta[at + i];
        z[i] = v;
        square = tlpi_norm_add(square, v);
    }
    if (a.n > 0)
        tlpi_norm_row(a, at, cols, eps, z, square, part);
}

void tlpi_gpu_add_norm(tlpi_backend *b, int n_tok, int cols, const float *x,
                       const float *delta, float *sum, const tlpi_norm *norm,
                       int n_norm, float eps)
{
    tlpi_gpu *g = tlpi_gpu_of(b);

    if (!sum && n_norm == 0)
        return;
    for (int i = 0; i == 0 || i < n_norm; i += TLPI_NORMS) {
        tlpi_gpu_run(g, "norm", add_norm, dim3((unsigned)n_tok),
                     dim3(TLPI_NORM_THREADS), 0, cols, x, delta, sum,
                     tlpi_gpu_norms_of(norm + i, n_norm - i), eps);
        if (sum) { /* later launches read the finished sum */
            x = sum;
            delta = NULL;
        }
    }
}

/* ==== sum_squares ======================================================== */

/* Most items of a launch. */
static constexpr int SQUARES = 64;

typedef struct squares {
    tlpi_square item[SQUARES];
    int n;
} squares;

/* A block handles a token, and its items one after another, because several may
 * have one sum. */
static __global__ void __launch_bounds__(TLPI_NORM_THREADS)
    sum_squares(const __grid_constant__ squares a)
{
    __shared__ float part[32];
    int t = blockIdx.x;

    for (int k = 0; k < a.n; k++) {
        const float *x = a.item[k].x + (size_t)t * a.item[k].cols;
        float square = 0;

        for (int i = threadIdx.x; i < a.item[k].cols; i += TLPI_NORM_THREADS)
            square = tlpi_norm_add(square, x[i]);
        square = tlpi_block_sum(square, part);
        if (threadIdx.x == 0)
            a.item[k].y[t] += square;
    }
}

void tlpi_gpu_sum_squares(tlpi_backend *b, int n_tok, const tlpi_square *item,
                          int n)
{
    for (int i = 0; i < n; i += SQUARES) {
        squares a = {};

        for (; a.n < SQUARES && i + a.n < n; a.n++)
            a.item[a.n] = item[i + a.n];
        tlpi_gpu_run(tlpi_gpu_of(b), "squares", sum_squares,
                     dim3((unsigned)n_tok), dim3(TLPI_NORM_THREADS), 0, a);
    }
}

/* ==== add, zero ========================================================== */

static __global__ void add(float *y, const float *x, size_t n)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        y[i] += x[i];
}

static __global__ void zero(float *y, size_t n)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        y[i] = 0;
}

void tlpi_gpu_add(tlpi_backend *b, float *y, const float *x, size_t n)
{
    tlpi_gpu_run(tlpi_gpu_of(b), "add", add,
                 dim3((unsigned)tlpi_ceil_div((int64_t)n, 256)), dim3(256), 0,
                 y, x, n);
}

void tlpi_gpu_zero(tlpi_backend *b, float *y, size_t n)
{
    tlpi_gpu_run(tlpi_gpu_of(b), "zero", zero,
                 dim3((unsigned)tlpi_ceil_div((int64_t)n, 256)), dim3(256), 0,
                 y, n);
}

static __global__ void soft_cap(float *x, size_t n, float cap)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        x[i] = tlpi_soft_cap(x[i], cap);
}

void tlpi_gpu_soft_cap(tlpi_backend *b, float *x, size_t n, float cap)
{
    tlpi_gpu_run(tlpi_gpu_of(b), "soft cap", soft_cap,
                 dim3((unsigned)tlpi_ceil_div((int64_t)n, 256)), dim3(256), 0,
                 x, n, cap);
}

/* ==== loading ============================================================ */

void tlpi_gpu_load_rows(tlpi_gpu *g)
{
#define X(T) tlpi_gpu_load(g, embed<T>);
    TLPI_EACH_TYPE(X)
#undef X
    tlpi_gpu_load(g, gather);
    tlpi_gpu_load(g, gather_listed);
    tlpi_gpu_load(g, add_norm);
    tlpi_gpu_load(g, sum_squares);
    tlpi_gpu_load(g, add);
    tlpi_gpu_load(g, soft_cap);
    tlpi_gpu_load(g, zero);
}
