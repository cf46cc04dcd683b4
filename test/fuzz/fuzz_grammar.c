/*
 * fuzz_grammar.c - a grammar from the input, then tokens through it.
 *
 * Input: a byte of choices, a grammar or a JSON schema, a NUL, and a byte for
 * each token.  Whatever they are: a grammar or an error in one line; the mask
 * has just the tokens that are accepted; a copy of a matcher goes on alike; and
 * a text that may end has a token that ends it.
 */
#include <string.h>

#include "../support/vocab_file.h"
#include "fuzz.h"

static const vf_token tokens[] = {
    { "<|im_end|>", 3, 0 }, { "<think>", 4, 0 },   { "ab", 1, 0 },
    { "\",\"", 1, 0 },      { "\":", 1, 0 },       { "}}", 1, 0 },
    { "123", 1, 0 },        { "a\xc3\x83", 1, 0 },
};
enum {
    N_TOKEN = sizeof tokens / sizeof *tokens,
    END = 256,
    N_VOCAB = 256 + N_TOKEN,
    N_WORD = (N_VOCAB + 31) / 32
};

/* Made once.  It has a tensor, as a leak detector takes the address of an empty
 * array for an address behind it. */
static tlp_model *model(void)
{
    static tlp_model *m;
    static const char *const merge[] = { "a b" };
    static const uint64_t ne[] = { 32 };
    static const float data[32];
    const vf_spec spec = { .pre = "smollm",
                           .token = tokens,
                           .n_token = N_TOKEN,
                           .merge = merge,
                           .n_merge = 1,
                           .eos = END };
    gw_file w;

    if (m)
        return m;
    gw_init(&w);
    vf_write(&w, &spec);
    gw_tensor(&w, "output_norm.weight", TLPI_F32, 1, ne, data, sizeof data);
    m = vf_open(&w);
    gw_free(&w);
    return m;
}

static void promise_text(tlp_status st)
{
    promise(st == TLP_OK ||
            (*tlp_last_error() && !strchr(tlp_last_error(), '\n')));
}

/* The mask, checked at some tokens.  False when a bound was reached. */
static bool check_mask(tlp_matcher *m, tlp_matcher *copy, int step)
{
    uint32_t bits[N_WORD];
    size_t n = 0;
    tlp_status st = tlp_matcher_get_mask(bits, N_WORD, &n, m);

    promise_text(st);
    promise(st == TLP_OK || st == TLP_ENOTSUP);
    if (st != TLP_OK)
        return false;
    for (int32_t id = step % 7; id < N_VOCAB; id += 7) {
        st = tlp_matcher_copy(copy, m);
        promise(st == TLP_OK || st == TLP_ENOTSUP);
        if (st != TLP_OK)
            return false;
        st = tlp_matcher_accept(copy, id);
        promise(st == TLP_OK || st == TLP_EINVAL || st == TLP_ENOTSUP);
        if (st != TLP_ENOTSUP)
            promise((bits[id / 32] >> (id % 32) & 1) == (st == TLP_OK));
    }
    promise((bits[END / 32] >> (END % 32) & 1) ==
            (tlp_matcher_place(m) == TLP_PLACE_MAY_END ||
             tlp_matcher_place(m) == TLP_PLACE_COMPLETE));
    return true;
}

static void follow(tlp_grammar *g, const uint8_t *id, size_t n)
{
    tlp_matcher *m = NULL, *copy = NULL;
    tlp_status st = tlp_matcher_create(&m, g);

    if (st == TLP_OK)
        st = tlp_matcher_create(&copy, g);
    promise_text(st);
    for (size_t i = 0; i < n && i < 64 && st == TLP_OK; i++) {
        if (i % 4 == 0 && !check_mask(m, copy, (int)i))
            break;
        int32_t token = id[i] % 16 == 15 ? 256 + id[i] / 16 % N_TOKEN : id[i];
        int before = tlp_matcher_place(m);
        st = tlp_matcher_accept(m, token);
        promise_text(st);
        if (st != TLP_OK)
            promise(tlp_matcher_place(m) == before);
        if (st == TLP_EINVAL)
            st = TLP_OK;
        if (tlp_matcher_place(m) == TLP_PLACE_ENDED)
            st = tlp_matcher_reset(m);
    }
    tlp_matcher_free(copy);
    tlp_matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tlp_grammar *g = NULL;

    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    size_t n = strnlen(text, size - 1), rest = size - 1 - n;
    tlp_status st = data[0] & 1 ? tlp_grammar_from_schema(&g, model(), text, n)
                                : tlp_grammar_parse(&g, model(), text, n);

    promise_text(st);
    promise((st == TLP_OK) == (g != NULL));
    if (g && rest > 0)
        follow(g, data + 1 + n + 1, rest - 1);
    tlp_grammar_free(g);
    return 0;
}
