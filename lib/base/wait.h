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
 * How long one thread spins before it sleeps.  The time adapts to the waits of
 * the thread: it grows after a wait that spinning would have covered, and
 * shrinks after a longer wait, or when the thread lost its core while it spun.
 * A cleared struct never spins.
 */
typedef struct tlpi_spin {
    uint32_t max_ns; /* longest time */
    uint32_t ns;     /* time of the next wait */
    bool fixed;      /* ns stays max_ns */
} tlpi_spin;

/*
 * The spinning of a thread when n_thread threads of the library run at once on
 * n_core cores.  spin_us: 0 = adapts; -1 = never; else a fixed time.  With more
 * threads than cores, spinning only takes time from the thread that is waited
 * for, and the adapting time is 1 us at most.
 */
tlpi_spin tlpi_spin_make(int spin_us, int n_thread, int n_core);

/* Add n and wake the threads whose target may be reached (release). */
void tlpi_word_add(tlpi_word *w, uint32_t n);

/* Whether w has reached `target`, which is less than 2^31 ahead (acquire). */
bool tlpi_word_reached(const tlpi_word *w, uint32_t target);

/*
 * Return true once w has reached `target`, false if `deadline` (tlpi_now()
 * seconds; 0 = never) passes first.  Acquires.  spin is the calling thread's
 * own; NULL: sleep at once.
 */
bool tlpi_word_wait(tlpi_word *w, uint32_t target, tlpi_spin *spin,
                    double deadline);

/*
 * Wait until the time `due` (tlpi_now() seconds), asleep except for the last
 * spin_ns.  Return true early once w has reached `target`, else false.
 */
bool tlpi_word_wait_until(tlpi_word *w, uint32_t target, uint32_t spin_ns,
                          double due);

#endif
