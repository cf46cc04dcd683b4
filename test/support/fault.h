/*
 * fault.h - cases in which something happens to one of several processes, each
 * a run of test/mpi/faults.c, which writes down what happened and when.
 */
#ifndef FAULT_H
#define FAULT_H

#include "support/event_log.h"
#include "support/mpirun.h"

typedef struct fault {
    int n, victim;           /* processes; the rank it happens to */
    const char *how, *phase; /* as test/mpi/faults.c has them */
    int timeout_ms;
} fault;

/* Of the case at hand: its diaries, and what messages call it. */
extern char fault_dir[], fault_label[64];

/* Seconds are what a busy machine may take from us: a case that is late is
 * tried again, twice.  All else must be right each time. */
void fault_try(void (*run)(const fault *), const fault *f);

void fault_folder(void); /* a new one */
const char *fault_path(const char *name);
void fault_clean(void); /* away with it */
const char *fault_model(void);

/* Runs a case in a new folder; what mpirun started is gone then.  `more`: the
 * end of mpirun's arguments, or NULL. */
spawned fault_play(const fault *f, const char *const more[]);

log_event fault_find(int rank, const char *event);

void fault_in_time(int rank, const char *what, double seconds, double limit);

/* It has got over it: alone with the right logits, nothing kept, ended. */
void fault_expect_well(int rank, const spawned *s);

/* Its call failed with that status, so long after the fault or, if later,
 * after the call. */
void fault_expect_failed(int rank, const char *status, double since,
                         double limit);

#endif
