/*
 * counting.h - an allocator hook that counts, checks sizes and alignment on
 * the way back, and fails when told to.
 */
#ifndef COUNTING_H
#define COUNTING_H

#include <stdatomic.h>

#include "tlp.h"

typedef struct counting {
    _Atomic long calls;    /* of alloc, failed ones included */
    _Atomic long fail_at;  /* the call that fails, from 1; 0 = none */
    _Atomic size_t live;   /* bytes not given back */
    _Atomic size_t n_live; /* blocks not given back */
    _Atomic size_t peak;   /* largest single request */
    _Atomic int bad;       /* sizes or addresses that were wrong */
} counting;

tlp_allocator counting_allocator(counting *c);

#endif
