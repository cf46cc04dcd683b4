/*
 * gemm.cu - matmul of many tokens by cuBLASLt.
 *
 * Inputs and weights have one type in a call.  BF16, F16 and F32 weights keep
 * their type; if the session computes in f32, the type is f32.  Quantised
 * weights are decoded to bf16 for the call, some rows at a time.  Sums are
 * f32.  cuBLASLt chooses a kernel once for every shape.
 *
 * In cuBLASLt's column-major terms, y [n_row][n_tok] = W^T x with W
 * [n_col][n_row] and x [n_col][n_tok].
 */
#include "blocks.cuh"

static constexpr int N_SHAPE = 128;

/* Limits of the memory for one call.  The memory grows with the longest row of
 * any input, by 4 bytes for each element of LEAST rows, up to a useful
 * maximum. */
static constexpr int64_t LEAST = 1 << 20;
static constexpr int64_t LT_MOST = 32 << 20;      /* workspace of cuBLASLt */
static constexpr int64_t DECODED_MOST = 64 << 20; /* decoded weights */

typedef struct gemm_shape {
    cudaDataType type;
    int n_row, n_tok, n_col, ld_w, ld_x, ld_y;
    int align; /* alignment of y in bytes */
    bool bias;
} gemm_shape;

typedef struct choice {
    gemm_shape key;
    bool used;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
} choice;

struct tlpi_gpu_gemm {
    cublasLtHandle_t lt;
    choice all[N_SHAPE];
    int next; /* entry that is replaced next */
    size_t lt_bytes, decoded_bytes;
    void *workspace; /* [lt_bytes] */
    void *decoded;   /* [decoded_bytes] */
    void *inputs;    /* [max_tok][max_cols rounded up] of the largest type */
};

/* ==== resources ========================================================== */

static tlp_status lt_status(cublasStatus_t e, const char *what)
{
    return e == CUBLAS_STATUS_SUCCESS
               ? TLP_OK
               : tlpi_gpu_fail(TLP_EDEVICE, "cuBLASLt, %s: %s", what,
                               cublasLtGetStatusString(e));
}

/* Keep a failure in an operation, which returns no status. */
static bool keep_lt_error(tlpi_gpu *g, cublasStatus_t e, const char *what)
{
    if (e == CUBLAS_STATUS_SUCCESS)
        return true;
    if (g->failed == TLP_OK) {
        g->failed = TLP_EDEVICE;
        snprintf(g->text, sizeof g->text, "cuBLASLt, %s: %s", what,
                 cublasLtGetStatusString(e));
    }
    return false;
}

static size_t within(size_t bytes, int64_t most)
{
    return bytes < (size_t)LEAST  ? (size_t)LEAST
           : bytes < (size_t)most ? bytes
                                  : (size_t)most;
}

tlp_status tlpi_gpu_gemm_create(tlpi_gpu *g)
{
    size_t cols = (size_t)tlpi_ceil_div(g->max_cols, 8) * 8;
    tlp_status st = TLP_OK;

    tlpi_gpu_gemm *x = (tlpi_gpu_gemm *)tlpi_gpu_alloc(g->base.env, sizeof *x);
    if (!x)
        return tlpi_gpu_fail(TLP_ENOMEM, "out of memory");
    g->gemm = x;
    x->lt_bytes = within(4 * cols * cols, LT_MOST);
    x->decoded_bytes = within(4 * cols * cols, DECODED_MOST);
    TLP_TRY(lt_status(cublasLtCreate(&x->lt), "starting"));
    TLP_TRY(tlpi_gpu_status(cudaMalloc(&x->workspace, x->lt_bytes),
                            "workspace of matmul"));
    TLP_TRY(tlpi_gpu_status(cudaMalloc(&x->decoded, x->decoded_bytes),
                            "workspace of matmul"));
    TLP_TRY(tlpi_gpu_status(
        cudaMalloc(&x->inputs, (size_t)g->max_tok * cols * sizeof(float)),
        "inputs of matmul"));
done:
    return st;
}

static void forget(choice *c)
{
    if (c->desc)
        (void)cublasLtMatmulDescDestroy(c->desc);
    if (c->w)
        (void)cublasLtMatrixLayoutDestroy(c->w);
    if (c->x)
        (void)cublasLtMatrixLayoutDestroy(c->x);
    if (c->y)
        (void)cublasLtMatrixLayoutDestroy(c->y);
    *c = {};
}

void tlpi_gpu_gemm_free(tlpi_gpu *g)
{
    tlpi_gpu_gemm *x = g->gemm;

    if (!x)
        return;
    for (int i = 0; i < N_SHAPE; i++)
        forget(&x->all[i]);
    (void)cudaFree(x->inputs);
    (void)cudaFree(x->decoded);
    (void)cudaFree(x->workspace);
    if (x->lt)
        (void)cublasLtDestroy(x->lt);
    tlpi_gpu_free(g->base.env, x, sizeof *x);
}

/* ==== conversions ======================================================== */

template <int TO>
static __device__ __forceinline__ void put(void *p, size_t i, float x)
{
    if (TO == CUDA_R_32F)
        ((float *)p)[i] = x;
    else
        ((unsigned short *)p)[i] =
            (unsigned short)(TO == CUDA_R_16F ? tlpi_to_f16(x)
                                              : tlpi_to_bf16(x));
}

/* Copy x [n_tok][cols] to rows of length ld, padded with zeros. */
template <int TO>
static __global__ void convert(const float *x, int cols, int ld, void *y)
{
    int c = blockIdx.x * blockDim.x + threadIdx.x;
    size_t tok = blockIdx.y;

    if (c < ld)
        put<TO>(y, tok * ld + c, c < cols ? x[tok * cols + c] : 0);
}

/* A thread decodes a unit of one row, from row0 on. */
template <int TYPE, int TO>
static __global__ void decode(tlpi_gpu_matrix w, int row0, void *y)
{
    typedef tlpi_unit_of<TYPE> type;
    int u = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y;

    if (u >= w.n_unit)
        return;
    tlpi_unit unit = tlpi_load_unit<TYPE>(w, row0 + row, u);
    size_t at = ((size_t)row * w.n_unit + u) * type::n;
#pragma unroll
    for (int j = 0; j < type::n / type::piece; j++) {
        float v[type::piece];
        tlpi_decode<TYPE>(unit, j, v);
#pragma unroll
        for (int i = 0; i < type::piece; i++)
            put<TO>(y, at + j * type::piece + i, v[i]);
    }
}

static cudaDataType operand_type(const tlpi_gpu *g, const tlpi_weight *w)
{
    if (g->f32 || w->type == TLPI_F32)
        return CUDA_R_32F;
    return w->type == TLPI_F16 ? CUDA_R_16F : CUDA_R_16BF;
}

static bool is_operand(const tlpi_weight *w, cudaDataType type)
{
    return (w->type == TLPI_F32 && type == CUDA_R_32F) ||
           (w->type == TLPI_F16 && type == CUDA_R_16F) ||
           (w->type == TLPI_BF16 && type == CUDA_R_16BF);
}

static size_t bytes_of(cudaDataType type)
{
    return type == CUDA_R_32F ? 4 : 2;
}

static void convert_inputs(tlpi_gpu *g, const float *x, int n_tok, int cols,
                           int ld, cudaDataType type)
{
    void (*kernel)(const float *, int, int, void *) =
        type == CUDA_R_32F   ? convert<CUDA_R_32F>
        : type == CUDA_R_16F ? convert<CUDA_R_16F>
                             : convert<CUDA_R_16BF>;

    tlpi_gpu_run(g, "inputs", kernel,
                 dim3((unsigned)tlpi_ceil_div(ld, 256), (unsigned)n_tok),
                 dim3(256), 0, x, cols, ld, g->gemm->inputs);
}

/* F16 is not decoded to bf16, and no other type is decoded to f16. */
static void decode_rows(tlpi_gpu *g, const tlpi_weight *w, int row0, int n,
                        cudaDataType type)
{
    tlpi_gpu_matrix m = tlpi_gpu_matrix_of(w);
    dim3 grid((unsigned)tlpi_ceil_div(m.n_unit, 64), (unsigned)n);
    bool f32 = type == CUDA_R_32F;

    switch (w->type) {
#define X(T)                                                                   \
    case T:                                                                    \
        tlpi_gpu_run(g, "decoding weights",                                    \
                     f32 ? decode<T, CUDA_R_32F> : decode<T, CUDA_R_16BF>,     \
                     grid, dim3(64), 0, m, row0, g->gemm->decoded);            \
        break;
        TLPI_EACH_TYPE(X)
#undef X
    }
}

/* ==== products =========================================================== */

static bool same(const gemm_shape *a, const gemm_shape *b)
{
    return a->type == b->type && a->n_row == b->n_row && a->n_tok == b->n_tok &&
           a->n_col == b->n_col && a->ld_w == b->ld_w && a->ld_x == b->ld_x &&
           a->ld_y == b->ld_y && a->align == b->align && a->bias == b->bias;
}

/* Describe the product to cuBLASLt. */
static cublasStatus_t describe(const tlpi_gpu *g, choice *c)
{
    const gemm_shape *s = &c->key;
    cublasOperation_t turn = CUBLAS_OP_T;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cublasComputeType_t compute = s->type == CUDA_R_32F && !g->f32
                                      ? CUBLAS_COMPUTE_32F_FAST_TF32
                                      : CUBLAS_COMPUTE_32F;
    cublasStatus_t e = cublasLtMatmulDescCreate(&c->desc, compute, CUDA_R_32F);

    if (e == CUBLAS_STATUS_SUCCESS)
        e = cublasLtMatmulDescSetAttribute(c->desc, CUBLASLT_MATMUL_DESC_TRANSA,
                                           &turn, sizeof turn);
    if (e == CUBLAS_STATUS_SUCCESS && s->bias)
        e = cublasLtMatmulDescSetAttribute(
            c->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (e == CUBLAS_STATUS_SUCCESS)
        e = cublasLtMatrixLayoutCreate(&c->w, s->type, (uint64_t)s->n_col,
                                       (uint64_t)s->n_row, s->ld_w);
    if (e == CUBLAS_STATUS_SUCCESS)
        e = cublasLtMatrixLayoutCreate(&c->x, s->type, (uint64_t)s->n_col,
                                       (uint64_t)s->n_tok, s->ld_x);
    if (e == CUBLAS_STATUS_SUCCESS)
        e = cublasLtMatrixLayoutCreate(&c->y, CUDA_R_32F, (uint64_t)s->n_row,
                                       (uint64_t)s->n_tok, s->ld_y);
    return e;
}

static cublasStatus_t ask(tlpi_gpu_gemm *x, choice *c)
{
    cublasLtMatmulPreference_t p = NULL;
    cublasLtMatmulHeuristicResult_t best = {};
    size_t room = x->lt_bytes;
    uint32_t align = (uint32_t)c->key.align;
    int n = 0;
    cublasStatus_t e = cublasLtMatmulPreferenceCreate(&p);

    if (e == CUBLAS_STATUS_SUCCESS)
        e = cublasLtMatmulPreferenceSetAttribute(
            p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room);
    if (e == CUBLAS_STATUS_SUCCESS)
        e = cublasLtMatmulPreferenceSetAttribute(
            p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &align,
            sizeof align);
    if (e == CUBLAS_STATUS_SUCCESS)
        e = cublasLtMatmulPreferenceSetAttribute(
            p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &align,
            sizeof align);
    if (e == CUBLAS_STATUS_SUCCESS)
        e = cublasLtMatmulAlgoGetHeuristic(x->lt, c->desc, c->w, c->x, c->y,
                                           c->y, p, 1, &best, &n);
    if (e == CUBLAS_STATUS_SUCCESS && n == 0)
        e = CUBLAS_STATUS_NOT_SUPPORTED;
    if (p)
        (void)cublasLtMatmulPreferenceDestroy(p);
    c->algo = best.algo;
    c->workspace = best.workspaceSize;
    return e;
}

/* cuBLASLt offers some kernels only if the bias is set before it is asked. */
static cublasStatus_t set_bias(choice *c, const float *bias)
{
    return bias ? cublasLtMatmulDescSetAttribute(
                      c->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                      sizeof bias)
                : CUBLAS_STATUS_SUCCESS;
}

static choice *choose(tlpi_gpu *g, const gemm_shape *key, const float *bias)
{
    tlpi_gpu_gemm *x = g->gemm;

    for (int i = 0; i < N_SHAPE; i++)
        if (x->all[i].used && same(&x->all[i].key, key))
            return &x->all[i];
    choice *c = &x->all[x->next];
    x->next = (x->next + 1) % N_SHAPE;
    forget(c);
    c->key = *key;
    if (!keep_lt_error(g, describe(g, c), "a product") ||
        !keep_lt_error(g, set_bias(c, bias), "a bias") ||
        !keep_lt_error(g, ask(x, c), "the choice of a kernel"))
        return NULL;
    c->used = true;
    return c;
}

/* y [n_tok][ld_y], n_row columns of it from y on. */
static void multiply(tlpi_gpu *g, gemm_shape s, const void *w, float scale,
                     const float *bias, bool add, float *y)
{
    tlpi_gpu_gemm *x = g->gemm;
    float beta = add ? 1 : 0;
    uintptr_t bits = (uintptr_t)y | (uintptr_t)s.ld_y * sizeof(float) | 16;

    s.align = (int)(bits & -bits);
    s.bias = bias != NULL;
    choice *c = choose(g, &s, bias);
    if (!c || !keep_lt_error(g, set_bias(c, bias), "a bias"))
        return;
    g->stats.launches++;
    keep_lt_error(g,
                  cublasLtMatmul(x->lt, c->desc, &scale, w, c->w, x->inputs,
                                 c->x, &beta, y, c->y, y, c->y, &c->algo,
                                 x->workspace, c->workspace, g->stream),
                  "matmul");
}

/* One term with converted inputs. */
static void run_term(tlpi_gpu *g, int n_tok, const tlpi_term *t,
                     const float *bias, bool add, float *y)
{
    const tlpi_weight *w = t->w;
    cudaDataType type = operand_type(g, w);
    int unit = w->type == TLPI_F32 ? 4 : 8; /* unit of padded float rows */
    int ld_w = (int)(w->n_block ? w->n_col : w->n_unit * unit);
    gemm_shape s = {};

    s.type = type;
    s.n_tok = n_tok;
    s.n_col = (int)w->n_col;
    s.ld_w = ld_w;
    s.ld_x = (int)tlpi_ceil_div(w->n_col, 8) * 8;
    s.ld_y = (int)w->n_row;
    s.n_row = (int)w->n_row;
    if (is_operand(w, type)) {
        multiply(g, s, w->level, t->scale, bias, add, y);
        return;
    }
    int64_t most =
        (int64_t)(g->gemm->decoded_bytes / ((size_t)ld_w * bytes_of(type)));
    if (most > 8) /* each part starts where y and bias are aligned */
        most = most / 8 * 8;
    for (int64_t r = 0; r < w->n_row; r += most) {
        s.n_row = (int)(w->n_row - r < most ? w->n_row - r : most);
        decode_rows(g, w, (int)r, s.n_row, type);
        multiply(g, s, g->gemm->decoded, t->scale, bias ? bias + r : NULL, add,
                 y + r);
    }
}

void tlpi_gpu_gemm_run(tlpi_gpu *g, int n_tok, const tlpi_matmul *item, int n)
{
    const tlpi_term *last = NULL; /* term whose inputs are converted */

    for (int i = 0; i < n; i++)
        for (int j = 0; j < item[i].n_term; j++) {
            const tlpi_term *t = &item[i].term[j];
            cudaDataType type = operand_type(g, t->w);
            int cols = (int)t->w->n_col;
            if (t->w->n_row == 0)
                continue;
            if (!last || last->x != t->x || last->w->n_col != cols ||
                operand_type(g, last->w) != type)
                convert_inputs(g, t->x, n_tok, cols,
                               (int)tlpi_ceil_div(cols, 8) * 8, type);
            last = t;
            run_term(g, n_tok, t, j == 0 ? item[i].bias : NULL,
                     j > 0 || item[i].add, item[i].y);
        }
}

/* ==== loading ============================================================ */

void tlpi_gpu_load_gemm(tlpi_gpu *g)
{
    tlpi_gpu_load(g, convert<CUDA_R_32F>);
    tlpi_gpu_load(g, convert<CUDA_R_16F>);
    tlpi_gpu_load(g, convert<CUDA_R_16BF>);
#define X(T)                                                                   \
    tlpi_gpu_load(g, decode<T, CUDA_R_32F>);                                   \
    tlpi_gpu_load(g, decode<T, CUDA_R_16BF>);
    TLPI_EACH_TYPE(X)
#undef X
}
