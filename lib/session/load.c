/*
 * load.c - tlp_session_load: bytes (saved.h) become a sequence.
 *
 * Everything that can fail comes before the sequence changes: checks of all
 * bytes, then memory of new pages, then their content.  Only then the sequence
 * gets these pages for its own.
 */
#include <string.h>

#include "file/mapfile.h"
#include "session/saved.h"

/* ==== checks ============================================================= */

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* The beginning and the checksum, of bytes from anywhere. */
static tlp_status check_whole(const uint8_t *b, size_t n)
{
    uint8_t digest[32];
    uint64_t length = 0;

    if (n < TLPI_SAVED_AT_TEXT ||
        memcmp(b, TLPI_SAVED_MAGIC, TLPI_SAVED_AT_VERSION) != 0)
        return tlpi_fail(TLP_EFORMAT, "not a saved sequence");
    if (get_u32(b + TLPI_SAVED_AT_VERSION) != TLPI_SAVED_VERSION)
        return tlpi_fail(
            TLP_EMISMATCH, "saved sequence: version %u, %d expected",
            get_u32(b + TLPI_SAVED_AT_VERSION), TLPI_SAVED_VERSION);
    memcpy(&length, b + TLPI_SAVED_AT_LENGTH, sizeof(length));
    if (length != n)
        return tlpi_fail(TLP_EFORMAT,
                         "saved sequence: %zu bytes, its length is %llu", n,
                         (unsigned long long)length);
    tlpi_saved_hash(b, n, digest);
    if (memcmp(digest, b + TLPI_SAVED_AT_SHA256, sizeof(digest)) != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "saved sequence: the bytes do not fit their SHA-256");
    return TLP_OK;
}

static tlp_status check_sizes(tlpi_saved *v, const tlp_session *s,
                              const uint8_t *b, size_t n)
{
    uint32_t n_pos = get_u32(b + TLPI_SAVED_AT_N_POS);
    uint32_t first = get_u32(b + TLPI_SAVED_AT_FIRST);
    const tlpi_kv_shape *shape = &s->cache.shape;
    tlp_status st = TLP_OK;

    if (n_pos > (uint32_t)s->cfg.n_ctx)
        return tlpi_fail(TLP_EFULL,
                         "saved sequence: %u positions do not fit in n_ctx %d",
                         n_pos, s->cfg.n_ctx);
    int last = TLPI_MAX(0, (int)n_pos - shape->window);
    if (first > (uint32_t)(shape->n_kind > 1 ? last / TLPI_PAGE : 0))
        return tlpi_fail(TLP_EFORMAT,
                         "saved sequence: windows begin in page %u of %u "
                         "positions",
                         first, n_pos);
    TLP_TRY(
        tlpi_saved_lay_out(v, s, (int32_t)n_pos, (int32_t)first, v->text.len));
    if (n != v->n_bytes ||
        get_u32(b + TLPI_SAVED_AT_N_RANK) != (uint32_t)s->cfg.n_rank)
        return tlpi_fail(TLP_EFORMAT, "saved sequence: %zu bytes, %zu expected",
                         n, v->n_bytes);
    if (memcmp(b + v->at_panels, v->panel, v->at_pages - v->at_panels) != 0)
        return tlpi_fail(TLP_EMISMATCH,
                         "saved sequence: ranks held other parts of a page");
done:
    return st;
}

static tlp_status check_tokens(const tlpi_saved *v, const tlp_session *s,
                               const uint8_t *b)
{
    uint32_t n_vocab = (uint32_t)s->plan->model->hp.n_vocab;

    for (int32_t i = 0; i < v->n_pos; i++) {
        uint32_t id = get_u32(b + v->at_tokens + (size_t)i * sizeof(id));

        if (id >= n_vocab)
            return tlpi_fail(TLP_EFORMAT,
                             "saved sequence: token %d: id %d is outside 0 to "
                             "%u",
                             i, (int32_t)id, n_vocab - 1);
    }
    return TLP_OK;
}

/* v describes the bytes, and they fit the session. */
static tlp_status check(tlpi_saved *v, tlp_session *s, const uint8_t *b,
                        size_t n)
{
    size_t n_text = 0;
    tlp_status st = TLP_OK;

    TLP_TRY(check_whole(b, n));
    n_text = get_u32(b + TLPI_SAVED_AT_N_TEXT);
    if (n_text > n - TLPI_SAVED_AT_TEXT)
        return tlpi_fail(TLP_EFORMAT,
                         "saved sequence: %zu bytes of text in "
                         "%zu",
                         n_text, n);
    TLP_TRY(tlpi_saved_begin(v, s));
    TLP_TRY(tlpi_saved_check_text(
        &v->text, (const char *)b + TLPI_SAVED_AT_TEXT, n_text));
    TLP_TRY(check_sizes(v, s, b, n));
    st = check_tokens(v, s, b);
done:
    return st;
}

/* ==== pages ============================================================== */

/* Windows of this session may keep fewer pages than were saved. */
static int first_loaded(const tlpi_saved *v, const tlp_session *s, int kind)
{
    return kind == TLPI_KV_ALL
               ? 0
               : TLPI_MAX(v->begin[kind],
                          tlpi_kv_first_kept(&s->cache.shape, v->n_pos));
}

static tlp_status read_pages(tlpi_saved *v, tlp_session *s,
                             const tlpi_new_pages *new, const uint8_t *in)
{
    tlp_status st = TLP_OK;

    in += v->at_pages;
    for (int k = 0; k < TLPI_N_KV_KIND; k++)
        for (int i = v->begin[k]; i < v->end[k]; i++) {
            tlpi_command cmd = { .op = TLPI_OP_WRITE_PAGE };
            int j = i - new->first[k];
            size_t n =
                tlpi_saved_copy(v, s, k, i, j < 0 ? -1 : new->page[k][j], &cmd);
            const tlpi_results res = { .part = v->part, .page_in = in };

            if (j >= 0)
                TLP_TRY(tlpi_session_command(s, &cmd, &res));
            in += n;
        }
done:
    return st;
}

static void commit_tokens(tlp_session *s, int32_t seq, const tlpi_saved *v,
                          const uint8_t *b)
{
    if (v->n_pos > 0)
        memcpy(tlpi_session_history(s, seq), b + v->at_tokens,
               (size_t)v->n_pos * sizeof(int32_t));
    s->pos[seq] = v->n_pos;
    s->kept_as[seq] = -1; /* no row of logits is of these tokens */
}

static tlp_status load(tlp_session *s, int32_t seq, const uint8_t *b, size_t n)
{
    tlpi_saved v = { 0 };
    tlpi_new_pages new = { 0 };
    tlp_status st = TLP_OK;

    TLP_TRY(check(&v, s, b, n));
    for (int k = 0; k < s->cache.shape.n_kind; k++) {
        new.first[k] = first_loaded(&v, s, k);
        new.n[k] = v.end[k] - new.first[k];
    }
    TLP_TRY(tlpi_cache_take_new(s, &new));
    st = read_pages(&v, s, &new, b);
    if (st == TLP_OK)
        st = tlpi_cache_adopt(s, seq, &new);
    else if (!s->broken)
        st = tlpi_cache_drop_new(s, &new, st);
    if (st == TLP_OK)
        commit_tokens(s, seq, &v, b);
done:
    tlpi_cache_free_new(s, &new);
    tlpi_saved_free(s, &v);
    return st;
}

/* ==== calls ============================================================== */

tlp_status tlpi_session_load(tlp_session *s, int32_t seq, const void *buf,
                             size_t n)
{
    tlp_status st = TLP_OK;

    if (!s || !buf)
        return tlpi_fail(TLP_EINVAL, "session and buf are required");
    TLP_TRY(tlpi_session_check_seq(s, seq));
    st = load(s, seq, buf, n);
done:
    return st;
}

tlp_status tlpi_session_load_file(tlp_session *s, int32_t seq, const char *path)
{
    tlpi_map *map = NULL;
    tlp_status st = TLP_OK;

    if (!s || !path)
        return tlpi_fail(TLP_EINVAL, "session and path are required");
    TLP_TRY(tlpi_session_check_seq(s, seq));
    /* Read, because a mapped file can change after it was checked. */
    TLP_TRY(tlpi_map_open(&map, s->env, path, true));
    st = load(s, seq, map->data, map->size);
    if (st == TLP_EFORMAT || st == TLP_EMISMATCH || st == TLP_EFULL)
        st = tlpi_fail_prefix(st, "%s: ", path);
done:
    tlpi_map_close(map);
    return st;
}
