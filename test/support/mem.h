/*
 * mem.h - an allocator for tests: counts live memory, fails on request, and
 * keeps to a budget.  Any thread may use it.
 */
#ifndef MEM_H
#define MEM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "tlp.h"

typedef struct mem {
    /* set before use */
    long fail_at;    /* the call that fails, from 1; 0 = none                */
    bool fail_after; /* also fail all later calls */
    size_t budget;   /* live bytes; 0 = unlimited */
    /* counters */
    _Atomic long calls, live, failed;
    _Atomic size_t bytes, peak;
} mem;

/* Hooks for the library; *m must outlive all objects made with them. */
tlp_allocator mem_hooks(mem *m);

#endif
