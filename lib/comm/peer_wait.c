/*
 * peer_wait.c - waiting for other processes, and the events that end a wait.
 *
 * A transport makes progress only when it is polled, so a wait is a loop of
 * polls.  At intervals the loop checks whether a peer has aborted or is gone.
 * For a transfer from or to a dead process this check is the only sign of the
 * death.
 */
#include <sched.h>
#include <string.h>
#include <time.h>

#include "comm/peer.h"

#define LOOK_EVERY 100e-6 /* seconds */

/* A jump of the clock by this many seconds means that this process was
 * stopped. */
#define STOPPED 0.1

#define YIELD_AFTER 50e-6
#define NAP_AFTER 1.5e-3
#define NAP_MIN 50e-6
#define NAP_MAX 1e-3

/* ==== failing ============================================================ */

tlp_status tlpi_peer_check(const tlpi_peer_root *root)
{
    if (!atomic_load_explicit(&root->failed, memory_order_acquire))
        return TLP_OK;
    return tlpi_fail(TLP_ECOMM, "%s", root->text);
}

TLPI_PRINTF(2, 3) static void set_text(char *dst, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tlpi_format_line(dst, TLPI_PEER_TEXT, fmt, args);
    va_end(args);
}

/* These sends are not waited for; they are small and travel at once. */
static void send_abort(tlpi_peer_root *root, const char *reason)
{
    char err[TLPI_PEER_TEXT];
    int gone = root->ops->gone(root->t, err, sizeof err);

    set_text(root->abort_out, "%s", reason);
    for (int r = 0; r < root->size; r++)
        if (r != root->t->rank && r != gone)
            (void)root->ops->send(root->t, &root->abort_sends[r], r,
                                  root->tag + TLPI_PEER_TAG_ABORT,
                                  root->abort_out, strlen(root->abort_out), err,
                                  sizeof err);
}

/* Record a failure; only the first counts.  `reason` goes to the other ranks,
 * NULL if they know it. */
static void record(tlpi_peer_root *root, const char *text, const char *reason)
{
    pthread_mutex_lock(&root->lock);
    if (!root->failed) {
        set_text(root->text, "%s", text);
        if (reason)
            send_abort(root, reason);
        atomic_store_explicit(&root->failed, true, memory_order_release);
    }
    pthread_mutex_unlock(&root->lock);
}

tlp_status tlpi_peer_fail(tlpi_peer_root *root, tlp_status st)
{
    const char *text = tlp_last_error();

    record(root, text, text);
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
    tlpi_peer_root *root = c->root;
    char reason[TLPI_PEER_TEXT], text[TLPI_PEER_TEXT];

    pthread_mutex_lock(&root->lock);
    set_text(reason, "%s", root->reason);
    pthread_mutex_unlock(&root->lock);
    describe_giving_up(text, root->t->rank, reason);
    record(root, text, reason);
}

void tlpi_comm_peer_set_reason(tlpi_comm *c, const char *text)
{
    tlpi_peer_root *root = tlpi_peer_of(c)->root;

    pthread_mutex_lock(&root->lock);
    set_text(root->reason, "%s", text);
    pthread_mutex_unlock(&root->lock);
}

/* ==== who aborted, who is alive ========================================== */

static tlp_status look_for_abort(tlpi_peer_root *root)
{
    char err[TLPI_PEER_TEXT], text[TLPI_PEER_TEXT];
    size_t n = 0;
    int from = -1;
    int done =
        root->ops->poll(root->t, root->abort_recv, &n, &from, err, sizeof err);

    if (done == 0)
        return TLP_OK;
    if (done < 0)
        return tlpi_peer_fail(root, tlpi_fail((tlp_status)done, "%s", err));
    root->abort_in[TLPI_MIN(n, (size_t)TLPI_PEER_TEXT - 1)] = '\0';
    describe_giving_up(text, from, root->abort_in);
    record(root, text, NULL);
    return tlpi_fail(TLP_ECOMM, "%s", text);
}

static tlp_status look(tlpi_peer_call *call)
{
    tlpi_peer_root *root = call->c->root;
    char err[TLPI_PEER_TEXT];
    tlp_status st = TLP_OK;

    root->next_look = call->now + LOOK_EVERY;
    if (*root->abort_recv)
        TLP_TRY(look_for_abort(root));
    int gone = root->ops->gone(root->t, err, sizeof err);
    if (gone < 0)
        return TLP_OK;
    if (root->gone_at == 0)
        root->gone_at = call->now;
    if (call->now - TLPI_MAX(root->gone_at, call->since) > TLPI_PEER_GRACE)
        st = tlpi_peer_fail(root,
                            tlpi_fail(TLP_ECOMM, "rank %d: %s", gone, err));
done:
    return st;
}

/* ==== waiting ============================================================ */

static void nap(double seconds)
{
    nanosleep(&(struct timespec){ .tv_nsec = (long)(seconds * 1e9) }, NULL);
}

/* An idle rank sleeps for a thirtieth of the time that it has waited, within
 * NAP_MIN and NAP_MAX. */
void tlpi_peer_relax(double waited, bool oversubscribed, bool idle)
{
    if (idle && waited > NAP_AFTER)
        nap(TLPI_MIN(TLPI_MAX(waited / 30, NAP_MIN), NAP_MAX));
    else if (oversubscribed || waited > YIELD_AFTER)
        sched_yield();
}

static bool is_late(const tlpi_peer_call *call)
{
    const tlpi_peer_root *root = call->c->root;
    double patience = root->timeout_ms * 1e-3;

    if (call->idle || call->now - call->since < patience)
        return false;
    return !call->c->base.patient ||
           call->now - root->ops->last_busy(root->t) >= patience;
}

/* Work between two polls. */
static tlp_status turn(tlpi_peer_call *call, int rank)
{
    tlpi_comm_peer *c = call->c;
    tlpi_peer_root *root = c->root;
    double now = tlpi_now();

    /* a stopped process must not blame its peers */
    if (now - call->now > STOPPED)
        call->since += now - call->now;
    call->now = now;

    tlp_status st = tlpi_peer_check(root);
    if (st == TLP_OK && now >= root->next_look)
        st = look(call);
    if (st != TLP_OK)
        return st;
    if (is_late(call))
        return tlpi_peer_fail(
            root, tlpi_fail(TLP_ETIMEDOUT,
                            "rank %d did not answer rank %d within %d ms",
                            tlpi_peer_root_rank(c, rank), root->t->rank,
                            root->timeout_ms));
    tlpi_peer_relax(now - call->since, root->oversubscribed, call->idle);
    return TLP_OK;
}

tlp_status tlpi_peer_finish(tlpi_peer_call *call, tlpi_xfer **x, int rank,
                            size_t *got)
{
    tlpi_comm_peer *c = call->c;
    tlpi_peer_root *root = c->root;
    char err[TLPI_PEER_TEXT];

    for (;;) {
        int done = root->ops->poll(root->t, x, got, NULL, err, sizeof err);
        if (done > 0)
            break;
        if (done < 0)
            return tlpi_peer_fail(root,
                                  tlpi_fail((tlp_status)done, "rank %d: %s",
                                            tlpi_peer_root_rank(c, rank), err));
        tlp_status st = turn(call, rank);
        if (st != TLP_OK)
            return st;
    }
    call->since = call->now;
    return TLP_OK;
}
