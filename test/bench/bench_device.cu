/*
 * bench_device.cu - what the first GPU can do at best: copy its memory, and
 * multiply matrices of prefill's shape.  Prints JSON.
 */
#include <cublasLt.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

#include "launch.cuh"

#define CHECK(expr)                                                            \
    do {                                                                       \
        int e = (int)(expr);                                                   \
        if (e) {                                                               \
            fprintf(stderr, "%s: error %d\n", #expr, e);                       \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

static constexpr int REPEAT = 20;

/* Milliseconds of one of REPEAT calls, after one that is not timed. */
template <class F>
static float time_ms(F call)
{
    cudaEvent_t from, to;
    float ms = 0;

    CHECK(cudaEventCreate(&from));
    CHECK(cudaEventCreate(&to));
    call();
    CHECK(cudaEventRecord(from));
    for (int i = 0; i < REPEAT; i++)
        call();
    CHECK(cudaEventRecord(to));
    CHECK(cudaEventSynchronize(to));
    CHECK(cudaEventElapsedTime(&ms, from, to));
    return ms / REPEAT;
}

/* Bytes read and written. */
static double copy_gb_s()
{
    size_t bytes = (size_t)2 << 30;
    char *a = NULL, *b = NULL;

    CHECK(cudaMalloc(&a, bytes));
    CHECK(cudaMalloc(&b, bytes));
    CHECK(cudaMemset(a, 1, bytes));
    float ms = time_ms(
        [&] { CHECK(cudaMemcpyAsync(b, a, bytes, cudaMemcpyDeviceToDevice)); });
    CHECK(cudaFree(a));
    CHECK(cudaFree(b));
    return 2.0 * (double)bytes / 1e6 / ms;
}

/* Numbers of all kinds: a GPU is faster on zeros. */
static __global__ void fill(uint32_t *x, size_t n)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    uint32_t v = (uint32_t)i * 2654435761u;

    v ^= v >> 15;
    v *= 2246822519u;
    v ^= v >> 13;
    if (i < n) /* two bf16 from -2 to 2 */
        x[i] = (v & 0xbfffbfff) | 0x30003000;
}

static void *filled(size_t bytes)
{
    uint32_t *p = NULL;
    size_t n = bytes / sizeof *p;

    CHECK(cudaMalloc(&p, bytes));
    CHECK(tlpi_launch(fill, dim3((unsigned)((n + 255) / 256)), dim3(256), 0, 0,
                      p, n));
    return p;
}

/* y [n][m] = x [n][k] W^T, W [m][k], as in cuda/gemm.cu. */
static double gemm_tflop_s(int m, int n, int k)
{
    cublasLtHandle_t lt;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t lw, lx, ly;
    cublasLtMatmulPreference_t pref;
    cublasLtMatmulHeuristicResult_t best;
    cublasOperation_t turn = CUBLAS_OP_T;
    size_t room = 32 << 20, n_w = (size_t)m * k, n_x = (size_t)n * k;
    void *w = filled(2 * n_w), *x = filled(2 * n_x), *y, *workspace;
    float one = 1, zero = 0;
    int found = 0;

    CHECK(cublasLtCreate(&lt));
    CHECK(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    CHECK(cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA,
                                         &turn, sizeof turn));
    CHECK(cublasLtMatrixLayoutCreate(&lw, CUDA_R_16BF, k, m, k));
    CHECK(cublasLtMatrixLayoutCreate(&lx, CUDA_R_16BF, k, n, k));
    CHECK(cublasLtMatrixLayoutCreate(&ly, CUDA_R_32F, m, n, m));
    CHECK(cublasLtMatmulPreferenceCreate(&pref));
    CHECK(cublasLtMatmulPreferenceSetAttribute(
        pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room));
    CHECK(cublasLtMatmulAlgoGetHeuristic(lt, desc, lw, lx, ly, ly, pref, 1,
                                         &best, &found));
    CHECK(found != 1);
    CHECK(cudaMalloc(&y, 4 * (size_t)m * n));
    CHECK(cudaMalloc(&workspace, room));
    float ms = time_ms([&] {
        CHECK(cublasLtMatmul(lt, desc, &one, w, lw, x, lx, &zero, y, ly, y, ly,
                             &best.algo, workspace, room, 0));
    });
    return 2.0 * m * n * k / 1e9 / ms;
}

int main()
{
    double copy = copy_gb_s(), gemm = gemm_tflop_s(11008, 512, 4096);

    printf("{\"copy_gb_s\":%.1f,\"gemm_tflop_s\":%.1f}\n", copy, gemm);
    return 0;
}
