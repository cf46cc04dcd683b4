/*
 * page_pool.c - pages that are counted.
 */
#include "session/page_pool.h"

tlp_status tlpi_page_pool_create(tlpi_page_pool *p, const tlpi_env *env,
                                 int n_page)
{
    size_t n = (size_t)n_page;

    *p = (tlpi_page_pool){ .n_page = n_page };
    p->count = tlpi_calloc(env, n, sizeof(*p->count));
    p->back = tlpi_alloc_array(env, n, sizeof(*p->back));
    return p->count && p->back
               ? TLP_OK
               : tlpi_fail_nomem_for("%d pages of the KV cache", n_page);
}

void tlpi_page_pool_free(tlpi_page_pool *p, const tlpi_env *env)
{
    tlpi_free(env, p->count);
    tlpi_free(env, p->back);
    *p = (tlpi_page_pool){ 0 };
}

int32_t tlpi_page_pool_take(tlpi_page_pool *p)
{
    int32_t page = tlpi_page_pool_next(p, 0);

    if (p->n_back > 0)
        p->n_back--;
    else
        p->fresh++;
    p->n_used++;
    p->count[page] = 1;
    return page;
}

void tlpi_page_pool_share(tlpi_page_pool *p, int32_t page)
{
    p->count[page]++;
}

bool tlpi_page_pool_put(tlpi_page_pool *p, int32_t page)
{
    if (--p->count[page] > 0)
        return false;
    p->back[p->n_back++] = page;
    p->n_used--;
    return true;
}
