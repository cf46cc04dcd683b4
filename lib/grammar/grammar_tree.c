/*
 * grammar_tree.c - the arrays of a grammar's tree.
 */
#include "grammar/grammar_tree.h"

/* ==== the tree =========================================================== */

bool tlpi_tree_reserve(const tlpi_env *env, void **array, size_t n, size_t *cap,
                       size_t size)
{
    if (n < *cap)
        return true;
    size_t more = *cap ? *cap + *cap / 2 : 64;
    void *p = tlpi_realloc_array(env, *array, more, size);
    if (!p)
        return false;
    *array = p;
    *cap = more;
    return true;
}

int32_t tlpi_tree_add(tlpi_tree *t, tlpi_tree_node node)
{
    if (t->n_node == TLPI_GBNF_MAX_NODE ||
        !tlpi_tree_reserve(t->env, (void **)&t->node, t->n_node, &t->cap_node,
                           sizeof *t->node))
        return -1;
    t->node[t->n_node] = node;
    return (int32_t)t->n_node++;
}

void tlpi_tree_free(tlpi_tree *t)
{
    tlpi_free(t->env, t->node);
    tlpi_free(t->env, t->range);
    tlpi_free(t->env, t->rule);
    tlpi_text_free(&t->text);
}
