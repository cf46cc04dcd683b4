/*
 * saved_text.c - what a saved sequence is bound to, as lines "key value".
 *
 * Sessions with equal lines continue a sequence with equal keys and values.
 */
#include <string.h>

#include "base/number.h"
#include "base/sha256.h"
#include "group/config.h"
#include "model/digest.h"
#include "plan/adapter.h"
#include "plan/adjust.h"
#include "plan/plan_sketch.h"
#include "session/saved.h"

#define NONE "none"

/* ==== values ============================================================= */

static void put_model(tlpi_text *out, const tlp_session *s)
{
    tlpi_text_printf(out, "%s", tlpi_model_fingerprint(s->plan->model));
}

static void put_plan(tlpi_text *out, const tlp_session *s)
{
    tlpi_text plan = { .env = out->env }; /* the form begins a text */

    tlpi_plan_write_text(s->plan, &plan);
    tlpi_text_add(out, plan.data, plan.len);
    out->failed = out->failed || plan.failed;
    tlpi_text_free(&plan);
}

static void put_adjust(tlpi_text *out, const tlp_session *s)
{
    tlpi_text_printf(out, "%s",
                     s->plan->adjust ? s->plan->adjust->sha256 : NONE);
}

static void put_adapter(tlpi_text *out, const tlp_session *s)
{
    tlpi_text_printf(out, "%s", s->adapter ? s->adapter->sha256 : NONE);
}

static void put_adapter_scale(tlpi_text *out, const tlp_session *s)
{
    char number[32];

    tlpi_snprintf(number, sizeof(number), "%.9g", (double)s->cfg.adapter_scale);
    tlpi_text_printf(out, "%s", s->adapter ? number : NONE);
}

static void put_n_rank(tlpi_text *out, const tlp_session *s)
{
    tlpi_text_printf(out, "%d", s->cfg.n_rank);
}

/* A hash of the parts of all ranks. */
static void put_cut(tlpi_text *out, const tlp_session *s)
{
    const tlpi_shards *shards = s->shards;
    char text[TLPI_HASH_TEXT];
    tlpi_sha256 hash;

    tlpi_sha256_init(&hash);
    for (int i = 0; i < shards->n_stage; i++)
        for (int r = 0; r < shards->n_rank; r++) {
            const tlpi_stage_shard *p = tlpi_shard_at(shards, i, r);
            int32_t n[2] = { p->n_attn, p->n_ffn };

            tlpi_sha256_add(&hash, n, sizeof(n));
            if (p->n_attn > 0)
                tlpi_sha256_add(&hash, p->attn,
                                (size_t)p->n_attn * sizeof(*p->attn));
            if (p->n_ffn > 0)
                tlpi_sha256_add(&hash, p->ffn,
                                (size_t)p->n_ffn * sizeof(*p->ffn));
        }
    tlpi_sha256_text(&hash, text);
    tlpi_text_printf(out, "%s", text);
}

static void put_compute(tlpi_text *out, const tlp_session *s)
{
    tlpi_text_printf(out, "%s", tlpi_compute_names.name[s->cfg.compute]);
}

static void put_kv_type(tlpi_text *out, const tlp_session *s)
{
    tlpi_text_printf(out, "%s", tlpi_kv_names.name[s->cfg.kv_type]);
}

static void put_wire(tlpi_text *out, const tlp_session *s)
{
    tlpi_text_printf(out, "%s", tlpi_wire_names.name[s->cfg.wire]);
}

/* The window of the caches that do not keep all positions. */
static void put_window(tlpi_text *out, const tlp_session *s)
{
    tlpi_text_printf(out, "%d", s->cache.shape.window);
}

/* The tensor that scales positions, which n_ctx chooses. */
static void put_rope(tlpi_text *out, const tlp_session *s)
{
    const tlpi_tensor *t = tlpi_rope_divisors(s->plan->model, s->cfg.n_ctx);

    tlpi_text_printf(out, "%s", t ? t->name : NONE);
}

/* ==== lines ============================================================== */

static const struct {
    const char *key;
    void (*put)(tlpi_text *out, const tlp_session *s);
} lines[] = {
    { "model", put_model },
    { "plan", put_plan },
    { "adjust", put_adjust },
    { "adapter", put_adapter },
    { "adapter_scale", put_adapter_scale },
    { "n_rank", put_n_rank },
    { "cut", put_cut },
    { "compute", put_compute },
    { "kv_type", put_kv_type },
    { "wire", put_wire },
    { "window", put_window },
    { "rope", put_rope },
};

tlp_status tlpi_saved_write_text(tlpi_text *out, const tlp_session *s)
{
    for (size_t i = 0; i < TLPI_COUNT(lines); i++) {
        tlpi_text_printf(out, "%s ", lines[i].key);
        lines[i].put(out, s);
        tlpi_text_printf(out, "\n");
    }
    return out->failed ? tlpi_fail_nomem_for("a saved sequence") : TLP_OK;
}

/* Bytes of the line at `text`, without its end. */
static size_t line_length(const char *text, size_t n)
{
    const char *end = n > 0 ? memchr(text, '\n', n) : NULL;

    return end ? (size_t)(end - text) : n;
}

/* Both lines have the key; only their values differ. */
static tlp_status fail_line(const char *key, const char *own, size_t n_own,
                            const char *line, size_t n)
{
    enum { SHOWN = 120 };
    size_t n_key = strlen(key) + 1;

    return tlpi_fail(TLP_EMISMATCH,
                     "saved sequence: %s: %.*s, this session has %.*s", key,
                     (int)TLPI_MIN(n - n_key, SHOWN), line + n_key,
                     (int)TLPI_MIN(n_own - n_key, SHOWN), own + n_key);
}

tlp_status tlpi_saved_check_text(const tlpi_text *own, const char *text,
                                 size_t n)
{
    const char *at = own->data;
    size_t left = own->len;

    for (size_t i = 0; i < TLPI_COUNT(lines); i++) {
        size_t n_key = strlen(lines[i].key), n_own = line_length(at, left);
        size_t n_line = line_length(text, n);

        if (n_line == n || n_line <= n_key || text[n_key] != ' ' ||
            memcmp(text, lines[i].key, n_key) != 0)
            return tlpi_fail(TLP_EFORMAT, "saved sequence: no line with key %s",
                             lines[i].key);
        if (n_line != n_own || memcmp(text, at, n_own) != 0)
            return fail_line(lines[i].key, at, n_own, text, n_line);
        at += n_own + 1;
        left -= n_own + 1;
        text += n_line + 1;
        n -= n_line + 1;
    }
    return n == 0
               ? TLP_OK
               : tlpi_fail(TLP_EFORMAT,
                           "saved sequence: %zu bytes behind the last line", n);
}
