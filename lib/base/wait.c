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

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define SPIN_ROUND 64 /* pauses between two readings of the clock */

/* nanoseconds: the longest spinning, that with more threads than cores, and the
 * least to which spinning adapts */
#define SPIN_MOST (100 * 1000)
#define SPIN_CROWDED 1000
#define SPIN_LEAST 2000

/* seconds between two readings of the clock: the spinning thread was off its
 * core */
#define LOST_CORE 100e-6

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

bool tlpi_word_reached(const tlpi_word *w, uint32_t target)
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

tlpi_spin tlpi_spin_make(int spin_us, int n_thread, int n_core)
{
    uint32_t ns = n_thread > n_core ? SPIN_CROWDED : SPIN_MOST;

    if (spin_us != 0)
        ns = spin_us < 0 ? 0 : (uint32_t)spin_us * 1000;
    return (tlpi_spin){ .max_ns = ns,
                        .ns = ns,
                        .fixed = spin_us != 0 || n_thread > n_core };
}

void tlpi_word_add(tlpi_word *w, uint32_t n)
{
    atomic_fetch_add(&w->count, n);
    if (atomic_load(&w->sleepers) != 0)
        wake(w);
}

static void lengthen(tlpi_spin *spin)
{
    if (!spin->fixed)
        spin->ns = TLPI_MIN(spin->max_ns, 2 * spin->ns);
}

static void shorten(tlpi_spin *spin, uint32_t ns)
{
    if (!spin->fixed)
        spin->ns = TLPI_MAX(ns, SPIN_LEAST);
}

/* Spin; *start gets the time of the first reading of the clock. */
static bool spin_on(const tlpi_word *w, uint32_t target, tlpi_spin *spin,
                    double *start)
{
    double last = 0;

    for (;;) {
        for (int i = 0; i < SPIN_ROUND; i++) {
            if (tlpi_word_reached(w, target)) {
                lengthen(spin);
                return true;
            }
            cpu_relax();
        }
        double now = tlpi_now();
        if (last == 0)
            *start = now;
        else if (now - last > LOST_CORE) {
            shorten(spin, 0);
            return false;
        }
        if (now - *start >= spin->ns * 1e-9)
            return false;
        last = now;
    }
}

static bool sleep_until(tlpi_word *w, uint32_t target, double deadline)
{
    bool there;

    atomic_fetch_add(&w->sleepers, 1);
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

bool tlpi_word_wait(tlpi_word *w, uint32_t target, tlpi_spin *spin,
                    double deadline)
{
    double start = 0;

    if (tlpi_word_reached(w, target))
        return true;
    if (!spin || spin->ns == 0)
        return sleep_until(w, target, deadline);
    if (spin_on(w, target, spin, &start))
        return true;
    bool there = sleep_until(w, target, deadline);
    if (tlpi_now() - start <= spin->max_ns * 1e-9)
        lengthen(spin);
    else
        shorten(spin, spin->ns / 2);
    return there;
}

/* The system wakes a sleeper some 60 us late, so the end of the wait is spun
 * where the caller allows that much spinning. */
bool tlpi_word_wait_until(tlpi_word *w, uint32_t target, uint32_t spin_ns,
                          double due)
{
    double sleep_end = due - spin_ns * 1e-9;

    if (tlpi_now() < sleep_end && tlpi_word_wait(w, target, NULL, sleep_end))
        return true;
    while (!tlpi_word_reached(w, target)) {
        if (tlpi_now() >= due)
            return false;
        for (int i = 0; i < SPIN_ROUND; i++)
            cpu_relax();
    }
    return true;
}
