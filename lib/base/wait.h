/*
 * wait.h - wait for a 32-bit word to change: spin, yield, then sleep.
 *
 * All waiting between threads goes through here, so that the trade between
 * latency (spinning) and politeness (sleeping) is made in one place.
 */
#ifndef TLPI_WAIT_H
#define TLPI_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint32_t tlpi_word;

/*
 * How long to spin before sleeping, in pause instructions.  With more threads
 * than cores spinning only steals time from the one that is waited for.
 */
typedef struct tlpi_patience {
    uint32_t spins;
    uint32_t yields;
} tlpi_patience;

/* For n_thread threads of ours running at once on this machine's cores. */
tlpi_patience tlpi_patience_for(int n_thread);

/*
 * Return once *w != old, or once `deadline` (tlpi_now() seconds; 0 = never)
 * passed: false.  Reading the word acquires.
 */
bool tlpi_wait_change(tlpi_word *w, uint32_t old, tlpi_patience p,
                      double deadline);

/* Wake those asleep on a word that was just changed (release) by the caller. */
void tlpi_wake_all(tlpi_word *w);

#endif
