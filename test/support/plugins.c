/*
 * plugins.c - choosing the GPU plug-in that the library finds.
 */
#include "support/plugins.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/spawn.h"
#include "support/tiny.h"

/* The folder that the library searches. */
static const char *folder(void)
{
    static char path[PATH_MAX];
    const char *inside = tiny_path("plugin");

    snprintf(path, sizeof path, "%.*s", (int)(strrchr(inside, '/') - inside),
             inside);
    return path;
}

void plugin_use(const char *target)
{
    char from[PATH_MAX], to[PATH_MAX + 32];

    snprintf(from, sizeof from, "%s/%s", spawn_build_dir(), target);
    snprintf(to, sizeof to, "%s/libtlp_cuda.so", folder());
    cr_assert_eq(access(from, F_OK), 0, "%s", from);
    unlink(to);
    cr_assert_eq(symlink(from, to), 0, "%s", to);
    setenv("TLP_PLUGIN_PATH", folder(), 1);
}

const char *plugin_use_emulated(int n_device)
{
    char path[PATH_MAX], number[16];

    snprintf(path, sizeof path, "%s/emu/libtlp_cuda.so", spawn_build_dir());
    if (access(path, F_OK) != 0)
        return "there is no emulated GPU in this build";
    snprintf(number, sizeof number, "%d", n_device);
    setenv("TLP_EMU_DEVICES", number, 1);
    /* without it tests would use an installed NCCL */
    setenv("TLP_NCCL", "/nowhere", 1);
    setenv("TLP_EMU_LOADED", "1", 1);
    plugin_use("emu/libtlp_cuda.so");
    return NULL;
}
