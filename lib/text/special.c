/*
 * special.c - find special tokens in a text: the leftmost token, and of the
 * tokens that begin there the longest.
 *
 * A trie holds the bytes of the tokens.  Its first level is a table, so a byte
 * that begins no special token costs one look-up.
 */
#include <string.h>

#include "text/vocab_impl.h"

static bool is_special(const tlpi_vocab *v, int32_t id)
{
    uint8_t type = v->type[id];

    return type == TLPI_TOKEN_CONTROL || type == TLPI_TOKEN_USER_DEFINED ||
           type == TLPI_TOKEN_UNKNOWN;
}

/* The node for `byte` in the list that starts at *link, made if missing. */
static uint32_t descend(tlpi_trie *t, uint32_t *link, uint8_t byte)
{
    while (*link != 0) {
        tlpi_trie_node *node = &t->node[*link];
        if (node->byte == byte)
            return *link;
        link = &node->sibling;
    }
    t->node[t->n_node] = (tlpi_trie_node){ .id = -1, .byte = byte };
    *link = t->n_node++;
    return *link;
}

static void insert(tlpi_trie *t, tlpi_str text, int32_t id)
{
    uint32_t *link = &t->root[(uint8_t)text.s[0]];
    uint32_t at = 0;

    for (size_t i = 0; i < text.n; i++) {
        at = descend(t, link, (uint8_t)text.s[i]);
        link = &t->node[at].child;
    }
    t->node[at].id = id;
}

tlp_status tlpi_trie_create(tlpi_vocab *v)
{
    tlpi_trie *t = &v->trie;
    size_t bytes = 1; /* node 0 means no node */

    for (int32_t id = 0; id < v->n_token; id++) {
        if (!is_special(v, id))
            continue;
        if (v->text[id].n > TLPI_SPECIAL_MAX)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key tokenizer.ggml.tokens[%d]: special token "
                             "of %zu bytes, at most %d expected",
                             v->g->path, id, v->text[id].n, TLPI_SPECIAL_MAX);
        bytes += v->text[id].n;
    }
    if (bytes > UINT32_MAX)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key tokenizer.ggml.tokens: %zu bytes of special "
                         "tokens",
                         v->g->path, bytes);
    t->node = tlpi_alloc_array(v->env, bytes, sizeof *t->node);
    if (!t->node)
        return tlpi_fail_nomem_for("control tokens");
    t->n_node = 1;
    for (int32_t id = 0; id < v->n_token; id++) {
        if (!is_special(v, id) || v->text[id].n == 0)
            continue;
        insert(t, v->text[id], id);
        t->any_user |= v->type[id] == TLPI_TOKEN_USER_DEFINED;
    }
    return TLP_OK;
}

/* Openings and closings of texts that stand around and between turns. */
static const char *const frames[][2] = {
    { "<\xef\xbd\x9c", "\xef\xbd\x9c>" },
    { "<start_of_", ">" },
    { "<end_of_", ">" },
    { "<|", ">" },
    { "<", "|>" },
};

static bool is_capital(char c)
{
    return (c >= 'A' && c <= 'Z') || c == '_' || c == '/';
}

/* A word in capitals between brackets, as in [INST] and [/INST]. */
static bool is_bracketed(tlpi_str text)
{
    if (text.n < 3 || text.s[0] != '[' || text.s[text.n - 1] != ']')
        return false;
    for (size_t i = 1; i + 1 < text.n; i++)
        if (!is_capital(text.s[i]))
            return false;
    return true;
}

static bool is_framed(tlpi_str text)
{
    for (size_t i = 0; i < TLPI_COUNT(frames); i++) {
        size_t n = strlen(frames[i][0]), m = strlen(frames[i][1]);
        if (text.n > n + m && memcmp(text.s, frames[i][0], n) == 0 &&
            memcmp(text.s + text.n - m, frames[i][1], m) == 0)
            return true;
    }
    return false;
}

/* Files give tokens of turns the type user-defined too.  In data such a token
 * counts as a control token if it ends a text or is spelt as these are. */
static bool rules_turns(const tlpi_vocab *v, int32_t id)
{
    return tlpi_vocab_is_end(v, id) || id == v->special.bos ||
           is_framed(v->text[id]) || is_bracketed(v->text[id]);
}

/* Is it found in plain text too? */
static bool is_plain(const tlpi_vocab *v, int32_t id, bool marked)
{
    return v->type[id] == TLPI_TOKEN_USER_DEFINED &&
           !(marked && rules_turns(v, id));
}

/* The longest token at s, n bytes left; -1 if there is none.  data: marks of
 * these bytes, or NULL. */
static int32_t match(const tlpi_vocab *v, const char *s, const uint8_t *data,
                     size_t n, bool all)
{
    const tlpi_trie_node *node = v->trie.node;
    uint32_t at = v->trie.root[(uint8_t)s[0]];
    int32_t found = -1;

    for (size_t i = 0;;) {
        if (at == 0)
            return found;
        all = all && !(data && data[i]);
        int32_t id = node[at].id;
        if (id >= 0 && (all || is_plain(v, id, data)))
            found = id;
        if (++i == n)
            return found;
        at = node[at].child;
        while (at != 0 && node[at].byte != (uint8_t)s[i])
            at = node[at].sibling;
    }
}

int32_t tlpi_trie_find(const tlpi_vocab *v, const char *text,
                       const uint8_t *data, size_t from, size_t n, bool all,
                       size_t *at)
{
    if (!all && !v->trie.any_user)
        from = n;
    for (size_t i = from; i < n; i++) {
        if (v->trie.root[(uint8_t)text[i]] == 0)
            continue;
        int32_t id = match(v, text + i, data ? data + i : NULL, n - i, all);
        if (id >= 0) {
            *at = i;
            return id;
        }
    }
    *at = n;
    return -1;
}
