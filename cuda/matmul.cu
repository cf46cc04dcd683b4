/*
 * matmul.cu - products with weights: gemv.cu for a few tokens, cuBLASLt
 * (gemm.cu) for many.
 */
#include "gpu.h"

static __global__ void gate_mul(float *y, const float *gate, tlpi_gate fn,
                                size_t n)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        y[i] *= tlpi_gate_of(fn, gate[i]);
}

void tlpi_gpu_matmul(tlpi_backend *b, int n_tok, const tlpi_matmul *item, int n)
{
    if (n_tok <= TLPI_GPU_DECODE)
        tlpi_gpu_gemv(tlpi_gpu_of(b), n_tok, item, n);
    else
        tlpi_gpu_gemm_run(tlpi_gpu_of(b), n_tok, item, n);
}

/* gate into the scratch, up into y, then fn(gate) * up into y. */
static void gate_up_apart(tlpi_gpu *g, int n_tok, const tlpi_gate_up *x)
{
    tlpi_term gate[2] = { { x->gate, x->x, 1, NULL, NULL }, x->gate_more };
    tlpi_term up[2] = { { x->up, x->x, 1, NULL, NULL }, x->up_more };
    tlpi_matmul mm[2] = { { gate, x->gate_more.w ? 2 : 1, NULL, false,
                            g->scratch },
                          { up, x->up_more.w ? 2 : 1, NULL, false, x->y } };
    size_t n = (size_t)n_tok * (size_t)x->gate->n_row;

    tlpi_gpu_matmul(&g->base, n_tok, mm, 2);
    tlpi_gpu_run(g, "gate and up", gate_mul,
                 dim3((unsigned)tlpi_ceil_div((int64_t)n, 256)), dim3(256), 0,
                 x->y, g->scratch, x->gate_fn, n);
}

void tlpi_gpu_gate_up(tlpi_backend *b, int n_tok, const tlpi_gate_up *item,
                      int n)
{
    tlpi_gpu *g = tlpi_gpu_of(b);
    bool together = n_tok <= TLPI_GPU_DECODE;

    for (int i = 0; i < n; i++)
        together = together && item[i].gate->type == item[i].up->type &&
                   !item[i].gate_more.w && !item[i].up_more.w;
    if (together)
        tlpi_gpu_gemv_gate_up(g, n_tok, item, n);
    for (int i = 0; i < n && !together; i++)
        gate_up_apart(g, n_tok, &item[i]);
}

void tlpi_gpu_load_matmul(tlpi_gpu *g)
{
    tlpi_gpu_load(g, gate_mul);
}
