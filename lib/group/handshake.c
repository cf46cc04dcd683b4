/*
 * handshake.c - a session of several processes begins: hello, verdicts,
 * decision, adjustments.
 */
#include "group/handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/comm_peer.h"
#include "plan/adjust.h"
#include "plan/plan_sketch.h"

#define HELLO_TAG 0

/* The last tag of a channel; comm_peer uses the tags before it. */
#define WORD_TAG 3
#define TAGS_OF_CHANNEL 4

/* Verdicts and decisions: a status, a blank, a text. */
#define WORD_CAP 640

static int tag_of(int channel)
{
    return TAGS_OF_CHANNEL * channel + WORD_TAG;
}

/* ==== words ============================================================== */

/* Send a status and its text, whose source is tlp_last_error(). */
static tlp_status send_word(const tlpi_process_group *w, int to, int channel,
                            tlp_status word, const char *text, double seconds)
{
    char buf[WORD_CAP];
    int n = snprintf(buf, sizeof(buf), "%d %s", (int)word,
                     word == TLP_OK ? "" : text);

    return tlpi_peer_send(w->ops, w->transport, to, tag_of(channel), buf,
                          TLPI_MIN((size_t)n, sizeof(buf) - 1), seconds);
}

/* Receive one into *word and text; TLP_ECOMM for what is none. */
static tlp_status recv_word(const tlpi_process_group *w, int from, int channel,
                            tlp_status *word, char text[WORD_CAP],
                            double seconds)
{
    char buf[WORD_CAP], *end = buf;
    size_t n = 0;
    tlp_status st = tlpi_peer_recv(w->ops, w->transport, from, tag_of(channel),
                                   buf, sizeof(buf) - 1, &n, seconds);

    if (st != TLP_OK)
        return st;
    n = tlpi_clean_line(buf, n, true);
    long value = strtol(buf, &end, 10);
    *word = (tlp_status)value;
    if (*end != ' ' || value > 0 || value < TLP_EMISMATCH)
        return tlpi_fail(TLP_ECOMM, "rank %d: malformed answer to the hello",
                         from);
    memcpy(text, end + 1, n - (size_t)(end + 1 - buf) + 1);
    return TLP_OK;
}

/* ==== adjustments ======================================================== */

/* At a time: each piece has the session's deadline. */
#define PIECE ((size_t)1 << 20)

/* From rank 0 to all. */
static tlp_status share_image(tlpi_comm *c, char *image, size_t n)
{
    tlp_status st = TLP_OK;

    for (size_t at = 0; at < n && st == TLP_OK; at += PIECE)
        st = c->ops->bcast(c, image + at, TLPI_MIN(PIECE, n - at), false);
    return st;
}

static tlp_status send_adjust(tlpi_comm *c, const tlpi_adjust *a)
{
    uint64_t n = a ? a->n_image : 0;
    tlp_status st = TLP_OK;

    if (!a)
        return TLP_OK;
    TLP_TRY(c->ops->bcast(c, &n, sizeof(n), false));
    st = share_image(c, a->image, a->n_image);
done:
    return st;
}

tlp_status tlpi_handshake_take_adjust(tlpi_comm *c, tlp_plan *plan)
{
    size_t most = tlpi_adjust_max_bytes(plan->model);
    char *image = NULL;
    uint64_t n = 0;
    tlp_status st = TLP_OK;

    if (!plan->adjust)
        return TLP_OK;
    TLP_TRY(c->ops->bcast(c, &n, sizeof(n), false));
    if (n == 0 || n > most)
        TLP_TRY(tlpi_fail(TLP_ECOMM,
                          "rank 0 has adjustments of %llu bytes, 1 to %zu "
                          "expected",
                          (unsigned long long)n, most));
    image = tlpi_alloc(c->env, (size_t)n);
    if (!image)
        TLP_TRY(tlpi_fail_nomem());
    TLP_TRY(share_image(c, image, (size_t)n));
    st =
        tlpi_plan_supply_adjust(plan, image, (size_t)n, "rank 0's adjustments");
    image = NULL;
done:
    tlpi_free(c->env, image);
    return st;
}

/* ==== rank 0 ============================================================= */

/* The verdict of all ranks: the first failure by rank. */
typedef struct handshake_outcome {
    tlp_status status;
    char text[WORD_CAP];
    bool go_on; /* some ranks were told to */
} handshake_outcome;

static void judge(handshake_outcome *v, tlp_status st, const char *text)
{
    if (v->status != TLP_OK || st == TLP_OK)
        return;
    v->status = st;
    snprintf(v->text, sizeof(v->text), "%s", text);
}

static double left(double deadline)
{
    double seconds = deadline - tlpi_now();

    return seconds > 1e-3 ? seconds : 1e-3; /* 0 would be for ever */
}

static void exchange(const tlpi_process_group *w, int channel,
                     const tlpi_text *hello, int timeout_ms,
                     handshake_outcome *v)
{
    double deadline = tlpi_now() + timeout_ms * 1e-3;
    char text[WORD_CAP];

    for (int r = 1; r < w->n_rank; r++) {
        tlp_status st = tlpi_peer_send(w->ops, w->transport, r, HELLO_TAG,
                                       hello->data, hello->len, left(deadline));
        judge(v, st, tlp_last_error());
    }
    for (int r = 1; r < w->n_rank && v->status != TLP_ECOMM; r++) {
        tlp_status word = TLP_OK;
        tlp_status st = recv_word(w, r, channel, &word, text, left(deadline));

        if (st != TLP_OK)
            judge(v, st, tlp_last_error());
        else
            judge(v, word, text);
    }
    deadline = tlpi_now() + timeout_ms * 1e-3;
    v->go_on = v->status == TLP_OK;
    for (int r = 1; r < w->n_rank; r++) {
        tlp_status st =
            send_word(w, r, channel, v->status, v->text, left(deadline));
        judge(v, st, tlp_last_error());
    }
}

tlp_status tlpi_handshake_lead(tlpi_comm **out, const tlpi_process_group *w,
                               const tlp_plan *plan,
                               const tlpi_session_config *cfg)
{
    const tlpi_env *env = &plan->model->env;
    tlpi_text json = { .env = env }, text = { .env = env };
    handshake_outcome v = { .status = TLP_OK };
    tlpi_hello hello;
    tlp_status st = TLP_OK;

    *out = NULL;
    int channel = w->ops->new_channel(w->transport);
    tlpi_plan_write_json(plan, &json);
    if (json.failed)
        TLP_TRY(tlpi_fail_nomem());
    tlpi_hello_init(&hello, plan->model, json.data, cfg, channel);
    tlpi_hello_write(&hello, &text);
    if (text.failed)
        TLP_TRY(tlpi_fail_nomem());
    if (text.len > TLPI_HELLO_BYTES)
        TLP_TRY(tlpi_fail(TLP_ENOTSUP,
                          "plan: %zu bytes, %zu can be sent to other processes",
                          json.len, TLPI_HELLO_BYTES - (text.len - json.len)));
    TLP_TRY(tlpi_handshake_comm(out, w, plan, cfg, channel));
    exchange(w, channel, &text, cfg->timeout_ms, &v);
    if (v.status != TLP_OK)
        st = tlpi_fail(v.status, "%s", v.text);
    else
        st = send_adjust(*out, plan->adjust);
    if (st != TLP_OK && v.go_on)
        tlpi_rank_give_up(cfg, *out, st);
done:
    if (st != TLP_OK) {
        tlpi_comm_free(*out);
        *out = NULL;
    }
    tlpi_text_free(&text);
    tlpi_text_free(&json);
    return st;
}

/* ==== other ranks ======================================================== */

/* Ranks that leave together are noticed one by one. */
#define LEAVING 0.2 /* seconds */

/* Has rank 0 left, soon after somebody did? */
static bool rank0_left(const tlpi_process_group *w)
{
    double deadline = tlpi_now() + LEAVING;
    char text[256];
    int gone = -1;

    do {
        gone = w->ops->gone(w->transport, text, sizeof(text));
        if (gone > 0)
            nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    } while (gone > 0 && tlpi_now() < deadline);
    return gone == 0;
}

tlp_status tlpi_handshake_await(const tlpi_process_group *w, char *hello,
                                size_t *n)
{
    tlp_status st = tlpi_peer_recv(w->ops, w->transport, 0, HELLO_TAG, hello,
                                   TLPI_HELLO_BYTES, n, 0);

    if (st == TLP_ECOMM && rank0_left(w))
        st = tlpi_fail(TLP_ECLOSED, "rank 0 has left");
    return st;
}

tlp_status tlpi_handshake_answer(const tlpi_process_group *w,
                                 const tlpi_hello *hello, tlp_status verdict,
                                 int timeout_ms, tlp_status *decision)
{
    double seconds = (timeout_ms + (double)hello->timeout_ms) * 1e-3;
    char text[WORD_CAP];
    tlp_status st = TLP_OK;

    TLP_TRY(send_word(w, 0, hello->channel, verdict, tlp_last_error(),
                      timeout_ms * 1e-3));
    TLP_TRY(recv_word(w, 0, hello->channel, decision, text, seconds));
    if (*decision != TLP_OK)
        tlpi_fail(*decision, "%s", text);
    else if (verdict != TLP_OK)
        st = tlpi_fail(TLP_ECOMM, "rank 0 goes on without this rank");
done:
    return st;
}

tlp_status tlpi_handshake_comm(tlpi_comm **out, const tlpi_process_group *w,
                               const tlp_plan *plan,
                               const tlpi_session_config *cfg, int channel)
{
    tlpi_peer_setup setup = {
        .ops = w->ops,
        .transport = w->transport,
        .channel = channel,
        .wire = cfg->wire,
        .max_floats = (size_t)cfg->n_batch * (size_t)plan->model->hp.n_embd *
                      (size_t)TLPI_MAX(1, tlpi_plan_max_members(plan)),
        .n_thread = cfg->n_thread,
        .timeout_ms = cfg->timeout_ms,
    };

    return tlpi_comm_peer_create(out, &plan->model->env, &setup);
}
