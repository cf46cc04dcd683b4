/*
 * hello.c - the first message of rank 0: a session as text, lines "key value"
 * in a fixed order, the plan last.
 *
 *   tlp-hello 1
 *   protocol 7
 *   version 0.1.0
 *   ...
 *   plan {"tlp_plan": 1, ...
 *
 * The lines up to the channel do not change between protocols, so that a rank
 * of any version can read them and answer.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/sha256.h"
#include "plan/adapter.h"
#include "plan/adjust.h"
#include "group/handshake.h"

#define GREETING "tlp-hello 1\n"

/* ==== this rank's side =================================================== */

static const char *own_byte_order(void)
{
    const uint16_t one = 1;

    return *(const uint8_t *)&one ? "little" : "big";
}

/* How many tensors of each type, by GGUF's numbers. */
static void describe_types(const tlp_model *m, char *out, size_t cap)
{
    enum { N_TYPE = 64 };
    size_t count[N_TYPE] = { 0 }, len = 0;

    for (size_t f = 0; f < m->n_file; f++)
        for (size_t i = 0; i < m->file[f]->n_tensor; i++)
            count[(unsigned)m->file[f]->tensor[i].type % N_TYPE]++;
    out[0] = '\0';
    for (unsigned t = 0; t < N_TYPE && len < cap; t++)
        if (count[t])
            len +=
                (size_t)snprintf(out + len, cap - len, "%s%s:%zu",
                                 len ? "," : "", tlpi_dtype_name(t), count[t]);
}

void tlpi_hello_init(tlpi_hello *c, const tlp_model *model, const char *digest,
                     const char *plan, const tlpi_session_config *cfg,
                     int channel)
{
    *c = (tlpi_hello){
        .protocol = TLPI_PROTOCOL,
        .channel = channel,
        .n_rank = cfg->n_rank,
        .n_ctx = cfg->n_ctx,
        .n_seq = cfg->n_seq,
        .n_batch = cfg->n_batch,
        .n_page = cfg->n_page,
        .kv_ahead = cfg->kv_ahead,
        .backend = cfg->backend,
        .compute = cfg->compute,
        .kv_type = cfg->kv_type,
        .wire = cfg->wire,
        .timeout_ms = cfg->timeout_ms,
        .plan = plan,
    };
    snprintf(c->version, sizeof(c->version), "%s", tlp_version_string());
    snprintf(c->byte_order, sizeof(c->byte_order), "%s", own_byte_order());
    snprintf(c->fingerprint, sizeof(c->fingerprint), "%s",
             tlpi_model_fingerprint(model));
    snprintf(c->digest, sizeof(c->digest), "%s",
             *digest ? digest : TLPI_NO_DIGEST);
    describe_types(model, c->types, sizeof(c->types));
    snprintf(c->adapter, sizeof(c->adapter), "%s",
             cfg->adapter ? cfg->adapter->sha256 : TLPI_NO_ADAPTER);
    tlpi_snprintf(c->adapter_scale, sizeof(c->adapter_scale), "%.9g",
                  (double)cfg->adapter_scale);
    snprintf(c->kernels, sizeof(c->kernels), "%s",
             model->hp.n_expert ? tlpi_cpu_float_kernels(cfg->isa) : "any");
}

/* ==== fields ============================================================= */

typedef enum field_kind { NUMBER, TEXT, NAME } field_kind;

/* A line of the hello, in their order; the plan follows. */
typedef struct field {
    const char *key;
    field_kind kind;
    size_t at, cap; /* in tlpi_hello; bytes of a TEXT */
    const tlpi_names *names;
    int lo, hi;
} field;

#define AT(name) offsetof(tlpi_hello, name)
#define NUM(name, lo, hi)                                                      \
    {                                                                          \
#name, NUMBER, AT(name), 0, NULL, lo, hi                               \
    }
#define STR(name)                                                              \
    {                                                                          \
#name, TEXT, AT(name), sizeof(((tlpi_hello *)0)->name), NULL, 0, 0     \
    }
#define ENUM(name, names)                                                      \
    {                                                                          \
#name, NAME, AT(name), 0, names, 0, 0                                  \
    }

static const char *const tasks[] = { "session", "training" };
static const tlpi_names task_names = { tasks, TLPI_COUNT(tasks) };

/* Every protocol's. */
static const field head[] = {
    NUM(protocol, 1, INT32_MAX),
    STR(version),
    STR(byte_order),
    NUM(channel, 1, TLPI_TAG_END / 4 - 1),
};

static const field body[] = {
    STR(digest),
    STR(fingerprint),
    STR(types),
    ENUM(task, &task_names),
    NUM(n_rank, 2, TLPI_MAX_RANK),
    NUM(n_ctx, 1, TLPI_MAX_CTX),
    NUM(n_seq, 1, TLPI_MAX_SEQ),
    NUM(n_batch, 1, TLPI_MAX_BATCH),
    NUM(n_page, 0, INT32_MAX),
    NUM(kv_ahead, 0, 1),
    ENUM(backend, &tlpi_backend_names),
    ENUM(compute, &tlpi_compute_names),
    ENUM(kv_type, &tlpi_kv_names),
    ENUM(wire, &tlpi_wire_names),
    NUM(timeout_ms, 1, INT32_MAX),
    STR(adapter),
    STR(adapter_scale),
    STR(kernels),
};

static int *number_at(tlpi_hello *c, const field *f)
{
    return (int *)(void *)((char *)c + f->at);
}

static int number_of(const tlpi_hello *c, const field *f)
{
    int value = 0;

    memcpy(&value, (const char *)c + f->at, sizeof(value));
    return value;
}

/* A value as the hello has it; buf is for numbers. */
static const char *show(const tlpi_hello *c, const field *f, char buf[16])
{
    int value = f->kind == TEXT ? 0 : number_of(c, f);

    if (f->kind == TEXT)
        return (const char *)c + f->at;
    if (f->kind == NAME)
        return value >= 0 && value < f->names->n ? f->names->name[value] : "?";
    snprintf(buf, 16, "%d", value);
    return buf;
}

/* ==== writing and reading ================================================ */

static void write_fields(const tlpi_hello *c, const field *f, size_t n,
                         tlpi_text *out)
{
    char buf[16];

    for (size_t i = 0; i < n; i++)
        tlpi_text_printf(out, "%s %s\n", f[i].key, show(c, &f[i], buf));
}

void tlpi_hello_write(const tlpi_hello *c, tlpi_text *out)
{
    tlpi_text_printf(out, GREETING);
    write_fields(c, head, TLPI_COUNT(head), out);
    write_fields(c, body, TLPI_COUNT(body), out);
    tlpi_text_printf(out, "plan ");
    tlpi_text_add(out, c->plan, strlen(c->plan));
}

static tlp_status malformed(const char *key)
{
    return tlpi_fail(TLP_ECOMM, "malformed hello from rank 0: %s", key);
}

/* The value of the line "key value" at *at, as a text of its own; *at moves
 * behind it.  NULL if there is no such line. */
static char *take_line(char **at, const char *end, const char *key)
{
    size_t n = strlen(key), left = (size_t)(end - *at);
    char *value = *at + n + 1;

    if (left < n + 1 || memcmp(*at, key, n) != 0 || (*at)[n] != ' ')
        return NULL;
    char *stop = memchr(value, '\n', (size_t)(end - value));
    if (!stop || memchr(value, '\0', (size_t)(stop - value)))
        return NULL;
    *stop = '\0';
    *at = stop + 1;
    return value;
}

static bool read_number(const char *text, const field *f, int *out)
{
    char *end = NULL;

    if (*text < '0' || *text > '9' || strlen(text) > 10)
        return false;
    long long value = strtoll(text, &end, 10);
    *out = (int)value;
    return *end == '\0' && value >= f->lo && value <= f->hi;
}

static int find_name(const tlpi_names *names, const char *text)
{
    for (int i = 0; i < names->n; i++)
        if (strcmp(names->name[i], text) == 0)
            return i;
    return -1;
}

static tlp_status read_fields(tlpi_hello *c, const field *f, size_t n,
                              char **at, const char *end)
{
    for (size_t i = 0; i < n; i++, f++) {
        char *value = take_line(at, end, f->key);

        if (!value)
            return malformed(f->key);
        if (f->kind == TEXT) {
            size_t len = tlpi_clean_line(value, strlen(value), false);
            if (len >= f->cap)
                return malformed(f->key);
            memcpy((char *)c + f->at, value, len + 1);
        } else if (f->kind == NAME) {
            *number_at(c, f) = find_name(f->names, value);
        } else if (!read_number(value, f, number_at(c, f))) {
            return malformed(f->key);
        }
    }
    return TLP_OK;
}

bool tlpi_hello_scale(const tlpi_hello *c, float *scale)
{
    char *end = NULL;
    double x = tlpi_strtod(c->adapter_scale, &end);

    *scale = (float)x;
    return end != c->adapter_scale && *end == '\0' && isfinite(*scale);
}

tlp_status tlpi_hello_read(tlpi_hello *c, char *text, size_t n)
{
    static const char plan[] = "plan ";
    char *at = text, *end = text + n;
    tlp_status st = TLP_OK;

    *c = (tlpi_hello){ 0 };
    if (n < strlen(GREETING) || memcmp(text, GREETING, strlen(GREETING)) != 0)
        return malformed("no greeting");
    at += strlen(GREETING);
    TLP_TRY(read_fields(c, head, TLPI_COUNT(head), &at, end));
    if (c->protocol != TLPI_PROTOCOL)
        return TLP_OK;
    TLP_TRY(read_fields(c, body, TLPI_COUNT(body), &at, end));
    if ((size_t)(end - at) < strlen(plan) ||
        memcmp(at, plan, strlen(plan)) != 0 ||
        memchr(at, '\0', (size_t)(end - at)))
        return malformed("plan");
    float scale;
    if (!tlpi_hello_scale(c, &scale))
        return malformed("adapter_scale");
    *end = '\0';
    c->plan = at + strlen(plan);
done:
    return st;
}

/* ==== agreeing =========================================================== */

static bool has_adapter(const tlpi_hello *c)
{
    return strcmp(c->adapter, TLPI_NO_ADAPTER) != 0;
}

static bool has_digest(const tlpi_hello *c)
{
    return strcmp(c->digest, TLPI_NO_DIGEST) != 0;
}

/* Is a field decided by another field, or left open by this rank? */
static bool is_open(const tlpi_hello *hello, const tlpi_hello *own,
                    const field *f)
{
    bool digests = has_digest(hello) && has_digest(own);

    if (f->at == AT(digest))
        return !digests;
    if (f->at == AT(fingerprint))
        return digests;
    if (f->at == AT(adapter) || f->at == AT(adapter_scale))
        return !has_adapter(own);
    return f->kind != TEXT && number_of(own, f) == 0;
}

static tlp_status compare(const tlpi_hello *hello, const tlpi_hello *own,
                          const field *f, size_t n)
{
    char a[16], b[16];

    for (size_t i = 0; i < n; i++) {
        const char *have = show(own, &f[i], a), *want = show(hello, &f[i], b);

        if (!is_open(hello, own, &f[i]) && strcmp(have, want) != 0)
            return tlpi_fail(TLP_EMISMATCH, "%s is %s, rank 0 has %s", f[i].key,
                             have, want);
        if (f[i].kind == NAME && number_of(hello, &f[i]) < 0)
            return malformed(f[i].key);
    }
    return TLP_OK;
}

bool tlpi_hello_other_bytes(const tlpi_hello *hello, const char *digest)
{
    return hello->protocol == TLPI_PROTOCOL && *digest && has_digest(hello) &&
           strcmp(hello->digest, digest) != 0;
}

tlp_status tlpi_hello_check(const tlpi_hello *hello, const tlp_model *model,
                            const char *digest, const tlp_session_options *o)
{
    tlpi_session_config cfg = {
        .n_rank = o->n_rank,
        .n_ctx = o->n_ctx,
        .n_seq = o->n_seq,
        .backend = o->backend,
        .compute = o->compute,
        .kv_type = o->kv_type,
        .wire = o->wire,
        .isa = o->isa,
        .adapter = o->adapter,
        .adapter_scale = tlpi_config_adapter_scale(o),
    };
    tlpi_hello own;
    tlp_status st = TLP_OK;

    if (o->n_batch)
        cfg.n_batch = tlpi_config_batch(o->n_batch, hello->n_ctx, hello->n_seq);
    tlpi_hello_init(&own, model, digest, NULL, &cfg, 0);
    TLP_TRY(compare(hello, &own, head, TLPI_COUNT(head)));
    TLP_TRY(compare(hello, &own, body, TLPI_COUNT(body)));
done:
    return st;
}

/* A plan in an error text: its own text where that is short. */
static void show_plan(const tlp_plan *p, char *out, size_t cap)
{
    tlpi_sha256 hash;
    uint8_t digest[32];
    char text[4096];
    size_t len = 0;

    tlp_status st = tlp_plan_format(text, sizeof(text), &len, p, TLP_PLAN_TEXT);
    if (st == TLP_OK && len < cap) {
        memcpy(out, text, len + 1);
        return;
    }
    tlpi_sha256_init(&hash);
    for (int i = 0; i < p->n_stage; i++) {
        const tlpi_stage *s = &p->stage[i];
        tlpi_sha256_add(&hash, &s->mode, sizeof(s->mode));
        tlpi_sha256_add(&hash, &s->nosync, sizeof(s->nosync));
        tlpi_sha256_add(&hash, s->layers,
                        (size_t)s->n_member * sizeof(*s->layers));
    }
    tlpi_sha256_finish(&hash, digest);
    for (size_t i = 0; i < 8; i++)
        snprintf(out + 2 * i, cap - 2 * i, "%02x", digest[i]);
}

static bool same_plan(const tlp_plan *a, const tlp_plan *b)
{
    if (a->n_stage != b->n_stage || a->n_track != b->n_track)
        return false;
    for (int i = 0; i < a->n_stage; i++) {
        const tlpi_stage *s = &a->stage[i], *t = &b->stage[i];
        if (s->mode != t->mode || s->nosync != t->nosync ||
            s->n_member != t->n_member ||
            memcmp(s->layers, t->layers,
                   (size_t)s->n_member * sizeof(*s->layers)) != 0)
            return false;
    }
    return true;
}

static const char *adjustments(const tlp_plan *p)
{
    return p->adjust ? p->adjust->sha256 : "none";
}

tlp_status tlpi_hello_plan(const tlpi_hello *hello, tlp_model *model,
                           const tlp_plan *own, tlp_plan **out)
{
    char a[96], b[96];
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_plan_parse_bare(out, model, hello->plan));
    if (!own)
        return TLP_OK;
    if (!same_plan(own, *out)) {
        show_plan(own, a, sizeof(a));
        show_plan(*out, b, sizeof(b));
        TLP_TRY(tlpi_fail(TLP_EMISMATCH, "plan is %s, rank 0 has %s", a, b));
    }
    if (strcmp(adjustments(own), adjustments(*out)) != 0)
        TLP_TRY(tlpi_fail(TLP_EMISMATCH,
                          "the plan's adjustments are %s, rank 0 has %s",
                          adjustments(own), adjustments(*out)));
done:
    if (st != TLP_OK) {
        tlp_plan_free(*out);
        *out = NULL;
    }
    return st;
}

void tlpi_hello_adopt(const tlpi_hello *hello, tlp_session_options *o)
{
    o->n_rank = hello->n_rank;
    o->n_ctx = hello->n_ctx;
    o->n_seq = hello->n_seq;
    o->n_batch = hello->n_batch;
    o->backend = hello->backend;
    o->compute = hello->compute;
    o->kv_type = hello->kv_type;
    o->wire = hello->wire;
}
