/*
 * counted.h - sessions that take their memory from an allocator of a test.
 */
#ifndef COUNTED_H
#define COUNTED_H

#include "mem.h"
#include "rig.h"

/* A rig whose model, plan and session use *m, which outlives them. */
rig counted_open(mem *m, const char *path, const char *plan,
                 const tlp_session_options *opts);

/* Bytes that the session's allocator has out.  Ranks give memory back after the
 * call that frees it has returned, so this waits for all ranks. */
size_t counted_bytes(const rig *r, mem *m);

#endif
