/*
 * test_gguf_bad.c - GGUF files that are cut, lie about sizes, or contradict
 * themselves.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/gguf.h"
#include "support/counting.h"
#include "support/gguf_writer.h"

static tlpi_env env;
static counting count;

static void init_env(void)
{
    tlp_allocator mem = counting_allocator(&count);

    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_OK);
}

TestSuite(gguf_bad, .init = init_env, .timeout = 60);

static const uint64_t ne32[] = { 32 };
static const float zeros[64];

/* Refused with this status and a text that says this; nothing is left over,
 * and no more memory asked for than the file could account for. */
static void refuse_bytes(const void *data, size_t n, tlp_status want,
                         const char *text)
{
    tlpi_gguf *g = (tlpi_gguf *)&g;

    count.peak = 0;
    tlp_status st = tlpi_gguf_open_memory(&g, &env, data, n);
    cr_assert_eq(st, want, "%s: %s", tlp_status_name(st), tlp_last_error());
    cr_assert_null(g);
    cr_assert_not_null(strstr(tlp_last_error(), text), "\"%s\" not in \"%s\"",
                       text, tlp_last_error());
    cr_assert_null(strpbrk(tlp_last_error(), "\n\r\x1b"));
    cr_assert_eq(count.n_live, 0);
    cr_assert_leq(count.peak, 16 * n + 4096);
}

static void refuse(gw_file *w, tlp_status want, const char *text)
{
    gw_bytes file = gw_finish(w);

    refuse_bytes(file.data, file.n, want, text);
    free(file.data);
    gw_free(w);
}

static void accept(gw_file *w)
{
    gw_bytes file = gw_finish(w);
    tlpi_gguf *g = NULL;

    cr_assert_eq(tlpi_gguf_open_memory(&g, &env, file.data, file.n), TLP_OK,
                 "%s", tlp_last_error());
    tlpi_gguf_close(g);
    free(file.data);
    gw_free(w);
}

/* ==== cut ================================================================ */

static void write_some(gw_file *w)
{
    static const char *const strs[] = { "a", "", "bcd" };
    static const uint64_t ne[] = { 8, 4 };

    gw_init(w);
    gw_kv_strs(w, "strs", strs, 3);
    gw_kv_str(w, "s", "xyz");
    gw_kv_array(w, "bools", TLPI_GGUF_BOOL, 3, "\0\1\1", 3);
    gw_kv_u32(w, "n", 5);
    gw_tensor(w, "t", TLPI_F32, 2, ne, zeros, 128);
    gw_tensor(w, "u", TLPI_F32, 1, ne32, zeros, 128);
}

Test(gguf_bad, cut_at_every_byte)
{
    gw_file w;
    write_some(&w);
    gw_bytes file = gw_finish(&w);
    tlpi_gguf *g = NULL;

    cr_assert_eq(tlpi_gguf_open_memory(&g, &env, file.data, file.n), TLP_OK);
    tlpi_gguf_close(g);
    for (size_t n = 0; n < file.n; n++) {
        /* a block of its own, so that sanitizers see the end */
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, file.data, n);
        refuse_bytes(cut, n, TLP_EFORMAT, "(memory)");
        free(cut);
    }
    free(file.data);
    gw_free(&w);
}

/* Whatever happens to a byte: a clean file or a clean refusal. */
Test(gguf_bad, every_byte_flipped)
{
    static const uint8_t flips[] = { 0x01, 0x80, 0xff };
    gw_file w;
    write_some(&w);
    gw_bytes file = gw_finish(&w);

    for (size_t i = 0; i < file.n; i++) {
        for (size_t f = 0; f < TLPI_COUNT(flips); f++) {
            tlpi_gguf *g = NULL;
            file.data[i] ^= flips[f];
            count.peak = 0;
            tlp_status st = tlpi_gguf_open_memory(&g, &env, file.data, file.n);
            cr_assert(st == TLP_OK || st == TLP_EFORMAT || st == TLP_ENOTSUP);
            cr_assert_eq(g != NULL, st == TLP_OK);
            cr_assert_leq(count.peak, 16 * file.n + 4096);
            tlpi_gguf_close(g);
            cr_assert_eq(count.n_live, 0);
            file.data[i] ^= flips[f];
        }
    }
    free(file.data);
    gw_free(&w);
}

/* ==== header ============================================================= */

Test(gguf_bad, magic_and_version)
{
    gw_file w;
    write_some(&w);
    gw_bytes file = gw_finish(&w);
    static const struct {
        uint8_t bytes[4];
        tlp_status status;
        const char *text;
    } versions[] = {
        { { 1, 0, 0, 0 }, TLP_ENOTSUP, "version 1" },
        { { 4, 0, 0, 0 }, TLP_ENOTSUP, "version 4" },
        { { 0, 0, 0, 0 }, TLP_ENOTSUP, "version 0" },
        { { 0, 0, 0, 3 }, TLP_ENOTSUP, "big-endian" },
        { { 0, 0, 0, 2 }, TLP_ENOTSUP, "big-endian" },
    };

    for (size_t i = 0; i < TLPI_COUNT(versions); i++) {
        memcpy(file.data + 4, versions[i].bytes, 4);
        refuse_bytes(file.data, file.n, versions[i].status, versions[i].text);
    }
    file.data[0] = 'g';
    refuse_bytes(file.data, file.n, TLP_EFORMAT, "not a GGUF file");
    free(file.data);
    gw_free(&w);
}

Test(gguf_bad, counts_past_the_file)
{
    static const uint64_t counts[] = { 7, UINT32_MAX, (uint64_t)1 << 60,
                                       UINT64_MAX };
    gw_file w;

    for (size_t i = 0; i < TLPI_COUNT(counts); i++) {
        gw_init(&w);
        w.n_kv = counts[i];
        refuse(&w, TLP_EFORMAT, "keys do not fit");
        gw_init(&w);
        w.n_tensor = counts[i];
        refuse(&w, TLP_EFORMAT, "tensors do not fit");
    }
}

/* ==== keys and values ==================================================== */

Test(gguf_bad, strings_past_the_file)
{
    static const uint64_t lengths[] = { 100, UINT32_MAX, INT64_MAX,
                                        UINT64_MAX - 8, UINT64_MAX };
    gw_file w;

    for (size_t i = 0; i < TLPI_COUNT(lengths); i++) {
        gw_init(&w);
        gw_put_u64(&w.kv, lengths[i]);
        gw_put(&w.kv, "key padded", 10);
        w.n_kv = 1;
        refuse(&w, TLP_EFORMAT, "a key of");

        gw_init(&w);
        gw_kv(&w, "key", TLPI_GGUF_STRING, &lengths[i], 8);
        refuse(&w, TLP_EFORMAT, "a string of");

        gw_init(&w);
        gw_kv_array(&w, "key", TLPI_GGUF_STRING, 1, &lengths[i], 8);
        refuse(&w, TLP_EFORMAT, "a string of");
    }
}

Test(gguf_bad, arrays_past_the_file)
{
    static const uint64_t counts[] = { 3, UINT32_MAX, UINT64_MAX / 4 + 2,
                                       UINT64_MAX };
    gw_file w;

    for (size_t i = 0; i < TLPI_COUNT(counts); i++) {
        gw_init(&w);
        gw_kv_array(&w, "key", TLPI_GGUF_F32, counts[i], zeros, 8);
        refuse(&w, TLP_EFORMAT, "key key: ");
        gw_init(&w);
        gw_kv_array(&w, "key", TLPI_GGUF_STRING, counts[i], zeros, 16);
        refuse(&w, TLP_EFORMAT, "key key: ");
    }
}

Test(gguf_bad, values)
{
    uint8_t nested[20] = { TLPI_GGUF_U8 };
    gw_file w;

    gw_init(&w);
    gw_kv(&w, "k", (tlpi_gguf_type)13, zeros, 8);
    refuse(&w, TLP_EFORMAT, "key k: unknown value type 13");
    gw_init(&w);
    gw_kv_array(&w, "k", (tlpi_gguf_type)UINT32_MAX, 1, zeros, 8);
    refuse(&w, TLP_EFORMAT, "key k: unknown value type 4294967295");
    gw_init(&w);
    gw_kv_array(&w, "k", TLPI_GGUF_ARRAY, 1, nested, sizeof nested);
    refuse(&w, TLP_ENOTSUP, "key k: an array of arrays");
    gw_init(&w);
    gw_kv(&w, "k", TLPI_GGUF_BOOL, "\2", 1);
    refuse(&w, TLP_EFORMAT, "key k: bool of value 2");
    gw_init(&w);
    gw_kv_array(&w, "k", TLPI_GGUF_BOOL, 3, "\0\1\xff", 3);
    refuse(&w, TLP_EFORMAT, "key k: bool of value 255");
}

Test(gguf_bad, names)
{
    char *longest = malloc(65537);
    gw_file w;

    memset(longest, 'k', 65536);
    longest[65536] = '\0';
    gw_init(&w);
    gw_kv_u32(&w, longest, 1);
    refuse(&w, TLP_EFORMAT, "a key of 65536 bytes, at most 65535");
    gw_init(&w);
    gw_kv_u32(&w, longest + 1, 1);
    accept(&w);
    gw_init(&w);
    gw_tensor(&w, longest + 65536 - 65, TLPI_F32, 1, ne32, zeros, 128);
    refuse(&w, TLP_EFORMAT, "a tensor name of 65 bytes, at most 64");
    gw_init(&w);
    gw_tensor(&w, longest + 65536 - 64, TLPI_F32, 1, ne32, zeros, 128);
    accept(&w);
    free(longest);

    gw_init(&w);
    gw_put_u64(&w.kv, 3);
    gw_put(&w.kv, "a\0b", 3);
    gw_put_u32(&w.kv, TLPI_GGUF_U8);
    gw_put(&w.kv, "\1", 1);
    w.n_kv = 1;
    refuse(&w, TLP_EFORMAT, "NUL");
}

Test(gguf_bad, doubles)
{
    gw_file w;

    gw_init(&w);
    gw_kv_u32(&w, "x", 1);
    gw_kv_u32(&w, "y\n\x1b[31m", 1);
    gw_kv_u32(&w, "z", 1);
    gw_kv_f32(&w, "y\n\x1b[31m", 1);
    refuse(&w, TLP_EFORMAT, "key y??[31m stands there twice");
    gw_init(&w);
    gw_kv_u32(&w, "t", 1); /* keys and tensors do not clash */
    gw_tensor(&w, "t", TLPI_F32, 1, ne32, zeros, 128);
    gw_tensor(&w, "u", TLPI_F32, 1, ne32, zeros, 128);
    gw_tensor(&w, "t", TLPI_F32, 1, ne32, zeros, 128);
    refuse(&w, TLP_EFORMAT, "tensor t stands there twice");
}

Test(gguf_bad, alignments)
{
    static const uint32_t bad[] = { 0, 1, 4, 24, 33, UINT32_MAX };
    gw_file w;

    for (size_t i = 0; i < TLPI_COUNT(bad); i++) {
        gw_init(&w);
        gw_kv_u32(&w, "general.alignment", bad[i]);
        refuse(&w, TLP_EFORMAT, "general.alignment");
    }
    gw_init(&w);
    gw_kv_str(&w, "general.alignment", "32");
    refuse(&w, TLP_EFORMAT, "general.alignment");
    gw_init(&w); /* the data would start past the end */
    gw_kv_u32(&w, "general.alignment", (uint32_t)1 << 31);
    gw_tensor(&w, "t", TLPI_F32, 1, ne32, zeros, 128);
    refuse(&w, TLP_EFORMAT, "tensor t: 128 bytes at offset 0, past");
}

/* ==== tensors ============================================================ */

static void refuse_tensor(uint32_t type, int n_dim, const uint64_t *ne,
                          uint64_t offset, tlp_status want, const char *text)
{
    gw_file w;

    gw_init(&w);
    gw_tensor_at(&w, "t", type, n_dim, ne, offset);
    gw_put(&w.data, zeros, sizeof zeros);
    refuse(&w, want, text);
}

Test(gguf_bad, shapes)
{
    static const uint64_t zero[] = { 32, 0 }, five[] = { 1, 1, 1, 1, 1 },
                          wide[] = { 33 }, sign[] = { (uint64_t)1 << 63 },
                          over[] = { (uint64_t)1 << 32, (uint64_t)1 << 31, 2 },
                          wrap[] = { (uint64_t)1 << 62, 4, 1, 1 },
                          bytes[] = { (uint64_t)1 << 62 };

    refuse_tensor(TLPI_F32, 0, five, 0, TLP_EFORMAT, "0 dims, 1 to 4");
    refuse_tensor(TLPI_F32, 5, five, 0, TLP_EFORMAT, "5 dims, 1 to 4");
    refuse_tensor(TLPI_F32, 2, zero, 0, TLP_EFORMAT, "tensor t: dim 1 is 0");
    refuse_tensor(TLPI_F32, 1, sign, 0, TLP_EFORMAT, "dim 0 is 92233720368547");
    refuse_tensor(TLPI_F32, 3, over, 0, TLP_EFORMAT, "the size overflows");
    refuse_tensor(TLPI_F32, 4, wrap, 0, TLP_EFORMAT, "the size overflows");
    refuse_tensor(TLPI_F32, 1, bytes, 0, TLP_EFORMAT, "the size overflows");
    refuse_tensor(TLPI_Q8_0, 1, wide, 0, TLP_EFORMAT,
                  "rows of 33, a multiple of 32 expected for Q8_0");
    refuse_tensor(TLPI_Q4_K, 1, ne32, 0, TLP_EFORMAT, "a multiple of 256");
}

Test(gguf_bad, types)
{
    static const struct {
        uint32_t number;
        const char *name;
    } other[] = {
        { 9, "Q8_1" },     { 15, "Q8_K" },  { 16, "IQ2_XXS" }, { 17, "IQ2_XS" },
        { 18, "IQ3_XXS" }, { 19, "IQ1_S" }, { 21, "IQ3_S" },   { 22, "IQ2_S" },
        { 29, "IQ1_M" },   { 34, "TQ1_0" }, { 35, "TQ2_0" },   { 40, "NVFP4" },
    };

    for (size_t i = 0; i < TLPI_COUNT(other); i++) {
        char text[64];
        snprintf(text, sizeof text, "tensor t: type %s (%u) is not supported",
                 other[i].name, other[i].number);
        refuse_tensor(other[i].number, 1, ne32, 0, TLP_ENOTSUP, text);
    }
    refuse_tensor(4, 1, ne32, 0, TLP_ENOTSUP, "tensor t: type ? (4)");
    refuse_tensor(UINT32_MAX, 1, ne32, 0, TLP_ENOTSUP, "(4294967295)");
}

Test(gguf_bad, places)
{
    gw_file w;

    refuse_tensor(TLPI_F32, 1, ne32, 16, TLP_EFORMAT, "offset 16, a multiple");
    refuse_tensor(TLPI_F32, 1, ne32, 160, TLP_EFORMAT, "past the file's 256");
    refuse_tensor(TLPI_F32, 1, ne32, 256, TLP_EFORMAT, "past the file's 256");
    refuse_tensor(TLPI_F32, 1, ne32, UINT64_MAX - 31, TLP_EFORMAT, "past");
    refuse_tensor(TLPI_F32, 1, ne32, (uint64_t)1 << 63, TLP_EFORMAT, "past");

    gw_init(&w); /* 128 bytes each; the later one of the table comes first */
    gw_tensor_at(&w, "t", TLPI_F32, 1, ne32, 96);
    gw_tensor_at(&w, "u", TLPI_F32, 1, ne32, 0);
    gw_put(&w.data, zeros, sizeof zeros);
    refuse(&w, TLP_EFORMAT, "tensors u and t overlap");
    gw_init(&w);
    gw_tensor_at(&w, "t", TLPI_F32, 1, ne32, 128);
    gw_tensor_at(&w, "u", TLPI_F32, 1, ne32, 0);
    gw_put(&w.data, zeros, sizeof zeros);
    accept(&w);
    gw_init(&w); /* one inside another, with one between in the table */
    gw_tensor_at(&w, "t", TLPI_F32, 1, (const uint64_t[]){ 64 }, 0);
    gw_tensor_at(&w, "u", TLPI_F32, 1, (const uint64_t[]){ 4 }, 64);
    gw_put(&w.data, zeros, sizeof zeros);
    refuse(&w, TLP_EFORMAT, "overlap");
}
