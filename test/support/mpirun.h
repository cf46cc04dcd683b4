/*
 * mpirun.h - run a program of the build folder in several processes.
 */
#ifndef MPIRUN_H
#define MPIRUN_H

#include <stdbool.h>

#include "support/spawn.h"

typedef struct mpirun_options {
    int n;                   /* processes */
    int limit_s;             /* then all are killed, status 124; 0 = 60 */
    bool recovery;           /* the others live on when one dies */
    const char *const *more; /* further options of mpirun, or NULL */
    const char *interrupt;   /* SIGINT to mpirun once this file is there; it
                                then has two seconds to end everything */
} mpirun_options;

/* NULL, or why mpirun cannot be used here. */
const char *mpirun_missing(void);

/* LeakSanitizer then ignores what Open MPI never frees, in all programs that
 * this process starts. */
void mpirun_allow_leaks(void);

/*
 * mpirun with `argv`, whose first element is a path below the build folder, in
 * all processes.  Nothing that it started is left when it returns.  The status
 * is mpirun's: not 0 when one of the processes failed.  Free the result with
 * spawn_free.
 */
spawned mpirun(const mpirun_options *opts, const char *const argv[]);

#define MPIRUN(n_process, ...)                                                 \
    mpirun(&(mpirun_options){ .n = (n_process) },                              \
           (const char *const[]){ __VA_ARGS__, NULL })

/* First in a test that needs it: skips with the reason, or prepares the
 * programs with MPI that the test starts. */
#define MPIRUN_OR_SKIP()                                                       \
    do {                                                                       \
        const char *reason = mpirun_missing();                                 \
        if (reason)                                                            \
            cr_skip_test("%s", reason);                                        \
        mpirun_allow_leaks();                                                  \
    } while (0)

#endif
