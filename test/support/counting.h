/*
 * counting.h - an allocator that counts, checks sizes and alignment in free,
 * and fails on request.
 */
#ifndef COUNTING_H
#define COUNTING_H

#include <stdatomic.h>

#include "tlp.h"

typedef struct counting {
    _Atomic long calls;    /* calls of alloc, with failed calls */
    _Atomic long fail_at;  /* the call that fails, from 1; 0 = none */
    _Atomic size_t live;   /* bytes not freed */
    _Atomic size_t n_live; /* blocks not freed */
    _Atomic size_t peak;   /* largest single request */
    _Atomic int bad;       /* wrong sizes or addresses */
} counting;

tlp_allocator counting_allocator(counting *c);

#endif
