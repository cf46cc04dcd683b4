/*
 * gpu_plugin.c - finding the CUDA plug-in beside the test program.
 */
#include "gpu_plugin.h"

#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "plugins.h"
#include "spawn.h"
#include "random_weights.h"

static const tlpi_device_ops *ops;

const tlpi_device_ops *gpu_load(void)
{
    char file[4200];

    if (ops)
        return ops;
    snprintf(file, sizeof file, "%s/libtlp_cuda.so", spawn_build_dir());
    bool real = access(file, R_OK) == 0 && access("/dev/nvidiactl", R_OK) == 0;
    if (real) {
        plugin_use("libtlp_cuda.so");
    } else {
        const char *reason = plugin_use_emulated(1);
        cr_assert_null(reason, "%s", reason);
        printf("no GPU, or no plug-in built for it: emulated\n");
    }
    CHECK_OK(tlpi_device_load(&ops, TLP_BACKEND_CUDA));
    return ops;
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
                               .max_terms = 32,
                               .max_attn = 11,
                               .n_seq = GPU_N_SEQ,
                               .n_index = GPU_N_INDEX };

    CHECK_OK(gpu_load()->backend_create(&b, host(), &o, 0));
    return b;
}

tlpi_device_stats gpu_stats(tlpi_backend *b)
{
    tlpi_device_stats s = { 0 };

    CHECK_OK(ops->stats(b, &s));
    return s;
}
