/*
 * test_quantize.c - tlp_model_quantize: types and errors of what is written,
 * what is kept, what is refused, and that a run that fails leaves no trace.
 */
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/mapfile.h"
#include "model/model.h"
#include "support/check.h"
#include "support/mem.h"
#include "support/tiny.h"
#include "support/written.h"
#include "tlp_tune.h"

TestSuite(quantize, .timeout = 120);

static const char *const type_names[] = {
    "F32",  "F16",    "BF16",   "Q8_0",   "Q4_0",   "Q4_1",
    "Q5_0", "Q5_1",   "Q2_K",   "Q3_K",   "Q4_K",   "Q5_K",
    "Q6_K", "Q4_K_M", "Q5_K_M", "IQ4_NL", "IQ4_XS", "MXFP4",
};

/* Rows of 256 in all matrices, so that every type fits. */
static tiny_spec spec_of(tlpi_dtype type)
{
    tiny_spec s = tiny_default();

    s.n_layer = 2;
    s.n_embd = 256;
    s.n_ff = 256;
    s.n_head = 2;
    s.n_head_kv = 1;
    s.head_dim = 128;
    s.n_vocab = 270;
    s.type = type;
    return s;
}

static const char *make(tlpi_dtype type)
{
    tiny_spec s = spec_of(type);

    return tiny_make(&s);
}

static tlp_model *open_model(const char *path)
{
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, path, NULL));
    return m;
}

/* A new file, opened. */
static tlp_model *quantized(const tlp_model *m, const char *type,
                            const tlp_quantize_options *opts)
{
    const char *path = tiny_path("out.gguf");

    CHECK_OK(tlp_model_quantize(NULL, m, path, type, opts));
    return open_model(path);
}

static const tlpi_tensor *tensor_of(const tlp_model *m, const char *name)
{
    const tlpi_tensor *t = tlpi_model_tensor(m, name);

    cr_assert_not_null(t, "%s", name);
    return t;
}

static int64_t size_of(const tlpi_tensor *t)
{
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

static float *floats_of(const tlpi_tensor *t)
{
    float *x = malloc((size_t)size_of(t) * sizeof *x);

    cr_assert_not_null(x);
    tlpi_dequantize(t->type, t->data, x, size_of(t));
    return x;
}

/* Write floats over a tensor of a file, from element `at`. */
static void poke(const char *path, const char *name, int64_t at, const float *x,
                 size_t n)
{
    tlp_model *m = open_model(path);
    const tlpi_tensor *t = tensor_of(m, name);
    const uint8_t *data = t->data;
    off_t offset = data - m->file[0]->map->data + at * (off_t)sizeof *x;
    int fd = open(path, O_WRONLY);

    cr_assert_eq(t->type, TLPI_F32);
    cr_assert_eq(pwrite(fd, x, n * sizeof *x, offset),
                 (ssize_t)(n * sizeof *x));
    cr_assert_eq(close(fd), 0);
    tlp_model_free(m);
}

/* ==== errors ============================================================= */

/* Share of a block's largest magnitude that rounding may move a value by: half
 * a step, or a whole one at the clipped end, and what rounding scales adds. */
static float bound_of(tlpi_dtype type)
{
    switch (type) {
    case TLPI_F32:
        return 0;
    case TLPI_F16:
        return 0x1p-11f;
    case TLPI_BF16:
        return 0x1p-8f;
    case TLPI_Q8_0:
        return 0.5f / 127 + 0x1p-11f;
    case TLPI_Q4_0:
        return 1.0f / 8 + 0x1p-11f;
    case TLPI_Q5_0:
        return 1.0f / 16 + 0x1p-11f;
    case TLPI_Q4_1:
        return 1.0f / 15 + 0x1p-10f;
    case TLPI_Q5_1:
        return 1.0f / 31 + 0x1p-10f;
    case TLPI_Q2_K: /* the search may clip an end */
        return 0.75f;
    case TLPI_Q3_K:
        return 0.4f;
    case TLPI_Q4_K:
        return 1.0f / 8;
    case TLPI_Q5_K:
        return 1.0f / 31 + 2.0f / 63;
    case TLPI_Q6_K:
        return 1.0f / 32 + 1.0f / 127;
    case TLPI_IQ4_NL:
    case TLPI_IQ4_XS:
        return 0.15f;
    case TLPI_MXFP4:
        return 0.25f;
    }
    return -1;
}

/* Below this, a block's f16 scale may have no bits left: values end up anywhere
 * in the block's range. */
#define TINY 0x1p-8f

static void check_block(const float *x, const float *y, int64_t n,
                        tlpi_dtype type, const char *name)
{
    float most = 0;

    for (int64_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    float share = most < TINY && type != TLPI_F32 ? 2 : bound_of(type);
    for (int64_t i = 0; i < n; i++)
        cr_assert_leq(fabsf(x[i] - y[i]), share * most * 1.001f,
                      "%s as %s: %lld: %g became %g, of %g at most", name,
                      tlpi_dtype_name(type), (long long)i, (double)x[i],
                      (double)y[i], (double)most);
}

static void check_errors(const tlpi_tensor *from, const tlpi_tensor *to)
{
    float *x = floats_of(from), *y = floats_of(to);
    int block = tlpi_dtype_get(to->type)->block;

    cr_assert_eq(size_of(from), size_of(to));
    for (int64_t i = 0; i < size_of(to); i += block)
        check_block(x + i, y + i, block, to->type, to->name);
    free(x);
    free(y);
}

/* Blocks that leave a rounding nothing, or too much, to hold on to: row by row
 * zeros, one value, extremes, denormals, an outlier, halves of two sizes. */
static void poke_hard_rows(const char *path)
{
    float x[12][256];

    for (int i = 0; i < 256; i++) {
        float wave = (float)(i * 37 % 64 - 32);
        x[0][i] = 0;
        x[1][i] = i % 2 ? 0.0f : -0.0f;
        x[2][i] = 0.75f;
        x[3][i] = -0.75f;
        x[4][i] = i % 2 ? 65504 : -65504;
        x[5][i] = 65504;
        x[6][i] = 0x1p-149f * wave;
        x[7][i] = 0x1p-130f * wave;
        x[8][i] = i == 100 ? 1000 : wave * 1e-3f;
        x[9][i] = i < 128 ? wave : wave * 1e-4f;
        x[10][i] = wave * 0x1p-24f;
        x[11][i] = i % 32 == 7 ? -1e-30f : 1e-30f;
    }
    poke(path, "blk.0.ffn_gate.weight", 0, x[0], 12 * 256);
    poke(path, "output.weight", 0, x[0], 12 * 256);
}

Test(quantize, errors_are_bounded)
{
    const char *path = make(TLPI_F32);

    poke_hard_rows(path);
    tlp_model *m = open_model(path);
    for (size_t k = 0; k < TLPI_COUNT(type_names); k++) {
        tlp_model *q = quantized(m, type_names[k], NULL);

        cr_assert_eq(q->file[0]->n_tensor, m->file[0]->n_tensor);
        for (size_t i = 0; i < m->file[0]->n_tensor; i++) {
            const tlpi_tensor *from = &m->file[0]->tensor[i];
            const tlpi_tensor *to = &q->file[0]->tensor[i];

            cr_assert_str_eq(from->name, to->name);
            cr_assert_eq(memcmp(from->ne, to->ne, sizeof to->ne), 0);
            check_errors(from, to);
        }
        tlp_model_free(q);
    }
    tlp_model_free(m);
}

/* Every type is read as well as written. */
Test(quantize, from_any_type_to_any)
{
    static const tlpi_dtype types[] = {
        TLPI_F16,  TLPI_BF16, TLPI_Q8_0,   TLPI_Q4_0,   TLPI_Q4_1,
        TLPI_Q5_0, TLPI_Q5_1, TLPI_Q2_K,   TLPI_Q3_K,   TLPI_Q4_K,
        TLPI_Q5_K, TLPI_Q6_K, TLPI_IQ4_NL, TLPI_IQ4_XS, TLPI_MXFP4,
    };
    static const char *const to[] = { "F32", "Q8_0", "Q4_K" };

    for (size_t k = 0; k < TLPI_COUNT(types); k++) {
        tlp_model *m = open_model(make(types[k]));
        for (size_t j = 0; j < TLPI_COUNT(to); j++) {
            tlp_model *q = quantized(m, to[j], NULL);
            for (size_t i = 0; i < q->file[0]->n_tensor; i++)
                check_errors(&m->file[0]->tensor[i], &q->file[0]->tensor[i]);
            tlp_model_free(q);
        }
        tlp_model_free(m);
    }
}

/* ==== types ============================================================== */

static void expect_type(const tlp_model *m, const char *name, tlpi_dtype type)
{
    const tlpi_tensor *t = tensor_of(m, name);

    cr_expect_eq(t->type, type, "%s is %s, %s expected", name,
                 tlpi_dtype_name(t->type), tlpi_dtype_name(type));
}

static void expect_layer_type(const tlp_model *m, int layer, const char *name,
                              tlpi_dtype type)
{
    char full[64];

    snprintf(full, sizeof full, "blk.%d.%s.weight", layer, name);
    expect_type(m, full, type);
}

/* The matrix that makes the logits, where there is one for both ends. */
Test(quantize, a_tied_head)
{
    static const struct {
        const char *name;
        tlpi_dtype head;
    } cases[] = {
        { "Q4_0", TLPI_Q6_K },   { "Q5_1", TLPI_Q6_K },
        { "Q6_K", TLPI_Q6_K },   { "IQ4_NL", TLPI_Q6_K },
        { "IQ4_XS", TLPI_Q6_K }, { "MXFP4", TLPI_Q6_K },
        { "Q8_0", TLPI_Q8_0 },   { "F16", TLPI_F16 },
    };
    tiny_spec s = spec_of(TLPI_F32);

    s.tied = true;
    tlp_model *m = open_model(tiny_make(&s));
    for (size_t k = 0; k < TLPI_COUNT(cases); k++) {
        tlp_model *q = quantized(m, cases[k].name, NULL);
        expect_type(q, "token_embd.weight", cases[k].head);
        tlp_model_free(q);
    }
    tlp_model_free(m);
}

typedef struct log_lines {
    int n;
    char last[256];
} log_lines;

static void keep_line(int level, const char *text, void *user_data)
{
    log_lines *l = user_data;

    if (level == TLP_LOG_INFO && strstr(text, "do not fit")) {
        l->n++;
        snprintf(l->last, sizeof l->last, "%s", text);
    }
}

/* Rows of 96 (and 160) fit no block of 256, rows of 48 none of 32. */
Test(quantize, rows_that_do_not_fit)
{
    static const struct {
        const char *name;
        tlpi_dtype rows_of_96, rows_of_48, head_of_96;
        bool fits_96;
    } cases[] = {
        { "Q2_K", TLPI_Q4_0, TLPI_F16, TLPI_Q8_0, false },
        { "Q4_K", TLPI_Q5_0, TLPI_F16, TLPI_Q8_0, false },
        { "Q5_K", TLPI_Q5_1, TLPI_F16, TLPI_Q8_0, false },
        { "IQ4_XS", TLPI_IQ4_NL, TLPI_F16, TLPI_Q8_0, false },
        { "Q6_K", TLPI_Q8_0, TLPI_F16, TLPI_Q8_0, false },
        { "Q8_0", TLPI_Q8_0, TLPI_F16, TLPI_Q8_0, true },
        { "BF16", TLPI_BF16, TLPI_BF16, TLPI_BF16, true },
    };
    tiny_spec s = tiny_default(), narrow = tiny_default();
    log_lines log = { 0 };
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m96 = NULL, *m48 = NULL;

    o.log = keep_line;
    o.log_data = &log;
    s.type = narrow.type = TLPI_F32;
    narrow.n_embd = 48;
    CHECK_OK(tlp_model_open(&m96, tiny_make(&s), &o));
    CHECK_OK(tlp_model_open(&m48, tiny_make(&narrow), NULL));
    for (size_t k = 0; k < TLPI_COUNT(cases); k++) {
        tlp_quantize_result r = { .struct_size = sizeof r };
        const char *path = tiny_path("out.gguf");

        log.n = 0;
        CHECK_OK(tlp_model_quantize(&r, m96, path, cases[k].name, NULL));
        cr_expect_eq(r.n_fallback, cases[k].fits_96 ? 0 : r.n_converted);
        cr_expect_eq(log.n, r.n_fallback);
        cr_expect_eq(r.n_converted, 5 * 7 + 2);
        tlp_model *q = open_model(path);
        expect_layer_type(q, 1, "attn_q", cases[k].rows_of_96);
        expect_type(q, "output.weight", cases[k].head_of_96);
        tlp_model_free(q);
        q = quantized(m48, cases[k].name, NULL);
        expect_layer_type(q, 1, "ffn_gate", cases[k].rows_of_48);
        tlp_model_free(q);
    }
    cr_expect(strstr(log.last, "rows of 96 do not fit Q6_K, Q8_0 is used"),
              "%s", log.last);
    tlp_model_free(m48);
    tlp_model_free(m96);
}

/* ==== what is kept ======================================================= */

static bool same_value(const tlpi_gguf_kv *a, const tlpi_gguf_kv *b)
{
    return a->type == b->type && a->is_array == b->is_array && a->n == b->n &&
           a->n_bytes == b->n_bytes && !memcmp(a->data, b->data, a->n_bytes);
}

static void expect_u32(const tlp_model *m, const char *key, uint32_t want)
{
    uint32_t value = 0;

    CHECK_OK(tlpi_gguf_get_u32(m->file[0], key, true, &value));
    cr_expect_eq(value, want, "%s is %u, %u expected", key, value, want);
}

Test(quantize, metadata_is_kept)
{
    tlp_model *m = open_model(make(TLPI_F32));
    tlp_model *q = quantized(m, "Q4_K_M", NULL);
    const tlpi_gguf *a = m->file[0], *b = q->file[0];

    cr_assert_eq(b->n_kv, a->n_kv + 2);
    for (size_t i = 0; i < a->n_kv; i++) {
        cr_expect_str_eq(a->kv[i].key, b->kv[i].key);
        cr_expect(same_value(&a->kv[i], &b->kv[i]), "%s", a->kv[i].key);
    }
    expect_u32(q, "general.file_type", 15);
    expect_u32(q, "general.quantization_version", 2);

    /* once they are there, they are replaced where they stand */
    tlp_model *again = quantized(q, "Q8_0", NULL);
    cr_assert_eq(again->file[0]->n_kv, b->n_kv);
    for (size_t i = 0; i < b->n_kv; i++)
        cr_expect_str_eq(again->file[0]->kv[i].key, b->kv[i].key);
    expect_u32(again, "general.file_type", 7);
    tlp_model_free(again);
    tlp_model_free(q);
    tlp_model_free(m);
}

static void expect_same_tensor(const tlpi_tensor *a, const tlpi_tensor *b)
{
    cr_expect_str_eq(a->name, b->name);
    cr_expect_eq(a->n_dim, b->n_dim);
    cr_expect_eq(a->type, b->type);
    cr_assert_eq(a->n_bytes, b->n_bytes);
    cr_expect_eq(memcmp(a->data, b->data, a->n_bytes), 0, "%s", a->name);
}

/* A type that stays is copied, and a set of files becomes one. */
Test(quantize, split_files_become_one)
{
    static const tlpi_dtype types[] = { TLPI_F32, TLPI_Q4_0, TLPI_Q6_K };
    tlp_quantize_options pure = TLP_QUANTIZE_OPTIONS_INIT;

    pure.pure = 1;
    for (size_t k = 0; k < TLPI_COUNT(types); k++) {
        tiny_spec s = spec_of(types[k]);
        const char *path = tiny_path("one.gguf");
        tlp_quantize_result r = { .struct_size = sizeof r };
        size_t n = 0;

        s.n_split = 3;
        tlp_model *m = open_model(tiny_make(&s));
        CHECK_OK(
            tlp_model_quantize(&r, m, path, tlpi_dtype_name(types[k]), &pure));
        cr_expect_eq(r.n_converted, 0);
        cr_expect_eq(r.n_fallback, 0);
        tlp_model *q = open_model(path);
        cr_assert_eq(q->n_file, 1);
        cr_expect_null(tlpi_gguf_find(q->file[0], "split.count"));
        cr_expect_null(tlpi_gguf_find(q->file[0], "split.no"));
        for (size_t f = 0; f < m->n_file; f++)
            for (size_t i = 0; i < m->file[f]->n_tensor; i++)
                expect_same_tensor(&m->file[f]->tensor[i],
                                   &q->file[0]->tensor[n++]);
        cr_expect_eq(n, q->file[0]->n_tensor);
        cr_expect_eq((size_t)r.n_tensor, n);
        tlp_model_free(q);
        tlp_model_free(m);
    }
}

static tlpi_map *read_file(const char *path)
{
    static tlpi_env env;
    tlpi_map *map = NULL;

    CHECK_OK(tlpi_env_init(&env, &(tlp_allocator){ 0 }, NULL, NULL));
    CHECK_OK(tlpi_map_open(&map, &env, path, true));
    return map;
}

/* The vocabulary's 1100 rows of 1024 make more than one piece of work. */
Test(quantize, threads_change_nothing)
{
    static const int counts[] = { 1, 2, 7 };
    tiny_spec s = spec_of(TLPI_F32);
    tlpi_map *first = NULL;

    s.n_layer = 1;
    s.n_embd = 1024;
    s.n_vocab = 1100;
    tlp_model *m = open_model(tiny_make(&s));
    for (size_t k = 0; k < TLPI_COUNT(counts); k++) {
        tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
        const char *path = tiny_path("out.gguf");

        o.n_thread = counts[k];
        CHECK_OK(tlp_model_quantize(NULL, m, path, "Q4_0", &o));
        tlpi_map *map = read_file(path);
        if (first) {
            cr_assert_eq(map->size, first->size);
            cr_assert_eq(memcmp(map->data, first->data, map->size), 0);
            tlpi_map_close(map);
        } else
            first = map;
    }
    tlpi_map_close(first);
    tlp_model_free(m);
}

/* ==== what is refused ==================================================== */

/* An old file that a failing run must leave as it is. */
static const char *old_file(void)
{
    const char *path = tiny_path("old.gguf");
    FILE *f = fopen(path, "w");

    cr_assert_not_null(f);
    fputs("old", f);
    cr_assert_eq(fclose(f), 0);
    return path;
}

static void expect_old(const char *path, int n_before)
{
    char text[8] = "";
    FILE *f = fopen(path, "r");

    cr_assert_not_null(f);
    cr_expect_eq(fread(text, 1, sizeof text, f), 3);
    cr_expect_eq(memcmp(text, "old", 3), 0);
    fclose(f);
    cr_expect_eq(written_n_beside(path), n_before, "something is left behind");
}

static void refuse(const tlp_model *m, const char *path, const char *type,
                   tlp_status want, const char *text)
{
    CHECK_FAILS(want, tlp_model_quantize(NULL, m, path, type, NULL));
    cr_expect(strstr(tlp_last_error(), text), "%s expected: %s", text,
              tlp_last_error());
}

Test(quantize, values_without_place)
{
    static const struct {
        float x;
        const char *type, *text; /* NULL: it is taken */
    } cases[] = {
        { NAN, "F16", "row 3, column 5: nan has no place in F16" },
        { NAN, "Q4_K", "row 3, column 5: nan" },
        { -INFINITY, "Q8_0", "row 3, column 5: -inf has no place in Q8_0" },
        { INFINITY, "BF16", "inf has no place in BF16" },
        { 65536, "F16", "65536 has no place in F16" },
        { -65536, "Q5_1", "-65536 has no place" },
        { FLT_MAX, "BF16", "has no place in BF16" },
        { 65504, "Q5_1", NULL },
        { 65536, "BF16", NULL },
        { NAN, "F32", NULL }, /* copied as it is */
    };
    const char *path = make(TLPI_F32), *out = old_file();
    int before = written_n_beside(out);

    for (size_t k = 0; k < TLPI_COUNT(cases); k++) {
        poke(path, "blk.1.ffn_up.weight", 3 * 256 + 5, &cases[k].x, 1);
        tlp_model *m = open_model(path);
        if (cases[k].text) {
            refuse(m, out, cases[k].type, TLP_EFORMAT, cases[k].text);
            cr_expect(strstr(tlp_last_error(), "blk.1.ffn_up.weight"));
            expect_old(out, before);
        } else {
            tlp_model_free(quantized(m, cases[k].type, NULL));
            before++;
        }
        tlp_model_free(m);
    }
}

Test(quantize, the_models_own_file)
{
    tiny_spec s = spec_of(TLPI_Q8_0);
    const char *link_path = tiny_path("link"), *hard = tiny_path("hard");

    s.n_split = 2;
    const char *path = tiny_make(&s);
    tlp_model *m = open_model(path);
    struct stat was, is;

    cr_assert_eq(stat(path, &was), 0);
    cr_assert_eq(symlink(m->file[1]->path, link_path), 0);
    cr_assert_eq(link(path, hard), 0);
    refuse(m, path, "Q4_0", TLP_EINVAL, "is the model's own file");
    refuse(m, link_path, "Q4_0", TLP_EINVAL, "is the model's own file");
    refuse(m, hard, "Q4_0", TLP_EINVAL, "is the model's own file");
    cr_assert_eq(stat(path, &is), 0);
    cr_expect(is.st_ino == was.st_ino && is.st_size == was.st_size);
    unlink(hard);
    unlink(link_path);
    tlp_model_free(m);
}

Test(quantize, bad_arguments)
{
    const char *path = make(TLPI_Q8_0), *out = old_file();
    const char *folder = tiny_path("folder"), *fifo = tiny_path("fifo");
    char inside[600];
    tlp_model_options vocab_only = TLP_MODEL_OPTIONS_INIT;
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    tlp_quantize_result r = { 0 };
    tlp_model *m = open_model(path), *v = NULL;

    vocab_only.vocab_only = 1;
    CHECK_OK(tlp_model_open(&v, path, &vocab_only));
    int before = written_n_beside(out);
    refuse(NULL, out, "Q8_0", TLP_EINVAL, "required");
    refuse(m, NULL, "Q8_0", TLP_EINVAL, "required");
    refuse(m, out, "Q4", TLP_EINVAL, "Q5_K_M expected");
    refuse(m, out, "q4_0", TLP_EINVAL, "type q4_0");
    refuse(v, out, "Q4_0", TLP_EINVAL, "vocab_only");
    o.n_thread = 257;
    CHECK_FAILS(TLP_EINVAL, tlp_model_quantize(NULL, m, out, "Q4_0", &o));
    o.n_thread = -1;
    CHECK_FAILS(TLP_EINVAL, tlp_model_quantize(NULL, m, out, "Q4_0", &o));
    CHECK_FAILS(TLP_EINVAL, tlp_model_quantize(&r, m, out, "Q4_0", NULL));
    expect_old(out, before);

    snprintf(inside, sizeof inside, "%s/x.gguf", folder);
    refuse(m, inside, "Q4_0", TLP_EIO, "x.gguf: No such file");
    cr_assert_eq(mkdir(folder, 0700), 0);
    refuse(m, folder, "Q4_0", TLP_EIO, "not a regular file");
    cr_assert_eq(rmdir(folder), 0);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    refuse(m, fifo, "Q4_0", TLP_EIO, "not a regular file");
    unlink(fifo);
    expect_old(out, before);
    tlp_model_free(v);
    tlp_model_free(m);
}

/* ==== runs that fail ===================================================== */

Test(quantize, canceled_anywhere)
{
    tlp_model *m = open_model(make(TLPI_F16));
    const char *out = old_file();
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    int before = written_n_beside(out), n = 1;

    o.progress = written_count;
    for (bool ended = false; !ended; n++) {
        written_meter p = { .cancel_at = n };
        tlp_status st;

        o.progress_data = &p;
        st = tlp_model_quantize(NULL, m, out, "Q8_0", &o);
        cr_assert(!p.backwards);
        ended = st == TLP_OK;
        if (ended)
            cr_assert_eq(p.last, 1);
        else {
            cr_assert_eq(st, TLP_ECANCELED, "%s", tlp_last_error());
            expect_old(out, before);
        }
    }
    cr_expect_gt(n, 10);
    tlp_model_free(open_model(out));
    tlp_model_free(m);
}

/* The disk is full, in the header, in the middle and at the end. */
Test(quantize, no_room)
{
    static const rlim_t rooms[] = { 0, 100, 40000, 200000 };
    tlp_model *m = open_model(make(TLPI_F16));
    const char *out = old_file();
    int before = written_n_beside(out);
    struct rlimit limit;

    signal(SIGXFSZ, SIG_DFL);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    for (size_t k = 0; k < TLPI_COUNT(rooms); k++) {
        struct rlimit low = { rooms[k], limit.rlim_max };

        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
        tlp_status st = tlp_model_quantize(NULL, m, out, "Q8_0", NULL);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cr_expect_eq(st, TLP_EIO);
        cr_expect(strstr(tlp_last_error(), "old.gguf: File too large"), "%s",
                  tlp_last_error());
        expect_old(out, before);
    }
    tlp_model_free(m);
}

Test(quantize, memory_runs_out_anywhere)
{
    mem hooks = { 0 };
    tlp_model_options mo = TLP_MODEL_OPTIONS_INIT;
    tlp_quantize_options o = TLP_QUANTIZE_OPTIONS_INIT;
    const char *out = old_file();
    tlp_model *m = NULL;
    tlp_status st = TLP_ENOMEM;
    long live, n = 1;

    mo.allocator = mem_hooks(&hooks);
    o.n_thread = 2;
    CHECK_OK(tlp_model_open(&m, make(TLPI_Q8_0), &mo));
    live = hooks.live;
    int before = written_n_beside(out);
    for (; st == TLP_ENOMEM; n++) {
        hooks.calls = 0;
        hooks.fail_at = n;
        st = tlp_model_quantize(NULL, m, out, "Q4_0", &o);
        cr_assert_eq(hooks.live, live);
        if (st == TLP_ENOMEM)
            expect_old(out, before);
    }
    CHECK_OK(st);
    cr_expect_gt(n, 6);
    tlp_model_free(m);
    cr_assert_eq(hooks.live, 0);
}
