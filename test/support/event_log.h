/*
 * event_log.h - what happened in several processes and when: each writes lines
 * to files of one folder, which outlive it.
 */
#ifndef EVENT_LOG_H
#define EVENT_LOG_H

#include <stdbool.h>

typedef struct log_event {
    double when;     /* CLOCK_MONOTONIC; 0: it did not happen */
    char status[32]; /* name of a tlp_status */
    char text[512];
} log_event;

double log_now(void);
void log_nap(int ms);

/* The file DIR/rank.N */
const char *log_of(int rank);

/* Add a line; text may be "". */
void log_add(const char *folder, const char *file, const char *event,
             const char *status, const char *text);

/* The last event of that name, not after `until`. */
log_event log_find(const char *folder, const char *file, const char *event,
                   double until);

bool log_has(const char *folder, const char *file, const char *event);

#endif
