/*
 * test_sequences.c - the same tokens by other ways: chunks, token by token,
 * batches, forks and rewinds, other caches, other threads.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/ref.h"
#include "support/rig.h"
#include "support/tiny.h"

#define N_TOKEN 29

/*
 * From the reference in double precision: f32 rounding, as in test_parity.c.
 */
#define TOLERANCE 3e-5

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const char *const plans[] = { "serial", "par:1-2,3-4", "lp:0-2",
                                     "asym:1-2" };

TestSuite(sequences, .timeout = 120);

static const char *model_path(void)
{
    tiny_spec s = tiny_default();

    s.type = TLPI_Q8_0;
    return tiny_make(&s);
}

static void expect_bits(const float *got, const float *want, size_t n,
                        const char *what)
{
    cr_assert_eq(memcmp(got, want, n * sizeof *got), 0,
                 "%s: other bits, off by %g", what, rig_diff_f(got, want, n));
}

/* The current logits of row 0. */
static const float *row0(rig *r)
{
    const float *row = NULL;

    CHECK_OK(tlp_session_logits(&row, r->session, 0));
    return row;
}

/* ==== one sequence, other ways =========================================== */

Test(sequences, chunks)
{
    static const int sizes[] = { 1, 3, 8, 512 };
    const char *path = model_path();
    int32_t ids[N_TOKEN];

    for (int p = 0; p < COUNT(plans); p++) {
        float *want = NULL;

        for (int i = 0; i < COUNT(sizes); i++) {
            tlp_session_options o = rig_f32(1 + p % 3, 1);

            o.n_batch = sizes[i];
            rig r = rig_open(path, plans[p], &o);
            rig_tokens(ids, N_TOKEN, r.n_vocab, 5);
            float *got = rig_eval(&r, 0, ids, N_TOKEN);
            if (want)
                expect_bits(got, want, N_TOKEN * r.n_vocab, plans[p]);
            rig_close(&r);
            if (want)
                free(got);
            else
                want = got;
        }
        free(want);
    }
}

Test(sequences, decode_equals_prefill)
{
    const char *path = model_path();
    int32_t ids[N_TOKEN];

    for (int p = 0; p < COUNT(plans); p++)
        for (int ranks = 1; ranks <= 3; ranks++) {
            tlp_session_options o = rig_f32(ranks, 1);
            rig r = rig_open(path, plans[p], &o);

            rig_tokens(ids, N_TOKEN, r.n_vocab, 6);
            float *want = rig_eval(&r, 0, ids, N_TOKEN);
            CHECK_OK(tlp_session_clear(r.session, 0));
            CHECK_OK(tlp_session_prefill(r.session, ids, 4));
            expect_bits(row0(&r), want + 3 * r.n_vocab, r.n_vocab, plans[p]);
            for (int t = 4; t < N_TOKEN; t++) {
                CHECK_OK(tlp_session_decode(r.session, ids[t]));
                cr_assert_eq(tlp_session_pos(r.session, 0), t + 1);
                cr_assert_eq(tlp_session_n_logits(r.session), 1);
                expect_bits(row0(&r), want + (size_t)t * r.n_vocab, r.n_vocab,
                            plans[p]);
            }
            free(want);
            rig_close(&r);
        }
}

/* ==== several sequences ================================================== */

#define N_SEQ 9

/* Sequence q holds its own tokens, q + 2 of them. */
static void own_tokens(int32_t *ids, int q, size_t n_vocab)
{
    rig_tokens(ids, q + 2, n_vocab, 100 + (uint64_t)q);
}

/* A round robin over the sequences, as a server would send them. */
static size_t interleave(int32_t *tokens, int32_t *seqs, size_t n_vocab)
{
    int32_t ids[N_SEQ + 2];
    size_t n = 0;

    for (int t = 0; t < N_SEQ + 1; t++)
        for (int q = N_SEQ - 1; q >= 0; q--) {
            if (t >= q + 2)
                continue;
            own_tokens(ids, q, n_vocab);
            tokens[n] = ids[t];
            seqs[n++] = q;
        }
    return n;
}

/* Row i belongs to token i of the batch. */
static void expect_alone(const char *path, const tlp_session_options *o,
                         const char *plan, const float *all,
                         const int32_t *seqs, size_t n)
{
    for (int q = 0; q < N_SEQ; q++) {
        int32_t ids[N_SEQ + 2];
        rig r = rig_open(path, plan, o);

        own_tokens(ids, q, r.n_vocab);
        float *alone = rig_eval(&r, 0, ids, q + 2);
        for (size_t i = 0, t = 0; i < n; i++)
            if (seqs[i] == q)
                expect_bits(all + i * r.n_vocab, alone + t++ * r.n_vocab,
                            r.n_vocab, plan);
        free(alone);
        rig_close(&r);
    }
}

Test(sequences, batch_equals_one_at_a_time)
{
    const char *path = model_path();
    int32_t tokens[128], seqs[128];
    uint8_t want[128];

    memset(want, 1, sizeof want);
    for (int p = 0; p < COUNT(plans); p++) {
        tlp_session_options o = rig_f32(1 + p % 2, 2), alone;

        o.n_seq = N_SEQ;
        o.n_batch = p % 2 ? 7 : 0;
        alone = o;
        alone.n_seq = 1;
        rig r = rig_open(path, plans[p], &o);
        tlp_batch b = TLP_BATCH_INIT;
        b.n = interleave(tokens, seqs, r.n_vocab);
        b.tokens = tokens;
        b.seqs = seqs;
        b.want_logits = want;
        CHECK_OK(tlp_session_eval(r.session, &b));
        float *all = rig_logits(&r, NULL);
        for (int q = 0; q < N_SEQ; q++)
            cr_assert_eq(tlp_session_pos(r.session, q), q + 2);
        expect_alone(path, &alone, plans[p], all, seqs, b.n);
        free(all);
        rig_close(&r);
    }
}

/* Continuous batching: one token of each sequence at a time. */
Test(sequences, decode_in_step)
{
    tlp_session_options o = rig_f32(2, 1);
    int32_t ids[8][6], tokens[8], seqs[8];

    o.n_seq = 8;
    rig r = rig_open(model_path(), "par:1-2,3-4", &o);
    tlp_batch b = { sizeof b, 8, tokens, seqs, NULL };
    float *alone[8], *got = NULL;
    for (int q = 0; q < 8; q++) {
        rig_tokens(ids[q], 6, r.n_vocab, 40 + (uint64_t)q);
        alone[q] = rig_eval(&r, q, ids[q], 6);
        CHECK_OK(tlp_session_clear(r.session, q));
    }
    for (int t = 0; t < 6; t++) {
        for (int q = 0; q < 8; q++) {
            seqs[q] = (q * 3) % 8;
            tokens[q] = ids[seqs[q]][t];
        }
        CHECK_OK(tlp_session_eval(r.session, &b));
        cr_assert_eq(tlp_session_n_logits(r.session), 8);
        got = rig_logits(&r, NULL);
        for (size_t q = 0; q < 8; q++)
            expect_bits(got + q * r.n_vocab,
                        alone[seqs[q]] + (size_t)t * r.n_vocab, r.n_vocab,
                        "in step");
        free(got);
    }
    for (int q = 0; q < 8; q++)
        free(alone[q]);
    rig_close(&r);
}

/* ==== rewind, fork, clear ================================================ */

Test(sequences, rewind_forgets)
{
    for (int ranks = 1; ranks <= 3; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        rig r = rig_open(model_path(), "par:1-2,3-4", &o);
        int32_t a[16], b[16], ab[16];

        rig_tokens(a, 16, r.n_vocab, 1);
        rig_tokens(b, 16, r.n_vocab, 2);
        memcpy(ab, a, sizeof a);
        memcpy(ab + 7, b, 9 * sizeof *b);
        float *want = rig_eval(&r, 0, ab, 16);
        CHECK_OK(tlp_session_clear(r.session, 0));
        cr_assert_eq(tlp_session_pos(r.session, 0), 0);
        free(rig_eval(&r, 0, a, 16));
        CHECK_OK(tlp_session_rewind(r.session, 0, 7));
        cr_assert_eq(tlp_session_pos(r.session, 0), 7);
        float *got = rig_eval(&r, 0, b, 9);
        expect_bits(got, want + 7 * r.n_vocab, 9 * r.n_vocab, "rewound");
        free(got);
        free(want);
        rig_close(&r);
    }
}

Test(sequences, fork_copies)
{
    for (int ranks = 1; ranks <= 3; ranks++) {
        tlp_session_options o = rig_f32(ranks, 1);
        int32_t a[12], b[12];

        o.n_seq = 3;
        rig r = rig_open(model_path(), "asym:1-2", &o);
        rig_tokens(a, 12, r.n_vocab, 1);
        rig_tokens(b, 12, r.n_vocab, 2);
        float *want = rig_eval(&r, 0, a, 12);
        CHECK_OK(tlp_session_clear(r.session, 0));
        free(rig_eval(&r, 2, b, 11)); /* overwritten by the fork */
        free(rig_eval(&r, 0, a, 8));
        CHECK_OK(tlp_session_fork(r.session, 2, 0));
        cr_assert_eq(tlp_session_pos(r.session, 2), 8);
        free(rig_eval(&r, 0, b, 4)); /* must not reach into the copy */
        float *got = rig_eval(&r, 2, a + 8, 4);
        expect_bits(got, want + 8 * r.n_vocab, 4 * r.n_vocab, "forked");
        free(got);
        CHECK_OK(tlp_session_fork(r.session, 2, 2)); /* onto itself */
        cr_assert_eq(tlp_session_pos(r.session, 2), 12);
        CHECK_OK(tlp_session_fork(r.session, 2, 1)); /* of an empty one */
        cr_assert_eq(tlp_session_pos(r.session, 2), 0);
        free(want);
        rig_close(&r);
    }
}

/* ==== caches ============================================================= */

/*
 * A cache of f16 rounds keys and values to 11 bits, bf16 to 8: relative
 * 2^-12 and 2^-9 at most, on attention's inputs alone; q8_0 to 1/254 of the
 * largest in a block.  Logits of a few units may move by about ten times that
 * over the layers.
 */
Test(sequences, cache_types)
{
    static const struct {
        int kv_type;
        double at_most, at_least;
        const char *name;
    } kinds[] = {
        { TLP_KV_F32, TOLERANCE, 0, "f32" },
        { TLP_KV_F16, 4e-3, 1e-6, "f16" },
        { TLP_KV_BF16, 4e-2, 1e-5, "bf16" },
        { TLP_KV_Q8_0, 4e-2, 1e-5, "q8_0" },
    };
    const char *path = model_path();
    ref_model *ref = ref_open(path);
    ref_plan p = ref_parse("0 par:1,2 par:3,4");
    size_t n = N_TOKEN * (size_t)ref_n_vocab(ref);
    int32_t ids[N_TOKEN];
    size_t bytes[COUNT(kinds)];

    rig_tokens(ids, N_TOKEN, (size_t)ref_n_vocab(ref), 8);
    double *want = ref_logits(ref, &p, ids, N_TOKEN);
    for (int i = 0; i < COUNT(kinds); i++)
        for (int isa = TLP_ISA_SCALAR; isa <= TLP_ISA_AMX; isa++) {
            tlp_session_options o = rig_f32(2, 1);
            tlp_session_stats stats = { .struct_size = sizeof stats };

            if (!rig_has_isa(isa))
                continue;
            o.isa = isa;
            o.kv_type = kinds[i].kv_type;
            rig r = rig_open(path, "par:1-2,3-4", &o);
            float *got = rig_eval(&r, 0, ids, N_TOKEN);
            double d = rig_diff(got, want, n);
            cr_assert(d <= kinds[i].at_most && d >= kinds[i].at_least,
                      "%s, %s: off by %g", kinds[i].name, rig_isa_name(isa), d);
            CHECK_OK(tlp_session_get_stats(&stats, r.session));
            bytes[i] = stats.kv_bytes;
            free(got);
            rig_close(&r);
        }
    cr_assert(bytes[0] > bytes[1] && bytes[1] == bytes[2]);
    cr_assert(bytes[3] < bytes[2]);
    free(want);
    ref_close(ref);
}

/* ==== the same bits ====================================================== */

/* Repeated runs and other thread counts, at both kinds of compute. */
Test(sequences, bits_do_not_depend_on_threads)
{
    const char *path = model_path();
    int32_t ids[N_TOKEN];

    for (int p = 0; p < COUNT(plans); p++)
        for (int i = 0; i < 6; i++) {
            tlp_session_options o = rig_f32(1 + i % 3, 1);
            float *want = NULL;

            o.compute = i < 3 ? TLP_COMPUTE_F32 : TLP_COMPUTE_DEFAULT;
            for (int run = 0; run < 5; run++) {
                o.n_thread = 1 + run % 3;
                rig r = rig_open(path, plans[p], &o);
                rig_tokens(ids, N_TOKEN, r.n_vocab, 9);
                float *got = rig_eval(&r, 0, ids, N_TOKEN - 1);
                if (want)
                    expect_bits(got, want, (N_TOKEN - 1) * r.n_vocab, plans[p]);
                CHECK_OK(tlp_session_decode(r.session, ids[N_TOKEN - 1]));
                float *last = rig_logits(&r, NULL);
                size_t n_row = r.n_vocab;
                rig_close(&r);
                if (!want) {
                    want = realloc(got, N_TOKEN * n_row * sizeof *want);
                    cr_assert(want != NULL);
                    memcpy(want + (N_TOKEN - 1) * n_row, last,
                           n_row * sizeof *want);
                } else {
                    expect_bits(last, want + (N_TOKEN - 1) * n_row, n_row,
                                plans[p]);
                    free(got);
                }
                free(last);
            }
            free(want);
        }
}

/* Also within one session: nothing of an earlier call may shine through. */
Test(sequences, bits_do_not_depend_on_history)
{
    for (int ranks = 1; ranks <= 4; ranks++) {
        tlp_session_options o = rig_f32(ranks, 2);
        rig r = rig_open(model_path(), "par:0-2", &o);
        int32_t ids[N_TOKEN], other[N_TOKEN];
        float *want = NULL;

        rig_tokens(ids, N_TOKEN, r.n_vocab, 9);
        for (int run = 0; run < 20 / CHECK_SLOWDOWN + 2; run++) {
            rig_tokens(other, N_TOKEN, r.n_vocab, (uint64_t)run);
            CHECK_OK(tlp_session_prefill(r.session, other, 1 + (size_t)run));
            CHECK_OK(tlp_session_clear(r.session, 0));
            float *got = rig_eval(&r, 0, ids, N_TOKEN);
            CHECK_OK(tlp_session_clear(r.session, 0));
            if (want) {
                expect_bits(got, want, N_TOKEN * r.n_vocab, "again");
                free(got);
            } else {
                want = got;
            }
        }
        free(want);
        rig_close(&r);
    }
}
