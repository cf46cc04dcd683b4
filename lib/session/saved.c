/*
 * saved.c - the layout of a saved sequence.
 */
#include "session/saved.h"

#include <string.h>

#include "base/sha256.h"

tlp_status tlpi_saved_begin(tlpi_saved *v, tlp_session *s)
{
    tlpi_command cmd = { .op = TLPI_OP_PANEL_BYTES };
    size_t n_rank = (size_t)s->cfg.n_rank;
    tlp_status st = TLP_OK;

    *v = (tlpi_saved){ .text = { .env = s->env } };
    if (s->cfg.device)
        return tlpi_fail(TLP_ENOTSUP, "sequences of sessions on devices cannot "
                                      "be saved or loaded");
    v->panel = tlpi_calloc(s->env, n_rank * TLPI_N_KV_KIND, sizeof(*v->panel));
    v->part = tlpi_calloc(s->env, n_rank, sizeof(*v->part));
    if (!v->panel || !v->part)
        return tlpi_fail_nomem_for("a saved sequence");
    TLP_TRY(tlpi_saved_write_text(&v->text, s));
    const tlpi_results res = { .panel = v->panel };
    TLP_TRY(tlpi_session_command(s, &cmd, &res));
done:
    return st;
}

void tlpi_saved_free(const tlp_session *s, tlpi_saved *v)
{
    tlpi_text_free(&v->text);
    tlpi_free(s->env, v->panel);
    tlpi_free(s->env, v->part);
    *v = (tlpi_saved){ 0 };
}

/* Positions of the page at an index. */
static int positions(const tlpi_saved *v, int index)
{
    return TLPI_MIN(v->n_pos - index * TLPI_PAGE, TLPI_PAGE);
}

/* Bytes of a page's parts; part and most (or NULL): of each rank, and the
 * largest. */
static bool size_page(const tlpi_saved *v, const tlp_session *s, int kind,
                      int index, uint64_t *most, size_t *sum)
{
    uint64_t n_panel = tlpi_kv_n_panel(positions(v, index)), total = 0;

    *most = 0;
    for (int r = 0; r < s->cfg.n_rank; r++) {
        uint64_t one = v->panel[r * TLPI_N_KV_KIND + kind];

        if (__builtin_mul_overflow(one, n_panel, &v->part[r]) ||
            __builtin_add_overflow(total, v->part[r], &total))
            return false;
        *most = TLPI_MAX(*most, v->part[r]);
    }
    *sum = (size_t)total;
    return total <= SIZE_MAX / 2;
}

tlp_status tlpi_saved_lay_out(tlpi_saved *v, const tlp_session *s,
                              int32_t n_pos, int32_t first, size_t n_text)
{
    int n_index = tlpi_kv_n_index(n_pos);
    size_t at = 0, n = 0;
    uint64_t most;
    bool fits = true;

    v->n_pos = n_pos;
    v->first = first;
    for (int k = 0; k < TLPI_N_KV_KIND; k++) {
        v->begin[k] = k == TLPI_KV_ALL ? 0 : first;
        v->end[k] = k < s->cache.shape.n_kind ? n_index : v->begin[k];
    }
    v->at_tokens = TLPI_SAVED_AT_TEXT + n_text;
    v->at_panels = v->at_tokens + (size_t)n_pos * sizeof(int32_t);
    v->at_pages = v->at_panels +
                  (size_t)s->cfg.n_rank * TLPI_N_KV_KIND * sizeof(*v->panel);
    at = v->at_pages;
    for (int k = 0; k < TLPI_N_KV_KIND; k++)
        for (int i = v->begin[k]; i < v->end[k] && fits; i++)
            fits = size_page(v, s, k, i, &most, &n) && tlpi_add(at, n, &at);
    v->n_bytes = at;
    return fits ? TLP_OK
                : tlpi_fail(TLP_ENOMEM,
                            "a saved sequence of %d positions is larger than "
                            "any memory",
                            n_pos);
}

size_t tlpi_saved_copy(tlpi_saved *v, const tlp_session *s, int kind, int index,
                       int32_t page, tlpi_command *cmd)
{
    uint64_t most = 0;
    size_t n = 0;

    (void)size_page(v, s, kind, index, &most, &n); /* the layout fits */
    cmd->copy = (tlpi_page_copy){
        .kind = kind, .page = page, .n = positions(v, index), .n_most = most
    };
    return n;
}

void tlpi_saved_hash(const uint8_t *bytes, size_t n, uint8_t digest[32])
{
    tlpi_sha256 hash;

    tlpi_sha256_init(&hash);
    tlpi_sha256_add(&hash, bytes, TLPI_SAVED_AT_SHA256);
    tlpi_sha256_add(&hash, bytes + TLPI_SAVED_AT_LENGTH,
                    n - TLPI_SAVED_AT_LENGTH);
    tlpi_sha256_finish(&hash, digest);
}
