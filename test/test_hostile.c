/*
 * test_hostile.c - damaged and lying files from the outside: whatever stands
 * in one, opening it gives a status and a text in bounded memory, and a model
 * that does open can be used.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"
#include "support/mem.h"
#include "support/tiny.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(hostile, .timeout = 300);

/* ==== a file in memory, and damage to it ================================= */

typedef struct image {
    uint8_t *data;
    size_t n, n_header; /* bytes in front of the tensors' data */
    const char *path;   /* where damaged ones are written */
} image;

static tiny_spec small_spec(void)
{
    tiny_spec s = tiny_default();

    s.n_layer = 2;
    s.n_embd = 32;
    s.n_ff = 64;
    s.n_head = 4;
    s.n_head_kv = 2;
    s.head_dim = 8;
    s.n_vocab = 264;
    s.type = TLPI_Q8_0;
    s.rope_freqs = true;
    return s;
}

/* Where a string (a key or a tensor's name) ends, with its length in front. */
static size_t after_string(const image *im, const char *s)
{
    uint64_t n = strlen(s);

    for (size_t i = 0; i + sizeof n + n <= im->n; i++)
        if (memcmp(im->data + i, &n, sizeof n) == 0 &&
            memcmp(im->data + i + sizeof n, s, n) == 0)
            return i + sizeof n + n;
    cr_assert(false, "the file has no \"%s\"", s);
    return 0;
}

static image image_of(const tiny_spec *spec)
{
    image im = { 0 };
    FILE *f = fopen(tiny_make(spec), "rb");

    cr_assert(f && fseek(f, 0, SEEK_END) == 0);
    im.n = (size_t)ftell(f);
    im.data = malloc(im.n);
    rewind(f);
    cr_assert(im.data && fread(im.data, im.n, 1, f) == 1);
    fclose(f);
    im.path = tiny_path("damaged.gguf");
    /* the last tensor's name, dims, sizes, type, offset, then padding */
    size_t at = after_string(&im, "rope_freqs.weight");
    im.n_header = (at + 4 + 8 + 4 + 8 + 31) / 32 * 32;
    return im;
}

static void write_image(const image *im, size_t n)
{
    FILE *f = fopen(im->path, "wb");

    cr_assert(f && (n == 0 || fwrite(im->data, n, 1, f) == 1));
    cr_assert_eq(fclose(f), 0);
}

/*
 * Memory that opening may take: tables of a few dozen bytes for each entry of
 * the header, pre-tokenizer programs, and the file itself without mmap.
 */
static size_t budget_for(const image *im)
{
    return 8 * im->n_header + im->n + (512 << 10);
}

/* Open what is in im->path; refused with a text, or open. */
static tlp_model *open_damaged(const image *im, mem *m, int no_mmap,
                               const char *what, size_t at)
{
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *model = NULL;

    *m = (mem){ .budget = budget_for(im) };
    o.allocator = mem_hooks(m);
    o.no_mmap = no_mmap;
    tlp_status st = tlp_model_open(&model, im->path, &o);
    cr_assert(st == TLP_OK || st == TLP_EFORMAT || st == TLP_ENOTSUP,
              "%s at %zu: %s: %s", what, at, tlp_status_name(st),
              tlp_last_error());
    cr_assert_eq(st == TLP_OK, model != NULL);
    if (st != TLP_OK) {
        cr_assert(strstr(tlp_last_error(), "damaged.gguf"),
                  "%s at %zu: no file in \"%s\"", what, at, tlp_last_error());
        cr_assert_eq(strchr(tlp_last_error(), '\n'), NULL);
        cr_assert_eq(atomic_load(&m->live), 0, "%s at %zu: %ld blocks left",
                     what, at, atomic_load(&m->live));
    }
    cr_assert_eq(atomic_load(&m->failed), 0,
                 "%s at %zu: more than %zu bytes wanted", what, at, m->budget);
    return model;
}

/* ==== using what opened ================================================== */

static void use_session(tlp_plan *plan, int n_rank, int32_t n_vocab)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    int32_t ids[4] = { 0, 1, n_vocab / 2, n_vocab - 1 };
    tlp_session *s = NULL;
    const float *row = NULL;

    o.n_ctx = 16;
    o.n_rank = n_rank;
    o.n_thread = 1;
    CHECK_OK(tlp_session_create(&s, plan, &o));
    CHECK_OK(tlp_session_prefill(s, ids, 4));
    tlp_status st = tlp_session_logits(&row, s, 0);
    cr_assert(st == TLP_OK || (st == TLP_ERROR && !row), "%s: %s",
              tlp_status_name(st), tlp_last_error());
    CHECK_OK(tlp_session_decode(s, ids[3]));
    tlp_session_free(s);
}

/* Weights may have become anything, NaN included: only no crash counts. */
static void use(tlp_model *model, int n_rank)
{
    static const char text[] = "hello <|im_start|> the \xff\xc3 w0rld\n";
    tlp_model_info info = { .struct_size = sizeof info };
    tlp_plan *plan = NULL;
    int32_t ids[64];
    char buf[2048];
    size_t n = 0, len = 0;

    CHECK_OK(tlp_model_get_info(&info, model));
    for (size_t i = 0; tlp_model_meta_key(model, i); i++)
        CHECK_OK(tlp_model_get_meta(buf, sizeof buf, &len, model,
                                    tlp_model_meta_key(model, i)));
    if (tlp_tokenize(ids, 64, &n, model, text, sizeof text - 1,
                     TLP_TOKENIZE_SPECIAL) == TLP_OK)
        CHECK_OK(tlp_detokenize(buf, sizeof buf, &len, model, ids, n,
                                TLP_DETOKENIZE_SPECIAL));
    CHECK_OK(
        tlp_plan_parse(&plan, model, info.n_layer > 1 ? "par:0-1" : "serial"));
    use_session(plan, n_rank, info.n_vocab);
    tlp_plan_free(plan);
}

static bool open_and_use(const image *im, const char *what, size_t at)
{
    mem m;
    tlp_model *model = open_damaged(im, &m, at % 2 == 0, what, at);

    if (!model)
        return false;
    m.budget = 16 << 20;
    use(model, 1 + at % 3 == 0);
    tlp_model_free(model);
    cr_assert_eq(atomic_load(&m.live), 0);
    return true;
}

/* ==== damage everywhere ================================================== */

Test(hostile, truncated_at_every_header_byte)
{
    tiny_spec spec = small_spec();
    image im = image_of(&spec);
    mem m;

    write_image(&im, im.n);
    tlp_model *model = open_damaged(&im, &m, 0, "whole", 0);
    cr_assert_not_null(model, "%s", tlp_last_error());
    tlp_model_free(model);
    for (size_t n = im.n; n-- > 0;) {
        if (n >= im.n_header && n % 997 != 0)
            continue;
        cr_assert_eq(truncate(im.path, (off_t)n), 0);
        cr_assert_null(open_damaged(&im, &m, n % 2, "cut", n));
    }
    free(im.data);
}

static uint64_t next(uint64_t *x) /* xorshift64 */
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    return *x ^= *x << 17;
}

/* Write bytes to the file and to nothing else. */
static void poke(FILE *f, size_t at, const void *p, size_t n)
{
    cr_assert(fseek(f, (long)at, SEEK_SET) == 0 && fwrite(p, n, 1, f) == 1 &&
              fflush(f) == 0);
}

static void flips(uint64_t seed, int rounds)
{
    static const uint64_t values[] = { 0,
                                       1,
                                       2,
                                       0x7f,
                                       0xff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       0x7fffffffffffffff,
                                       0x8000000000000000,
                                       0xffffffffffffffff,
                                       0x7fc00000,
                                       /* NaN */ 0x4000000000000000,
                                       0x2000000000000001 };
    tiny_spec spec = small_spec();
    image im = image_of(&spec);
    uint64_t x = seed;
    int n_open = 0;

    write_image(&im, im.n);
    FILE *f = fopen(im.path, "r+b");
    cr_assert(f != NULL);
    for (int i = 0; i < rounds; i++) {
        size_t width = (size_t)1 << next(&x) % 4; /* 1, 2, 4, 8 bytes */
        size_t at = next(&x) % (im.n_header - width);
        uint64_t v = next(&x) % 2 ? values[next(&x) % COUNT(values)] : next(&x);

        poke(f, at, &v, width);
        n_open += open_and_use(&im, "poked", at);
        poke(f, at, im.data + at, width);
    }
    fclose(f);
    cr_assert(n_open > rounds / 50 && n_open < rounds, "%d of %d opened",
              n_open, rounds);
    free(im.data);
}

Test(hostile, random_damage_1)
{
    flips(1, 4000 / CHECK_SLOWDOWN);
}
Test(hostile, random_damage_2)
{
    flips(2, 4000 / CHECK_SLOWDOWN);
}

/* Weights full of NaN, infinities and denormals are still only numbers; the
 * last tensor divides angles, and keeps its own. */
Test(hostile, weights_of_any_bits)
{
    static const uint8_t fill[] = { 0x00, 0x7f, 0x80, 0xff };

    for (int t = 0; t < 3; t++)
        for (int i = 0; i < COUNT(fill); i++) {
            tiny_spec spec = small_spec();

            spec.type = t == 0 ? TLPI_Q8_0 : t == 1 ? TLPI_F16 : TLPI_Q4_1;
            image im = image_of(&spec);
            memset(im.data + im.n_header, fill[i], im.n - im.n_header - 32);
            write_image(&im, im.n);
            cr_assert(open_and_use(&im, "filled", (size_t)i));
            free(im.data);
        }
}

/* ==== lies ============================================================== */

typedef struct lie {
    const char *name; /* key or tensor */
    size_t skip;      /* bytes between its name and what is overwritten */
    uint64_t value;
    size_t width;
    tlp_status status;
    const char *named; /* must be in the text; NULL: the name */
} lie;

#define VALUE 4             /* behind a key: type */
#define LENGTH (4 + 4)      /* of an array: type, element type */
#define NE(i) (4 + 8 * (i)) /* behind a tensor's name: n_dim, sizes */
#define TYPE2 (4 + 16)      /* of a matrix */
#define OFFSET2 (4 + 16 + 4)
#define HUGE_COUNT 0x1fffffffffffffff
#define NAN32 0x7fc00000

static const lie lies[] = {
    { "llama.attention.head_count", VALUE, 0, 4, TLP_EFORMAT, NULL },
    { "llama.attention.head_count", VALUE, 3, 4, TLP_EFORMAT, NULL },
    { "llama.attention.head_count", VALUE, 0xffffffff, 4, TLP_EFORMAT, NULL },
    { "llama.attention.head_count_kv", VALUE, 0, 4, TLP_EFORMAT, NULL },
    { "llama.attention.head_count_kv", VALUE, 3, 4, TLP_EFORMAT, NULL },
    { "llama.attention.head_count_kv", VALUE, 4, 4, TLP_EFORMAT, "attn_k" },
    { "llama.embedding_length", VALUE, 0, 4, TLP_EFORMAT, NULL },
    { "llama.embedding_length", VALUE, 64, 4, TLP_EFORMAT, "token_embd" },
    { "llama.feed_forward_length", VALUE, 0, 4, TLP_EFORMAT, NULL },
    { "llama.feed_forward_length", VALUE, 65, 4, TLP_EFORMAT, "ffn_" },
    { "llama.block_count", VALUE, 0, 4, TLP_EFORMAT, NULL },
    { "llama.block_count", VALUE, 3, 4, TLP_EFORMAT, "3 layers" },
    { "llama.block_count", VALUE, 0x7fffffff, 4, TLP_EFORMAT, NULL },
    { "llama.context_length", VALUE, 0, 4, TLP_EFORMAT, NULL },
    { "llama.rope.freq_base", VALUE, NAN32, 4, TLP_EFORMAT, NULL },
    { "llama.rope.freq_base", VALUE, 0, 4, TLP_EFORMAT, NULL },
    { "llama.rope.dimension_count", VALUE, 7, 4, TLP_EFORMAT, NULL },
    { "llama.rope.dimension_count", VALUE, 10, 4, TLP_EFORMAT, NULL },
    { "llama.attention.layer_norm_rms_epsilon", VALUE, NAN32, 4, TLP_EFORMAT,
      NULL },
    { "llama.attention.layer_norm_rms_epsilon", VALUE, 0xbf800000, 4,
      TLP_EFORMAT, NULL },
    { "llama.attention.layer_norm_rms_epsilon", 0, TLPI_BF16, 4, TLP_EFORMAT,
      NULL }, /* no such type of value */
    { "general.architecture", VALUE + 8, 'x', 1, TLP_ENOTSUP, NULL },
    { "tokenizer.ggml.model", VALUE + 8, 'x', 1, TLP_ENOTSUP, NULL },
    { "tokenizer.ggml.pre", VALUE + 8, 'x', 1, TLP_ENOTSUP, NULL },
    { "tokenizer.ggml.tokens", LENGTH, HUGE_COUNT, 8, TLP_EFORMAT, NULL },
    { "tokenizer.ggml.tokens", LENGTH + 8, HUGE_COUNT, 8, TLP_EFORMAT,
      "a string of" },
    { "tokenizer.ggml.token_type", LENGTH + 8, 99, 4, TLP_EFORMAT, NULL },
    { "tokenizer.ggml.merges", LENGTH + 8 + 8, '!', 1, TLP_EFORMAT, NULL },
    { "tokenizer.ggml.eos_token_id", VALUE, 264, 4, TLP_EFORMAT, NULL },
    { "tokenizer.ggml.eos_token_id", VALUE, 0xffffffff, 4, TLP_EFORMAT, NULL },
    { "blk.0.attn_q.weight", 0, 5, 4, TLP_EFORMAT, NULL },
    { "blk.0.attn_q.weight", 0, 0, 4, TLP_EFORMAT, NULL },
    { "blk.0.attn_q.weight", NE(0), 64, 8, TLP_EFORMAT, NULL },
    { "blk.0.attn_q.weight", NE(0), 33, 8, TLP_EFORMAT, NULL },
    { "blk.0.attn_q.weight", NE(1), 0, 8, TLP_EFORMAT, NULL },
    { "blk.0.attn_q.weight", NE(1), HUGE_COUNT, 8, TLP_EFORMAT, NULL },
    { "blk.0.attn_q.weight", TYPE2, 16, 4, TLP_ENOTSUP, NULL }, /* IQ2_XXS */
    { "blk.0.attn_q.weight", TYPE2, 12345, 4, TLP_ENOTSUP, NULL },
    { "blk.0.attn_q.weight", OFFSET2, 1, 8, TLP_EFORMAT, NULL },
    { "blk.0.attn_q.weight", OFFSET2, 0, 8, TLP_EFORMAT, "overlap" },
    { "blk.0.attn_q.weight", OFFSET2, (uint64_t)1 << 40, 8, TLP_EFORMAT, NULL },
    { "blk.0.attn_q.weight", OFFSET2, 0xffffffffffffffe0, 8, TLP_EFORMAT,
      NULL },
    { "token_embd.weight", NE(1), 263, 8, TLP_EFORMAT, NULL },
    { "rope_freqs.weight", NE(0), 3, 8, TLP_EFORMAT, NULL },
};

static void expect_refusal(const image *im, tlp_status want, const char *named,
                           int i)
{
    tlp_model *model = NULL;
    mem m = { .budget = budget_for(im) };
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;

    o.allocator = mem_hooks(&m);
    write_image(im, im->n);
    tlp_status st = tlp_model_open(&model, im->path, &o);
    cr_assert(st == want, "lie %d (%s): %s expected, %s found: %s", i, named,
              tlp_status_name(want), tlp_status_name(st), tlp_last_error());
    cr_assert(strstr(tlp_last_error(), named), "lie %d: no \"%s\" in \"%s\"", i,
              named, tlp_last_error());
    cr_assert(atomic_load(&m.live) == 0 && atomic_load(&m.failed) == 0);
}

Test(hostile, lies)
{
    tiny_spec spec = small_spec();
    image im = image_of(&spec);

    for (int i = 0; i < COUNT(lies); i++) {
        const lie *l = &lies[i];
        size_t at = after_string(&im, l->name) + l->skip;
        uint64_t was;

        memcpy(&was, im.data + at, l->width);
        memcpy(im.data + at, &l->value, l->width);
        expect_refusal(&im, l->status, l->named ? l->named : l->name, i);
        memcpy(im.data + at, &was, l->width);
    }
    free(im.data);
}

/* Counts in the first 24 bytes: magic, version, tensors, keys. */
Test(hostile, lying_counts)
{
    static const uint64_t counts[] = { 0,          1,
                                       0xffff,     0xffffffff,
                                       HUGE_COUNT, 0xffffffffffffffff };
    tiny_spec spec = small_spec();
    image im = image_of(&spec);
    mem m;

    for (size_t at = 8; at <= 16; at += 8)
        for (int i = 0; i < COUNT(counts); i++) {
            uint64_t was;

            memcpy(&was, im.data + at, 8);
            memcpy(im.data + at, &counts[i], 8);
            write_image(&im, im.n);
            cr_assert_null(open_damaged(&im, &m, 0, "count", at));
            memcpy(im.data + at, &was, 8);
        }
    free(im.data);
}

/* One name in place of another of the same length. */
Test(hostile, names_twice)
{
    static const struct {
        const char *name, *becomes;
    } pairs[] = {
        { "blk.1.attn_q.weight", "blk.0.attn_q.weight" },
        { "blk.0.attn_k.weight", "blk.0.attn_q.weight" },
        { "llama.block_count", "llama.block_cOunt" }, /* missing, not twice */
        { "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id" },
    };
    tiny_spec spec = small_spec();

    for (int i = 0; i < COUNT(pairs); i++) {
        image im = image_of(&spec);
        size_t n = strlen(pairs[i].name);

        memcpy(im.data + after_string(&im, pairs[i].name) - n, pairs[i].becomes,
               n);
        expect_refusal(&im, TLP_EFORMAT,
                       i == 2 ? pairs[i].name : pairs[i].becomes, i);
        free(im.data);
    }
}

/* ==== sets of files ====================================================== */

static void damage_part(const char *path, int part, size_t cut)
{
    char name[512];
    const char *dash = strstr(path, "-00001-of-");
    FILE *f;

    cr_assert_not_null(dash);
    snprintf(name, sizeof name, "%.*s-%05d-of-%s", (int)(dash - path), path,
             part, dash + strlen("-00001-of-"));
    if (cut == 0) {
        cr_assert_eq(remove(name), 0);
        return;
    }
    f = fopen(name, "r+b");
    cr_assert(f != NULL);
    cr_assert(fwrite("GGUX", cut, 1, f) == 1 && fclose(f) == 0);
}

Test(hostile, sets_with_a_bad_part)
{
    for (int part = 1; part <= 3; part++)
        for (size_t cut = 0; cut <= 4; cut += 4) {
            tiny_spec spec = small_spec();
            tlp_model *model = NULL;

            spec.n_split = 3;
            const char *path = tiny_make(&spec);
            CHECK_OK(tlp_model_open(&model, path, NULL));
            tlp_model_free(model);
            damage_part(path, part, cut);
            CHECK_FAILS(cut ? TLP_EFORMAT : TLP_EIO,
                        tlp_model_open(&model, path, NULL));
            cr_assert_null(model);
            char name[32];
            snprintf(name, sizeof name, "-%05d-of-00003", part);
            cr_assert(strstr(tlp_last_error(), name), "%s", tlp_last_error());
        }
}

/* What is no model at all. */
Test(hostile, other_paths)
{
    tlp_model *model = NULL;
    const char *empty = tiny_path("empty.gguf");
    FILE *f = fopen(empty, "wb");

    cr_assert(f && fclose(f) == 0);
    CHECK_FAILS(TLP_EFORMAT, tlp_model_open(&model, empty, NULL));
    CHECK_FAILS(TLP_EIO, tlp_model_open(&model, "", NULL));
    CHECK_FAILS(TLP_EIO, tlp_model_open(&model, "/no/such/file", NULL));
    CHECK_FAILS(TLP_EIO, tlp_model_open(&model, "/", NULL));
    cr_assert_null(model);
}
