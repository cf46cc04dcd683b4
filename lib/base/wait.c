/*
 * wait.c - spinning and sleeping on a counter.
 *
 * On Linux the sleep is a futex, on other systems a series of short naps.  A
 * sleeper first counts itself and then reads the word; a waker first changes
 * the word and then reads the number of sleepers.  All four accesses are
 * sequentially consistent, so at least one of the two threads sees the other.
 *
 * There is no sched_yield between spinning and sleeping.  On a busy machine it
 * gives the core to another process for a whole time slice, while a sleeping
 * thread that is woken runs again at once.
 */
#include "base/wait.h"

#include <limits.h>
#include <time.h>

#include "base/base.h"
#include "base/pool.h"

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define SPIN_ROUND 64 /* pauses between two readings of the clock */

/* seconds; longest single sleep, which every time_t can hold */
#define NAP_MAX 3600.0

static void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    /* `yield` is a no-op on most ARM cores */
    __asm__ __volatile__("isb" ::: "memory");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static bool has_reached(uint32_t count, uint32_t target)
{
    return (int32_t)(count - target) >= 0;
}

static bool look(tlpi_word *w, uint32_t target)
{
    return has_reached(atomic_load_explicit(&w->count, memory_order_acquire),
                       target);
}

static struct timespec to_timespec(double seconds)
{
    time_t whole = (time_t)seconds;
    return (struct timespec){
        .tv_sec = whole,
        .tv_nsec = (long)((seconds - (double)whole) * 1e9),
    };
}

#ifdef __linux__

static void sleep_on(tlpi_word *w, uint32_t seen, double seconds)
{
    struct timespec t = to_timespec(seconds);
    syscall(SYS_futex, &w->count, FUTEX_WAIT_PRIVATE, seen, &t, NULL, 0);
}

static void wake(tlpi_word *w)
{
    syscall(SYS_futex, &w->count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

#else

static void sleep_on(tlpi_word *w, uint32_t seen, double seconds)
{
    struct timespec t = to_timespec(TLPI_MIN(seconds, 100e-6));
    (void)w;
    (void)seen;
    nanosleep(&t, NULL);
}

static void wake(tlpi_word *w)
{
    (void)w;
}

#endif

uint32_t tlpi_spin_ns(int n_thread)
{
    return n_thread > tlpi_n_cores() ? 1000 : 100 * 1000;
}

void tlpi_word_add(tlpi_word *w, uint32_t n)
{
    atomic_fetch_add(&w->count, n);
    if (atomic_load(&w->sleepers) != 0)
        wake(w);
}

static bool spin(tlpi_word *w, uint32_t target, uint32_t spin_ns)
{
    double end = 0;

    for (;;) {
        for (int i = 0; i < SPIN_ROUND; i++) {
            if (look(w, target))
                return true;
            cpu_relax();
        }
        double now = tlpi_now();
        if (end == 0)
            end = now + spin_ns * 1e-9;
        if (now >= end)
            return false;
    }
}

bool tlpi_word_wait(tlpi_word *w, uint32_t target, uint32_t spin_ns,
                    double deadline)
{
    if (look(w, target) || (spin_ns > 0 && spin(w, target, spin_ns)))
        return true;

    atomic_fetch_add(&w->sleepers, 1);
    bool there;
    for (;;) {
        uint32_t seen = atomic_load(&w->count);
        there = has_reached(seen, target);
        if (there)
            break;
        double left = NAP_MAX;
        if (deadline != 0) {
            left = deadline - tlpi_now();
            if (left <= 0)
                break;
        }
        sleep_on(w, seen, TLPI_MIN(left, NAP_MAX));
    }
    atomic_fetch_sub(&w->sleepers, 1);
    return there;
}

/* The system wakes a sleeper some 60 us late, so the end of the wait is spun
 * where the caller allows that much spinning. */
bool tlpi_word_wait_until(tlpi_word *w, uint32_t target, uint32_t spin_ns,
                          double due)
{
    double sleep_end = due - spin_ns * 1e-9;

    if (tlpi_now() < sleep_end && tlpi_word_wait(w, target, 0, sleep_end))
        return true;
    while (!look(w, target)) {
        if (tlpi_now() >= due)
            return false;
        for (int i = 0; i < SPIN_ROUND; i++)
            cpu_relax();
    }
    return true;
}
