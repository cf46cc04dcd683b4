/*
 * test_invariance.c - the logits of a token depend on the tokens before it in
 * its sequence, and on nothing else that was computed beside or before it, nor
 * on the number of threads: bit for bit, on every instruction set of this
 * machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rig.h"
#include "support/tiny.h"

/* Attention works on chunks of 256 positions: LONG crosses into the second. */
#define LONG 300
#define SHORT 70
#define SHORT_SCALAR 40 /* plain C is slow */
#define N_SEQ 4

/* Sanitizers are slow, and do not depend on types: a part is enough. */
#define EVERY (CHECK_SLOWDOWN > 1 ? 4 : 1)
#define FIRST_ISA (CHECK_SLOWDOWN > 1 ? TLP_ISA_AVX2 : TLP_ISA_SCALAR)

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(invariance, .timeout = 600);

static const struct {
    tlpi_dtype type;
    const char *name;
} types[] = {
    { TLPI_F32, "F32" },       { TLPI_F16, "F16" },
    { TLPI_BF16, "BF16" },     { TLPI_Q8_0, "Q8_0" },
    { TLPI_Q4_0, "Q4_0" },     { TLPI_Q4_1, "Q4_1" },
    { TLPI_Q5_0, "Q5_0" },     { TLPI_Q5_1, "Q5_1" },
    { TLPI_Q2_K, "Q2_K" },     { TLPI_Q3_K, "Q3_K" },
    { TLPI_Q4_K, "Q4_K" },     { TLPI_Q5_K, "Q5_K" },
    { TLPI_Q6_K, "Q6_K" },     { TLPI_IQ4_NL, "IQ4_NL" },
    { TLPI_IQ4_XS, "IQ4_XS" }, { TLPI_MXFP4, "MXFP4" },
};

static const char *const plans[] = { "serial", "par:0-1", "lp:0-1",
                                     "asym:0-1" };

static const int kv_types[] = { TLP_KV_F32, TLP_KV_F16, TLP_KV_BF16,
                                TLP_KV_Q8_0 };

/* One row of a model's logits is compared by its bits. */
typedef struct invariance_case {
    rig r;
    int32_t ids[LONG];
    int n_token;
    float *want; /* [n_token][n_vocab]: all tokens in one batch */
    char what[96];
} invariance_case;

static const char *model_of(tlpi_dtype type)
{
    tiny_spec s = tiny_default();

    s.type = type;
    s.n_layer = 2;
    s.n_embd = 256; /* a block of the K types */
    s.n_ff = 256;
    return tiny_make(&s);
}

static void expect_bits(const invariance_case *c, const float *got, int first,
                        int n, const char *how)
{
    for (int t = 0; t < n; t++) {
        const float *a = got + (size_t)t * c->r.n_vocab;
        const float *b = c->want + (size_t)(first + t) * c->r.n_vocab;

        cr_assert_eq(memcmp(a, b, c->r.n_vocab * sizeof *a), 0,
                     "%s, %s: token %d is off by %g", c->what, how, first + t,
                     rig_diff_f(a, b, c->r.n_vocab));
    }
}

/* Evaluate tokens [at, at + n) in a sequence, and compare. */
static void extend(invariance_case *c, int seq, int at, int n, const char *how)
{
    float *got = rig_eval(&c->r, seq, c->ids + at, n);

    expect_bits(c, got, at, n, how);
    free(got);
}

static void by_chunks(invariance_case *c)
{
    static const int sizes[] = { 1, 3, 8, 9, 33, 64 };

    for (int i = 0; i < COUNT(sizes); i++) {
        char how[32];

        snprintf(how, sizeof how, "chunks of %d", sizes[i]);
        CHECK_OK(tlp_session_clear(c->r.session, 0));
        for (int at = 0; at < c->n_token; at += sizes[i])
            extend(c, 0, at,
                   sizes[i] < c->n_token - at ? sizes[i] : c->n_token - at,
                   how);
    }
}

/* Sequence 2 among others, whose tokens stand between its own. */
static void among_others(invariance_case *c)
{
    enum { N = 2 * LONG };
    int32_t tokens[N], seqs[N];
    uint8_t want[N];
    tlp_batch b = { sizeof b, 0, tokens, seqs, want };

    for (int seq = 0; seq < N_SEQ; seq++)
        CHECK_OK(tlp_session_clear(c->r.session, seq));
    rig_tokens(tokens, N, c->r.n_vocab, 77);
    for (int t = 0; t < c->n_token; t++) {
        if (t % 3 != 1) {
            want[b.n] = 0;
            seqs[b.n++] = t % 3 ? 3 : t % 2;
        }
        tokens[b.n] = c->ids[t];
        want[b.n] = 1;
        seqs[b.n++] = 2;
    }
    CHECK_OK(tlp_session_eval(c->r.session, &b));
    float *got = rig_logits(&c->r, NULL);
    expect_bits(c, got, 0, c->n_token, "among others");
    free(got);
}

static void forked_and_rewound(invariance_case *c)
{
    static const int cuts[] = { 1, 33 };

    for (int i = 0; i < COUNT(cuts); i++) {
        CHECK_OK(tlp_session_clear(c->r.session, 0));
        extend(c, 0, 0, cuts[i], "before a fork");
        CHECK_OK(tlp_session_fork(c->r.session, 1, 0));
        free(rig_eval(&c->r, 0, c->ids + 3, 7)); /* other tokens */
        extend(c, 1, cuts[i], c->n_token - cuts[i], "forked");
        CHECK_OK(tlp_session_rewind(c->r.session, 0, cuts[i]));
        extend(c, 0, cuts[i], c->n_token - cuts[i], "rewound");
    }
}

/* Log-probabilities of the whole text in a call, or in two. */
static void score(invariance_case *c, float *logprob, int first)
{
    CHECK_OK(tlp_session_clear(c->r.session, 1));
    CHECK_OK(
        tlp_session_score(logprob, c->r.session, 1, c->ids, (size_t)first));
    if (first < c->n_token)
        CHECK_OK(tlp_session_score(logprob + first, c->r.session, 1,
                                   c->ids + first,
                                   (size_t)(c->n_token - first)));
}

/* All ways in a session with these options, and with other threads and steps.
 * want stays for further sessions. */
static void all_ways(invariance_case *c, const char *path, const char *plan,
                     tlp_session_options o)
{
    float want[LONG], got[LONG];

    c->r = rig_open(path, plan, &o);
    rig_tokens(c->ids, LONG, c->r.n_vocab, 5);
    c->want = rig_eval(&c->r, 0, c->ids, c->n_token);
    by_chunks(c);
    among_others(c);
    forked_and_rewound(c);
    score(c, want, c->n_token);
    rig_close(&c->r);

    o.n_thread = 3;
    o.n_batch = 37;
    c->r = rig_open(path, plan, &o);
    extend(c, 0, 0, c->n_token, "3 threads, steps of 37");
    among_others(c);
    score(c, got, 11);
    cr_assert_eq(memcmp(got, want, (size_t)c->n_token * sizeof *got), 0,
                 "%s: other log-probabilities", c->what);
    rig_close(&c->r);
    free(c->want);
}

static void check_case(const char *path, const char *type, int n_token, int isa,
                       int compute, int kv, const char *plan, int n_rank)
{
    static invariance_case c;
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;

    c.n_token = n_token;
    o.n_ctx = n_token + 4;
    o.n_seq = N_SEQ;
    o.n_rank = n_rank;
    o.n_thread = 1;
    o.isa = isa;
    o.compute = compute;
    o.kv_type = kv;
    snprintf(c.what, sizeof c.what, "%s, %s, compute %d, kv %d, %s, %d ranks",
             type, rig_isa_name(isa), compute, kv, plan, n_rank);
    all_ways(&c, path, plan, o);
}

static int short_of(int isa)
{
    return isa == TLP_ISA_SCALAR ? SHORT_SCALAR : SHORT;
}

Test(invariance, every_type_and_instruction_set)
{
    for (int t = 0; t < COUNT(types); t += EVERY) {
        const char *path = model_of(types[t].type);

        for (int isa = FIRST_ISA; isa <= TLP_ISA_AMX; isa++)
            for (int compute = 0; rig_has_isa(isa) && compute < 2; compute++)
                check_case(path, types[t].name, short_of(isa), isa,
                           compute ? TLP_COMPUTE_F32 : TLP_COMPUTE_DEFAULT,
                           kv_types[t % COUNT(kv_types)],
                           plans[t % COUNT(plans)], 1 + t % 3);
    }
}

Test(invariance, every_cache_and_number_of_ranks)
{
    const char *path = model_of(TLPI_Q4_K);

    for (int isa = FIRST_ISA; isa <= TLP_ISA_AMX; isa++)
        for (int kv = 0; rig_has_isa(isa) && kv < COUNT(kv_types); kv++)
            for (int n_rank = 1; n_rank <= 3; n_rank += 1 + (EVERY > 1))
                check_case(path, "Q4_K", short_of(isa), isa,
                           TLP_COMPUTE_DEFAULT, kv_types[kv],
                           plans[(kv + n_rank) % COUNT(plans)], n_rank);
}

Test(invariance, norms_of_rows)
{
    tiny_spec spec = tiny_default();

    spec.arch = "olmo2";
    spec.type = TLPI_F16;
    spec.n_layer = 2;
    const char *path = tiny_make(&spec);

    for (int isa = FIRST_ISA; isa <= TLP_ISA_AMX; isa++)
        for (int i = 0; rig_has_isa(isa) && i < COUNT(plans); i++)
            check_case(path, "F16", SHORT_SCALAR, isa, TLP_COMPUTE_DEFAULT,
                       kv_types[i], plans[i], 1 + (isa + i) % 3);
}

/* Steps of more than 128 pairs of a token and an expert, and of fewer. */
Test(invariance, experts)
{
    static const tlpi_dtype some[] = { TLPI_F32, TLPI_F16, TLPI_BF16,
                                       TLPI_Q4_K };

    for (int i = 0; i < COUNT(some); i++) {
        tiny_spec spec = tiny_default();

        spec.arch = i % 2 ? "gpt-oss" : "qwen3moe";
        spec.type = some[i];
        spec.n_layer = 2;
        spec.n_embd = spec.n_ff = 256;
        const char *path = tiny_make(&spec);

        for (int isa = FIRST_ISA; isa <= TLP_ISA_AMX; isa++)
            for (int p = 0; rig_has_isa(isa) && p < COUNT(plans); p += EVERY)
                check_case(path, "experts", short_of(isa), isa,
                           (isa + p) % 2 ? TLP_COMPUTE_F32
                                         : TLP_COMPUTE_DEFAULT,
                           kv_types[p], plans[p], 1 + (isa + i + p) % 3);
    }
}

Test(invariance, contexts_of_several_chunks)
{
    tiny_spec spec = tiny_default();

    spec.type = TLPI_F16;
    spec.n_layer = 2;
    spec.n_ctx = 512;
    const char *path = tiny_make(&spec);

    for (int isa = FIRST_ISA; isa <= TLP_ISA_AMX; isa++)
        if (rig_has_isa(isa))
            check_case(path, "F16", LONG, isa, TLP_COMPUTE_DEFAULT,
                       kv_types[isa % COUNT(kv_types)], "par:0-1", 1 + isa % 2);
}
