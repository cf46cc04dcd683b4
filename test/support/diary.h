/*
 * diary.h - what happened in several processes and when: each writes lines to
 * files of one folder, which outlive it.
 */
#ifndef DIARY_H
#define DIARY_H

#include <stdbool.h>

typedef struct diary_event {
    double when;     /* CLOCK_MONOTONIC; 0: it did not happen */
    char status[32]; /* name of a tlp_status */
    char text[512];
} diary_event;

double diary_now(void);
void diary_nap(int ms);

/* The file DIR/rank.N */
const char *diary_of(int rank);

/* Add a line; text may be "". */
void diary_add(const char *folder, const char *file, const char *event,
               const char *status, const char *text);

/* The last event of that name, not after `until`. */
diary_event diary_find(const char *folder, const char *file, const char *event,
                       double until);

bool diary_has(const char *folder, const char *file, const char *event);

#endif
