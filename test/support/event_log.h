/*
 * event_log.h - events of several processes with their times.  Each process
 * writes lines to files of one folder, which survive the process.
 */
#ifndef EVENT_LOG_H
#define EVENT_LOG_H

#include <stdbool.h>

typedef struct log_event {
    double when;     /* CLOCK_MONOTONIC; 0: the event did not happen */
    char status[32]; /* name of a tlp_status */
    char text[512];
} log_event;

double log_now(void);
void log_nap(int ms);

/* The file name rank.N in the folder. */
const char *log_of(int rank);

/* Add a line; text may be "". */
void log_add(const char *folder, const char *file, const char *event,
             const char *status, const char *text);

/* The last event with this name, not after `until`. */
log_event log_find(const char *folder, const char *file, const char *event,
                   double until);

bool log_has(const char *folder, const char *file, const char *event);

#endif
