/*
 * wait.h - wait for another thread's counter: spin, then sleep.
 *
 * All waiting between threads uses these functions, so that the trade between
 * latency (spinning) and free cores (sleeping) is made in one place.  A word
 * counts how far its thread has come; it only grows, and wraps.
 */
#ifndef TLPI_WAIT_H
#define TLPI_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A cleared struct is a valid start.  The number of sleepers is stored beside
 * the count, so that adding to a word without sleepers needs no system call. */
typedef struct tlpi_word {
    _Atomic uint32_t count;
    _Atomic uint32_t sleepers;
} tlpi_word;

/*
 * Nanoseconds to spin before sleeping, when n_thread threads of the library
 * run at once on this machine.  With more threads than cores, spinning only
 * takes time from the thread that is waited for.
 */
uint32_t tlpi_spin_ns(int n_thread);

/* Add n and wake the threads whose target may be reached (release). */
void tlpi_word_add(tlpi_word *w, uint32_t n);

/*
 * Return true once w has reached `target` (less than 2^31 ahead), false if
 * `deadline` (tlpi_now() seconds; 0 = never) passes first.  Acquires.
 */
bool tlpi_word_wait(tlpi_word *w, uint32_t target, uint32_t spin_ns,
                    double deadline);

/*
 * Wait until the time `due` (tlpi_now() seconds), asleep except for the last
 * spin_ns.  Return true early once w has reached `target`, else false.
 */
bool tlpi_word_wait_until(tlpi_word *w, uint32_t target, uint32_t spin_ns,
                          double due);

#endif
