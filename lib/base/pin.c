/*
 * pin.c - the cores of this machine, and binding threads to them.
 *
 * The allowed cores are read from the affinity mask of the process's main
 * thread.  The library binds only its own threads, so this mask stays as the
 * host program or taskset set it.
 */
#include <hwloc.h>
#include <sched.h>
#include <unistd.h>

#include "base/pool.h"

int tlpi_n_cores(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(getpid(), sizeof set, &set) == 0)
        return TLPI_MAX(CPU_COUNT(&set), 1);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (int)TLPI_MIN(n, 1L << 20);
}

/* Load cores only, and of these only the allowed ones. */
static bool load(hwloc_topology_t *out)
{
    hwloc_topology_t t;
    if (hwloc_topology_init(&t) != 0)
        return false;

    hwloc_topology_set_all_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(t, HWLOC_OBJ_CORE,
                                   HWLOC_TYPE_FILTER_KEEP_ALL);
    if (hwloc_topology_load(t) != 0) {
        hwloc_topology_destroy(t);
        return false;
    }
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    if (allowed &&
        hwloc_get_proc_cpubind(t, getpid(), allowed, HWLOC_CPUBIND_THREAD) == 0)
        hwloc_topology_restrict(t, allowed, 0); /* on failure: all cores */
    hwloc_bitmap_free(allowed);
    *out = t;
    return true;
}

void tlpi_pin_threads(const tlpi_env *env, const pthread_t *threads, int n,
                      int first)
{
    hwloc_topology_t t;
    if (!load(&t)) {
        tlpi_log(env, TLP_LOG_WARN, "threads not bound: no topology");
        return;
    }
    hwloc_obj_type_t type = HWLOC_OBJ_CORE;
    int n_core = hwloc_get_nbobjs_by_type(t, type);
    if (n_core < 1) { /* some virtual machines report no cores */
        type = HWLOC_OBJ_PU;
        n_core = hwloc_get_nbobjs_by_type(t, type);
    }
    for (int i = 0; i < n && n_core > 0; i++) {
        unsigned core = ((unsigned)first + (unsigned)i) % (unsigned)n_core;
        hwloc_obj_t obj = hwloc_get_obj_by_type(t, type, core);
        if (!obj || hwloc_set_thread_cpubind(t, threads[i], obj->cpuset, 0))
            tlpi_log(env, TLP_LOG_WARN, "thread not bound to core %u of %d",
                     core, n_core);
    }
    hwloc_topology_destroy(t);
}

void tlpi_pin_self(const tlpi_env *env, int core)
{
    pthread_t self = pthread_self();
    tlpi_pin_threads(env, &self, 1, core);
}
