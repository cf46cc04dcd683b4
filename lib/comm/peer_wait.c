/*
 * peer_wait.c - waiting for other processes, and what ends a wait.
 *
 * A transport makes progress only when it is polled, so a wait is a loop of
 * polls.  Now and then it looks whether a peer aborted or is gone, which for a
 * transfer on its way to or from a dead process is the only sign of its death.
 */
#include <sched.h>
#include <string.h>
#include <time.h>

#include "comm/peer.h"

#define LOOK_EVERY 100e-6 /* seconds */

/* This process itself was stopped if its clock jumps by so much. */
#define STOPPED 0.1

#define YIELD_AFTER 50e-6
#define NAP_AFTER 1.5e-3
#define NAP_MIN 50e-6
#define NAP_MAX 1e-3

/* ==== failing ============================================================ */

tlp_status tlpi_peer_check(const tlpi_peer_family *f)
{
    if (!atomic_load_explicit(&f->failed, memory_order_acquire))
        return TLP_OK;
    return tlpi_fail(TLP_ECOMM, "%s", f->text);
}

TLPI_PRINTF(2, 3) static void set_text(char *dst, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tlpi_format_line(dst, TLPI_PEER_TEXT, fmt, args);
    va_end(args);
}

/* Nobody waits for these; they are small, and travel at once. */
static void sound_alarm(tlpi_peer_family *f, const char *reason)
{
    char err[TLPI_PEER_TEXT];
    int gone = f->ops->gone(f->t, err, sizeof err);

    set_text(f->told, "%s", reason);
    for (int r = 0; r < f->size; r++)
        if (r != f->t->rank && r != gone)
            (void)f->ops->send(f->t, &f->alarms[r], r,
                               f->tag + TLPI_PEER_TAG_ABORT, f->told,
                               strlen(f->told), err, sizeof err);
}

/* The first failure counts.  reason: for the others; NULL if they know. */
static void record(tlpi_peer_family *f, const char *text, const char *reason)
{
    pthread_mutex_lock(&f->lock);
    if (!f->failed) {
        set_text(f->text, "%s", text);
        if (reason)
            sound_alarm(f, reason);
        atomic_store_explicit(&f->failed, true, memory_order_release);
    }
    pthread_mutex_unlock(&f->lock);
}

tlp_status tlpi_peer_fail(tlpi_peer_family *f, tlp_status st)
{
    const char *text = tlp_last_error();

    record(f, text, text);
    return st;
}

static void describe_giving_up(char *text, int rank, const char *reason)
{
    if (reason[0])
        set_text(text, "rank %d gave up: %s", rank, reason);
    else
        set_text(text, "rank %d gave up", rank);
}

void tlpi_peer_abort(tlpi_comm_peer *c)
{
    tlpi_peer_family *f = c->family;
    char reason[TLPI_PEER_TEXT], text[TLPI_PEER_TEXT];

    pthread_mutex_lock(&f->lock);
    set_text(reason, "%s", f->reason);
    pthread_mutex_unlock(&f->lock);
    describe_giving_up(text, f->t->rank, reason);
    record(f, text, reason);
}

void tlpi_comm_peer_set_reason(tlpi_comm *c, const char *text)
{
    tlpi_peer_family *f = tlpi_peer_of(c)->family;

    pthread_mutex_lock(&f->lock);
    set_text(f->reason, "%s", text);
    pthread_mutex_unlock(&f->lock);
}

/* ==== who aborted, who is alive ========================================== */

static tlp_status look_for_alarm(tlpi_peer_family *f)
{
    char err[TLPI_PEER_TEXT], text[TLPI_PEER_TEXT];
    size_t n = 0;
    int from = -1;
    int done = f->ops->poll(f->t, f->alarm, &n, &from, err, sizeof err);

    if (done == 0)
        return TLP_OK;
    if (done < 0)
        return tlpi_peer_fail(f, tlpi_fail((tlp_status)done, "%s", err));
    f->heard[TLPI_MIN(n, (size_t)TLPI_PEER_TEXT - 1)] = '\0';
    describe_giving_up(text, from, f->heard);
    record(f, text, NULL);
    return tlpi_fail(TLP_ECOMM, "%s", text);
}

static tlp_status look(tlpi_peer_call *call)
{
    tlpi_peer_family *f = call->c->family;
    char err[TLPI_PEER_TEXT];
    tlp_status st = TLP_OK;

    f->next_look = call->now + LOOK_EVERY;
    if (*f->alarm)
        TLP_TRY(look_for_alarm(f));
    int gone = f->ops->gone(f->t, err, sizeof err);
    if (gone < 0)
        return TLP_OK;
    if (f->gone_at == 0)
        f->gone_at = call->now;
    if (call->now - TLPI_MAX(f->gone_at, call->since) > TLPI_PEER_GRACE)
        st = tlpi_peer_fail(f, tlpi_fail(TLP_ECOMM, "rank %d: %s", gone, err));
done:
    return st;
}

/* ==== waiting ============================================================ */

static void nap(double seconds)
{
    nanosleep(&(struct timespec){ .tv_nsec = (long)(seconds * 1e9) }, NULL);
}

/* Idle ranks come back late by a thirtieth of the time they have waited. */
void tlpi_peer_relax(double waited, bool crowded, bool idle)
{
    if (idle && waited > NAP_AFTER)
        nap(TLPI_MIN(TLPI_MAX(waited / 30, NAP_MIN), NAP_MAX));
    else if (crowded || waited > YIELD_AFTER)
        sched_yield();
}

static bool is_late(const tlpi_peer_call *call)
{
    const tlpi_peer_family *f = call->c->family;
    double patience = f->timeout_ms * 1e-3;

    if (call->idle || call->now - call->since < patience)
        return false;
    return !call->c->base.patient ||
           call->now - f->ops->heard(f->t) >= patience;
}

/* What happens between two polls. */
static tlp_status turn(tlpi_peer_call *call, int rank)
{
    tlpi_comm_peer *c = call->c;
    tlpi_peer_family *f = c->family;
    double now = tlpi_now();

    if (now - call->now > STOPPED) /* the peers are not to blame */
        call->since += now - call->now;
    call->now = now;

    tlp_status st = tlpi_peer_check(f);
    if (st == TLP_OK && now >= f->next_look)
        st = look(call);
    if (st != TLP_OK)
        return st;
    if (is_late(call))
        return tlpi_peer_fail(
            f, tlpi_fail(TLP_ETIMEDOUT,
                         "rank %d did not answer rank %d within %d ms",
                         tlpi_peer_root(c, rank), f->t->rank, f->timeout_ms));
    tlpi_peer_relax(now - call->since, f->crowded, call->idle);
    return TLP_OK;
}

tlp_status tlpi_peer_finish(tlpi_peer_call *call, tlpi_xfer **x, int rank,
                            size_t *got)
{
    tlpi_comm_peer *c = call->c;
    tlpi_peer_family *f = c->family;
    char err[TLPI_PEER_TEXT];

    for (;;) {
        int done = f->ops->poll(f->t, x, got, NULL, err, sizeof err);
        if (done > 0)
            break;
        if (done < 0)
            return tlpi_peer_fail(f, tlpi_fail((tlp_status)done, "rank %d: %s",
                                               tlpi_peer_root(c, rank), err));
        tlp_status st = turn(call, rank);
        if (st != TLP_OK)
            return st;
    }
    call->since = call->now;
    return TLP_OK;
}
