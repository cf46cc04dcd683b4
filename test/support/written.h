/*
 * written.h - for calls that write a file: what stands beside it, and how the
 * call reports its progress.
 */
#ifndef WRITTEN_H
#define WRITTEN_H

#include <stdbool.h>

/* Entries in the folder of a file. */
int written_n_beside(const char *path);

typedef struct written_meter {
    int calls, cancel_at; /* 0 = never */
    double last;
    bool backwards; /* progress fell, or passed 1 */
} written_meter;

/* tlp_progress_fn; user_data: a written_meter. */
int written_count(double done, void *user_data);

#endif
