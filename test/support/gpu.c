/*
 * gpu.c - finding the CUDA plug-in beside the test program.
 */
#include "gpu.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "weights.h"

static const tlpi_device_ops *ops;
static bool real;

/* build/test/test_x stands beside build/libtlp_cuda.so, build/emu/... */
static void folder(char *out, size_t size, const char *below)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

    cr_assert(n > 0);
    path[n] = '\0';
    snprintf(out, size, "%.3000s%s", dirname(dirname(path)), below);
}

const tlpi_device_ops *gpu_load(void)
{
    char path[4096], file[4200];

    if (ops)
        return ops;
    folder(path, sizeof path, "");
    snprintf(file, sizeof file, "%s/libtlp_cuda.so", path);
    real = access(file, R_OK) == 0 && access("/dev/nvidiactl", R_OK) == 0;
    if (!real)
        folder(path, sizeof path, "/emu");
    setenv("TLP_PLUGIN_PATH", path, 1);
    CHECK_OK(tlpi_device_load(&ops, TLP_BACKEND_CUDA));
    if (!real)
        printf("no GPU, or no plug-in built for it: emulated\n");
    return ops;
}

bool gpu_is_real(void)
{
    return real;
}

static const tlpi_env *host(void)
{
    static tlpi_env env;

    if (!env.mem.alloc)
        CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    return &env;
}

tlpi_backend *gpu_backend(int compute)
{
    tlpi_backend *b = NULL;
    tlpi_backend_options o = { .n_thread = 1,
                               .n_machine = 1,
                               .compute = compute,
                               .max_tok = WEIGHTS_MAX_TOK,
                               .max_cols = WEIGHTS_MAX_COLS,
                               .max_terms = 32 };

    CHECK_OK(gpu_load()->backend_create(&b, host(), &o, 0));
    return b;
}

tlpi_device_stats gpu_stats(tlpi_backend *b)
{
    tlpi_device_stats s = { 0 };

    CHECK_OK(ops->stats(b, &s));
    return s;
}
