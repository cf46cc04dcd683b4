/*
 * cores.h - the cores that a thread may use, and binding threads to them.
 */
#ifndef TLPI_CORES_H
#define TLPI_CORES_H

#include <pthread.h>

#include "base/base.h"

enum { TLPI_MAX_THREAD = 256 }; /* of a pool */

/*
 * Number of CPUs that the calling thread may keep busy, at least 1: the CPUs of
 * its affinity mask, or fewer where a quota of its control groups allows less
 * time.  Bindings by this library count, so ask on a thread of the host.
 */
int tlpi_n_cores(void);

/*
 * CPU time per time that the control groups of the calling thread allow, the
 * least over all levels of both versions of control groups; INFINITY without a
 * quota.  root is put before every path: "" on a real system.
 */
double tlpi_cpu_quota(const char *root);

/* The cores of the affinity mask of the thread that makes the object. */
typedef struct tlpi_cores tlpi_cores;

/* TLP_OK with *out NULL, and a warning in the log, where the system does not
 * say what cores there are. */
tlp_status tlpi_cores_create(tlpi_cores **out, const tlpi_env *env);
void tlpi_cores_free(tlpi_cores *cores); /* NULL is allowed */

/* Bind a thread to a core, counted modulo the number of cores.  A failure is
 * logged and ignored.  Several threads may call this at once. */
void tlpi_cores_bind(const tlpi_cores *cores, const tlpi_env *env,
                     pthread_t thread, int core);

#endif
