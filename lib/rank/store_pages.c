/*
 * store_pages.c - the pages of a rank's caches: which sequence has which page,
 * and which pages have memory.
 *
 * Rank 0 counts pages and decides; its edits are equal on all ranks, and so are
 * the tables.
 */
#include "rank/store.h"

/* ==== lifetime =========================================================== */

static size_t table_length(const tlpi_store *s)
{
    return (size_t)s->cfg->n_seq * (size_t)s->shape.n_index;
}

static tlp_status create_kind(tlpi_store *s, int kind)
{
    size_t n = table_length(s);
    const tlpi_kv_shape *shape = &s->shape;
    int n_page = shape->n_page[kind];

    if (!s->dry) {
        s->table[kind] = tlpi_alloc_array(s->env, n, sizeof(**s->table));
        s->has_memory[kind] = tlpi_calloc(s->env, (size_t)n_page, 1);
        if (!s->table[kind] || !s->has_memory[kind])
            return tlpi_fail_nomem_for("%d pages of the KV cache", n_page);
    }
    for (size_t i = 0; i < n && !s->dry; i++)
        s->table[kind][i] = s->cfg->n_page ? -1 : (int32_t)i;

    const tlpi_page_layout layout = { .n_page = n_page,
                                      .n_pos = shape->n_pos,
                                      .n_index = shape->n_index,
                                      .table = s->table[kind] };
    return s->b->ops->pages_create(s->b, &s->pages[kind], &layout);
}

tlp_status tlpi_store_create_pages(tlpi_store *s)
{
    tlp_status st = TLP_OK;

    s->shape = tlpi_kv_shape_of(s->cfg, &s->model->hp);
    for (int k = 0; k < s->shape.n_kind; k++)
        TLP_TRY(create_kind(s, k));
done:
    return st;
}

void tlpi_store_free_pages(tlpi_store *s)
{
    for (int k = 0; k < TLPI_N_KV_KIND; k++) {
        if (s->pages[k])
            s->b->ops->pages_free(s->b, s->pages[k]);
        tlpi_free(s->env, s->table[k]);
        tlpi_free(s->env, s->has_memory[k]);
    }
}

/* ==== memory ============================================================= */

static tlp_status take(tlpi_store *s, int kind, int page)
{
    tlp_status st = s->b->ops->pages_take(s->b, s->pages[kind], page);

    if (st == TLP_OK)
        s->has_memory[kind][page] = 1;
    return st;
}

static void drop(tlpi_store *s, int kind, int page)
{
    s->b->ops->pages_drop(s->b, s->pages[kind], page);
    s->has_memory[kind][page] = 0;
}

tlp_status tlpi_store_fill_pages(tlpi_store *s)
{
    bool now = s->cfg->kv_ahead || !s->cfg->n_page;
    tlp_status st = TLP_OK;

    for (int k = 0; k < s->shape.n_kind && now && !s->dry; k++)
        for (int i = 0; i < s->shape.n_page[k]; i++)
            TLP_TRY(take(s, k, i));
done:
    return st;
}

/* ==== edits ============================================================== */

static bool is_page(const tlpi_store *s, int kind, int32_t page)
{
    return page >= 0 && page < s->shape.n_page[kind];
}

static bool has_memory(const tlpi_store *s, int kind, int32_t page)
{
    return is_page(s, kind, page) && s->has_memory[kind][page];
}

/* Rank 0 may be another process: its numbers become indices here. */
static bool is_sound(const tlpi_store *s, const tlpi_page_edit *e)
{
    if (e->kind < 0 || e->kind >= s->shape.n_kind)
        return false;
    switch ((tlpi_page_op)e->op) {
    case TLPI_PAGE_TAKE:
    case TLPI_PAGE_DROP:
        return is_page(s, e->kind, e->page);
    case TLPI_PAGE_COPY:
        return has_memory(s, e->kind, e->page) &&
               has_memory(s, e->kind, e->from);
    case TLPI_PAGE_SET:
        return e->seq >= 0 && e->seq < s->cfg->n_seq && e->index >= 0 &&
               e->index < s->shape.n_index &&
               (e->page == -1 || is_page(s, e->kind, e->page));
    }
    return false;
}

static tlp_status carry_out(tlpi_store *s, const tlpi_page_edit *e)
{
    size_t at = (size_t)e->seq * (size_t)s->shape.n_index + (size_t)e->index;

    switch ((tlpi_page_op)e->op) {
    case TLPI_PAGE_TAKE:
        return take(s, e->kind, e->page);
    case TLPI_PAGE_DROP:
        drop(s, e->kind, e->page);
        break;
    case TLPI_PAGE_COPY:
        s->b->ops->pages_copy(s->b, s->pages[e->kind], e->page, e->from);
        break;
    case TLPI_PAGE_SET:
        s->table[e->kind][at] = e->page;
        break;
    }
    return TLP_OK;
}

void tlpi_store_undo_take(tlpi_store *s, const tlpi_page_edit *edit, int n)
{
    for (int i = 0; i < n; i++)
        if (edit[i].op == TLPI_PAGE_TAKE)
            drop(s, edit[i].kind, edit[i].page);
}

tlp_status tlpi_store_edit_pages(tlpi_store *s, const tlpi_page_edit *edit,
                                 int n)
{
    tlp_status st = TLP_OK;

    for (int i = 0; i < n; i++) {
        st = is_sound(s, &edit[i])
                 ? carry_out(s, &edit[i])
                 : tlpi_fail(TLP_ECOMM, "malformed edit of pages from rank 0");
        if (st == TLP_OK)
            continue;
        tlpi_store_undo_take(s, edit, i);
        break;
    }
    return st;
}

bool tlpi_store_has_pages(const tlpi_store *s, int seq, int first, int last)
{
    size_t at = (size_t)seq * (size_t)s->shape.n_index;

    for (int k = 0; k < s->shape.n_kind; k++) {
        int window = k == TLPI_KV_WINDOW ? s->shape.window : 0;
        int seen = window ? TLPI_MAX(0, first + 1 - window) : 0;

        for (int i = seen / TLPI_PAGE; i <= last / TLPI_PAGE; i++) {
            int32_t page = s->table[k][at + (size_t)i];

            if (page < 0 || !s->has_memory[k][page])
                return false;
        }
    }
    return true;
}
