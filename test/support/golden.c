/*
 * golden.c - see golden.h.
 */
#include "golden.h"

#include <stdio.h>
#include <string.h>

tiny_spec golden_wide(tlpi_dtype type)
{
    tiny_spec s = tiny_default();

    s.type = type;
    s.n_embd = 256;
    s.n_ff = 512;
    s.n_head = 8;
    s.n_head_kv = 4;
    s.head_dim = 32;
    return s;
}

/* The type that the name says behind its first bar. */
static tlpi_dtype type_of(const char *name)
{
    const char *at = strchr(name, '-');
    size_t n = at ? strcspn(at + 1, "-") : 0;

    for (uint32_t i = 0; at && i < 64; i++) {
        const tlpi_dtype_info *info = tlpi_dtype_get(i);

        if (info && strlen(info->name) == n &&
            strncmp(info->name, at + 1, n) == 0)
            return (tlpi_dtype)i;
    }
    return TLPI_F32;
}

static void set_scaling(tiny_spec *s, const char *name)
{
    s->rope_freqs = strstr(name, "-freqs");
    s->rope_scale = strstr(name, "-linear") ? 4 : 0;
    s->yarn = strstr(name, "-yarn") ? 4 : 0;
    s->yarn_log = strstr(name, "-yarnlog") ? 1 : 0;
    if (strstr(name, "-long") || strstr(name, "-short"))
        s->long_gain = 1.25f;
    if (strstr(name, "-long") || strstr(name, "-beyond"))
        s->scale_ctx = 8;
}

tiny_spec golden_spec(const char *name)
{
    static char arch[32]; /* the specs of a test have one name at a time */
    tlpi_dtype type = type_of(name);
    tiny_spec s = tiny_default();

    if (tlpi_dtype_get(type)->block == 256)
        s = golden_wide(type);
    snprintf(arch, sizeof arch, "%.*s", (int)strcspn(name, "-"), name);
    for (char *bar = arch; (bar = strchr(bar, '_')) != NULL;)
        *bar = '-';
    s.arch = arch;
    s.type = type;
    s.tied = strstr(name, "-tied");
    s.all_windows = strstr(name, "-window");
    if (!s.all_windows && strncmp(arch, "gemma", 5) != 0 &&
        strcmp(arch, "gpt-oss") != 0)
        s.window = 0;
    if (strstr(name, "-head24"))
        s.head_dim = 24;
    s.raw_weights = strstr(name, "-raw");
    if (strstr(name, "-experts")) {
        s.n_expert = 5;
        s.n_used = 2;
    }
    s.logit_cap = strstr(name, "-capped") ? 1.5f : 0;
    set_scaling(&s, name);
    return s;
}
