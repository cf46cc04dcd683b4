/*
 * replace.h - a file that is written in pieces and replaces an old file when
 * complete, or never.
 */
#ifndef TLPI_REPLACE_H
#define TLPI_REPLACE_H

#include "base/base.h"

typedef struct tlpi_replace {
    const char *path; /* borrowed */
    tlpi_text temp;   /* temporary name of the new file */
    int fd;
    bool created; /* the temporary name exists; else the file has no name yet */
} tlpi_replace;

/*
 * Begin.  An existing `path` must be a regular file. n_bytes: expected size
 * (0: unknown); where the system can reserve it, a full disk fails here.  Call
 * tlpi_replace_end afterwards, also on failure.
 */
tlp_status tlpi_replace_begin(tlpi_replace *r, const tlpi_env *env,
                              const char *path, uint64_t n_bytes);
tlp_status tlpi_replace_write(tlpi_replace *r, const void *data, size_t n);
/* After the last write: sync the file, so that errors of a full disk show
 * here. */
tlp_status tlpi_replace_sync(tlpi_replace *r);
/* Rename the new file to `path`; syncs it first if that was not done. */
tlp_status tlpi_replace_commit(tlpi_replace *r);
/* Free everything; without a commit the old file is unchanged. */
void tlpi_replace_end(tlpi_replace *r);

#endif
