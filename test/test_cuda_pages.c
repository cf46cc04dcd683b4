/*
 * test_cuda_pages.c - the pages of a session's cache on the CUDA backend:
 * sequences that share pages, copy them and lose them, beside equal sequences
 * on CPUs.
 */
#include <math.h>
#include <stdlib.h>

#include "session/session.h"
#include "support/gpu_plugin.h"
#include "support/rig.h"
#include "support/tiny.h"

TestSuite(cuda_pages, .timeout = 600);

enum { N_CTX = 600, N_SEQ = 3, N_BATCH = 64 };

/* As in test_cuda_models.c. */
#define TOLERANCE 1e-4

typedef struct both {
    rig side[2]; /* on CPUs, on a GPU */
    int32_t ids[N_CTX];
} both;

/* Layers of gemma3 see the latest 40 positions, all but every third. */
static both open_both(uint64_t pages)
{
    static const int32_t first[1] = { 0 };
    tlp_session_options o = rig_f32(2, 1);
    tiny_spec s = tiny_default();
    both b;

    s.arch = "gemma3";
    s.window = 40;
    s.n_layer = 3;
    const char *path = tiny_make(&s);
    gpu_load();
    o.n_ctx = N_CTX;
    o.n_seq = N_SEQ;
    o.n_batch = N_BATCH;
    o.kv_bytes = pages;
    o.timeout_ms = 60000;
    b.side[0] = rig_open(path, "par:1-2", &o);
    o.backend = TLP_BACKEND_CUDA;
    o.devices = first;
    o.n_device = 1;
    b.side[1] = rig_open(path, "par:1-2", &o);
    rig_tokens(b.ids, N_CTX, b.side[0].n_vocab, 5);
    return b;
}

static void close_both(both *b)
{
    rig_close(&b->side[0]);
    rig_close(&b->side[1]);
}

/* Tokens at [at, at + n) of the text for a sequence: its last row. */
static void extend(both *b, int32_t seq, int at, int n)
{
    const float *row[2] = { NULL };
    int32_t seqs[N_CTX];
    tlp_batch batch = { sizeof batch, (size_t)n, b->ids + at, seqs, NULL };

    for (int i = 0; i < n; i++)
        seqs[i] = seq;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(tlp_session_eval(b->side[i].session, &batch));
        CHECK_OK(tlp_session_logits(&row[i], b->side[i].session, 0));
    }
    double d = rig_diff_f(row[0], row[1], b->side[0].n_vocab);
    cr_assert_leq(d, TOLERANCE, "sequence %d, %d tokens from %d: off by %g",
                  seq, n, at, d);
}

static void decode(both *b, int32_t seq, int at, int n)
{
    for (int i = 0; i < n; i++)
        extend(b, seq, at + i, 1);
}

static void rewind_to(both *b, int32_t seq, int32_t pos)
{
    for (int i = 0; i < 2; i++)
        CHECK_OK(tlp_session_rewind(b->side[i].session, seq, pos));
}

/* Steps are replayed while the sequences' pages change. */
Test(cuda_pages, are_those_of_cpus)
{
    both b = open_both(0);

    extend(&b, 0, 0, 500);
    for (int i = 0; i < 2; i++)
        CHECK_OK(tlp_session_fork(b.side[i].session, 1, 0));
    for (int i = 0; i < 12; i++) {
        decode(&b, 0, 500 + i, 1); /* over the border of a page */
        decode(&b, 1, 300 + i, 1); /* a copy */
    }
    decode(&b, 0, 512, 4);
    cr_expect_gt(gpu_stats(b.side[1].session->rank0->b).replayed, 20);
    rewind_to(&b, 0, 100); /* its windows are gone */
    decode(&b, 0, 30, 4);
    rewind_to(&b, 1, 490);
    extend(&b, 1, 0, 80);
    extend(&b, 2, 7, 3);
    close_both(&b);
}

/* The memory of all pages is there from the beginning, and they run out. */
Test(cuda_pages, have_a_budget)
{
    both b = open_both(0);
    tlp_session_stats s = { .struct_size = sizeof s };
    tlp_need need = { .struct_size = sizeof need };
    tlp_session_options o = rig_f32(2, 1);

    CHECK_OK(tlp_session_get_stats(&s, b.side[1].session));
    cr_expect_eq(s.kv_bytes, s.kv_most_bytes);
    o.n_ctx = N_CTX;
    o.n_seq = N_SEQ;
    o.n_batch = N_BATCH;
    o.backend = TLP_BACKEND_CUDA;
    CHECK_OK(tlp_session_need(&need, b.side[1].plan, &o, -1));
    cr_expect_eq(need.kv_bytes, s.kv_most_bytes);
    o.kv_alloc = TLP_KV_AS_USED;
    CHECK_FAILS(TLP_EINVAL, tlp_session_need(&need, b.side[1].plan, &o, -1));
    uint64_t half = s.kv_most_bytes / 2;
    close_both(&b);

    b = open_both(half);
    CHECK_OK(tlp_session_get_stats(&s, b.side[1].session));
    cr_expect_eq(s.kv_bytes, s.kv_most_bytes);
    cr_expect_leq(s.kv_bytes, half);
    extend(&b, 0, 0, 600);
    cr_expect_eq(tlp_session_pos(b.side[1].session, 0), 600);
    tlp_batch batch = { sizeof batch, 300, b.ids, NULL, NULL };
    int32_t seqs[300];
    for (int i = 0; i < 300; i++)
        seqs[i] = 1 + i % 2;
    batch.seqs = seqs;
    CHECK_FAILS(TLP_EFULL, tlp_session_eval(b.side[1].session, &batch));
    cr_expect_eq(tlp_session_pos(b.side[1].session, 1), 0);
    close_both(&b);
}
