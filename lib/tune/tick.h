/*
 * tick.h - a call between pieces of long work: it reports progress, and ends
 * the work with a status other than TLP_OK.
 */
#ifndef TLPI_TICK_H
#define TLPI_TICK_H

#include "base/base.h"

typedef struct tlpi_tick {
    tlp_status (*fn)(void *arg);
    void *arg;
} tlpi_tick;

static inline tlp_status tlpi_tick_call(const tlpi_tick *t)
{
    return t->fn(t->arg);
}

#endif
