/*
 * save.c - tlp_session_save: a sequence becomes bytes (saved.h).
 */
#include <string.h>

#include "file/mapfile.h"
#include "session/saved.h"

/* A sequence that holds its tokens alone gets its pages back. */
static tlp_status restore(tlp_session *s, int32_t seq)
{
    tlp_status st = TLP_OK;

    if (!s->cache.seq[seq].lost)
        return TLP_OK;
    tlpi_cache_plan(s);
    tlpi_cache_write(s, seq, 0, s->pos[seq]);
    TLP_TRY(tlpi_cache_check(s));
    st = tlpi_session_recompute(s, seq);
    if (st != TLP_OK && !s->broken)
        (void)tlpi_cache_settle(s);
done:
    return st;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

/* All but the pages and the checksum. */
static void write_head(uint8_t *out, const tlpi_saved *v, tlp_session *s,
                       int32_t seq)
{
    uint64_t n = v->n_bytes;

    memcpy(out, TLPI_SAVED_MAGIC, TLPI_SAVED_AT_VERSION);
    put_u32(out + TLPI_SAVED_AT_VERSION, TLPI_SAVED_VERSION);
    memcpy(out + TLPI_SAVED_AT_LENGTH, &n, sizeof(n));
    put_u32(out + TLPI_SAVED_AT_N_TEXT, (uint32_t)v->text.len);
    put_u32(out + TLPI_SAVED_AT_N_POS, (uint32_t)v->n_pos);
    put_u32(out + TLPI_SAVED_AT_FIRST, (uint32_t)v->first);
    put_u32(out + TLPI_SAVED_AT_N_RANK, (uint32_t)s->cfg.n_rank);
    memcpy(out + TLPI_SAVED_AT_TEXT, v->text.data, v->text.len);
    if (v->n_pos > 0)
        memcpy(out + v->at_tokens, tlpi_session_history(s, seq),
               (size_t)v->n_pos * sizeof(int32_t));
    memcpy(out + v->at_panels, v->panel, v->at_pages - v->at_panels);
}

static tlp_status write_pages(uint8_t *out, tlpi_saved *v, tlp_session *s,
                              int32_t seq)
{
    tlp_status st = TLP_OK;

    out += v->at_pages;
    for (int k = 0; k < TLPI_N_KV_KIND; k++)
        for (int i = v->begin[k]; i < v->end[k]; i++) {
            tlpi_command cmd = { .op = TLPI_OP_READ_PAGE };
            size_t n = tlpi_saved_copy(v, s, k, i,
                                       tlpi_cache_page(s, k, seq, i), &cmd);
            const tlpi_results res = { .part = v->part, .page_out = out };

            TLP_TRY(tlpi_session_command(s, &cmd, &res));
            out += n;
        }
done:
    return st;
}

static tlp_status describe(tlpi_saved *v, tlp_session *s, int32_t seq)
{
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_saved_begin(v, s));
    TLP_TRY(restore(s, seq));
    st = tlpi_saved_lay_out(v, s, s->pos[seq], s->cache.seq[seq].first,
                            v->text.len);
done:
    return st;
}

static tlp_status fill(uint8_t *out, tlpi_saved *v, tlp_session *s, int32_t seq)
{
    uint8_t digest[32];
    tlp_status st = TLP_OK;

    write_head(out, v, s, seq);
    TLP_TRY(write_pages(out, v, s, seq));
    tlpi_saved_hash(out, v->n_bytes, digest);
    memcpy(out + TLPI_SAVED_AT_SHA256, digest, sizeof(digest));
done:
    return st;
}

tlp_status tlpi_session_save(void *buf, size_t cap, size_t *len, tlp_session *s,
                             int32_t seq)
{
    tlpi_saved v = { 0 };
    tlp_status st = TLP_OK;

    if (len)
        *len = 0;
    if (!len || !s || (!buf && cap > 0))
        return tlpi_fail(TLP_EINVAL, "buf, len and session are required");
    TLP_TRY(tlpi_session_check_seq(s, seq));
    TLP_TRY(describe(&v, s, seq));
    *len = v.n_bytes;
    if (v.n_bytes > cap)
        TLP_TRY(tlpi_fail(TLP_EBUFS, "room for %zu bytes is needed, %zu given",
                          v.n_bytes, cap));
    st = fill(buf, &v, s, seq);
done:
    tlpi_saved_free(s, &v);
    return st;
}

tlp_status tlpi_session_save_file(tlp_session *s, int32_t seq, const char *path)
{
    tlpi_saved v = { 0 };
    uint8_t *bytes = NULL;
    tlp_status st = TLP_OK;

    if (!s || !path)
        return tlpi_fail(TLP_EINVAL, "session and path are required");
    TLP_TRY(tlpi_session_check_seq(s, seq));
    TLP_TRY(tlpi_model_check_path(s->plan->model, path));
    TLP_TRY(describe(&v, s, seq));
    bytes = tlpi_alloc(s->env, v.n_bytes);
    if (!bytes)
        TLP_TRY(tlpi_fail_nomem_for("a saved sequence"));
    TLP_TRY(fill(bytes, &v, s, seq));
    st = tlpi_file_replace(s->env, path, bytes, v.n_bytes);
done:
    tlpi_free(s->env, bytes);
    tlpi_saved_free(s, &v);
    return st;
}
