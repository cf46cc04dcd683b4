/*
 * test_matcher.c - which tokens a grammar allows: masks beside what a matcher
 * accepts, tokens inside characters, tokens that a grammar names, ends of
 * texts.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "support/check.h"
#include "support/grammar_rig.h"
#include "support/mem.h"
#include "support/tiny.h"

TestSuite(matcher, .timeout = 120);

static tlp_model *model;

static void set_up(void)
{
    model = rig_bpe();
}

static void tear_down(void)
{
    tlp_model_free(model);
}

static const char *const grammars[] = {
    /* JSON of any kind, with blanks */
    "root ::= value\nvalue ::= \"{\" (pair (\",\" \" \"? pair)*)? \"}\" | "
    "\"[\" "
    "(value (\",\" value)*)? \"]\" | string | number | \"true\" | \"null\"\n"
    "pair ::= string \":\" value\nstring ::= \"\\\"\" char* \"\\\"\"\n"
    "char ::= [^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"nt] | \"u\" [0-9a-f]{4})\n"
    "number ::= \"-\"? [0-9]+ (\".\" [0-9]+)?\n",
    /* repetitions with bounds, far from them and near */
    "root ::= \"a\"{0,90} \"b\" (\"abc\" | \"a\"){40,45} \"c\"",
    "root ::= ((\"a\" | \"ab\"){2,7} \"c\"){1,30} \"1\"{3}",
    "root ::= \"\\\"\" .{3,200} \"\\\"\"",
    /* the rules of rules, with ambiguity */
    "root ::= s \"1\"* \"2\"?\ns ::= \"(\" s \")\" s | \"a\" t?\n"
    "t ::= \"a\" | \"aa\" | \"b\" s \"c\"\n",
    /* characters in pieces */
    "root ::= (\"a\" | \"\u00e9\" | \"\u00e9b\" | [\u00e0-\u00ff])*",
    "root ::= .*",
    /* tokens by name */
    "root ::= <think> (!</done>)* </done> \"ab\"* (<[260]> | \"abc\")?",
    "root ::= (\"a\" | <[261]> \"b\" | !<[260]> \"1\")+",
};
enum { N_GRAMMAR = sizeof grammars / sizeof *grammars };

/* A random token of the mask; -1: none but ends of the text. */
static int32_t pick(tlp_matcher *m, uint64_t *random)
{
    uint32_t bits[64];
    size_t n = 0;
    int count = 0, chosen = -1;

    CHECK_OK(tlp_matcher_get_mask(bits, 64, &n, m));
    for (int32_t id = 0; id < (int32_t)(32 * n); id++)
        if ((bits[id / 32] >> (id % 32) & 1) && !tlp_token_is_end(model, id) &&
            tlpi_uniform(random) * ++count < 1)
            chosen = id;
    return chosen;
}

/* Along random texts, the mask has exactly the tokens that are accepted. */
Test(matcher, masks_are_what_is_accepted, .init = set_up, .fini = tear_down)
{
    uint64_t random = 7;

    for (int i = 0; i < N_GRAMMAR; i++) {
        tlp_grammar *g = rig_grammar(model, grammars[i]);
        for (int text = 0; text < 3; text++) {
            tlp_matcher *m = NULL;
            CHECK_OK(tlp_matcher_create(&m, g));
            for (int n = 0; n < 60 / CHECK_SLOWDOWN; n++) {
                rig_check_mask(g, model, m);
                int32_t token = pick(m, &random);
                if (token < 0)
                    break;
                CHECK_OK(tlp_matcher_accept(m, token));
            }
            tlp_matcher_free(m);
        }
        tlp_grammar_free(g);
    }
}

Test(matcher, sentencepiece)
{
    model = rig_spm();
    static const char *const texts[] = {
        "root ::= (\" a\" | \" ab\" | \"\u00e9\")* \"\\\": \"?",
        "root ::= [^\\x00-\\x7f]+ \"a\"",
    };

    for (int i = 0; i < 2; i++) {
        tlp_grammar *g = rig_grammar(model, texts[i]);
        tlp_matcher *m = NULL;
        uint64_t random = 3;
        CHECK_OK(tlp_matcher_create(&m, g));
        for (int n = 0; n < 20; n++) {
            rig_check_mask(g, model, m);
            int32_t token = pick(m, &random);
            if (token < 0)
                break;
            CHECK_OK(tlp_matcher_accept(m, token));
        }
        tlp_matcher_free(m);
        tlp_grammar_free(g);
    }
    tear_down();
}

/* The masks of a grammar are made once, and are equal for all its matchers. */
Test(matcher, masks_are_kept, .init = set_up, .fini = tear_down)
{
    tlp_grammar *g = rig_grammar(model, grammars[0]);
    tlp_matcher *a = NULL, *b = NULL;
    uint32_t first[64], again[64];
    size_t n;

    CHECK_OK(tlp_matcher_create(&a, g));
    CHECK_OK(tlp_matcher_create(&b, g));
    for (const char *c = "{\"a\":[1,\"x\"],\"y\":"; *c; c++) {
        memset(first, 0, sizeof first);
        memset(again, 0, sizeof again);
        CHECK_OK(tlp_matcher_get_mask(first, 64, &n, a));
        CHECK_OK(tlp_matcher_get_mask(again, 64, &n, a));
        cr_assert_arr_eq(first, again, sizeof first);
        CHECK_OK(tlp_matcher_get_mask(again, 64, &n, b));
        cr_assert_arr_eq(first, again, sizeof first);
        CHECK_OK(tlp_matcher_accept(a, *c));
        CHECK_OK(tlp_matcher_accept(b, *c));
    }
    tlp_matcher_free(b);
    tlp_matcher_free(a);
    tlp_grammar_free(g);
}

/* ==== tokens ============================================================= */

static int place_after(tlp_grammar *g, const int32_t *ids, size_t n)
{
    tlp_matcher *m = NULL;
    tlp_status st = TLP_OK;
    int place = -1;

    CHECK_OK(tlp_matcher_create(&m, g));
    for (size_t i = 0; i < n && st == TLP_OK; i++)
        st = tlp_matcher_accept(m, ids[i]);
    if (st == TLP_OK)
        place = tlp_matcher_place(m);
    tlp_matcher_free(m);
    return place;
}

#define PLACE(g, ...)                                                          \
    place_after(g, (const int32_t[]){ __VA_ARGS__ },                           \
                sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t))

Test(matcher, named_tokens, .init = set_up, .fini = tear_down)
{
    tlp_grammar *g =
        rig_grammar(model, "root ::= <think> !</done>* </done> \"a\"+");

    cr_assert_eq(PLACE(g, RIG_THINK, 'x', RIG_START, RIG_DONE, 'a'),
                 TLP_PLACE_MAY_END);
    cr_assert_eq(PLACE(g, '<'), -1); /* the token, not its text */
    cr_assert_eq(PLACE(g, RIG_THINK, RIG_DONE, 'b'), -1);
    cr_assert_eq(PLACE(g, RIG_THINK, RIG_END), -1); /* the text may not end */
    tlp_grammar_free(g);

    /* A user-defined token is text too; a control token is not. */
    g = rig_grammar(model, "root ::= \"<think>\" \"<|im_start|>\"");
    cr_assert_eq(PLACE(g, RIG_THINK), TLP_PLACE_INSIDE);
    cr_assert_eq(PLACE(g, RIG_THINK, RIG_START), -1);
    cr_assert_eq(PLACE(g, RIG_THINK, '<', '|'), TLP_PLACE_INSIDE);
    tlp_grammar_free(g);

    /* One token by its id and by its text at once. */
    g = rig_grammar(model, "root ::= <[261]> \"1\" | \"abc\" \"2\"");
    cr_assert_eq(PLACE(g, 261, '1'), TLP_PLACE_COMPLETE);
    cr_assert_eq(PLACE(g, 261, '2'), TLP_PLACE_COMPLETE);
    cr_assert_eq(PLACE(g, 'a', 'b', 'c', '1'), -1);
    tlp_grammar_free(g);
}

Test(matcher, ends, .init = set_up, .fini = tear_down)
{
    tlp_grammar *g = rig_grammar(model, "root ::= \"a\" \"b\"?");
    tlp_matcher *m = NULL, *copy = NULL;
    uint32_t bits[64];
    size_t n;

    CHECK_OK(tlp_matcher_create(&m, g));
    CHECK_OK(tlp_matcher_create(&copy, g));
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_accept(m, RIG_END));
    CHECK_OK(tlp_matcher_accept(m, 'a'));
    cr_assert_eq(tlp_matcher_place(m), TLP_PLACE_MAY_END);
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_accept(m, 'c'));
    cr_assert(strstr(tlp_last_error(), "token 99 (\"c\")"), "%s",
              tlp_last_error());
    cr_assert_eq(rig_count(m), 2); /* b, and the end */
    CHECK_OK(tlp_matcher_copy(copy, m));
    CHECK_OK(tlp_matcher_accept(m, 'b'));
    cr_assert_eq(tlp_matcher_place(m), TLP_PLACE_COMPLETE);
    cr_assert_eq(rig_count(m), 1);
    CHECK_OK(tlp_matcher_accept(m, RIG_END));
    cr_assert_eq(tlp_matcher_place(m), TLP_PLACE_ENDED);
    CHECK_FAILS(TLP_ESTATE, tlp_matcher_accept(m, 'a'));
    CHECK_FAILS(TLP_ESTATE, tlp_matcher_get_mask(bits, 64, &n, m));
    CHECK_OK(tlp_matcher_reset(m));
    cr_assert_eq(tlp_matcher_place(m), TLP_PLACE_INSIDE);
    CHECK_OK(tlp_matcher_accept(m, 'a'));

    /* The copy stayed behind the "a". */
    CHECK_OK(tlp_matcher_accept(copy, 'b'));
    CHECK_OK(tlp_matcher_accept(copy, RIG_END));
    tlp_matcher_free(copy);
    tlp_matcher_free(m);
    tlp_grammar_free(g);
}

Test(matcher, arguments, .init = set_up, .fini = tear_down)
{
    tlp_grammar *g = rig_grammar(model, "root ::= \"a\"");
    tlp_grammar *other = rig_grammar(model, "root ::= \"a\"");
    tlp_matcher *m = NULL, *of_other = NULL, *null = NULL;
    uint32_t bits[64];
    size_t n;

    CHECK_OK(tlp_matcher_create(&m, g));
    CHECK_OK(tlp_matcher_create(&of_other, other));
    tlp_grammar_free(g); /* the matcher keeps it */
    CHECK_FAILS(TLP_EMISMATCH, tlp_matcher_copy(m, of_other));
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_copy(m, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_create(NULL, other));
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_create(&null, NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_accept(m, -1));
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_accept(m, 100000));
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_accept(NULL, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_reset(NULL));
    CHECK_FAILS(TLP_EBUFS, tlp_matcher_get_mask(bits, 1, &n, m));
    cr_assert_gt(n, 1);
    CHECK_FAILS(TLP_EBUFS, tlp_matcher_get_mask(NULL, 0, &n, m));
    CHECK_FAILS(TLP_EINVAL, tlp_matcher_get_mask(bits, 64, NULL, m));
    cr_assert_eq(tlp_matcher_place(NULL), TLP_PLACE_INSIDE);
    CHECK_OK(tlp_matcher_copy(m, m));
    tlp_matcher_free(NULL);
    tlp_matcher_free(of_other);
    tlp_matcher_free(m);
    tlp_grammar_free(other);
}

/* ==== long texts, threads, memory ======================================== */

/* Open rules are kept when a matcher begins a new chart: 30000 parentheses
 * that are open, each with its own kind of end. */
Test(matcher, deep_texts, .init = set_up, .fini = tear_down)
{
    enum { DEEP = 30000 / CHECK_SLOWDOWN };
    tlp_grammar *g = rig_grammar(
        model,
        "root ::= v\nv ::= \"(\" v \")\" | \"[\" v \"]\" | \"a\" v \"b\" "
        "| \"!\"");
    tlp_matcher *m = NULL, *copy = NULL;
    char *open = malloc(DEEP);
    uint64_t random = 1;

    CHECK_OK(tlp_matcher_create(&m, g));
    CHECK_OK(tlp_matcher_create(&copy, g));
    for (int i = 0; i < DEEP; i++) {
        open[i] = "([a"[(int)(3 * tlpi_uniform(&random))];
        CHECK_OK(tlp_matcher_accept(m, open[i]));
    }
    CHECK_OK(tlp_matcher_accept(m, '!'));
    CHECK_OK(tlp_matcher_copy(copy, m));
    for (int i = DEEP - 1; i >= 0; i--) {
        char close = open[i] == '(' ? ')' : open[i] == '[' ? ']' : 'b';
        CHECK_FAILS(TLP_EINVAL, tlp_matcher_accept(copy, open[i]));
        CHECK_OK(tlp_matcher_accept(copy, close));
    }
    cr_assert_eq(tlp_matcher_place(copy), TLP_PLACE_COMPLETE);
    cr_assert_eq(tlp_matcher_place(m), TLP_PLACE_INSIDE);
    free(open);
    tlp_matcher_free(copy);
    tlp_matcher_free(m);
    tlp_grammar_free(g);
}

static void *follow(void *arg)
{
    tlp_grammar *g = arg;
    tlp_matcher *m = NULL;
    uint64_t random = 11;
    uint32_t *sum = calloc(1, sizeof *sum);

    CHECK_OK(tlp_matcher_create(&m, g));
    for (int i = 0; i < 200; i++) {
        int32_t token = pick(m, &random);
        *sum = *sum * 31 + (uint32_t)token;
        if (token < 0)
            CHECK_OK(tlp_matcher_reset(m));
        else
            CHECK_OK(tlp_matcher_accept(m, token));
    }
    tlp_matcher_free(m);
    return sum;
}

/* Threads share the masks of a grammar. */
Test(matcher, threads, .init = set_up, .fini = tear_down)
{
    tlp_grammar *g = rig_grammar(model, grammars[0]);
    pthread_t thread[4];
    void *sum[4];

    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, follow, g), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], &sum[i]);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(*(uint32_t *)sum[i], *(uint32_t *)sum[0]);
        if (i > 0)
            free(sum[i]);
    }
    free(sum[0]);
    tlp_grammar_free(g);
}

/* Call again with enough memory where a call ran out of it: a matcher stays
 * usable. */
#define TRY_AGAIN(st, hooks, call)                                             \
    do {                                                                       \
        st = (call);                                                           \
        if (st == TLP_ENOMEM) {                                                \
            (hooks)->fail_at = 0;                                              \
            CHECK_OK(call);                                                    \
            st = TLP_OK;                                                       \
        }                                                                      \
    } while (0)

/* One life of a grammar. */
static void live(tlp_model *of, mem *hooks)
{
    static const char text[] = "{\"a\":[1,\"ab\"]}";
    const char *gbnf = grammars[0];
    tlp_grammar *g = NULL;
    tlp_matcher *m = NULL, *copy = NULL;
    uint32_t bits[64];
    size_t n;
    tlp_status st;

    TRY_AGAIN(st, hooks, tlp_grammar_parse(&g, of, gbnf, strlen(gbnf)));
    TRY_AGAIN(st, hooks, tlp_matcher_create(&m, g));
    TRY_AGAIN(st, hooks, tlp_matcher_create(&copy, g));
    for (size_t i = 0; text[i] && st == TLP_OK; i++) {
        TRY_AGAIN(st, hooks, tlp_matcher_get_mask(bits, 64, &n, m));
        TRY_AGAIN(st, hooks, tlp_matcher_accept(m, text[i]));
        TRY_AGAIN(st, hooks, tlp_matcher_copy(copy, m));
    }
    cr_assert_eq(st, TLP_OK, "%s", tlp_last_error());
    cr_assert_eq(tlp_matcher_place(copy), TLP_PLACE_COMPLETE);
    tlp_matcher_free(copy);
    tlp_matcher_free(m);
    tlp_grammar_free(g);
}

/* Memory runs out at every allocation: a status, and nothing is left. */
Test(matcher, memory_runs_out)
{
    tiny_spec spec = tiny_default();
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;
    mem hooks = { 0 };
    bool done = false;

    spec.n_vocab = 300;
    o.vocab_only = 1;
    o.allocator = mem_hooks(&hooks);
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &o));
    for (long n = 1; !done; n++) {
        hooks.fail_at = atomic_load(&hooks.calls) + n;
        long failed = atomic_load(&hooks.failed);
        live(m, &hooks);
        done = atomic_load(&hooks.failed) == failed;
        hooks.fail_at = 0;
    }
    /* What is left is the trie, which belongs to the model. */
    tlp_model_free(m);
    cr_assert_eq(atomic_load(&hooks.live), 0);
}
