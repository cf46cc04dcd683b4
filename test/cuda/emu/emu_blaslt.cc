/*
 * emu_blaslt.cc - matrix products as plain loops.
 */
#include "cublasLt.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "emu_state.h"

/* Workspace that the heuristic requires, so that callers must provide it. */
#define WORKSPACE ((size_t)4096)

struct emu_blaslt {
    int device;
};

struct emu_layout {
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld, stride;
    int32_t order, batch;
    emu_counted counted = {};
};

struct emu_matmul {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int32_t bias_type; /* -1: type of the result */
    int32_t transa, transb, pointer_mode;
    uint32_t epilogue;
    const void *bias;
    emu_counted counted = {};
};

struct emu_preference {
    uint64_t workspace;
};

size_t cublasLtGetVersion()
{
    return 130000;
}

const char *cublasLtGetStatusName(cublasStatus_t st)
{
    switch (st) {
    case CUBLAS_STATUS_SUCCESS:
        return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "CUBLAS_STATUS_INVALID_VALUE";
    default:
        return "CUBLAS_STATUS_INTERNAL_ERROR";
    }
}

const char *cublasLtGetStatusString(cublasStatus_t st)
{
    return cublasLtGetStatusName(st);
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    *h = nullptr;
    if (emu_enter(true) != cudaSuccess)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    *h = new emu_blaslt{ emu_device() };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}

/* ==== descriptors ======================================================== */

/* Copy an attribute; fails if its size is wrong. */
template <class T>
static cublasStatus_t take(T *to, const void *value, size_t bytes)
{
    if (!value || bytes != sizeof *to)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l,
                                          cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
    *l = new emu_layout{ type, rows, cols, ld, 0, CUBLASLT_ORDER_COL, 1 };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete l;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                 cublasLtMatrixLayoutAttribute_t a,
                                 const void *value, size_t bytes)
{
    switch (a) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
        return take((int32_t *)&l->type, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
        return take(&l->order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
        return take(&l->rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
        return take(&l->cols, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
        return take(&l->ld, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
        return take(&l->batch, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
        return take(&l->stride, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d,
                                        cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    *d = new emu_matmul{ compute,
                         scale,
                         -1,
                         CUBLAS_OP_N,
                         CUBLAS_OP_N,
                         CUBLASLT_POINTER_MODE_HOST,
                         CUBLASLT_EPILOGUE_DEFAULT,
                         nullptr };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    delete d;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t a,
                                              const void *value, size_t bytes)
{
    int32_t ignored;

    switch (a) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
        return take((int32_t *)&d->compute, value, bytes);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
        return take((int32_t *)&d->scale, value, bytes);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
        return take(&d->pointer_mode, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return take(&d->transa, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return take(&d->transb, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return take(&d->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return take(&d->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        return take(&d->bias_type, value, bytes);
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET:
        return take(&ignored, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = new emu_preference{ 0 };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete p;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                     cublasLtMatmulPreferenceAttributes_t a,
                                     const void *value, size_t bytes)
{
    if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return take(&p->workspace, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

/* ==== products =========================================================== */

static bool known(cudaDataType_t t)
{
    return t == CUDA_R_32F || t == CUDA_R_16F || t == CUDA_R_16BF;
}

static size_t size_of(cudaDataType_t t)
{
    return t == CUDA_R_32F ? 4 : 2;
}

static uint64_t op_rows(const emu_layout *l, int32_t trans)
{
    return trans ? l->cols : l->rows;
}

static uint64_t op_cols(const emu_layout *l, int32_t trans)
{
    return trans ? l->rows : l->cols;
}

static bool ld_fits(const emu_layout *l)
{
    uint64_t fast = l->order == CUBLASLT_ORDER_COL ? l->rows : l->cols;
    return l->ld >= (int64_t)fast;
}

static cublasStatus_t check(const emu_matmul *d, const emu_layout *a,
                            const emu_layout *b, const emu_layout *c,
                            const emu_layout *r)
{
    if (!known(a->type) || !known(r->type) || d->scale != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    /* both inputs have one type; the result has this type or f32 */
    if (b->type != a->type || c->type != r->type ||
        (r->type != a->type && r->type != CUDA_R_32F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (op_cols(a, d->transa) != op_rows(b, d->transb) ||
        r->rows != op_rows(a, d->transa) || r->cols != op_cols(b, d->transb) ||
        c->rows != r->rows || c->cols != r->cols)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!ld_fits(a) || !ld_fits(b) || !ld_fits(c) || !ld_fits(r))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (a->batch != b->batch || a->batch != r->batch)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (d->epilogue != CUBLASLT_EPILOGUE_DEFAULT &&
        d->epilogue != CUBLASLT_EPILOGUE_BIAS)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

static std::atomic<int> n_asked;

int emu_heuristics_asked()
{
    return n_asked;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t la,
    cublasLtMatrixLayout_t lb, cublasLtMatrixLayout_t lc,
    cublasLtMatrixLayout_t ld, cublasLtMatmulPreference_t p, int asked,
    cublasLtMatmulHeuristicResult_t *results, int *given)
{
    *given = 0;
    if (!h)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (asked < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t st = check(d, la, lb, lc, ld);
    if (st != CUBLAS_STATUS_SUCCESS)
        return st;
    n_asked++;
    *results = cublasLtMatmulHeuristicResult_t();
    results->workspaceSize = p->workspace >= WORKSPACE ? WORKSPACE : 0;
    results->algo.data[0] = results->workspaceSize;
    results->wavesCount = 1;
    *given = 1;
    return st;
}

static size_t place(const emu_layout *l, uint64_t row, uint64_t col)
{
    uint64_t ld = (uint64_t)l->ld;
    return l->order == CUBLASLT_ORDER_COL ? row + col * ld : row * ld + col;
}

static float get(const void *p, cudaDataType_t t, size_t i)
{
    if (t == CUDA_R_32F)
        return ((const float *)p)[i];
    unsigned short u = ((const unsigned short *)p)[i];
    return t == CUDA_R_16F ? emu_half_value(u) : emu_bf16_value(u);
}

static void put(void *p, cudaDataType_t t, size_t i, float v)
{
    if (t == CUDA_R_32F)
        ((float *)p)[i] = v;
    else
        ((unsigned short *)p)[i] =
            t == CUDA_R_16F ? emu_half_bits(v) : emu_bf16_bits(v);
}

namespace
{
/* A copy of all arguments: descriptors may be destroyed before the product
 * runs. */
struct product {
    emu_matmul d;
    emu_layout a, b, c, r;
    const char *A, *B, *C;
    char *D;
    float alpha, beta;
    const float *alpha_at, *beta_at; /* device pointers, or NULL */
};
} // namespace

static float dot(const product &p, const void *A, const void *B, uint64_t i,
                 uint64_t j)
{
    uint64_t k = op_cols(&p.a, p.d.transa);
    float sum = 0;

    for (uint64_t x = 0; x < k; x++) {
        size_t at = p.d.transa ? place(&p.a, x, i) : place(&p.a, i, x);
        size_t bt = p.d.transb ? place(&p.b, j, x) : place(&p.b, x, j);
        sum += get(A, p.a.type, at) * get(B, p.b.type, bt);
    }
    return sum;
}

static void run(const product &p, int n)
{
    const char *A = p.A + (size_t)(p.a.stride * n) * size_of(p.a.type);
    const char *B = p.B + (size_t)(p.b.stride * n) * size_of(p.b.type);
    const char *C = p.C + (size_t)(p.c.stride * n) * size_of(p.c.type);
    char *D = p.D + (size_t)(p.r.stride * n) * size_of(p.r.type);
    float alpha = p.alpha_at ? *p.alpha_at : p.alpha;
    float beta = p.beta_at ? *p.beta_at : p.beta;
    cudaDataType_t bias =
        p.d.bias_type < 0 ? p.r.type : (cudaDataType_t)p.d.bias_type;

    for (uint64_t j = 0; j < p.r.cols; j++) {
        for (uint64_t i = 0; i < p.r.rows; i++) {
            float v = alpha * dot(p, A, B, i, j);
            if (beta != 0)
                v += beta * get(C, p.c.type, place(&p.c, i, j));
            if (p.d.epilogue == CUBLASLT_EPILOGUE_BIAS)
                v += get(p.d.bias, bias, i);
            put(D, p.r.type, place(&p.r, i, j), v);
        }
    }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t d,
                              const void *alpha, const void *A,
                              cublasLtMatrixLayout_t la, const void *B,
                              cublasLtMatrixLayout_t lb, const void *beta,
                              const void *C, cublasLtMatrixLayout_t lc, void *D,
                              cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t s)
{
    if (!h)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    cublasStatus_t st = check(d, la, lb, lc, ld);
    if (st != CUBLAS_STATUS_SUCCESS)
        return st;
    size_t needed = algo ? algo->data[0] : 0;
    if (needed > workspace_bytes || (needed > 0 && !workspace))
        return CUBLAS_STATUS_INVALID_VALUE;
    product p = { *d,
                  *la,
                  *lb,
                  *lc,
                  *ld,
                  (const char *)A,
                  (const char *)B,
                  (const char *)C,
                  (char *)D,
                  0,
                  0,
                  nullptr,
                  nullptr };
    if (d->pointer_mode == CUBLASLT_POINTER_MODE_DEVICE) {
        p.alpha_at = (const float *)alpha;
        p.beta_at = (const float *)beta;
    } else {
        p.alpha = *(const float *)alpha;
        p.beta = *(const float *)beta;
    }
    cudaError_t e = emu_submit(s, [=]() {
        if (needed) /* the workspace belongs to the product while it runs */
            memset(workspace, 0xff, needed);
        for (int n = 0; n < p.r.batch; n++)
            run(p, n);
    });
    return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                            : CUBLAS_STATUS_EXECUTION_FAILED;
}
