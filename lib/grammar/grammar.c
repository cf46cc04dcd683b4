/*
 * grammar.c - grammars for a model: from text to automata.
 */
#include "grammar/grammar.h"
#include "grammar/schema.h"

#include <stdatomic.h>
#include <string.h>

tlp_grammar *tlpi_grammar_retain(tlp_grammar *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void tlp_grammar_free(tlp_grammar *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) > 1)
        return;
    tlp_model *model = g->model;

    tlpi_mask_cache_free(&g->masks);
    if (g->m.env)
        tlpi_automaton_free(&g->m);
    tlpi_free(&model->env, g->text);
    tlpi_free(&model->env, g->end);
    tlpi_free(&model->env, g);
    tlp_model_free(model);
}

/* ==== tokens of the vocabulary =========================================== */

/* The one token that a text with angle brackets is, or -1. */
static int32_t find_token(const void *arg, const char *s, size_t n)
{
    const tlp_model *model = arg;
    tlpi_ids ids = { .env = &model->env };
    int32_t id = -1;

    if (tlpi_vocab_tokenize(model->vocab, s, n, TLP_TOKENIZE_SPECIAL, &ids) ==
            TLP_OK &&
        ids.n == 1)
        id = ids.data[0];
    tlpi_free(ids.env, ids.data);
    return id;
}

/* Tokens that end a text come where the grammar may end, and nowhere else. */
static tlp_status check_tokens(const tlpi_tree *t, const tlpi_vocab *v)
{
    for (size_t i = 0; i < t->n_node; i++) {
        const tlpi_tree_node *n = &t->node[i];
        if (n->kind == TLPI_TREE_TOKEN && tlpi_vocab_is_end(v, (int32_t)n->a))
            return tlpi_fail(TLP_ENOTSUP,
                             "grammar: line %d: token %u ends a text, and "
                             "cannot stand in a grammar",
                             n->line, n->a);
        if (n->kind == TLPI_TREE_TOKEN &&
            tlpi_vocab_text(v, (int32_t)n->a).n == 0)
            return tlpi_fail(TLP_EINVAL,
                             "grammar: line %d: token %u is padding of the "
                             "vocabulary",
                             n->line, n->a);
    }
    return TLP_OK;
}

static tlp_status find_ends(tlp_grammar *g)
{
    const tlpi_vocab *v = g->model->vocab;
    int32_t n_vocab = tlpi_vocab_size(v);
    size_t n = 0;

    for (int32_t id = 0; id < n_vocab; id++)
        n += tlpi_vocab_is_end(v, id);
    g->end = tlpi_alloc_array(&g->model->env, n, sizeof *g->end);
    if (!g->end)
        return tlpi_fail_nomem_for("a grammar");
    for (int32_t id = 0; id < n_vocab; id++)
        if (tlpi_vocab_is_end(v, id))
            g->end[g->n_end++] = id;
    return TLP_OK;
}

/* ==== making ============================================================= */

static tlp_status make_automaton(tlp_grammar *g)
{
    const tlpi_env *env = &g->model->env;
    const tlpi_vocab *v = g->model->vocab;
    const tlpi_gbnf_vocab vocab = { find_token, g->model, tlpi_vocab_size(v) };
    tlpi_tree t = { .env = env, .text = { .env = env } };
    tlpi_rule_facts f = { .env = env };
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_gbnf_parse(&t, g->text, g->n_text, &vocab));
    TLP_TRY(check_tokens(&t, v));
    TLP_TRY(tlpi_rule_facts_find(&f, &t));
    TLP_TRY(tlpi_automaton_make(&g->m, &t, &f, g->trie->depth));
done:
    tlpi_rule_facts_free(&f);
    tlpi_tree_free(&t);
    return st;
}

tlp_status tlpi_grammar_make(tlp_grammar **out, tlp_model *model,
                             const char *text, size_t n)
{
    const tlpi_env *env = &model->env;
    tlp_status st = TLP_OK;
    tlp_grammar *g = tlpi_calloc(env, 1, sizeof *g);

    *out = NULL;
    if (!g)
        return tlpi_fail_nomem_for("a grammar");
    g->refs = 1;
    g->model = tlpi_model_retain(model);
    if (n > TLPI_GBNF_MAX_BYTES)
        TLP_TRY(tlpi_fail(TLP_ENOTSUP,
                          "grammar: %zu bytes, at most %d expected", n,
                          TLPI_GBNF_MAX_BYTES));
    TLP_TRY(tlpi_mask_cache_init(&g->masks, env));
    g->text = tlpi_strndup(env, text, n);
    g->n_text = n;
    TLP_TRY(g->text ? TLP_OK : tlpi_fail_nomem_for("a grammar"));
    TLP_TRY(tlpi_vocab_pieces(&g->trie, model->vocab));
    TLP_TRY(find_ends(g));
    TLP_TRY(make_automaton(g));
    *out = g;
    g = NULL;
done:
    tlp_grammar_free(g);
    return st;
}

/* ==== public ============================================================= */

tlp_status tlp_grammar_parse(tlp_grammar **out, tlp_model *model,
                             const char *text, size_t n)
{
    if (out)
        *out = NULL;
    if (!out || !model || (!text && n > 0))
        return tlpi_fail(TLP_EINVAL, "out, model and text are required");
    return tlpi_grammar_make(out, model, text ? text : "", n);
}

tlp_status tlp_grammar_from_schema(tlp_grammar **out, tlp_model *model,
                                   const char *json, size_t n)
{
    char *text = NULL;
    size_t n_text = 0;
    tlp_status st = TLP_OK;

    if (out)
        *out = NULL;
    if (!out || !model || (!json && n > 0))
        return tlpi_fail(TLP_EINVAL, "out, model and json are required");
    TLP_TRY(
        tlpi_schema_convert(&text, &n_text, &model->env, json ? json : "", n));
    st = tlpi_grammar_make(out, model, text, n_text);
done:
    tlpi_free(&model->env, text);
    return st;
}

tlp_status tlp_grammar_get_text(char *buf, size_t cap, size_t *len,
                                const tlp_grammar *g)
{
    if (len)
        *len = 0;
    if (!g || !len || (!buf && cap > 0))
        return tlpi_fail(TLP_EINVAL, "grammar, buf and len are required");
    return tlpi_copy_out(g->text, g->n_text, buf, cap, len);
}
