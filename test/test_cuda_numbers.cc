/*
 * test_cuda_numbers.cc - the emulated device's arithmetic, against the
 * library's conversions and against definitions spelled out.
 */
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <float.h>
#include <math.h>

#include "cuda/on_device.h"
#include "half.cuh"

extern "C" {
#include "tensor/tensor.h"
}

TestSuite(cuda_numbers, .timeout = 60);

static uint64_t state = 1;

static uint32_t dice()
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static bool same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

/* ==== 16 bits ============================================================ */

Test(cuda_numbers, every_half_and_bf16_has_its_value)
{
    for (uint32_t u = 0; u < 65536; u++) {
        unsigned short h = (unsigned short)u;
        cr_assert(same(__half2float(__ushort_as_half(h)), tlpi_f16_to_f32(h)),
                  "%04x", u);
        cr_assert(same(__bfloat162float(__ushort_as_bfloat16(h)),
                       tlpi_bf16_to_f32(h)),
                  "%04x", u);
    }
}

static void check_rounding(float f)
{
    cr_assert_eq(__half_as_ushort(__float2half_rn(f)), tlpi_f32_to_f16(f), "%a",
                 (double)f);
    cr_assert_eq(__bfloat16_as_ushort(__float2bfloat16_rn(f)),
                 tlpi_f32_to_bf16(f), "%a", (double)f);
}

/* All exponents, and ties and their neighbours in the range of halves. */
Test(cuda_numbers, rounding_to_16_bits)
{
    for (int i = 0; i < 2000000; i++) {
        float f = __uint_as_float(dice());
        if (f == f)
            check_rounding(f);
    }
    for (uint32_t u = 0; u < 0x7c00; u++) {
        float a = tlpi_f16_to_f32((uint16_t)u);
        float b = tlpi_f16_to_f32((uint16_t)(u + 1));
        float tie = a / 2 + b / 2;
        check_rounding(tie);
        check_rounding(-tie);
        check_rounding(nextafterf(tie, 0));
        check_rounding(nextafterf(tie, INFINITY));
    }
}

/* Finite values stay finite; what is no number stays none. */
Test(cuda_numbers, halves_of_activations)
{
    cr_assert_eq(tlpi_to_f16(INFINITY), 0x7c00);
    cr_assert_eq(tlpi_to_f16(-INFINITY), 0xfc00);
    cr_assert_eq(tlpi_to_f16(FLT_MAX), 0x7bff);
    cr_assert_eq(tlpi_to_f16(-FLT_MAX), 0xfbff);
    cr_assert(isnan(tlpi_f16_to_f32((uint16_t)tlpi_to_f16(NAN))));
}

/* ==== packed integers ==================================================== */

static int byte_of(unsigned v, int i, bool is_signed)
{
    int b = (int)(v >> (8 * i) & 255);
    return is_signed && b >= 128 ? b - 256 : b;
}

Test(cuda_numbers, four_bytes_at_once)
{
    for (int n = 0; n < 100000; n++) {
        unsigned a = dice(), b = dice();
        int c = (int)dice() / 4, dot = c;
        unsigned udot = (unsigned)c, sub = 0, subss = 0;

        for (int i = 0; i < 4; i++) {
            int x = byte_of(a, i, true), y = byte_of(b, i, true), d = x - y;
            dot += x * y;
            udot += (unsigned)(byte_of(a, i, false) * byte_of(b, i, false));
            sub |= (unsigned)(d & 255) << (8 * i);
            d = d > 127 ? 127 : d < -128 ? -128 : d;
            subss |= (unsigned)(d & 255) << (8 * i);
        }
        cr_assert_eq(__dp4a((int)a, (int)b, c), dot);
        cr_assert_eq(__dp4a(a, b, (unsigned)c), udot);
        cr_assert_eq(__vsub4(a, b), sub);
        cr_assert_eq(__vsubss4(a, b), subss);
    }
    cr_assert_eq(__byte_perm(0x33221100, 0x77665544, 0x7250), 0x77225500);
    cr_assert_eq(__byte_perm(0x80, 0, 0x0008), 0x808080ff);
    cr_assert_eq(__brev(0x00000003), 0xc0000000);
    cr_assert_eq(__clz(0), 32);
    cr_assert_eq(__clz(1), 31);
    cr_assert_eq(__ffs(8), 4);
    cr_assert_eq(__popc(0xf0f0), 8);
    cr_assert_eq(__funnelshift_r(0x80000000, 1, 31), 3);
    cr_assert_eq(__funnelshift_l(0x80000000, 1, 1), 3);
    cr_assert_eq(__umulhi(0x80000000, 6), 3);
    cr_assert_eq(__float2int_rn(2.5f), 2);
    cr_assert_eq(__float2int_rn(3.5f), 4);
    cr_assert_eq(__float2int_rd(-2.5f), -3);
    cr_assert_eq(__float2int_rz(-2.5f), -2);
    cr_assert_eq(__float2int_rn(1e20f), INT32_MAX);
}

/* ==== matrix products ==================================================== */

typedef struct matrices {
    int m, n, k;
    bool transa, transb, bias;
    cudaDataType_t in, out;
    float alpha, beta;
} matrices;

/* Small integers: every sum is exact, in any order and any type. */
static float small()
{
    return (float)((int)(dice() % 5) - 2);
}

template <class T>
static std::vector<T> fill(int n)
{
    std::vector<T> v((size_t)n);
    for (T &x : v)
        x = T(small());
    return v;
}

template <class In, class Out>
static void product(const matrices &t)
{
    int lda = (t.transa ? t.k : t.m) + 3, ldb = (t.transb ? t.n : t.k) + 1;
    int ldc = t.m + 2;
    std::vector<In> a = fill<In>(lda * (t.transa ? t.m : t.k));
    std::vector<In> b = fill<In>(ldb * (t.transb ? t.k : t.n));
    std::vector<Out> c = fill<Out>(ldc * t.n), bias = fill<Out>(t.m);
    on_device<In> da(a), db(b);
    on_device<Out> dc(c), dbias(bias);
    on_device<char> work(1 << 16);
    cublasLtHandle_t h;
    cublasLtMatrixLayout_t la, lb, lc;
    cublasLtMatmulDesc_t d;
    cublasLtMatmulPreference_t pref;
    cublasLtMatmulHeuristicResult_t found;
    int32_t ta = t.transa, tb = t.transb, n_found = 0;
    uint64_t limit = 1 << 16;
    uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;

    cr_assert_eq(cublasLtCreate(&h), CUBLAS_STATUS_SUCCESS);
    cublasLtMatrixLayoutCreate(&la, t.in, (uint64_t)(t.transa ? t.k : t.m),
                               (uint64_t)(t.transa ? t.m : t.k), lda);
    cublasLtMatrixLayoutCreate(&lb, t.in, (uint64_t)(t.transb ? t.n : t.k),
                               (uint64_t)(t.transb ? t.k : t.n), ldb);
    cublasLtMatrixLayoutCreate(&lc, t.out, (uint64_t)t.m, (uint64_t)t.n, ldc);
    cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSA, &ta, 4);
    cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSB, &tb, 4);
    if (t.bias) {
        cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                       &epilogue, sizeof epilogue);
        cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                       &dbias.p, sizeof dbias.p);
    }
    cublasLtMatmulPreferenceCreate(&pref);
    cublasLtMatmulPreferenceSetAttribute(
        pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &limit, sizeof limit);
    cr_assert_eq(cublasLtMatmulAlgoGetHeuristic(h, d, la, lb, lc, lc, pref, 1,
                                                &found, &n_found),
                 CUBLAS_STATUS_SUCCESS);
    cr_assert_eq(n_found, 1);
    cr_assert_eq(cublasLtMatmul(h, d, &t.alpha, da.p, la, db.p, lb, &t.beta,
                                dc.p, lc, dc.p, lc, &found.algo, nullptr, 0,
                                nullptr),
                 CUBLAS_STATUS_INVALID_VALUE, "the workspace is missing");
    cr_assert_eq(cublasLtMatmul(h, d, &t.alpha, da.p, la, db.p, lb, &t.beta,
                                dc.p, lc, dc.p, lc, &found.algo, work.p,
                                1 << 16, nullptr),
                 CUBLAS_STATUS_SUCCESS);
    std::vector<Out> got = dc.get();
    for (int j = 0; j < t.n; j++)
        for (int i = 0; i < t.m; i++) {
            float sum = 0;
            for (int x = 0; x < t.k; x++)
                sum +=
                    (float)a[(size_t)(t.transa ? i * lda + x : x * lda + i)] *
                    (float)b[(size_t)(t.transb ? x * ldb + j : j * ldb + x)];
            sum = t.alpha * sum + t.beta * (float)c[(size_t)(j * ldc + i)];
            if (t.bias)
                sum += (float)bias[(size_t)i];
            cr_assert_eq((float)got[(size_t)(j * ldc + i)], sum);
        }
    cublasLtMatmulPreferenceDestroy(pref);
    cublasLtMatmulDescDestroy(d);
    cublasLtMatrixLayoutDestroy(la);
    cublasLtMatrixLayoutDestroy(lb);
    cublasLtMatrixLayoutDestroy(lc);
    cublasLtDestroy(h);
}

Test(cuda_numbers, matrix_products)
{
    for (int i = 0; i < 8; i++) {
        matrices t = { 7,
                       5,
                       9,
                       (i & 1) != 0,
                       (i & 2) != 0,
                       (i & 4) != 0,
                       CUDA_R_32F,
                       CUDA_R_32F,
                       1,
                       0 };
        product<float, float>(t);
        t.alpha = 0.5f;
        t.beta = 2;
        product<float, float>(t);
        t.in = CUDA_R_16F;
        product<__half, float>(t);
        t.out = CUDA_R_16F;
        product<__half, __half>(t);
        t.in = t.out = CUDA_R_16BF;
        product<__nv_bfloat16, __nv_bfloat16>(t);
    }
}
