/*
 * processes.h - processes that a test did not start itself, by their arguments.
 */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <stdbool.h>
#include <sys/types.h>

#define PROCESSES_MAX 16

/* Processes with `needle` among their arguments, up to PROCESSES_MAX. */
int processes_find(const char *needle, pid_t pids[PROCESSES_MAX]);

/* The one that mpirun made this rank of a job; 0 = none. */
pid_t processes_rank(const char *needle, int rank);

/* Wait until this many processes have it; false after `seconds`. */
bool processes_wait(const char *needle, int count, double seconds);

/* End those that are left; how many there were. */
int processes_kill(const char *needle);

#endif
