/*
 * bench_peak.c - multiply-adds a second that this machine's cores could do if
 * nothing had to be loaded, widened or stored.
 *
 *   bench_peak [threads]      JSON; rates are multiply-adds a second
 *
 * A loop of the one instruction that multiplies in our kernels, on registers
 * alone and with a destination of its own each time:
 *
 *   int8  tdpbssd, 16384 in tiles of AMX, vpdpbusd, 64 in 512 bits, or else
 *         vpmaddubsw, 32 in 256 bits
 *   f32   vfmadd231ps, 16 or 8
 *   bf16  tdpbf16ps, 8192, or vdpbf16ps, 32, where there is one
 *
 * Blocks of 32 columns with a scale of their own fill half of what tdpbssd
 * multiplies.
 * What vpmaddubsw gives is 16 bits wide and takes more instructions to be added
 * up in 32: no kernel of any use comes near that peak.  A machine without these
 * instructions prints none.
 */
#include <stdio.h>
#include <stdlib.h>

#include "backend/cpu.h"
#include "base/pool.h"

enum { RUNS = 5, UNROLLED = 12 };

#define SECONDS 0.03 /* of a run, about */

typedef struct kernel {
    const char *number, *instruction;
    int n_mac;           /* of one instruction */
    void (*run)(long n); /* n times UNROLLED instructions */
} kernel;

/* ==== loops ============================================================== */

#if defined(__x86_64__)

#define CLOBBERS                                                               \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",    \
        "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/* Twelve in flight hide a latency of six cycles at two a cycle. */
#define KERNEL(name, instruction, reg)                                         \
    static void name(long n)                                                   \
    {                                                                          \
        __asm__ volatile("vzeroall" ::: CLOBBERS);                             \
        for (long i = 0; i < n; i++)                                           \
            __asm__ volatile(                                                  \
                ".irp k, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n\t" instruction \
                " %%" reg "14, %%" reg "15, %%" reg "\\k\n\t.endr" ::          \
                    : CLOBBERS);                                               \
        __asm__ volatile("vzeroupper" ::: CLOBBERS);                           \
    }

KERNEL(run_maddubs, "vpmaddubsw", "ymm")
KERNEL(run_fma, "vfmadd231ps", "ymm")
KERNEL(run_dpbusd, "vpdpbusd", "zmm")
KERNEL(run_fma512, "vfmadd231ps", "zmm")
KERNEL(run_dpbf16, "vdpbf16ps", "zmm")

/* Six results in flight are more than the machine works on at once. */
#define KERNEL_TILES(name, instruction)                                        \
    static void name(long n)                                                   \
    {                                                                          \
        __asm__ volatile("ldtilecfg %0" ::"m"(whole_tiles));                   \
        for (long i = 0; i < n; i++)                                           \
            __asm__ volatile(                                                  \
                ".irp k, 0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5\n\t" instruction   \
                " %tmm7, %tmm6, %tmm\\k\n\t.endr");                            \
        __asm__ volatile("tilerelease");                                       \
    }

static const struct {
    uint8_t palette, zero[15];
    uint16_t row_bytes[16];
    uint8_t n_row[16];
} whole_tiles = { 1,
                  { 0 },
                  { 64, 64, 64, 64, 64, 64, 64, 64 },
                  { 16, 16, 16, 16, 16, 16, 16, 16 } };

KERNEL_TILES(run_tdpbssd, "tdpbssd")
KERNEL_TILES(run_tdpbf16, "tdpbf16ps")

static int choose(kernel *k)
{
    int n = 0;

    if (tlpi_cpu_detect() == TLP_ISA_AMX && tlpi_cpu_ask_amx()) {
        k[n++] = (kernel){ "int8", "tdpbssd", 16384, run_tdpbssd };
        k[n++] = (kernel){ "f32", "vfmadd231ps", 16, run_fma512 };
        k[n++] = (kernel){ "bf16", "tdpbf16ps", 8192, run_tdpbf16 };
    } else if (__builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512vnni")) {
        k[n++] = (kernel){ "int8", "vpdpbusd", 64, run_dpbusd };
        k[n++] = (kernel){ "f32", "vfmadd231ps", 16, run_fma512 };
        if (__builtin_cpu_supports("avx512bf16"))
            k[n++] = (kernel){ "bf16", "vdpbf16ps", 32, run_dpbf16 };
    } else if (__builtin_cpu_supports("avx2") &&
               __builtin_cpu_supports("fma")) {
        k[n++] = (kernel){ "int8", "vpmaddubsw", 32, run_maddubs };
        k[n++] = (kernel){ "f32", "vfmadd231ps", 8, run_fma };
    }
    return n;
}

#else

static int choose(kernel *k)
{
    (void)k;
    return 0;
}

#endif

/* ==== running ============================================================ */

typedef struct task {
    const kernel *kernel;
    long n;
} task;

static void run_task(void *arg, int ith, int nth)
{
    const task *t = arg;

    (void)ith;
    (void)nth;
    t->kernel->run(t->n);
}

static double seconds_of(tlpi_pool *pool, task *t)
{
    double start = tlpi_now();

    tlpi_pool_map(pool, tlpi_pool_size(pool), run_task, t);
    return tlpi_now() - start;
}

/* Of all threads together; best of RUNS. */
static double rate_of(tlpi_pool *pool, const kernel *k)
{
    task t = { .kernel = k, .n = 1000 };
    double best = 0, seconds;

    while ((seconds = seconds_of(pool, &t)) < SECONDS)
        t.n *= 2;
    for (int i = 0; i < RUNS; i++) {
        double macs = (double)t.n * UNROLLED * k->n_mac;

        seconds = seconds_of(pool, &t);
        best = TLPI_MAX(best, macs * tlpi_pool_size(pool) / seconds);
    }
    return best;
}

int main(int argc, char **argv)
{
    kernel k[3];
    int n = choose(k);
    tlpi_env env;
    tlpi_pool *pool;
    tlpi_pool_options o = { .n_thread =
                                argc > 1 ? atoi(argv[1]) : tlpi_n_cores() };

    o.n_machine = o.n_thread;
    if (tlpi_env_init(&env, NULL, NULL, NULL) ||
        tlpi_pool_create(&pool, &env, &o)) {
        fprintf(stderr, "%s\n", tlp_last_error());
        return 1;
    }
    printf("{\"n_thread\": %d", o.n_thread);
    for (int i = 0; i < n; i++)
        printf(", \"%s\": {\"instruction\": \"%s\", \"rate\": %.4g}",
               k[i].number, k[i].instruction, rate_of(pool, &k[i]));
    printf("}\n");
    tlpi_pool_free(pool);
    return 0;
}
