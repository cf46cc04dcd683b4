/*
 * hash_ahead.c - a worker's model is hashed before and while rank 0 waits.
 */
#include <stdio.h>
#include <time.h>

#include "base/pool.h"
#include "group/handshake.h"
#include "model/digest.h"

/* Seconds between two words of progress: several for each timeout. */
#define PERIOD 0.25
#define PER_TIMEOUT 8

static void *hash(void *arg)
{
    tlpi_hash_ahead *h = arg;

    h->st = tlpi_model_digest(h->model, &h->digest, NULL, &h->stop);
    if (h->st != TLP_OK)
        snprintf(h->text, sizeof(h->text), "%s", tlp_last_error());
    atomic_store(&h->done, true);
    return NULL;
}

void tlpi_hash_ahead_begin(tlpi_hash_ahead *h, const tlp_model *model)
{
    *h = (tlpi_hash_ahead){ .model = model, .digest = "" };
    if (model->trust_sample)
        atomic_store(&h->done, true);
    else if (tlpi_thread_start(&h->thread, hash, h) == TLP_OK)
        h->started = true;
    else
        hash(h);
}

tlp_status tlpi_hash_ahead_wait(tlpi_hash_ahead *h, const tlpi_process_group *w,
                                const tlpi_hello *hello, int timeout_ms)
{
    double period = TLPI_MIN(PERIOD, hello->timeout_ms * 1e-3 / PER_TIMEOUT);
    double last = tlpi_now();
    uint64_t told = 0;
    tlp_status st = TLP_OK;

    while (!atomic_load(&h->done)) {
        uint64_t done = tlpi_model_digest_progress(h->model);

        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        if (tlpi_now() - last < period || done <= told)
            continue;
        TLP_TRY(tlpi_handshake_busy(w, hello, done, timeout_ms));
        told = done;
        last = tlpi_now();
    }
    st = h->st == TLP_OK ? TLP_OK : tlpi_fail(h->st, "%s", h->text);
done:
    return st;
}

void tlpi_hash_ahead_end(tlpi_hash_ahead *h)
{
    atomic_store(&h->stop, true);
    if (h->started)
        pthread_join(h->thread, NULL);
    h->started = false;
}
