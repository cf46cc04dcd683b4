/*
 * mem.h - an allocator for tests: counts what is alive, fails when told, and
 * keeps to a budget.  Any thread.
 */
#ifndef MEM_H
#define MEM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "tlp.h"

typedef struct mem {
    /* set before use */
    long fail_at;    /* the call that fails, from 1; 0 = none                */
    bool fail_after; /* and all calls behind it                              */
    size_t budget;   /* bytes alive at once; 0 = unlimited                   */
    /* counted */
    _Atomic long calls, live, failed;
    _Atomic size_t bytes, peak;
} mem;

/* The hooks; *m must outlive what is made with them. */
tlp_allocator mem_hooks(mem *m);

#endif
