/*
 * cores.c - the cores that a thread may use, and binding threads to them.
 */
#include "base/cores.h"

#include <hwloc.h>
#include <math.h>
#include <sched.h>
#include <unistd.h>

/* ==== counting =========================================================== */

#ifdef __linux__

/* CPUs of the largest mask that is tried; Linux has at most 8192 today. */
#define MASK_MOST (1 << 20)

/* CPUs in the calling thread's mask; 0 if the system does not say.  The kernel
 * refuses a mask that is shorter than its own. */
static int count_mask(void)
{
    int n = 0;

    for (int size = 1024; n == 0 && size <= MASK_MOST; size *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)size);
        size_t bytes = CPU_ALLOC_SIZE((size_t)size);

        if (!set)
            return 0;
        if (sched_getaffinity(0, bytes, set) == 0)
            n = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
    }
    return n;
}

#else

static int count_mask(void)
{
    return 0;
}

#endif

int tlpi_n_cores(void)
{
    long n = count_mask();

    if (n < 1)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    n = n < 1 ? 1 : TLPI_MIN(n, 1L << 20);
    double quota = ceil(tlpi_cpu_quota(""));
    return quota < (double)n ? TLPI_MAX((int)quota, 1) : (int)n;
}

int32_t tlp_default_threads(void)
{
    return TLPI_MIN(tlpi_n_cores(), TLPI_MAX_THREAD);
}

/* ==== binding ============================================================ */

struct tlpi_cores {
    const tlpi_env *env;
    hwloc_topology_t topology;
    hwloc_obj_type_t type; /* of a core */
    int n;
};

/* Load cores only, and of these only the allowed ones. */
static bool load(hwloc_topology_t *out)
{
    hwloc_topology_t t;
    if (hwloc_topology_init(&t) != 0)
        return false;

    hwloc_topology_set_all_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(t, HWLOC_OBJ_CORE,
                                   HWLOC_TYPE_FILTER_KEEP_ALL);
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    bool ok = allowed && hwloc_topology_load(t) == 0 &&
              hwloc_get_cpubind(t, allowed, HWLOC_CPUBIND_THREAD) == 0 &&
              hwloc_topology_restrict(t, allowed, 0) == 0;
    hwloc_bitmap_free(allowed);
    if (ok)
        *out = t;
    else
        hwloc_topology_destroy(t);
    return ok;
}

tlp_status tlpi_cores_create(tlpi_cores **out, const tlpi_env *env)
{
    tlpi_cores *c = tlpi_calloc(env, 1, sizeof *c);

    *out = NULL;
    if (!c)
        return tlpi_fail_nomem_for("the cores of threads");
    c->env = env;
    if (!load(&c->topology)) {
        tlpi_log(env, TLP_LOG_WARN, "threads not bound: no topology");
        tlpi_free(env, c);
        return TLP_OK;
    }
    c->type = HWLOC_OBJ_CORE;
    c->n = hwloc_get_nbobjs_by_type(c->topology, c->type);
    if (c->n < 1) { /* some virtual machines report no cores */
        c->type = HWLOC_OBJ_PU;
        c->n = hwloc_get_nbobjs_by_type(c->topology, c->type);
    }
    *out = c;
    return TLP_OK;
}

void tlpi_cores_free(tlpi_cores *c)
{
    if (!c)
        return;
    hwloc_topology_destroy(c->topology);
    tlpi_free(c->env, c);
}

void tlpi_cores_bind(const tlpi_cores *c, const tlpi_env *env, pthread_t thread,
                     int core)
{
    if (c->n < 1)
        return;
    unsigned i = (unsigned)core % (unsigned)c->n;
    hwloc_obj_t obj = hwloc_get_obj_by_type(c->topology, c->type, i);
    if (!obj || hwloc_set_thread_cpubind(c->topology, thread, obj->cpuset, 0))
        tlpi_log(env, TLP_LOG_WARN, "thread not bound to core %u of %d", i,
                 c->n);
}
