/*
 * bandwidth.c - measure the rate at which threads of this machine read memory.
 *
 * Threads add up the words of a buffer that is far larger than the caches.
 * Each thread reads its own part, several times over, so that reading takes
 * nearly all of the time.  The sum must equal the sum of the written words;
 * this proves that no byte was skipped, by the compiler or otherwise.
 */
#include "bandwidth.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define MIN_BYTES ((size_t)512 << 20)
#define LEAST_SECONDS 0.05 /* shortest measurement */

/* ==== reading ============================================================ */

/* Four words in a load; the compiler uses the machine's vector loads. */
typedef uint64_t words __attribute__((vector_size(32)));

/* Sum four streams, a cache line of each in turn; with one stream a thread
 * reads a tenth to a quarter less.  n_bytes is a multiple of 256. */
static inline __attribute__((always_inline)) uint64_t
sum_words(const void *data, size_t n_bytes)
{
    size_t n = n_bytes / sizeof(words) / 4;
    const words *p = data, *q = p + n, *r = q + n, *s = r + n;
    words a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

    for (size_t i = 0; i < n; i += 2) {
        a += p[i] + p[i + 1];
        b += q[i] + q[i + 1];
        c += r[i] + r[i + 1];
        d += s[i] + s[i + 1];
    }
    a += b + c + d;
    return a[0] + a[1] + a[2] + a[3];
}

static uint64_t read_plain(const void *data, size_t n_bytes)
{
    return sum_words(data, n_bytes);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t read_avx2(const void *data,
                                                          size_t n_bytes)
{
    return sum_words(data, n_bytes);
}
#endif

static void choose_loop(bandwidth *w, bool plain)
{
    w->read = read_plain;
    w->loads = "plain";
#if defined(__x86_64__)
    if (!plain && __builtin_cpu_supports("avx2")) {
        w->read = read_avx2;
        w->loads = "avx2";
    }
#else
    (void)plain;
#endif
}

/* ==== threads ============================================================ */

typedef struct copy_job {
    const bandwidth *w;
    void (*run)(struct copy_job *job);
    atomic_int *start; /* 1: go; -1: a thread could not be started */
    pthread_t thread;
    uint64_t *part; /* [n_bytes] */
    size_t n_bytes;
    int n_pass;
    uint64_t sum;
    double begin, end; /* seconds */
} copy_job;

static void run_timed(copy_job *j)
{
    j->begin = cli_now();
    j->run(j);
    j->end = cli_now();
}

static void *run_thread(void *arg)
{
    copy_job *j = arg;
    int start;

    while ((start = atomic_load(j->start)) == 0)
        sched_yield();
    if (start > 0)
        run_timed(j);
    return NULL;
}

/* Run jobs 1, ... on threads and job 0 on this thread. */
static int run_jobs(copy_job *jobs, int n)
{
    atomic_int start = 0;
    int n_started = 1, failed = 0;

    for (int i = 1; i < n && !failed; i++) {
        jobs[i].start = &start;
        failed = pthread_create(&jobs[i].thread, NULL, run_thread, &jobs[i]);
        n_started += !failed;
    }
    atomic_store(&start, failed ? -1 : 1);
    if (!failed)
        run_timed(&jobs[0]);
    for (int i = 1; i < n_started; i++)
        pthread_join(jobs[i].thread, NULL);
    return failed ? cli_fail("%d threads: %s", n, strerror(failed)) : CLI_OK;
}

/* Allocate jobs for the parts of the buffer; the caller frees them. */
static copy_job *cut(const bandwidth *w, int n, int n_pass,
                     void (*run)(copy_job *))
{
    copy_job *jobs = calloc((size_t)n, sizeof *jobs);
    size_t n_page = w->n_bytes / HUGE_PAGE;

    for (int i = 0; jobs && i < n; i++) {
        size_t first = n_page * (size_t)i / (size_t)n;
        size_t last = n_page * (size_t)(i + 1) / (size_t)n;

        jobs[i].w = w;
        jobs[i].run = run;
        jobs[i].n_pass = n_pass;
        jobs[i].part = (uint64_t *)w->buffer + first * HUGE_PAGE / 8;
        jobs[i].n_bytes = (last - first) * HUGE_PAGE;
    }
    return jobs;
}

/* ==== the buffer ========================================================= */

static void fill(copy_job *j)
{
    uint64_t x = (uint64_t)(uintptr_t)j->part, sum = 0;

    for (size_t i = 0; i < j->n_bytes / sizeof x; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        j->part[i] = x;
        sum += x;
    }
    j->sum = sum;
}

/* Four times the last-level cache, at most an eighth of the memory. */
static size_t choose_size(int n_thread)
{
    long cache = 0, pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    size_t n = MIN_BYTES, least = HUGE_PAGE * (size_t)n_thread;

#ifdef _SC_LEVEL3_CACHE_SIZE
    cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    if (cache > 0 && (size_t)cache * 4 > n)
        n = (size_t)cache * 4;
    if (pages > 0 && page > 0 && n / (size_t)page > (size_t)pages / 8)
        n = (size_t)pages / 8 * (size_t)page;
    n -= n % HUGE_PAGE;
    return n < least ? least : n;
}

int bandwidth_open(bandwidth *w, int n_thread, bool plain)
{
    *w = (bandwidth){ .n_bytes = choose_size(n_thread) };
    choose_loop(w, plain);
    w->buffer = aligned_alloc(HUGE_PAGE, w->n_bytes);
    if (!w->buffer)
        return cli_fail("out of memory: %zu MB to read", w->n_bytes >> 20);
#ifdef MADV_HUGEPAGE
    madvise(w->buffer, w->n_bytes, MADV_HUGEPAGE); /* best effort */
#endif

    copy_job *jobs = cut(w, n_thread, 1, fill);
    int rc = jobs ? run_jobs(jobs, n_thread) : cli_fail("out of memory");

    for (int i = 0; rc == CLI_OK && i < n_thread; i++)
        w->sum += jobs[i].sum;
    free(jobs);
    return rc;
}

void bandwidth_close(bandwidth *w)
{
    free(w->buffer);
    w->buffer = NULL;
}

/* ==== measuring ========================================================== */

static void read_all(copy_job *j)
{
    for (int i = 0; i < j->n_pass; i++)
        j->sum += j->w->read(j->part, j->n_bytes);
}

/* From the first thread's begin to the last thread's end. */
static double seconds_of(const copy_job *jobs, int n)
{
    double begin = jobs[0].begin, end = jobs[0].end;

    for (int i = 1; i < n; i++) {
        begin = jobs[i].begin < begin ? jobs[i].begin : begin;
        end = jobs[i].end > end ? jobs[i].end : end;
    }
    return end - begin;
}

static int read_passes(const bandwidth *w, int n_thread, int n_pass,
                       double *seconds)
{
    copy_job *jobs = cut(w, n_thread, n_pass, read_all);
    int rc = jobs ? run_jobs(jobs, n_thread) : cli_fail("out of memory");
    uint64_t sum = 0;

    for (int i = 0; rc == CLI_OK && i < n_thread; i++)
        sum += jobs[i].sum;
    if (rc == CLI_OK && sum != w->sum * (uint64_t)n_pass)
        rc = cli_fail("memory returned other data than was written");
    if (rc == CLI_OK)
        *seconds = seconds_of(jobs, n_thread);
    free(jobs);
    return rc;
}

int bandwidth_measure(const bandwidth *w, int n_thread, double *rate)
{
    double seconds = 0;
    int n_pass = 1;
    int rc = read_passes(w, n_thread, n_pass, &seconds);

    while (rc == CLI_OK && seconds < LEAST_SECONDS) {
        n_pass = 1 + (int)(1.2 * n_pass * LEAST_SECONDS / seconds);
        rc = read_passes(w, n_thread, n_pass, &seconds);
    }
    *rate = (double)w->n_bytes * n_pass / seconds;
    return rc;
}
