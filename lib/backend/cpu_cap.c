/*
 * cpu_cap.c - soft caps of logits, on the threads of the backend.
 */
#include "backend/cpu.h"
#include "backend/cpu_vec.h"

#define PIECE 4096

typedef struct cap_job {
    const tlpi_cpu_vec *vec;
    float *x; /* [n] */
    size_t n;
    float cap;
} cap_job;

static void cap_piece(void *arg, int i, int n)
{
    const cap_job *j = arg;
    size_t at = (size_t)i * PIECE;

    (void)n;
    j->vec->soft_cap(j->x + at, TLPI_MIN(j->n - at, (size_t)PIECE), j->cap);
}

void tlpi_cpu_soft_cap(tlpi_backend *b, float *x, size_t n, float cap)
{
    cap_job j = { tlpi_cpu_of(b)->vec, x, n, cap };

    tlpi_pool_map(tlpi_cpu_of(b)->pool, (int)((n + PIECE - 1) / PIECE),
                  cap_piece, &j);
}
