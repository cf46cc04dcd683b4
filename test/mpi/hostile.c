/*
 * hostile.c - one of two processes, each of which in turn sends the other what
 * no rank of ours would: test_mpi_hostile runs them.
 *
 *     hostile MODEL
 *
 * Whoever is attacked gets a failure with a clean text, keeps nothing, and can
 * then work with the other as if nothing had been.
 */
#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm_peer.h"
#include "comm/peer.h"
#include "group/handshake.h"
#include "model/digest.h"
#include "session/session.h"
#include "support/mem.h"
#include "train/train_group.h"

#define SYNC_TAG (TLPI_TAG_END - 1)
#define WORD_TAG 3 /* of a channel: verdicts and decisions */

static const tlpi_transport_ops *ops;
static tlpi_transport *t;
static tlp_model *model;
static mem heap;
static long at_rest;         /* blocks of memory between sessions */
static const char *now_what; /* the attack that is on */
static char hello[TLPI_HELLO_BYTES + 1];
static size_t n_hello;
static int n_attack;

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "rank %d: line %d: %s: %s: %s\n", t ? t->rank : 0, \
                    __LINE__, now_what, #cond, tlp_last_error());              \
            _exit(1);                                                          \
        }                                                                      \
    } while (0)

/* ==== messages =========================================================== */

static void put(int tag, const void *data, size_t n)
{
    CHECK(tlpi_peer_send(ops, t, !t->rank, tag, data, n, 10) == TLP_OK);
}

static size_t get(int tag, void *data, size_t cap, double seconds)
{
    size_t n = 0;
    tlp_status st =
        tlpi_peer_recv(ops, t, !t->rank, tag, data, cap, &n, seconds);

    CHECK(st == TLP_OK || st == TLP_ETIMEDOUT);
    return st == TLP_OK ? n : 0;
}

/* One that is longer than any of ours; nobody waits until it has gone. */
static void put_long(int tag, size_t n)
{
    char *data = ops->alloc(t, n), err[256];
    tlpi_xfer *x = NULL;

    CHECK(data);
    memset(data, 'x', n);
    CHECK(ops->send(t, &x, !t->rank, tag, data, n, err, sizeof err) == TLP_OK);
    for (int i = 0; i < 200 && x; i++) {
        CHECK(ops->poll(t, &x, NULL, NULL, err, sizeof err) >= 0);
        usleep(1000);
    }
    ops->retire(t, data, &x, 1);
}

static void meet(const char *what)
{
    char c = 0;

    now_what = what;
    put(SYNC_TAG, &c, 1);
    CHECK(get(SYNC_TAG, &c, 1, 20) == 1);
}

/* ==== the attacked ======================================================= */

static tlp_session_options options(void)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    o.comm = TLP_COMM_MPI;
    o.n_ctx = 64;
    o.n_batch = 32;
    o.n_thread = 1;
    o.timeout_ms = 2000;
    return o;
}

static tlp_status create(tlp_session **s)
{
    tlp_session_options o = options();
    tlp_plan *plan = NULL;

    CHECK(tlp_plan_parse(&plan, model, "par:1-2") == TLP_OK);
    tlp_status st = tlp_session_create(s, plan, &o);
    tlp_plan_free(plan);
    return st;
}

static tlp_status serve(void)
{
    tlp_session_options o = options();

    return tlp_worker_run(model, NULL, &o);
}

static void expect_refused(tlp_status st)
{
    CHECK(st != TLP_OK);
    for (const char *p = tlp_last_error(); *p; p++)
        CHECK(isprint((unsigned char)*p));
    CHECK(heap.live == at_rest);
    n_attack++;
}

/* Both at work, as if nothing had been. */
static void work(void)
{
    int32_t ids[40];
    tlp_session *s = NULL;

    meet("work");
    for (int i = 0; i < 40; i++)
        ids[i] = i * 7;
    if (t->rank == 0) {
        CHECK(create(&s) == TLP_OK);
        CHECK(tlp_session_prefill(s, ids, 40) == TLP_OK);
        CHECK(tlp_session_decode(s, 5) == TLP_OK);
        tlp_session_free(s);
    } else {
        CHECK(serve() == TLP_OK);
    }
    CHECK(heap.live == at_rest);
}

/* ==== words ============================================================== */

#define TEXT(text)                                                             \
    {                                                                          \
        text, sizeof(text) - 1                                                 \
    }

static const struct {
    const char *data;
    size_t n;
} words[] = {
    TEXT(""),
    TEXT("0"),
    TEXT("garbage"),
    TEXT("\0\0\0\0"),
    TEXT(" 0"),
    TEXT("5 positive"),
    TEXT("-99 unknown"),
    TEXT("-99999999999999999999 far"),
    TEXT("-12 two\nlines\033[2J\x80\xff"),
    TEXT("-13 not\0whole"),
    TEXT("0 busy 0"),
    TEXT("0 busy 7x"),
    TEXT("0 busy -1"),
    TEXT("0 busy 1"),
    TEXT("0 manifest 0"),
    TEXT("0 manifest 18446744073709551615"),
    TEXT("0 manifest 3"),
    TEXT("0 go"),
};

enum { N_WORD = TLPI_COUNT(words) };

static void send_word(int i, int channel)
{
    int tag = TLPI_PEER_N_TAG * channel + WORD_TAG;

    if (i < N_WORD)
        put(tag, words[i].data, words[i].n);
    else
        put_long(tag, 70000);
}

/* ==== messages of a communicator ========================================= */

#define FLIP(field, bits)                                                      \
    {                                                                          \
        offsetof(tlpi_peer_header, field), bits                                \
    }

/* Bits of a header. */
static const struct {
    size_t at;
    uint32_t bits;
} flips[] = {
    FLIP(op, 3),      FLIP(op, UINT32_MAX),   FLIP(group, 1),
    FLIP(seq, 1),     FLIP(part, UINT32_MAX), FLIP(bytes, UINT32_MAX),
    FLIP(wire, 0x80), FLIP(wire, UINT32_MAX),
};

/* Bytes, of which the first are as they should be. */
static const size_t lengths[] = { 0, 5, sizeof(tlpi_peer_header) - 1, 5000,
                                  TLPI_EAGER_BYTES };

enum {
    N_FLIP = TLPI_COUNT(flips),
    N_LENGTH = TLPI_COUNT(lengths),
    N_MUTANT = N_FLIP + N_LENGTH + 1
};

/* What the other sent, as it should have come from us, but for one thing. */
static void send_mutant(int i, int channel)
{
    static char message[TLPI_EAGER_BYTES];
    int tag = TLPI_PEER_N_TAG * channel + TLPI_PEER_TAG_CALL;
    size_t n = get(tag, message, sizeof message, 2);

    CHECK(n >= sizeof(tlpi_peer_header));
    if (i < N_FLIP) {
        uint32_t word;
        memcpy(&word, message + flips[i].at, sizeof word);
        word ^= flips[i].bits;
        memcpy(message + flips[i].at, &word, sizeof word);
        put(tag, message, n);
    } else if (i < N_FLIP + N_LENGTH) {
        put(tag, message, lengths[i - N_FLIP]);
    } else { /* an alarm */
        memset(message, '\n', 300);
        put(tag + TLPI_PEER_TAG_ABORT, message, 300);
    }
}

/* ==== hellos ============================================================= */

static int channel_of(const char *text)
{
    const char *line = strstr(text, "\nchannel ");

    CHECK(line);
    return atoi(line + 9);
}

/* The hello that was kept, with another value of a key (NULL: as it is) and a
 * channel that was not yet used. */
static size_t make_hello(char *out, const char *key, const char *value,
                         int *channel)
{
    const char *from = hello;
    char *to = out, number[16];
    bool found = !key;

    *channel = ops->new_channel(t);
    snprintf(number, sizeof number, "%d", *channel);
    while (*from) {
        const char *end = strchr(from, '\n');
        size_t n = end ? (size_t)(end - from) + 1 : strlen(from);
        bool ours = key && strncmp(from, key, strlen(key)) == 0;

        if (ours)
            to += sprintf(to, "%s %s\n", key, value);
        else if (strncmp(from, "channel ", 8) == 0)
            to += sprintf(to, "channel %s\n", number);
        else
            to = mempcpy(to, from, n);
        found |= ours;
        if (ours && strcmp(key, "plan") == 0) /* the rest of the text */
            break;
        from += n;
    }
    CHECK(found);
    return (size_t)(to - out);
}

static const char *const edits[][2] = {
    { "tlp-hello", "2" },
    { "protocol", "0" },
    { "protocol", "99999999999" },
    { "protocol", "8" },
    { "version", "\033[2J" },
    { "byte_order", "middle" },
    { "channel", "0" },
    { "channel", "8192" },
    { "channel", "-1" },
    { "fingerprint", "sha256:" },
    { "digest", "sha256:" },
    { "digest", "none" },
    { "digest", "" },
    { "types", "F32:1" },
    { "n_rank", "3" },
    { "n_rank", "2 " },
    { "n_ctx", "2147483647" },
    { "n_seq", "1000000" },
    { "n_batch", "0" },
    { "compute", "magic" },
    { "kv_type", "" },
    { "wire", "f32,f32" },
    { "timeout_ms", "0" },
    { "plan", "" },
    { "plan", "[[[[[[[[[[[[[[[[[[[[[[" },
    { "plan", "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [99]}]}" },
};

enum { N_EDIT = TLPI_COUNT(edits), N_CUT = 24, N_NOISE = 4 };

/* Rank 0's hello i; the channel on which an answer may come. */
static int send_hello(int i)
{
    static char text[2 * TLPI_HELLO_BYTES];
    int channel = 1;

    if (i < N_EDIT) {
        size_t n = make_hello(text, edits[i][0], edits[i][1], &channel);
        put(0, text, n);
    } else if (i < N_EDIT + N_CUT) {
        size_t n = make_hello(text, NULL, NULL, &channel);
        put(0, text, n * (size_t)(i - N_EDIT) / N_CUT);
    } else {
        uint32_t x = (uint32_t)i;
        for (size_t j = 0; j < TLPI_HELLO_BYTES; j++)
            text[j] = (char)((x = x * 1664525 + 1013904223) >> 24);
        put(0, text, TLPI_HELLO_BYTES >> 4 * (i - N_EDIT - N_CUT));
    }
    return channel;
}

enum { N_HELLO = N_EDIT + N_CUT + N_NOISE };

/* ==== attacks ============================================================ */

/* The other, rank 1, is waiting for rank 0's hello. */
static void attack_with_hello(int i)
{
    char verdict[700];
    int channel = send_hello(i);
    int tag = TLPI_PEER_N_TAG * channel + WORD_TAG;

    /* One that can be read is answered. */
    if (get(tag, verdict, sizeof verdict, 0.1) > 0)
        put(tag, "-15 no", 6);
}

/* A hello that fits, with that plan (NULL: the one that was kept). */
static void greet_well(const char *plan, int *channel)
{
    static char text[2 * TLPI_HELLO_BYTES], verdict[700];
    size_t n = make_hello(text, plan ? "plan" : NULL, plan, channel);

    put(0, text, n);
    n = get(TLPI_PEER_N_TAG * *channel + WORD_TAG, verdict, sizeof verdict, 5);
    CHECK(n >= 2 && memcmp(verdict, "0 ", 2) == 0);
}

/* Rank 0's part as rank 1 sees it, up to the decision. */
static int hear_hello(void)
{
    n_hello = get(0, hello, TLPI_HELLO_BYTES, 5);
    hello[n_hello] = '\0';
    return channel_of(hello);
}

static void attack_with_word(int i)
{
    int channel;

    if (t->rank == 1)
        channel = hear_hello();
    else
        greet_well(NULL, &channel);
    send_word(i, channel);
}

static void attack_with_mutant(int i)
{
    char decision[700];
    int channel, tag;

    if (t->rank == 1) {
        channel = hear_hello();
        tag = TLPI_PEER_N_TAG * channel + WORD_TAG;
        put(tag, "0 ", 2);
        CHECK(get(tag, decision, sizeof decision, 5) > 0);
    } else {
        greet_well(NULL, &channel);
        put(TLPI_PEER_N_TAG * channel + WORD_TAG, "0 ", 2);
    }
    send_mutant(i, channel);
}

/* Lengths that adjustments are said to have; what comes then is zeros. */
static const uint64_t images[] = { 0,       1,          8,
                                   3000000, UINT64_MAX, (uint64_t)1 << 40 };

/* Adjustments that are not those the plan has the hash of. */
static void attack_with_image(int i)
{
    static char zeros[3000000];
    static const char plan[] =
        "{\"tlp_plan\": 1, \"stages\": [{\"layers\": [0]}, "
        "{\"layers\": [1, 2], \"mode\": \"par\"}, {\"layers\": [3]}, "
        "{\"layers\": [4]}], \"adjust\": {\"file\": \"a.safetensors\", "
        "\"sha256\": \"sha256:00000000000000000000000000000000"
        "00000000000000000000000000000000\"}}";
    tlpi_peer_setup setup = { .ops = ops,
                              .transport = t,
                              .wire = TLP_WIRE_F32,
                              .max_floats = 1,
                              .n_thread = 1,
                              .timeout_ms = 2000 };
    uint64_t n = images[i];
    tlpi_comm *c = NULL;

    greet_well(plan, &setup.channel);
    put(TLPI_PEER_N_TAG * setup.channel + WORD_TAG, "0 ", 2);
    CHECK(tlpi_comm_peer_create(&c, &model->env, &setup) == TLP_OK);
    CHECK(c->ops->bcast(c, &n, sizeof n, false) == TLP_OK);
    for (size_t at = 0; n <= sizeof zeros && at < n; at += 1 << 20)
        if (c->ops->bcast(c, zeros, TLPI_MIN(n - at, (size_t)1 << 20), false))
            break; /* the other has given up */
    tlpi_comm_free(c);
}

static void each(int attacker, const char *what, void (*attack)(int), int n)
{
    for (int i = 0; i < n; i++) {
        char name[64];

        snprintf(name, sizeof name, "%s %d on rank %d", what, i, !attacker);
        meet(name);
        if (t->rank == attacker) {
            attack(i);
        } else if (t->rank == 0) {
            tlp_session *s = NULL;

            expect_refused(create(&s));
            CHECK(!s);
        } else {
            expect_refused(serve());
        }
    }
    now_what = what;
    work();
}

/* ==== commands =========================================================== */

static void attack_with_command(const tlpi_command *cmd)
{
    tlp_session *s = NULL;

    meet("command");
    if (t->rank == 1) {
        expect_refused(serve());
        return;
    }
    CHECK(create(&s) == TLP_OK);
    CHECK(tlp_session_decode(s, 1) == TLP_OK); /* sequence 0 has a page */

    tlpi_comm *c = s->rank0->comm;
    tlpi_command copy = *cmd;
    int32_t arrays[5 * 32];

    CHECK(c->ops->bcast(c, &copy, sizeof copy, true) == TLP_OK);
    memset(arrays, 0x7f, sizeof arrays);
    if (cmd->n_tok > TLPI_INLINE_TOK && cmd->n_tok <= 32)
        (void)c->ops->bcast(c, arrays, 5 * (size_t)cmd->n_tok * 4, false);
    tlp_session_free(s);
    CHECK(heap.live == at_rest);
}

static void commands(void)
{
    static const tlpi_command bad[] = {
        { .op = -1 },
        { .op = 99 },
        { .op = TLPI_OP_STEP, .n_tok = 0 },
        { .op = TLPI_OP_STEP, .n_tok = -5 },
        { .op = TLPI_OP_STEP, .n_tok = 33 },
        { .op = TLPI_OP_STEP, .n_tok = INT32_MAX },
        { .op = TLPI_OP_STEP, .n_tok = 1, .n_row = 2 },
        { .op = TLPI_OP_STEP, .n_tok = 1, .inlined = { 288 } },
        { .op = TLPI_OP_STEP, .n_tok = 1, .inlined = { -1 } },
        { .op = TLPI_OP_STEP, .n_tok = 1, .inlined = { 0, 1 } },
        { .op = TLPI_OP_STEP, .n_tok = 1, .inlined = { 0, 0, 64 } },
        { .op = TLPI_OP_STEP, .n_tok = 1, .n_row = 1, .row = 1 << 30 },
        { .op = TLPI_OP_STEP, .n_tok = 1, .n_row = 1, .k = 300 },
        { .op = TLPI_OP_STEP, .n_tok = 1, .n_row = 1, .k = -1 },
        { .op = TLPI_OP_STEP, .n_tok = 32 },
        { .op = TLPI_OP_SCORE, .n_tok = 1, .n_row = -1 },
        { .op = TLPI_OP_SCORE, .n_tok = 20, .n_row = 20 },
        { .op = TLPI_OP_ROW, .row = -1 },
        { .op = TLPI_OP_ROW, .row = INT32_MAX },
        { .op = TLPI_OP_TOP, .k = 257 },
        { .op = TLPI_OP_RESERVE, .n_row = -1 },
        { .op = TLPI_OP_PAGES, .n_tok = INT32_MAX },
        { .op = TLPI_OP_PAGES, .n_tok = 1, .edit = { { .page = -1 } } },
        { .op = TLPI_OP_PAGES,
          .n_tok = 1,
          .edit = { { .op = TLPI_PAGE_SET, .seq = 1 } } },
        { .op = TLPI_OP_PAGES,
          .n_tok = 2,
          .edit = { { .op = TLPI_PAGE_DROP },
                    { .op = TLPI_PAGE_COPY } } }, /* of a page without memory */
    };

    for (size_t i = 0; i < TLPI_COUNT(bad); i++)
        attack_with_command(&bad[i]);
    work();
}

/* ==== trainings ========================================================== */

enum { N_TEXT = 8 * 32 };

static const tlpi_train_brief good_brief = { .n_ctx = 32,
                                             .n_accum = 1,
                                             .norms = 1,
                                             .n_id = N_TEXT,
                                             .max_bytes = 1,
                                             .rate = 1e-3,
                                             .warm_up = 0.1,
                                             .clip = 1,
                                             .held_out = 0.3 };

/* Two windows of the text are held out; there are two ranks. */
static const tlpi_train_order good_step = { .op = TLPI_TRAIN_STEP,
                                            .n = 2,
                                            .rate = 1e-3 };

static void attack_with_training(const tlpi_train_brief *brief, int32_t id,
                                 const tlpi_train_order *order, int32_t window)
{
    static int32_t ids[N_TEXT];
    tlp_session_options o = options();
    tlpi_train_brief b = *brief;
    tlpi_train_order copy = *order;
    tlpi_train_group g = { .comm = NULL };
    int32_t list[2] = { window, window };
    tlp_plan *plan = NULL;

    meet("training");
    if (t->rank == 1) {
        expect_refused(serve());
        return;
    }
    for (int i = 0; i < N_TEXT; i++)
        ids[i] = i == 100 ? id : i;
    CHECK(tlp_plan_parse(&plan, model, "par:1-2") == TLP_OK);
    CHECK(tlpi_train_group_lead(&g, plan, &o) == TLP_OK);
    CHECK(tlpi_train_share(&g, &b, sizeof b) == TLP_OK);
    /* the other may have given up */
    (void)tlpi_train_share(&g, ids, sizeof ids);
    (void)tlpi_train_share_order(&g, &copy);
    (void)tlpi_train_share(&g, list, sizeof list);
    tlpi_train_group_leave(&g, TLP_ECOMM);
    tlp_plan_free(plan);
    CHECK(heap.live == at_rest);
}

static void trainings(void)
{
#define BRIEF(field, value)                                                    \
    do {                                                                       \
        tlpi_train_brief b = good_brief;                                       \
        b.field = (value);                                                     \
        attack_with_training(&b, 1, &good_step, 5);                            \
    } while (0)
#define ORDER(field, value)                                                    \
    do {                                                                       \
        tlpi_train_order o = good_step;                                        \
        o.field = (value);                                                     \
        attack_with_training(&good_brief, 1, &o, 5);                           \
    } while (0)
    BRIEF(n_ctx, 1);
    BRIEF(n_ctx, 1 << 30);
    BRIEF(n_accum, 0);
    BRIEF(n_accum, 1 << 30);
    BRIEF(full, 2);
    BRIEF(norms, 0);
    BRIEF(rank, -1);
    BRIEF(n_id, 0);
    BRIEF(n_id, -1);
    BRIEF(n_local_token, 1 << 20);
    BRIEF(rate, NAN);
    BRIEF(held_out, 2);
    attack_with_training(&good_brief, -1, &good_step, 5);
    attack_with_training(&good_brief, 1 << 20, &good_step, 5);
    ORDER(op, -1);
    ORDER(op, 99);
    ORDER(n, 0);
    ORDER(n, INT32_MAX);
    ORDER(local, 1);
    ORDER(local, -1);
    ORDER(rate, INFINITY);
    attack_with_training(
        &good_brief, 1,
        &(tlpi_train_order){ .op = TLPI_TRAIN_STATE, .step = -1 }, 5);
    attack_with_training(&good_brief, 1, &good_step, -1);
    attack_with_training(&good_brief, 1, &good_step, 1);
    attack_with_training(&good_brief, 1, &good_step, 8);
    work();
#undef BRIEF
#undef ORDER
}

int main(int argc, char **argv)
{
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    char err[256];

    if (argc != 2)
        return 2;
    now_what = "start";
    CHECK(tlpi_transport_load(&ops, TLP_COMM_MPI) == TLP_OK);
    CHECK(ops->open(&t, NULL, 20000, err, sizeof err) == TLP_OK);
    CHECK(t->size == 2);
    mo.allocator = mem_hooks(&heap);
    CHECK(tlp_model_open(&model, argv[1], &mo) == TLP_OK);
    CHECK(tlpi_model_digest(model, NULL, NULL, NULL) == TLP_OK);
    at_rest = heap.live;

    work();
    each(1, "verdict", attack_with_word, N_WORD + 1);
    each(1, "message", attack_with_mutant, N_MUTANT);
    if (t->rank == 1)
        put(SYNC_TAG, hello, n_hello);
    else
        hello[get(SYNC_TAG, hello, TLPI_HELLO_BYTES, 10)] = '\0';
    each(0, "hello", attack_with_hello, N_HELLO);
    each(0, "decision", attack_with_word, N_WORD + 1);
    each(0, "message", attack_with_mutant, N_MUTANT);
    each(0, "adjustments", attack_with_image, TLPI_COUNT(images));
    commands();
    trainings();
    tlp_model_free(model);
    CHECK(heap.live == 0);
    printf("rank %d: %d attacks\n", t->rank, n_attack);
    return 0;
}
