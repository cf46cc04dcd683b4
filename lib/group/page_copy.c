/*
 * page_copy.c - move the content of pages between rank 0's caller and all
 * ranks.
 *
 * Every rank copies its part of a page to or from memory of its own.  That
 * memory travels in pieces, each of which has the deadline of a message.
 */
#include <string.h>

#include "group/page_copy.h"

#define PIECE ((size_t)256 * 1024) /* bytes of a message */

/* Bytes that this rank holds of the page. */
static uint64_t own_bytes(const tlpi_rank *r, const tlpi_page_copy *c)
{
    return tlpi_store_panel_bytes(&r->store, c->kind) * tlpi_kv_n_panel(c->n);
}

bool tlpi_page_copy_is_sound(const tlpi_rank *r, const tlpi_page_copy *c)
{
    return !r->cfg->device &&
           tlpi_store_can_copy(&r->store, c->kind, c->page, c->n) &&
           c->n_most >= own_bytes(r, c) && c->n_most <= SIZE_MAX / 2;
}

tlp_status tlpi_page_panels(tlpi_rank *r, const tlpi_results *res)
{
    uint64_t own[TLPI_N_KV_KIND] = { 0 };
    size_t *bytes = r->scratch.gather_bytes;

    for (int k = 0; k < r->store.shape.n_kind; k++)
        own[k] = tlpi_store_panel_bytes(&r->store, k);
    for (int i = 0; i < r->cfg->n_rank; i++)
        bytes[i] = sizeof(own);
    return r->comm->ops->gather(r->comm, own, bytes, res->panel);
}

/* Memory that one command uses. */
typedef struct buffers {
    uint8_t *part; /* [n_most] this rank's part */
    uint8_t *all;  /* [n_rank][PIECE] pieces of all ranks, on rank 0 */
} buffers;

static void free_buffers(const tlpi_rank *r, buffers *b)
{
    tlpi_free(r->env, b->part);
    tlpi_free(r->env, b->all);
}

/* All ranks have the memory, or none does. */
static tlp_status alloc_buffers(tlpi_rank *r, buffers *b, size_t n_most)
{
    size_t n_all = r->rank == 0 ? (size_t)r->cfg->n_rank * PIECE : 0;
    float none = 0;
    tlp_status st = TLP_OK;

    *b = (buffers){ .part = tlpi_alloc(r->env, n_most) };
    b->all = b->part && n_all ? tlpi_alloc(r->env, n_all) : NULL;
    if (!b->part || (n_all && !b->all))
        st = tlpi_fail_nomem_for("the copy of a page of the KV cache");
    uint32_t vote = st != TLP_OK;
    tlp_status comm = r->comm->ops->allreduce(r->comm, &none, 1, &vote);
    if (comm != TLP_OK)
        return comm;
    if (vote && st == TLP_OK)
        st = tlpi_fail(TLP_ENOMEM, "out of memory on another rank for the copy "
                                   "of a page of the KV cache");
    return st;
}

/* Bytes [at, at + n) of the largest part, as far as a part of `bytes` has
 * them. */
static size_t within(uint64_t bytes, size_t at, size_t n)
{
    return bytes <= at ? 0 : (size_t)TLPI_MIN(bytes - at, n);
}

/* Rank 0 puts a piece of each rank at its place in the page. */
static void place_pieces(const tlpi_rank *r, const tlpi_results *res,
                         const uint8_t *all, size_t at, size_t n)
{
    uint8_t *to = res->page_out;

    for (int i = 0; i < r->cfg->n_rank; i++) {
        memcpy(to + TLPI_MIN(at, res->part[i]), all + (size_t)i * n,
               within(res->part[i], at, n));
        to += res->part[i];
    }
}

static tlp_status gather_page(tlpi_rank *r, const tlpi_page_copy *c,
                              const tlpi_results *res, buffers *b)
{
    size_t *bytes = r->scratch.gather_bytes, most = (size_t)c->n_most;
    size_t own = (size_t)own_bytes(r, c);
    tlp_status st = TLP_OK;

    tlpi_store_read_page(&r->store, b->part, c->kind, c->page, c->n);
    memset(b->part + own, 0, most - own);
    for (size_t at = 0; at < most; at += PIECE) {
        size_t n = TLPI_MIN(PIECE, most - at);

        for (int i = 0; i < r->cfg->n_rank; i++)
            bytes[i] = n;
        TLP_TRY(r->comm->ops->gather(r->comm, b->part + at, bytes, b->all));
        if (r->rank == 0)
            place_pieces(r, res, b->all, at, n);
    }
done:
    return st;
}

/* All ranks receive the part of a rank, and that rank writes it. */
static tlp_status spread_part(tlpi_rank *r, const tlpi_page_copy *c, int to,
                              const uint8_t *from, size_t n_from, buffers *b)
{
    size_t most = (size_t)c->n_most;
    tlp_status st = TLP_OK;

    if (r->rank == 0) {
        memcpy(b->part, from, n_from);
        memset(b->part + n_from, 0, most - n_from);
    }
    for (size_t at = 0; to > 0 && at < most; at += PIECE)
        TLP_TRY(r->comm->ops->bcast(r->comm, b->part + at,
                                    TLPI_MIN(PIECE, most - at), false));
    if (r->rank == to)
        tlpi_store_write_page(&r->store, c->kind, c->page, b->part, c->n);
done:
    return st;
}

static tlp_status spread_page(tlpi_rank *r, const tlpi_page_copy *c,
                              const tlpi_results *res, buffers *b)
{
    const uint8_t *from = res->page_in;
    tlp_status st = TLP_OK;

    for (int i = 0; i < r->cfg->n_rank; i++) {
        size_t n = r->rank == 0 ? (size_t)res->part[i] : 0;

        TLP_TRY(spread_part(r, c, i, from, n, b));
        from = from ? from + n : NULL;
    }
done:
    return st;
}

typedef tlp_status (*move_fn)(tlpi_rank *r, const tlpi_page_copy *c,
                              const tlpi_results *res, buffers *b);

static tlp_status run(tlpi_rank *r, const tlpi_page_copy *c,
                      const tlpi_results *res, move_fn move)
{
    tlpi_comm_stats before = r->comm->stats;
    buffers b;
    tlp_status st = alloc_buffers(r, &b, (size_t)c->n_most);

    if (st == TLP_OK)
        st = move(r, c, res, &b);
    free_buffers(r, &b);
    r->comm->stats = before; /* which count the exchanges of steps */
    return st;
}

tlp_status tlpi_page_read(tlpi_rank *r, const tlpi_page_copy *c,
                          const tlpi_results *res)
{
    return run(r, c, res, gather_page);
}

tlp_status tlpi_page_write(tlpi_rank *r, const tlpi_page_copy *c,
                           const tlpi_results *res)
{
    return run(r, c, res, spread_page);
}
