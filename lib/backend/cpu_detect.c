/*
 * cpu_detect.c - the instruction sets of this machine.
 */
#include "backend/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Some compilers' __builtin_cpu_supports does not know "f16c". */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           has_f16c();
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

bool tlpi_cpu_has_bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

/* Linux gives tile registers only to processes that ask for them. */
#if defined(__linux__) && defined(SYS_arch_prctl)
enum { SUPPORTED = 0x1021, ASK = 0x1023, TILE_DATA = 18 };

static bool has_tiles(void)
{
    uint64_t features = 0;
    return syscall(SYS_arch_prctl, SUPPORTED, &features) == 0 &&
           features >> TILE_DATA & 1;
}

bool tlpi_cpu_ask_amx(void)
{
    return syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
}
#else
static bool has_tiles(void)
{
    return false;
}

bool tlpi_cpu_ask_amx(void)
{
    return false;
}
#endif

/* Some compilers' __builtin_cpu_supports does not know AMX. */
static bool has_amx(void)
{
    enum { BF16 = 1 << 22, TILE = 1 << 24, INT8 = 1 << 25 };
    unsigned a, b, c, d, all = BF16 | TILE | INT8;
    return tlpi_cpu_has_bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
           (d & all) == all && has_tiles();
}
#else
static bool has_avx2(void)
{
    return false;
}

static bool has_avx512(void)
{
    return false;
}

bool tlpi_cpu_has_bf16(void)
{
    return false;
}

static bool has_amx(void)
{
    return false;
}

bool tlpi_cpu_ask_amx(void)
{
    return false;
}
#endif

int tlpi_cpu_detect(void)
{
    return has_amx()      ? TLP_ISA_AMX
           : has_avx512() ? TLP_ISA_AVX512
           : has_avx2()   ? TLP_ISA_AVX2
                          : TLP_ISA_SCALAR;
}

tlp_status tlpi_cpu_choose_isa(int asked, int *isa)
{
    int here = tlpi_cpu_detect();

    if (asked > here)
        return tlpi_fail(TLP_ENOTSUP, "isa %d asked for, this machine has %s",
                         asked, tlpi_cpu_best_isa());
    *isa = asked == TLP_ISA_AUTO ? here : asked;
    return TLP_OK;
}

const char *tlpi_cpu_best_isa(void)
{
    switch (tlpi_cpu_detect()) {
    case TLP_ISA_AMX:
        return "amx";
    case TLP_ISA_AVX512:
        return "avx512";
    case TLP_ISA_AVX2:
        return "avx2";
    default:
        return "scalar";
    }
}

const char *tlpi_cpu_float_kernels(int isa)
{
    switch (isa == TLP_ISA_AUTO ? tlpi_cpu_detect() : isa) {
    case TLP_ISA_AMX: /* has those of AVX-512 */
    case TLP_ISA_AVX512:
        return "avx512";
    case TLP_ISA_AVX2:
        return "avx2";
    default:
        return "scalar";
    }
}
