/*
 * matcher.c - follow one text through a grammar.
 *
 * A chart grows with the text, since it remembers steps.  When it is large, the
 * matcher copies its state to a new chart.
 */
#include <string.h>

#include "grammar/grammar.h"

/* Integers in a chart before the matcher begins a new one. */
enum { CHART_INTS = TLPI_CHART_MAX_INTS / 4 };

/* Masks of states that a matcher keeps, by the number of the state. */
enum { N_KEPT = 32 };

struct tlp_matcher {
    tlp_grammar *g; /* retained */
    const tlpi_env *env;
    tlpi_chart chart;
    tlpi_mask_maker maker;
    int32_t state;          /* in the chart */
    bool ended;             /* by a token that ends a text */
    uint32_t *kept[N_KEPT]; /* [n_word] or NULL */
    int32_t kept_state[N_KEPT];
};

/* ==== lifetime =========================================================== */

static void forget_masks(tlp_matcher *m)
{
    for (int i = 0; i < N_KEPT; i++)
        m->kept_state[i] = TLPI_DEAD;
}

/* The state before any text, in a chart. */
static tlp_status start(tlp_matcher *m)
{
    tlpi_chart_begin(&m->chart);
    int32_t state = tlpi_chart_first(&m->chart);
    if (m->chart.st != TLP_OK)
        return m->chart.st;
    m->state = state;
    m->ended = false;
    return TLP_OK;
}

tlp_status tlp_matcher_create(tlp_matcher **out, tlp_grammar *g)
{
    tlp_status st = TLP_OK;

    if (out)
        *out = NULL;
    if (!out || !g)
        return tlpi_fail(TLP_EINVAL, "out and grammar are required");
    const tlpi_env *env = &g->model->env;
    tlp_matcher *m = tlpi_calloc(env, 1, sizeof *m);
    if (!m)
        return tlpi_fail_nomem_for("a matcher");
    m->env = env;
    m->g = tlpi_grammar_retain(g);
    forget_masks(m);
    TLP_TRY(tlpi_chart_init(&m->chart, env, &g->m));
    TLP_TRY(tlpi_mask_maker_init(&m->maker, env, g->model->vocab, g->trie,
                                 &g->masks));
    TLP_TRY(start(m));
    *out = m;
    m = NULL;
done:
    tlp_matcher_free(m);
    return st;
}

void tlp_matcher_free(tlp_matcher *m)
{
    if (!m)
        return;
    tlp_grammar *g = m->g;

    for (int i = 0; i < N_KEPT; i++)
        tlpi_free(m->env, m->kept[i]);
    if (m->chart.env)
        tlpi_chart_free(&m->chart);
    if (m->maker.env)
        tlpi_mask_maker_free(&m->maker);
    tlpi_free(m->env, m);
    tlp_grammar_free(g);
}

tlp_status tlp_matcher_reset(tlp_matcher *m)
{
    return m ? start(m) : tlpi_fail(TLP_EINVAL, "matcher is required");
}

/* Put a state of a chart into a new chart of m. */
static tlp_status move_state(tlp_matcher *m, const tlpi_chart *from,
                             int32_t state)
{
    tlpi_chart chart;
    int32_t moved = TLPI_DEAD;
    tlp_status st = tlpi_chart_init(&chart, m->env, &m->g->m);

    if (st == TLP_OK) {
        moved = tlpi_chart_import(&chart, from, state);
        st = chart.st;
    }
    if (st == TLP_OK && tlpi_chart_size(&chart) > CHART_INTS)
        st = tlpi_fail(TLP_ENOTSUP,
                       "grammar: the rules that are open need more than %d MB",
                       CHART_INTS >> 18);
    if (st != TLP_OK) {
        tlpi_chart_free(&chart);
        return st;
    }
    tlpi_chart_free(&m->chart);
    m->chart = chart;
    m->state = moved;
    forget_masks(m);
    return TLP_OK;
}

tlp_status tlp_matcher_copy(tlp_matcher *dst, const tlp_matcher *src)
{
    tlp_status st = TLP_OK;

    if (!dst || !src)
        return tlpi_fail(TLP_EINVAL, "both matchers are required");
    if (dst->g != src->g)
        return tlpi_fail(TLP_EMISMATCH, "the matchers have two grammars, one "
                                        "expected");
    if (dst != src)
        TLP_TRY(move_state(dst, &src->chart, src->state));
    dst->ended = src->ended;
done:
    return st;
}

/* Begin a call that may make states. */
static tlp_status begin(tlp_matcher *m)
{
    tlpi_chart_begin(&m->chart);
    return tlpi_chart_size(&m->chart) > CHART_INTS
               ? move_state(m, &m->chart, m->state)
               : TLP_OK;
}

/* ==== tokens ============================================================= */

static bool may_end(const tlp_matcher *m)
{
    return tlpi_chart_flags(&m->chart, m->state) & TLPI_STATE_ACCEPT;
}

int tlp_matcher_place(const tlp_matcher *m)
{
    size_t n = 0;

    if (!m)
        return TLP_PLACE_INSIDE;
    if (m->ended)
        return TLP_PLACE_ENDED;
    if (!may_end(m))
        return TLP_PLACE_INSIDE;
    tlpi_chart_runs(&m->chart, m->state, &n);
    return n == 0 ? TLP_PLACE_COMPLETE : TLP_PLACE_MAY_END;
}

static tlp_status refuse(const tlp_matcher *m, int32_t token)
{
    tlpi_str s = tlpi_vocab_text(m->g->model->vocab, token);

    return tlpi_fail(TLP_EINVAL,
                     "token %d (\"%.*s\"): the grammar does not allow it here",
                     token, (int)TLPI_MIN(s.n, (size_t)64), s.s);
}

tlp_status tlp_matcher_accept(tlp_matcher *m, int32_t token)
{
    tlp_status st = TLP_OK;

    if (!m)
        return tlpi_fail(TLP_EINVAL, "matcher is required");
    const tlpi_vocab *v = m->g->model->vocab;
    if (token < 0 || token >= tlpi_vocab_size(v))
        return tlpi_fail(TLP_EINVAL, "token %d: 0 to %d expected", token,
                         tlpi_vocab_size(v) - 1);
    if (m->ended)
        return tlpi_fail(TLP_ESTATE, "the matcher's text has ended");
    if (tlpi_vocab_is_end(v, token)) {
        if (!may_end(m))
            return refuse(m, token);
        m->ended = true;
        return TLP_OK;
    }
    tlpi_str piece = { "", 0 };
    if (tlpi_vocab_is_text(v, token))
        piece = tlpi_vocab_piece(v, token, 0);
    TLP_TRY(begin(m));
    int32_t next =
        tlpi_chart_token(&m->chart, m->state, token, piece.s, piece.n);
    TLP_TRY(m->chart.st);
    if (next < 0)
        return refuse(m, token);
    m->state = next;
done:
    return st;
}

/* ==== masks ============================================================== */

static tlp_status make_mask(tlp_matcher *m, uint32_t *bits)
{
    tlp_status st = tlpi_mask_make(&m->maker, &m->chart, m->state, bits);

    for (size_t i = 0; st == TLP_OK && may_end(m) && i < m->g->n_end; i++)
        tlpi_bit_set(bits, m->g->end[i]);
    return st;
}

tlp_status tlpi_matcher_mask(const uint32_t **bits, tlp_matcher *m)
{
    tlp_status st = TLP_OK;

    *bits = NULL;
    if (m->ended)
        return tlpi_fail(TLP_ESTATE,
                         "the matcher's text has ended: reset the matcher");
    TLP_TRY(begin(m));
    int i = m->state % N_KEPT;
    if (!m->kept[i])
        m->kept[i] =
            tlpi_alloc_array(m->env, m->maker.n_word, sizeof *m->kept[i]);
    if (!m->kept[i])
        return tlpi_fail_nomem_for("a mask of tokens");
    if (m->kept_state[i] != m->state) {
        m->kept_state[i] = TLPI_DEAD;
        TLP_TRY(make_mask(m, m->kept[i]));
        m->kept_state[i] = m->state;
    }
    *bits = m->kept[i];
done:
    return st;
}

tlp_status tlp_matcher_get_mask(uint32_t *bits, size_t cap, size_t *count,
                                tlp_matcher *m)
{
    const uint32_t *mask = NULL;
    tlp_status st = TLP_OK;

    if (count)
        *count = 0;
    if (!m || !count || (!bits && cap > 0))
        return tlpi_fail(TLP_EINVAL, "matcher, bits and count are required");
    *count = m->maker.n_word;
    if (cap < m->maker.n_word)
        return tlpi_fail(TLP_EBUFS, "%zu words, room for %zu", m->maker.n_word,
                         cap);
    TLP_TRY(tlpi_matcher_mask(&mask, m));
    memcpy(bits, mask, m->maker.n_word * sizeof *bits);
done:
    return st;
}
