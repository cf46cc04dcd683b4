/*
 * replace.h - a file that is written in pieces and takes the place of an old
 * one at the end, or never.
 */
#ifndef TLPI_REPLACE_H
#define TLPI_REPLACE_H

#include "base/base.h"

typedef struct tlpi_replace {
    const char *path; /* borrowed */
    tlpi_text temp;   /* name beside it, of the file that is written */
    int fd;
    bool created; /* it is there, under that name; else it has none yet */
} tlpi_replace;

/*
 * Begin; what `path` names already must be a regular file.  n_bytes are known
 * to come (0: unknown): a disk without room for them is told at once, where
 * the system can.  Follow with tlpi_replace_end also on failure.
 */
tlp_status tlpi_replace_begin(tlpi_replace *r, const tlpi_env *env,
                              const char *path, uint64_t n_bytes);
tlp_status tlpi_replace_write(tlpi_replace *r, const void *data, size_t n);
/* All is written: put it onto the disk.  What can run out has run out now. */
tlp_status tlpi_replace_sync(tlpi_replace *r);
/* Put it under its name, onto the disk before if it is not yet. */
tlp_status tlpi_replace_commit(tlpi_replace *r);
/* Forget it; without a commit before, nothing has changed. */
void tlpi_replace_end(tlpi_replace *r);

#endif
