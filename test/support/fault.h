/*
 * fault.h - cases in which one of several processes fails or is cut off.  Each
 * case is a run of test/mpi/faults.c, which logs events with their times.
 */
#ifndef FAULT_H
#define FAULT_H

#include "support/event_log.h"
#include "support/mpirun.h"

typedef struct fault {
    int n, victim;           /* processes; rank of the process that fails */
    const char *how, *phase; /* words of test/mpi/faults.c */
    int timeout_ms;
} fault;

/* Of the current case: the folder of its logs, and its name in messages. */
extern char fault_dir[], fault_label[64];

/* Run a case.  A busy machine can make a case late: then it is tried again, at
 * most twice.  All other checks must pass every time. */
void fault_try(void (*run)(const fault *), const fault *f);

void fault_folder(void); /* create a new folder */
const char *fault_path(const char *name);
void fault_clean(void); /* remove the folder */
const char *fault_model(void);

/* Run a case in a new folder; no process remains afterwards.  `more`: the end
 * of mpirun's arguments, or NULL. */
spawned fault_play(const fault *f, const char *const more[]);

log_event fault_find(int rank, const char *event);

void fault_in_time(int rank, const char *what, double seconds, double limit);

/* Expect that the rank recovered: it ran alone with the right logits, freed
 * its memory, and ended. */
void fault_expect_well(int rank, const spawned *s);

/* Expect that the rank's call failed with this status, within `limit` seconds
 * after the fault or, if later, after the call. */
void fault_expect_failed(int rank, const char *status, double since,
                         double limit);

#endif
