/*
 * handshake.c - a session of several processes begins: hello, verdicts,
 * decision, adjustments, adapter.
 */
#include "group/handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/comm_peer.h"
#include "model/digest.h"
#include "plan/adapter.h"
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

/* Send a status and a text. */
static tlp_status send_word(const tlpi_process_group *w, int to, int channel,
                            tlp_status word, const char *text, double seconds)
{
    char buf[WORD_CAP];
    int n = snprintf(buf, sizeof(buf), "%d %s", (int)word, text);

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

/* A text "NAME N"; false for another text. */
static bool read_count(const char *text, const char *name, uint64_t *out)
{
    size_t n = strlen(name);
    char *end = NULL;

    if (strncmp(text, name, n) != 0 || text[n] != ' ' || text[n + 1] < '0' ||
        text[n + 1] > '9')
        return false;
    *out = strtoull(text + n + 1, &end, 10);
    return *end == '\0';
}

static tlp_status send_count(const tlpi_process_group *w, int to, int channel,
                             const char *name, uint64_t n, double seconds)
{
    char text[64];

    snprintf(text, sizeof(text), "%s %llu", name, (unsigned long long)n);
    return send_word(w, to, channel, TLP_OK, text, seconds);
}

#define BUSY "busy"
#define MANIFEST "manifest"

/* What a rank does with another rank's progress. */
typedef tlp_status (*heard_busy_fn)(void *arg, int from);

/* recv_word past words of progress, which must be progress; each moves the
 * deadline by `seconds`. */
static tlp_status recv_answer(const tlpi_process_group *w, int from,
                              int channel, tlp_status *word,
                              char text[WORD_CAP], double seconds,
                              heard_busy_fn heard, void *arg)
{
    uint64_t done = 0, now = 0;
    tlp_status st = TLP_OK;

    for (;;) {
        TLP_TRY(recv_word(w, from, channel, word, text, seconds));
        if (*word != TLP_OK || !read_count(text, BUSY, &now))
            break;
        if (now <= done)
            TLP_TRY(
                tlpi_fail(TLP_ECOMM, "rank %d: busy without progress", from));
        done = now;
        if (heard)
            TLP_TRY(heard(arg, from));
    }
done:
    return st;
}

tlp_status tlpi_handshake_busy(const tlpi_process_group *w,
                               const tlpi_hello *hello, uint64_t done,
                               int timeout_ms)
{
    return send_count(w, 0, hello->channel, BUSY, done, timeout_ms * 1e-3);
}

/* ==== manifests ========================================================== */

/* 100000 tensors and more. */
#define MANIFEST_MOST ((uint64_t)16 << 20)

tlp_status tlpi_handshake_show_manifest(const tlpi_process_group *w,
                                        const tlpi_hello *hello,
                                        const tlp_model *model, int timeout_ms)
{
    double seconds = timeout_ms * 1e-3;
    const char *manifest = NULL;
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_model_digest(model, NULL, &manifest, NULL));
    size_t n = strlen(manifest);
    TLP_TRY(send_count(w, 0, hello->channel, MANIFEST, n, seconds));
    for (size_t at = 0; at < n && st == TLP_OK; at += TLPI_EAGER_BYTES)
        st = tlpi_peer_send(w->ops, w->transport, 0, tag_of(hello->channel),
                            manifest + at, TLPI_MIN(TLPI_EAGER_BYTES, n - at),
                            seconds);
done:
    return st;
}

/* Receive a manifest of n bytes, and say where it differs from rank 0's. */
static tlp_status recv_manifest(const tlpi_process_group *w, int from,
                                int channel, const tlp_model *model, uint64_t n,
                                char text[WORD_CAP], double seconds)
{
    const char *ours = NULL;
    char *theirs = NULL, name[WORD_CAP - 16];
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_model_digest(model, NULL, &ours, NULL));
    if (n == 0 || n > MANIFEST_MOST)
        TLP_TRY(tlpi_fail(TLP_ECOMM,
                          "rank %d: a manifest of %llu bytes, 1 to %llu "
                          "expected",
                          from, (unsigned long long)n,
                          (unsigned long long)MANIFEST_MOST));
    theirs = tlpi_alloc(&model->env, (size_t)n + 1);
    if (!theirs)
        TLP_TRY(tlpi_fail_nomem_for("the handshake of ranks"));
    for (size_t at = 0, got = 0; at < n; at += got) {
        TLP_TRY(tlpi_peer_recv(
            w->ops, w->transport, from, tag_of(channel), theirs + at,
            TLPI_MIN(TLPI_EAGER_BYTES, (size_t)n - at), &got, seconds));
        if (got == 0)
            TLP_TRY(
                tlpi_fail(TLP_ECOMM, "rank %d: a manifest with a hole", from));
    }
    theirs[n] = '\0';
    tlpi_manifest_compare(name, sizeof(name), ours, theirs, from);
    tlpi_clean_line(name, strlen(name), true);
    snprintf(text, WORD_CAP, "rank %d: %s", from, name);
done:
    tlpi_free(&model->env, theirs);
    return st;
}

/* ==== adjustments and adapter ============================================ */

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

static tlp_status send_image(tlpi_comm *c, void *image, size_t n_image)
{
    uint64_t n = n_image;
    tlp_status st = c->ops->bcast(c, &n, sizeof(n), false);

    return st == TLP_OK ? share_image(c, image, n_image) : st;
}

static tlp_status send_images(tlpi_comm *c, const tlpi_adjust *adjust,
                              const tlp_adapter *adapter)
{
    tlp_status st = TLP_OK;

    if (adjust)
        TLP_TRY(send_image(c, adjust->image, adjust->n_image));
    if (adapter)
        TLP_TRY(send_image(c, adapter->image, adapter->n_image));
done:
    return st;
}

/* Receive an image of at most `most` bytes, which the caller frees. */
static tlp_status take_image(tlpi_comm *c, size_t most, const char *what,
                             char **out, size_t *n_image)
{
    char *image = NULL;
    uint64_t n = 0;
    tlp_status st;

    TLP_TRY(c->ops->bcast(c, &n, sizeof(n), false));
    if (n == 0 || n > most)
        TLP_TRY(tlpi_fail(TLP_ECOMM,
                          "rank 0 has %s of %llu bytes, 1 to %zu expected",
                          what, (unsigned long long)n, most));
    image = tlpi_alloc(c->env, (size_t)n);
    if (!image)
        TLP_TRY(tlpi_fail_nomem_for("the handshake of ranks"));
    TLP_TRY(share_image(c, image, (size_t)n));
    *out = image;
    *n_image = (size_t)n;
    image = NULL;
done:
    tlpi_free(c->env, image);
    return st;
}

tlp_status tlpi_handshake_take_adjust(tlpi_comm *c, tlp_plan *plan)
{
    char *image = NULL;
    size_t n = 0;
    tlp_status st = TLP_OK;

    if (!plan->adjust)
        return TLP_OK;
    TLP_TRY(
        take_image(c, tlpi_adjust_max_bytes(plan), "adjustments", &image, &n));
    st = tlpi_plan_supply_adjust(plan, image, n, "rank 0's adjustments");
done:
    return st;
}

tlp_status tlpi_handshake_take_adapter(tlpi_comm *c, const tlpi_hello *hello,
                                       tlp_model *model, tlp_adapter **out,
                                       float *scale)
{
    char *image = NULL;
    size_t n = 0;
    tlp_status st = TLP_OK;

    *out = NULL;
    if (strcmp(hello->adapter, TLPI_NO_ADAPTER) == 0)
        return TLP_OK;
    TLP_TRY(
        take_image(c, tlpi_adapter_max_bytes(model), "an adapter", &image, &n));
    TLP_TRY(tlpi_adapter_from_image(out, model, image, n, "rank 0's adapter"));
    if (strcmp((*out)->sha256, hello->adapter) != 0)
        TLP_TRY(tlpi_fail(TLP_EMISMATCH,
                          "rank 0's adapter: it has %s, the hello says %s",
                          (*out)->sha256, hello->adapter));
    (void)tlpi_hello_scale(hello, scale); /* checked when it was read */
done:
    if (st != TLP_OK) {
        tlp_adapter_free(*out);
        *out = NULL;
    }
    return st;
}

/* ==== rank 0 ============================================================= */

/* The verdict of all ranks: the first failure by rank. */
typedef struct handshake_outcome {
    const tlpi_process_group *w;
    int channel;
    double seconds; /* for an answer */
    uint64_t n_busy;
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

/* A rank hashes: tell the other ranks, which wait for the decision. */
static tlp_status pass_busy_on(void *arg, int from)
{
    handshake_outcome *v = arg;
    tlp_status st = TLP_OK;

    v->n_busy++;
    for (int r = 1; r < v->w->n_rank && st == TLP_OK; r++)
        if (r != from)
            st = send_count(v->w, r, v->channel, BUSY, v->n_busy, v->seconds);
    return st;
}

/* A rank's verdict, or, if its model has other bytes, what differs. */
static tlp_status hear_verdict(handshake_outcome *v, const tlp_model *model,
                               int r, double seconds)
{
    char text[WORD_CAP], differs[WORD_CAP] = "";
    tlp_status word = TLP_OK, st = TLP_OK;
    uint64_t n = 0;

    TLP_TRY(recv_answer(v->w, r, v->channel, &word, text, seconds, pass_busy_on,
                        v));
    if (word == TLP_OK && !model->trust_sample &&
        read_count(text, MANIFEST, &n)) {
        TLP_TRY(
            recv_manifest(v->w, r, v->channel, model, n, differs, v->seconds));
        TLP_TRY(recv_word(v->w, r, v->channel, &word, text, v->seconds));
    }
    if (word == TLP_OK && (*text || *differs))
        TLP_TRY(
            tlpi_fail(TLP_ECOMM, "rank %d: malformed answer to the hello", r));
    judge(v, word, word == TLP_EMISMATCH && *differs ? differs : text);
done:
    return st;
}

static void exchange(const tlpi_process_group *w, int channel,
                     const tlp_model *model, const tlpi_text *hello,
                     int timeout_ms, handshake_outcome *v)
{
    double deadline = tlpi_now() + timeout_ms * 1e-3;

    v->w = w;
    v->channel = channel;
    v->seconds = timeout_ms * 1e-3;

    for (int r = 1; r < w->n_rank; r++) {
        tlp_status st = tlpi_peer_send(w->ops, w->transport, r, HELLO_TAG,
                                       hello->data, hello->len, left(deadline));
        judge(v, st, tlp_last_error());
    }
    for (int r = 1; r < w->n_rank && v->status != TLP_ECOMM; r++) {
        tlp_status st = hear_verdict(v, model, r, left(deadline));

        judge(v, st, tlp_last_error());
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
                               const tlpi_session_config *cfg, int task)
{
    const tlpi_env *env = &plan->model->env;
    tlpi_text json = { .env = env }, text = { .env = env };
    handshake_outcome v = { .status = TLP_OK };
    tlpi_hello hello;
    const char *digest = "";
    tlp_status st = TLP_OK;

    *out = NULL;
    TLP_TRY(tlpi_model_checked_digest(plan->model, &digest));
    int channel = w->ops->new_channel(w->transport);
    tlpi_plan_write_json(plan, &json);
    if (json.failed)
        TLP_TRY(tlpi_fail_nomem_for("the handshake of ranks"));
    tlpi_hello_init(&hello, plan->model, digest, json.data, cfg, channel);
    hello.task = task;
    tlpi_hello_write(&hello, &text);
    if (text.failed)
        TLP_TRY(tlpi_fail_nomem_for("the handshake of ranks"));
    if (text.len > TLPI_HELLO_BYTES)
        TLP_TRY(tlpi_fail(TLP_ENOTSUP,
                          "plan: %zu bytes, %zu can be sent to other processes",
                          json.len, TLPI_HELLO_BYTES - (text.len - json.len)));
    TLP_TRY(tlpi_handshake_comm(out, w, plan, cfg, channel));
    exchange(w, channel, plan->model, &text, cfg->timeout_ms, &v);
    if (v.status != TLP_OK)
        st = tlpi_fail(v.status, "%s", v.text);
    else
        st = send_images(*out, plan->adjust, cfg->adapter);
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

    TLP_TRY(send_word(w, 0, hello->channel, verdict,
                      verdict == TLP_OK ? "" : tlp_last_error(),
                      timeout_ms * 1e-3));
    TLP_TRY(
        recv_answer(w, 0, hello->channel, decision, text, seconds, NULL, NULL));
    if (*decision == TLP_OK && *text)
        TLP_TRY(tlpi_fail(TLP_ECOMM, "rank 0: malformed decision"));
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
        .n_thread = TLPI_MAX(cfg->n_thread, cfg->n_prefill),
        .never_spin = cfg->spin_us < 0,
        .timeout_ms = cfg->timeout_ms,
    };

    return tlpi_comm_peer_create(out, &plan->model->env, &setup);
}
