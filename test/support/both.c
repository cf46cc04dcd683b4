/*
 * both.c - a CPU backend and a CUDA backend, and their buffers.
 */
#include "both.h"

#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "gpu_plugin.h"
#include "random_weights.h"

tlpi_backend *cpu, *gpu;

void both_open(void)
{
    cpu = weights_backend(TLP_ISA_SCALAR, TLP_COMPUTE_F32, 1);
    gpu = gpu_backend(TLP_COMPUTE_F32);
}

void both_close(void)
{
    gpu->ops->free(gpu);
    cpu->ops->free(cpu);
}

tlpi_backend *each(int i)
{
    return i ? gpu : cpu;
}

float *put(tlpi_backend *b, const float *host, size_t n)
{
    float *x = NULL;

    CHECK_OK(b->ops->buffer_create(b, &x, n));
    b->ops->write(b, x, host, n);
    return x;
}

float *take(tlpi_backend *b, float *x, size_t n)
{
    float *host = malloc(n * sizeof *host);

    CHECK_OK(b->ops->read(b, host, x, n));
    b->ops->buffer_free(b, x);
    return host;
}

void expect_equal(float *a, float *b, size_t n, double tol, const char *what)
{
    for (size_t i = 0; i < n; i++)
        cr_assert(fabs((double)a[i] - (double)b[i]) <=
                      tol * (1 + fabs((double)a[i])),
                  "%s, element %zu: %g on the CPU, %g on the GPU", what, i,
                  (double)a[i], (double)b[i]);
    free(a);
    free(b);
}
