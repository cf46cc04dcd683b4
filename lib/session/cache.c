/*
 * cache.c - plan the pages of sequences, and send the edits.
 */
#include "session/session.h"

/* ==== edits ============================================================== */

/* Edits on their way to the ranks, in groups. */
typedef struct editor {
    tlp_session *s;
    tlpi_command cmd;
    tlp_status st; /* the first failure */
} editor;

static editor edit_begin(tlp_session *s)
{
    return (editor){ .s = s, .cmd = { .op = TLPI_OP_PAGES } };
}

static tlp_status send(editor *e)
{
    if (e->st == TLP_OK && e->cmd.n_tok > 0)
        e->st = tlpi_session_command(e->s, &e->cmd, NULL);
    e->cmd.n_tok = 0;
    return e->st;
}

static void add(editor *e, tlpi_page_edit edit)
{
    e->cmd.edit[e->cmd.n_tok++] = edit;
    if (e->cmd.n_tok == TLPI_MAX_EDIT)
        (void)send(e);
}

static void set_page(editor *e, int kind, int32_t seq, int index, int32_t page)
{
    add(e, (tlpi_page_edit){ .op = TLPI_PAGE_SET,
                             .kind = kind,
                             .page = page,
                             .seq = seq,
                             .index = index });
}

/* Memory that stays is not dropped. */
static void drop_memory(editor *e, int kind, int32_t page)
{
    if (!e->s->cfg.kv_ahead)
        add(e, (tlpi_page_edit){
                   .op = TLPI_PAGE_DROP, .kind = kind, .page = page });
}

static int32_t page_at(const tlp_session *s, int kind, int32_t seq, int index)
{
    const tlpi_store *store = &s->rank0->store;
    size_t n_index = (size_t)store->shape.n_index;

    return store->table[kind][(size_t)seq * n_index + (size_t)index];
}

/* A sequence gives a page back. */
static void put_page(editor *e, int kind, int32_t seq, int index)
{
    int32_t page = page_at(e->s, kind, seq, index);

    if (page < 0)
        return;
    set_page(e, kind, seq, index, -1);
    if (tlpi_page_pool_put(&e->s->cache.pool[kind], page))
        drop_memory(e, kind, page);
}

/* A sequence gives back its pages from `index` on. */
static void put_from(editor *e, int32_t seq, int index)
{
    const tlpi_kv_shape *shape = &e->s->cache.shape;

    for (int i = index; i < shape->n_index; i++) {
        if (page_at(e->s, TLPI_KV_ALL, seq, i) < 0)
            break;
        for (int k = 0; k < shape->n_kind; k++)
            put_page(e, k, seq, i);
    }
}

/* ==== lifetime =========================================================== */

tlp_status tlpi_cache_create(tlp_session *s)
{
    tlpi_cache *c = &s->cache;
    size_t n_seq = (size_t)s->cfg.n_seq;
    tlp_status st = TLP_OK;

    c->shape = s->rank0->store.shape;
    c->seq = tlpi_calloc(s->env, n_seq, sizeof(*c->seq));
    if (!c->seq)
        return tlpi_fail_nomem_for("the tables of %zu sequences", n_seq);
    for (int k = 0; k < c->shape.n_kind; k++)
        TLP_TRY(tlpi_page_pool_create(&c->pool[k], s->env, c->shape.n_page[k]));
done:
    return st;
}

void tlpi_cache_free(tlp_session *s)
{
    for (int k = 0; k < TLPI_N_KV_KIND; k++)
        tlpi_page_pool_free(&s->cache.pool[k], s->env);
    tlpi_free(s->env, s->cache.seq);
}

uint64_t tlpi_cache_bytes(const tlp_session *s)
{
    const tlpi_rank_sizes *sizes = tlpi_rank_threads_sizes(s->threads);
    uint64_t sum = 0;

    if (s->cfg.kv_ahead)
        return sizes->kv;
    for (int k = 0; k < s->cache.shape.n_kind; k++)
        sum += (uint64_t)s->cache.pool[k].n_used * sizes->page[k];
    return sum;
}

/* ==== what a call writes ================================================= */

void tlpi_cache_plan(tlp_session *s)
{
    for (int32_t i = 0; i < s->cfg.n_seq; i++)
        s->cache.seq[i].from = s->cache.seq[i].to = 0;
}

void tlpi_cache_write(tlp_session *s, int32_t seq, int32_t from, int32_t to)
{
    s->cache.seq[seq].from = from;
    s->cache.seq[seq].to = to;
}

/* Indices of the pages that a sequence writes: [from, to). */
static int from_index(const tlpi_seq_pages *q)
{
    return q->from / TLPI_PAGE;
}

static int to_index(const tlpi_seq_pages *q)
{
    return q->from < q->to ? tlpi_kv_n_index(q->to) : from_index(q);
}

/*
 * Pages of kind ALL that the call needs, besides those that its sequences have;
 * pages of kind WINDOW are as many at most.  Of the sequences that have a page,
 * all but one copy it before they write to it.
 */
static int count_new(tlp_session *s)
{
    tlpi_page_pool *all = &s->cache.pool[TLPI_KV_ALL];
    int n = 0;

    for (int32_t i = 0; i < s->cfg.n_seq; i++) {
        tlpi_seq_pages *q = &s->cache.seq[i];

        q->copies = false;
        for (int k = from_index(q); k < to_index(q); k++) {
            int32_t page = page_at(s, TLPI_KV_ALL, i, k);

            if (page >= 0 && all->count[page] > 1) {
                q->copies = true;
                all->count[page]--;
            }
            n += page < 0 || q->copies;
        }
    }
    for (int32_t i = 0; i < s->cfg.n_seq; i++)
        if (s->cache.seq[i].copies)
            all->count[page_at(s, TLPI_KV_ALL, i,
                               from_index(&s->cache.seq[i]))]++;
    return n;
}

tlp_status tlpi_cache_check(tlp_session *s)
{
    const tlpi_page_pool *all = &s->cache.pool[TLPI_KV_ALL];
    int n = count_new(s), n_free = tlpi_page_pool_n_free(all);

    if (n <= n_free)
        return TLP_OK;
    return tlpi_fail(TLP_EFULL,
                     "KV cache: %d more pages of %d positions are needed, %d "
                     "of %d are free",
                     n, s->cache.shape.n_pos, n_free, all->n_page);
}

/* ==== a step ============================================================= */

/* Windows free the pages that they have left. */
static void free_windows(editor *e)
{
    tlpi_cache *c = &e->s->cache;

    for (int32_t i = 0; i < e->s->cfg.n_seq && c->shape.n_kind > 1; i++) {
        tlpi_seq_pages *q = &c->seq[i];

        if (q->from == q->to)
            continue;
        for (; q->first < tlpi_kv_first_kept(&c->shape, q->to); q->first++)
            put_page(e, TLPI_KV_WINDOW, i, q->first);
    }
}

/* The j-th of the pages that are taken next, n[kind] of each kind. */
static tlpi_page_edit edit_next(const tlp_session *s, tlpi_page_op op,
                                const int *n, int j)
{
    int kind = j < n[TLPI_KV_ALL] ? TLPI_KV_ALL : TLPI_KV_WINDOW;
    int i = kind == TLPI_KV_ALL ? j : j - n[TLPI_KV_ALL];

    return (tlpi_page_edit){ .op = (int32_t)op,
                             .kind = kind,
                             .page =
                                 tlpi_page_pool_next(&s->cache.pool[kind], i) };
}

/* Memory for the n[kind] pages of each kind that are taken next, or for
 * none. */
static void take_memory(editor *e, const int *n)
{
    int total = n[TLPI_KV_ALL] + n[TLPI_KV_WINDOW], done = 0;

    for (int j = 0; j < total && e->st == TLP_OK; j++) {
        add(e, edit_next(e->s, TLPI_PAGE_TAKE, n, j));
        if (e->st == TLP_OK && e->cmd.n_tok == 0)
            done = j + 1;
    }
    if (send(e) != TLP_ENOMEM)
        return;
    e->st = TLP_OK;
    for (int j = 0; j < done; j++)
        add(e, edit_next(e->s, TLPI_PAGE_DROP, n, j));
    if (send(e) == TLP_OK)
        e->st = TLP_ENOMEM; /* with the text of that failure */
}

/* New pages of a kind for all that the step writes. */
static void give_pages(editor *e, int kind)
{
    tlpi_page_pool *p = &e->s->cache.pool[kind];

    for (int32_t i = 0; i < e->s->cfg.n_seq; i++) {
        const tlpi_seq_pages *q = &e->s->cache.seq[i];

        for (int k = from_index(q); k < to_index(q); k++) {
            int32_t old = page_at(e->s, kind, i, k);

            if (old >= 0 && !q->copies)
                continue;
            int32_t page = tlpi_page_pool_take(p);
            if (old >= 0) {
                add(e, (tlpi_page_edit){ .op = TLPI_PAGE_COPY,
                                         .kind = kind,
                                         .page = page,
                                         .from = old });
                (void)tlpi_page_pool_put(p, old); /* other sequences have it */
            }
            set_page(e, kind, i, k, page);
        }
    }
}

tlp_status tlpi_cache_fit(tlp_session *s)
{
    editor e = edit_begin(s);
    int n = count_new(s);

    free_windows(&e);
    (void)send(&e);
    if (n == 0)
        return e.st;
    const int each[TLPI_N_KV_KIND] = { n, s->cache.shape.n_kind > 1 ? n : 0 };
    if (!s->cfg.kv_ahead)
        take_memory(&e, each);
    if (e.st != TLP_OK)
        return e.st;
    for (int k = 0; k < s->cache.shape.n_kind; k++)
        give_pages(&e, k);
    return send(&e);
}

/* ==== sequences ========================================================== */

/* Is the window of the last token before pos gone?  Scoring evaluates this
 * token again. */
static bool is_behind(const tlpi_cache *c, const tlpi_seq_pages *q, int32_t pos)
{
    return c->shape.n_kind > 1 &&
           q->first * TLPI_PAGE > TLPI_MAX(0, pos - c->shape.window);
}

/* A sequence has pos positions from now on. */
static void keep(editor *e, int32_t seq, int32_t pos)
{
    tlpi_seq_pages *q = &e->s->cache.seq[seq];

    q->lost = pos > 0 && (q->lost || is_behind(&e->s->cache, q, pos));
    if (pos == 0 || q->lost)
        q->first = 0;
    put_from(e, seq, q->lost ? 0 : tlpi_kv_n_index(pos));
}

tlp_status tlpi_cache_settle(tlp_session *s)
{
    editor e = edit_begin(s);

    for (int32_t i = 0; i < s->cfg.n_seq; i++)
        keep(&e, i, s->pos[i]);
    return send(&e);
}

tlp_status tlpi_cache_rewind(tlp_session *s, int32_t seq, int32_t pos)
{
    editor e = edit_begin(s);

    keep(&e, seq, pos);
    return send(&e);
}

tlp_status tlpi_cache_fork(tlp_session *s, int32_t dst, int32_t src)
{
    tlpi_cache *c = &s->cache;
    editor e = edit_begin(s);
    int n = c->seq[src].lost ? 0 : tlpi_kv_n_index(s->pos[src]);

    put_from(&e, dst, 0);
    c->seq[dst] = c->seq[src];
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c->shape.n_kind; k++) {
            int32_t page = page_at(s, k, src, i);

            if (page < 0)
                continue;
            tlpi_page_pool_share(&c->pool[k], page);
            set_page(&e, k, dst, i, page);
        }
    return send(&e);
}

/* ==== pages that are filled before a sequence has them =================== */

int32_t tlpi_cache_page(const tlp_session *s, int kind, int32_t seq, int index)
{
    return page_at(s, kind, seq, index);
}

static tlp_status list_new(tlp_session *s, tlpi_new_pages *new)
{
    for (int k = 0; k < s->cache.shape.n_kind; k++) {
        const tlpi_page_pool *p = &s->cache.pool[k];
        int n_free = tlpi_page_pool_n_free(p);

        if (new->n[k] > n_free)
            return tlpi_fail(TLP_EFULL,
                             "KV cache: %d pages of %d positions are needed "
                             "besides those of the sequence, %d of %d are free",
                             new->n[k], s->cache.shape.n_pos, n_free,
                             p->n_page);
        new->page[k] =
            tlpi_alloc_array(s->env, (size_t) new->n[k], sizeof(*new->page[k]));
        if (!new->page[k])
            return tlpi_fail_nomem_for("%d pages of the KV cache", new->n[k]);
        for (int i = 0; i < new->n[k]; i++)
            new->page[k][i] = tlpi_page_pool_next(p, i);
    }
    return TLP_OK;
}

tlp_status tlpi_cache_take_new(tlp_session *s, tlpi_new_pages *new)
{
    editor e = edit_begin(s);
    tlp_status st = list_new(s, new);

    if (st != TLP_OK || s->cfg.kv_ahead)
        return st;
    take_memory(&e, new->n);
    return e.st;
}

tlp_status tlpi_cache_drop_new(tlp_session *s, const tlpi_new_pages *new,
                               tlp_status st)
{
    editor e = edit_begin(s);

    for (int k = 0; k < s->cache.shape.n_kind; k++)
        for (int i = 0; i < new->n[k]; i++)
            drop_memory(&e, k, new->page[k][i]);
    return send(&e) == TLP_OK ? st : e.st;
}

tlp_status tlpi_cache_adopt(tlp_session *s, int32_t seq,
                            const tlpi_new_pages *new)
{
    tlpi_cache *c = &s->cache;
    editor e = edit_begin(s);

    for (int k = 0; k < c->shape.n_kind; k++)
        for (int i = 0; i < new->n[k]; i++)
            (void)tlpi_page_pool_take(&c->pool[k]); /* as they were listed */
    put_from(&e, seq, 0);
    c->seq[seq] = (tlpi_seq_pages){ .first = new->first[TLPI_KV_WINDOW] };
    for (int k = 0; k < c->shape.n_kind; k++)
        for (int i = 0; i < new->n[k]; i++)
            set_page(&e, k, seq, new->first[k] + i, new->page[k][i]);
    return send(&e);
}

void tlpi_cache_free_new(const tlp_session *s, tlpi_new_pages *new)
{
    for (int k = 0; k < TLPI_N_KV_KIND; k++)
        tlpi_free(s->env, new->page[k]);
    *new = (tlpi_new_pages){ 0 };
}
