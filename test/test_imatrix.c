/*
 * test_imatrix.c - importance matrices: what a file may hold, whom it belongs
 * to, and that errors of important columns become less.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/imatrix.h"
#include "support/check.h"
#include "support/gguf_writer.h"
#include "support/mem.h"
#include "support/tiny.h"
#include "tensor/tensor.h"
#include "tlp_tune.h"

TestSuite(imatrix, .timeout = 120);

enum { COLS = 256, LAYERS = 2 };

static tiny_spec spec(void)
{
    tiny_spec s = tiny_default();

    s.n_layer = LAYERS;
    s.n_embd = s.n_ff = COLS;
    s.n_head = 2;
    s.n_head_kv = 1;
    s.head_dim = 128;
    s.type = TLPI_F32;
    return s;
}

static tlp_model *open_tiny(void)
{
    tiny_spec s = spec();
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, tiny_make(&s), NULL));
    return m;
}

static const char *const matrices[] = { "attn_q",      "attn_k",   "attn_v",
                                        "attn_output", "ffn_gate", "ffn_up",
                                        "ffn_down" };

/* A few columns count far more than the rest. */
static float importance_of(int column)
{
    return column % 16 == 3 ? 64 : column % 16 == 8 ? 0 : 0.5f;
}

/* ==== files ============================================================== */

typedef struct entry {
    const char *name;
    const float *sums;
    int64_t n, n_mat;
    const float *counts;
    int64_t n_count;
} entry;

static void put_tensor(gw_file *w, const char *matrix, const char *suffix,
                       uint32_t type, const uint64_t ne[2], const void *data)
{
    char name[96];

    snprintf(name, sizeof name, "%s%s", matrix, suffix);
    gw_tensor(w, name, type, 2, ne, data, (size_t)(ne[0] * ne[1]) * 4);
}

static void put_entry(gw_file *w, const entry *e)
{
    uint64_t sums[2] = { (uint64_t)e->n, (uint64_t)e->n_mat };
    uint64_t counts[2] = { 1, (uint64_t)e->n_count };

    put_tensor(w, e->name, ".in_sum2", TLPI_F32, sums, e->sums);
    put_tensor(w, e->name, ".counts", TLPI_F32, counts, e->counts);
}

/* Sums of all matrices of layers over 8 tokens. */
static void fill(float sums[COLS], float scale)
{
    for (int i = 0; i < COLS; i++)
        sums[i] = 8 * scale * importance_of(i);
}

static const char *write_gguf(float scale)
{
    static char path[512];
    static const float count = 8;
    float sums[COLS];
    gw_file w;

    fill(sums, scale);
    gw_init(&w);
    gw_kv_str(&w, "general.type", "imatrix");
    gw_kv_u32(&w, "imatrix.chunk_count", 3);
    for (int l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < TLPI_COUNT(matrices); i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, matrices[i]);
            put_entry(&w, &(entry){ name, sums, COLS, 1, &count, 1 });
        }
    snprintf(path, sizeof path, "%s", tiny_path("imatrix.gguf"));
    cr_assert(gw_save(&w, path));
    gw_free(&w);
    return path;
}

static void put_old_entry(gw_bytes *b, const char *name, int32_t count,
                          const float *sums, int32_t n)
{
    gw_put_u32(b, (uint32_t)strlen(name));
    gw_put(b, name, strlen(name));
    gw_put_u32(b, (uint32_t)count);
    gw_put_u32(b, (uint32_t)n);
    gw_put(b, sums, (size_t)n * sizeof *sums);
}

static const char *save(const void *data, size_t n)
{
    static char path[512];

    snprintf(path, sizeof path, "%s", tiny_path("imatrix.dat"));
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
    return path;
}

static gw_bytes old_format(void)
{
    gw_bytes b = { 0 };
    float sums[COLS];

    fill(sums, 1);
    gw_put_u32(&b, LAYERS * TLPI_COUNT(matrices));
    for (int l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < TLPI_COUNT(matrices); i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, matrices[i]);
            put_old_entry(&b, name, 8, sums, COLS);
        }
    gw_put_u32(&b, 3);
    gw_put_u32(&b, 4);
    gw_put(&b, "text", 4);
    return b;
}

/* ==== what is refused ==================================================== */

static const tlpi_env *host(void)
{
    static tlpi_env env;

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    return &env;
}

static void refuse_path(const char *path, tlp_status want, const char *text)
{
    tlpi_imatrix *im = (tlpi_imatrix *)&im;
    tlp_status st = tlpi_imatrix_open(&im, host(), path);

    cr_assert_eq(st, want, "%s: %s", tlp_status_name(st), tlp_last_error());
    cr_assert_null(im);
    cr_assert(strstr(tlp_last_error(), text) && strstr(tlp_last_error(), path),
              "\"%s\" not in \"%s\"", text, tlp_last_error());
}

static void refuse_file(gw_file *w, const char *text)
{
    const char *path = tiny_path("bad.gguf");

    cr_assert(gw_save(w, path));
    refuse_path(path, TLP_EFORMAT, text);
    gw_free(w);
}

static void refuse_entry(const entry *e, const char *text)
{
    gw_file w;

    gw_init(&w);
    put_entry(&w, e);
    refuse_file(&w, text);
}

Test(imatrix, values_and_counts)
{
    static const float one = 1, zero = 0, below = -1, none[2] = { 0, NAN };
    static const float good[4] = { 1, 2, 3, 4 }, bad[4] = { 1, 2, -3, 4 },
                       nan[4] = { 1, NAN, 3, 4 }, inf[4] = { INFINITY };
    static const float three[3] = { 1, 1, 1 };

    refuse_entry(&(entry){ "m", good, 4, 1, &zero, 1 },
                 "entry m: count 0 is 0");
    refuse_entry(&(entry){ "m", good, 4, 1, &below, 1 }, "count 0 is -1");
    refuse_entry(&(entry){ "m", good, 2, 2, none, 2 }, "count 1 is nan");
    refuse_entry(&(entry){ "m", bad, 4, 1, &one, 1 }, "value 2 is -3");
    refuse_entry(&(entry){ "m", nan, 4, 1, &one, 1 }, "value 1 is nan");
    refuse_entry(&(entry){ "m", inf, 4, 1, &one, 1 }, "value 0 is inf");
    refuse_entry(&(entry){ "m", good, 2, 2, three, 3 },
                 "entry m: 3 counts, 1 or 2 expected");
}

Test(imatrix, tensors)
{
    static const uint64_t ne[2] = { 4, 1 }, half[2] = { 2, 1 };
    static const float x[4] = { 1, 1, 1, 1 };
    gw_file w;

    gw_init(&w);
    put_tensor(&w, "m", ".in_sum2", TLPI_F32, ne, x);
    refuse_file(&w, "tensor m.counts: missing");
    gw_init(&w);
    put_tensor(&w, "m", ".counts", TLPI_F32, ne, x);
    refuse_file(&w, "no tensor NAME.in_sum2");
    gw_init(&w);
    gw_tensor(&w, "m.in_sum2", TLPI_F16, 2, ne, x, 8);
    put_tensor(&w, "m", ".counts", TLPI_F32, half, x);
    refuse_file(&w, "entry m: F16, F32 expected");
    gw_init(&w);
    gw_kv_str(&w, "general.type", "model");
    put_entry(&w, &(entry){ "m", x, 4, 1, x, 1 });
    refuse_file(&w, "key general.type: model, imatrix expected");
}

Test(imatrix, old_files_cut_or_changed)
{
    gw_bytes b = old_format();
    tlpi_imatrix *im = NULL;

    CHECK_OK(tlpi_imatrix_open(&im, host(), save(b.data, b.n)));
    cr_expect_eq(im->n, LAYERS * TLPI_COUNT(matrices));
    tlpi_imatrix_free(im);
    size_t bare = b.n - 12; /* without the text's name */
    for (size_t n = 1; n < b.n; n += n < 64 || n > bare - 8 ? 1 : 97)
        if (n != bare)
            refuse_path(save(b.data, n), TLP_EFORMAT, "");
    CHECK_OK(tlpi_imatrix_open(&im, host(), save(b.data, bare)));
    cr_expect_eq(im->n_chunk, 0);
    tlpi_imatrix_free(im);

    static const struct {
        size_t at; /* of 32 bits: entries, length, name, count, n */
        int32_t value;
        const char *text;
    } cases[] = {
        { 0, 0, "number of entries: 0, at least 1" },
        { 0, INT32_MAX, "2147483647 entries do not fit" },
        { 4, 0, "length of a name: 0" },
        { 4, INT32_MAX, "2147483647 expected for a name" },
        { 4 + 4 + 19, 0, "count of an entry: 0" },
        { 4 + 4 + 19, -8, "count of an entry: -8" },
        { 4 + 4 + 19 + 4, 0, "number of an entry's values: 0" },
        { 4 + 4 + 19 + 4, INT32_MAX, "expected for values" },
        { 4 + 4, 0, "a name has a NUL" },
    };
    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        uint8_t *copy = malloc(b.n);
        memcpy(copy, b.data, b.n);
        memcpy(copy + cases[i].at, &cases[i].value, 4);
        refuse_path(save(copy, b.n), TLP_EFORMAT, cases[i].text);
        free(copy);
    }
    free(b.data);

    gw_bytes twice = { 0 };
    static const float one[1] = { 1 };
    gw_put_u32(&twice, 2);
    put_old_entry(&twice, "m", 1, one, 1);
    put_old_entry(&twice, "m", 1, one, 1);
    refuse_path(save(twice.data, twice.n), TLP_EFORMAT,
                "entry m stands there twice");
    free(twice.data);
    refuse_path("/dev/null", TLP_EIO, "not a regular file");
}

Test(imatrix, every_allocation_may_fail)
{
    static char old[512];
    const char *paths[] = { write_gguf(1), old };
    gw_bytes b = old_format();

    snprintf(old, sizeof old, "%s", save(b.data, b.n));
    free(b.data);
    for (int k = 0; k < 2; k++) {
        tlp_status st = TLP_ENOMEM;
        for (long i = 1; st != TLP_OK; i++) {
            mem m = { .fail_at = i };
            tlp_allocator hooks = mem_hooks(&m);
            tlpi_env env;
            tlpi_imatrix *im = NULL;

            CHECK_OK(tlpi_env_init(&env, &hooks, NULL, NULL));
            st = tlpi_imatrix_open(&im, &env, paths[k]);
            cr_assert(st == TLP_OK || st == TLP_ENOMEM, "%s", tlp_last_error());
            tlpi_imatrix_free(im);
            cr_assert_eq(m.live, 0);
        }
    }
}

/* ==== whom a file belongs to ============================================= */

typedef struct warnings {
    int n;
    char text[2][256];
} warnings;

static void keep_warning(int level, const char *text, void *user_data)
{
    warnings *w = user_data;

    if (level == TLP_LOG_WARN && w->n < 2)
        snprintf(w->text[w->n++], sizeof *w->text, "%s", text);
}

static tlp_status match(const entry *e, int n, warnings *log)
{
    tiny_spec s = spec();
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    const char *path = tiny_path("some.gguf");
    tlp_model *m = NULL;
    tlpi_imatrix *im = NULL;
    gw_file w;

    o.log = keep_warning;
    o.log_data = log;
    CHECK_OK(tlp_model_open(&m, tiny_make(&s), &o));
    log->n = 0;
    gw_init(&w);
    for (int i = 0; i < n; i++)
        put_entry(&w, &e[i]);
    cr_assert(gw_save(&w, path));
    gw_free(&w);
    CHECK_OK(tlpi_imatrix_open(&im, host(), path));
    tlp_status st = tlpi_imatrix_match(im, m);
    tlpi_imatrix_free(im);
    tlp_model_free(m);
    return st;
}

Test(imatrix, of_another_model)
{
    static const float one = 1, x[COLS] = { 1 };
    static const entry fits = { "blk.0.attn_q.weight", x, COLS, 1, &one, 1 };
    static const entry unknown = { "blk.7.attn_q.weight", x, COLS, 1, &one, 1 };
    static const entry short_one = { "blk.1.attn_q.weight", x, 8, 1, &one, 1 };
    static const entry embedding = { "token_embd.weight", x, 8, 1, &one, 1 };
    warnings log = { 0 };

    CHECK_OK(match((entry[]){ fits, unknown, embedding }, 3, &log));
    cr_assert_eq(log.n, 2);
    cr_expect(strstr(log.text[0], "1 entries are of no tensor of"), "%s",
              log.text[0]);
    cr_expect(strstr(log.text[0], "blk.7.attn_q.weight first"), "%s",
              log.text[0]);
    cr_expect(strstr(log.text[1], "13 matrices have no entry, "
                                  "blk.0.attn_k.weight first"),
              "%s", log.text[1]);
    cr_expect_eq(match(&unknown, 1, &log), TLP_EMISMATCH);
    cr_expect(strstr(tlp_last_error(), "no entry is of a tensor of"), "%s",
              tlp_last_error());
    cr_expect_eq(match((entry[]){ fits, short_one }, 2, &log), TLP_EMISMATCH);
    cr_expect(strstr(tlp_last_error(), "entry blk.1.attn_q.weight: 8 values, "
                                       "256 expected"),
              "%s", tlp_last_error());
}

/* ==== quantising with one ================================================ */

static tlp_model *quantized(const tlp_model *m, const char *type,
                            const char *imatrix)
{
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    const char *path = tiny_path("out.gguf");
    tlp_model *q = NULL;

    o.pure = 1;
    o.imatrix = imatrix;
    CHECK_OK(tlp_model_quantize(NULL, m, path, type, &o));
    CHECK_OK(tlp_model_open(&q, path, NULL));
    return q;
}

/* Sum of squared errors of a matrix, each times the importance of its column;
 * `plain`: times 1. */
static double error_of(const tlp_model *m, const tlp_model *q, bool plain)
{
    const char *name = "blk.1.ffn_down.weight";
    const tlpi_tensor *from = tlpi_model_tensor(m, name),
                      *to = tlpi_model_tensor(q, name);
    double sum = 0;

    for (int64_t r = 0; r < from->ne[1]; r++) {
        float x[COLS], y[COLS];
        tlpi_read_row(from, r, x, COLS);
        tlpi_read_row(to, r, y, COLS);
        for (int i = 0; i < COLS; i++) {
            double e = (double)x[i] - (double)y[i];
            sum += e * e * (plain ? 1 : (double)importance_of(i));
        }
    }
    return sum;
}

static bool same_weights(const tlp_model *a, const tlp_model *b)
{
    for (size_t i = 0; i < a->file[0]->n_tensor; i++) {
        const tlpi_tensor *t = &a->file[0]->tensor[i];
        const tlpi_tensor *u = tlpi_model_tensor(b, t->name);
        if (t->n_bytes != u->n_bytes || memcmp(t->data, u->data, t->n_bytes))
            return false;
    }
    return true;
}

static const char *const searched[] = { "Q4_0", "Q4_1",   "Q5_0",   "Q5_1",
                                        "Q2_K", "Q3_K",   "Q4_K",   "Q5_K",
                                        "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4" };

/* MXFP4 has two steps to choose from. */
Test(imatrix, important_columns_get_smaller_errors)
{
    tlp_model *m = open_tiny();

    for (size_t k = 0; k < TLPI_COUNT(searched); k++) {
        const char *name = searched[k];
        double share = strcmp(name, "MXFP4") ? 0.8 : 1;
        tlp_model *a = quantized(m, name, NULL),
                  *b = quantized(m, name, write_gguf(1));
        double before = error_of(m, a, false), after = error_of(m, b, false);
        cr_expect_lt(after, share * before, "%s: %g, %g without importances",
                     name, after, before);
        cr_expect_lt(error_of(m, b, true), 4 * error_of(m, a, true), "%s",
                     name);
        tlp_model_free(a);
        tlp_model_free(b);
    }
    tlp_model_free(m);
}

static void expect_key(const tlp_model *m, const char *name, uint32_t want)
{
    char key[64];
    uint32_t n = 0;

    snprintf(key, sizeof key, "quantize.imatrix.%s", name);
    CHECK_OK(tlpi_gguf_get_u32(m->file[0], key, true, &n));
    cr_expect_eq(n, want, "%s", key);
}

/* The older format holds the numbers of the newer one; the scale of all
 * importances says nothing; Q8_0 uses none. */
Test(imatrix, formats_and_scales_agree)
{
    tlp_model *m = open_tiny();
    gw_bytes b = old_format();
    tlp_model *q = quantized(m, "Q3_K", write_gguf(1));
    tlp_model *old = quantized(m, "Q3_K", save(b.data, b.n));
    tlp_model *large = quantized(m, "Q3_K", write_gguf(0x1p100f));
    tlp_model *plain = quantized(m, "Q3_K", NULL);

    cr_expect(same_weights(q, old));
    cr_expect(same_weights(q, large));
    cr_expect(!same_weights(q, plain));
    expect_key(q, "entries_count", LAYERS * TLPI_COUNT(matrices));
    expect_key(q, "chunks_count", 3);
    tlp_model *again = quantized(q, "Q8_0", NULL);
    cr_expect_null(
        tlpi_gguf_find(again->file[0], "quantize.imatrix.entries_count"));
    tlp_model *with = quantized(q, "Q8_0", write_gguf(1));
    cr_expect(same_weights(again, with));
    free(b.data);
    tlp_model_free(with);
    tlp_model_free(again);
    tlp_model_free(plain);
    tlp_model_free(large);
    tlp_model_free(old);
    tlp_model_free(q);
    tlp_model_free(m);
}

/* Nothing is written. */
Test(imatrix, a_file_of_another_kind)
{
    tlp_model *m = open_tiny();
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    const char *path = tiny_path("out.gguf");

    o.imatrix = tiny_path("none.gguf");
    cr_expect_eq(tlp_model_quantize(NULL, m, path, "Q4_K", &o), TLP_EIO);
    o.imatrix = save("abc", 3);
    cr_expect_eq(tlp_model_quantize(NULL, m, path, "Q4_K", &o), TLP_EFORMAT);
    cr_expect_null(fopen(path, "rb"));
    tlp_model_free(m);
}
