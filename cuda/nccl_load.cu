/*
 * nccl_load.cu - finding libnccl.so.2 and its functions.
 *
 * The library stays loaded, because it has threads of its own.  TLP_NCCL names
 * the file; without it the system's search decides.
 */
#include "nccl_api.h"
#include "base/number.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tlpi_nccl_lib lib;
static bool loaded;

const tlpi_nccl_lib *tlpi_nccl_get(void)
{
    return loaded ? &lib : NULL;
}

/* Format 21701 as "2.17.1"; versions before 2.9 used smaller numbers. */
static void format_version(int v, char *text, size_t size)
{
    int major = v >= 10000 ? v / 10000 : v / 1000;
    int rest = v >= 10000 ? v % 10000 : v % 1000;

    snprintf(text, size, "%d.%d.%d", major, rest / 100, rest % 100);
}

static tlp_status find_functions(void *file, const char *name,
                                 tlpi_nccl_lib *out)
{
    char version[32];

    *(void **)&out->GetVersion = dlsym(file, "ncclGetVersion");
    if (!out->GetVersion || out->GetVersion(&out->version) != TLPI_NCCL_SUCCESS)
        return tlpi_gpu_fail(TLP_ENOTSUP, "%s is not NCCL", name);
    format_version(out->version, version, sizeof version);
    if (out->version < TLPI_NCCL_NEEDED)
        return tlpi_gpu_fail(
            TLP_ENOTSUP, "%s: NCCL %s, at least 2.18 is needed", name, version);
#define X(type, fn, args)                                                      \
    *(void **)&out->fn = dlsym(file, "nccl" #fn);                              \
    if (!out->fn)                                                              \
        return tlpi_gpu_fail(TLP_ENOTSUP, "%s: NCCL %s has no nccl%s", name,   \
                             version, #fn);
    TLPI_NCCL_API(X)
#undef X
#define X(type, fn, args) *(void **)&out->fn = dlsym(file, "nccl" #fn);
    TLPI_NCCL_WINDOW_API(X)
#undef X
    return TLP_OK;
}

static tlp_status load(void)
{
    const char *name = secure_getenv("TLP_NCCL");
    tlpi_nccl_lib found = {};

    if (!name || !*name)
        name = "libnccl.so.2";
    void *file = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!file) {
        tlpi_locale l = tlpi_locale_begin(); /* texts of the loader */
        tlp_status failed = tlpi_gpu_fail(TLP_ENOTSUP, "NCCL: %s", dlerror());
        tlpi_locale_end(l);
        return failed;
    }
    tlp_status st = find_functions(file, name, &found);
    if (st != TLP_OK) {
        dlclose(file);
        return st;
    }
    lib = found;
    loaded = true;
    return TLP_OK;
}

tlp_status tlpi_nccl_open(int *version)
{
    tlp_status st = TLP_OK;

    pthread_mutex_lock(&lock);
    if (!loaded)
        st = load();
    *version = st == TLP_OK ? lib.version : 0;
    pthread_mutex_unlock(&lock);
    return st;
}

bool tlpi_nccl_has_windows(void)
{
    const char *text = getenv("TLP_CUDA_WINDOWS");

    return loaded && !(text && strcmp(text, "0") == 0) && lib.MemAlloc &&
           lib.MemFree && lib.CommWindowRegister && lib.CommWindowDeregister;
}
