/*
 * test_gguf.c - reading good GGUF files, and refusing bad ones with a text
 * that says why.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "file/gguf.h"
#include "support/check.h"
#include "support/counting.h"
#include "support/gguf_writer.h"
#include "support/tiny.h"

static tlpi_env env;

static void init_env(void)
{
    cr_assert_eq(tlpi_env_init(&env, NULL, NULL, NULL), TLP_OK);
}

TestSuite(gguf, .init = init_env, .timeout = 60);

/* ==== a file with everything in it ======================================= */

static const uint64_t ne_a[] = { 3, 2 }, ne_b[] = { 64, 1, 2 };

static void write_full(gw_file *w)
{
    static const char *const strs[] = { "one", "", "three" };
    static const float floats[] = { 0.5f, -2 };
    static const uint16_t shorts[] = { 1, 2, 65535 };
    static const float a[6] = { 0, 1, 2, 3, 4, 5 };
    uint8_t b[4 * 34];
    uint64_t big = UINT64_MAX;
    int64_t low = INT64_MIN;
    double pi = 3.25;

    gw_init(w);
    memset(b, 1, sizeof b);
    gw_kv(w, "u8", TLPI_GGUF_U8, "\xff", 1);
    gw_kv(w, "i8", TLPI_GGUF_I8, "\xff", 1);
    gw_kv(w, "u16", TLPI_GGUF_U16, "\xff\xff", 2);
    gw_kv(w, "i16", TLPI_GGUF_I16, "\x00\x80", 2);
    gw_kv_u32(w, "u32", UINT32_MAX);
    gw_kv(w, "i32", TLPI_GGUF_I32, "\xfe\xff\xff\xff", 4);
    gw_kv_f32(w, "f32", 0.1f);
    gw_kv_bool(w, "bool", true);
    gw_kv_str(w, "str", "text");
    gw_kv_str(w, "empty", "");
    gw_kv(w, "u64", TLPI_GGUF_U64, &big, 8);
    gw_kv(w, "i64", TLPI_GGUF_I64, &low, 8);
    gw_kv(w, "f64", TLPI_GGUF_F64, &pi, 8);
    gw_kv_strs(w, "strs", strs, 3);
    gw_kv_array(w, "floats", TLPI_GGUF_F32, 2, floats, sizeof floats);
    gw_kv_array(w, "shorts", TLPI_GGUF_U16, 3, shorts, sizeof shorts);
    gw_kv_array(w, "bools", TLPI_GGUF_BOOL, 2, "\1\0", 2);
    gw_kv_array(w, "none", TLPI_GGUF_STRING, 0, NULL, 0);
    gw_tensor(w, "a", TLPI_F32, 2, ne_a, a, sizeof a);
    gw_tensor(w, "b", TLPI_Q8_0, 3, ne_b, b, sizeof b);
}

static tlpi_gguf *open_bytes(const gw_bytes *file)
{
    tlpi_gguf *g = NULL;
    tlp_status st = tlpi_gguf_open_memory(&g, &env, file->data, file->n);

    cr_assert_eq(st, TLP_OK, "%s", tlp_last_error());
    return g;
}

static void check_text(const tlpi_gguf *g, const char *key, const char *want)
{
    tlpi_text t = { .env = &env };

    tlpi_gguf_format(tlpi_gguf_find(g, key), &t);
    cr_assert_str_eq(t.data ? t.data : "", want);
    tlpi_text_free(&t);
}

Test(gguf, tables)
{
    gw_file w;
    write_full(&w);
    for (w.version = 2; w.version <= 3; w.version++) {
        gw_bytes file = gw_finish(&w);
        tlpi_gguf *g = open_bytes(&file);

        cr_assert_eq(g->version, w.version);
        cr_assert_eq(g->n_kv, 18);
        cr_assert_eq(g->n_tensor, 2);
        cr_assert_str_eq(g->kv[0].key, "u8");
        for (size_t i = 0; i < g->n_kv; i++)
            cr_assert_eq(tlpi_gguf_find(g, g->kv[i].key), &g->kv[i]);
        cr_assert_null(tlpi_gguf_find(g, "u"));
        cr_assert_null(tlpi_gguf_find(g, ""));
        cr_assert_null(tlpi_gguf_tensor(g, "c"));

        const tlpi_tensor *a = tlpi_gguf_tensor(g, "a");
        cr_assert(a == &g->tensor[0] && a->n_dim == 2 && a->type == TLPI_F32);
        cr_assert(a->ne[0] == 3 && a->ne[1] == 2 && a->ne[2] == 1);
        cr_assert(a->n_bytes == 24 && a->file == 0);
        float x[6];
        memcpy(x, a->data, sizeof x);
        for (int i = 0; i < 6; i++)
            cr_assert_eq(x[i], (float)i);
        const tlpi_tensor *b = tlpi_gguf_tensor(g, "b");
        cr_assert(b->n_dim == 3 && b->type == TLPI_Q8_0 && b->n_bytes == 136);
        cr_assert_eq((const uint8_t *)b->data + 136, file.data + file.n);
        tlpi_gguf_close(g);
        free(file.data);
    }
    gw_free(&w);
}

Test(gguf, typed_reads)
{
    gw_file w;
    write_full(&w);
    gw_bytes file = gw_finish(&w);
    tlpi_gguf *g = open_bytes(&file);
    uint32_t u = 77;
    float f = 77;
    bool b = false;
    tlpi_str s = { "zz", 2 };

    cr_assert(tlpi_gguf_get_u32(g, "u8", true, &u) == TLP_OK && u == 255);
    cr_assert(tlpi_gguf_get_u32(g, "u16", true, &u) == TLP_OK && u == 65535);
    cr_assert(tlpi_gguf_get_u32(g, "u32", true, &u) == TLP_OK &&
              u == UINT32_MAX);
    u = 77;
    static const char *const not_u32[] = { "i8",   "i16", "i32",  "u64", "i64",
                                           "bool", "f32", "strs", "str" };
    for (size_t i = 0; i < TLPI_COUNT(not_u32); i++) {
        cr_assert_eq(tlpi_gguf_get_u32(g, not_u32[i], false, &u), TLP_EFORMAT);
        cr_assert_not_null(strstr(tlp_last_error(), not_u32[i]));
    }
    cr_assert_eq(tlpi_gguf_get_u32(g, "absent", false, &u), TLP_OK);
    cr_assert_eq(u, 77);
    cr_assert_eq(tlpi_gguf_get_u32(g, "absent", true, &u), TLP_EFORMAT);
    cr_assert_str_eq(tlp_last_error(), "(memory): key absent is missing");

    cr_assert(tlpi_gguf_get_f32(g, "f32", true, &f) == TLP_OK && f == 0.1f);
    cr_assert(tlpi_gguf_get_f32(g, "f64", true, &f) == TLP_OK && f == 3.25f);
    cr_assert_eq(tlpi_gguf_get_f32(g, "u32", true, &f), TLP_EFORMAT);
    cr_assert(tlpi_gguf_get_bool(g, "bool", true, &b) == TLP_OK && b);
    cr_assert_eq(tlpi_gguf_get_bool(g, "u8", true, &b), TLP_EFORMAT);
    cr_assert_eq(tlpi_gguf_get_bool(g, "bools", true, &b), TLP_EFORMAT);
    cr_assert(tlpi_gguf_get_str(g, "str", true, &s) == TLP_OK && s.n == 4);
    cr_assert_eq(memcmp(s.s, "text", 4), 0);
    cr_assert(tlpi_gguf_get_str(g, "empty", true, &s) == TLP_OK && s.n == 0);
    cr_assert_eq(tlpi_gguf_get_str(g, "strs", true, &s), TLP_EFORMAT);
    tlpi_gguf_close(g);
    free(file.data);
    gw_free(&w);
}

Test(gguf, f64_past_f32_is_out_of_range)
{
    gw_file w;
    double huge = 1e39, inf = (double)INFINITY;
    float f = 1;

    gw_init(&w);
    gw_kv(&w, "huge", TLPI_GGUF_F64, &huge, 8);
    gw_kv(&w, "inf", TLPI_GGUF_F64, &inf, 8);
    gw_bytes file = gw_finish(&w);
    tlpi_gguf *g = open_bytes(&file);
    cr_assert_eq(tlpi_gguf_get_f32(g, "huge", true, &f), TLP_EFORMAT);
    cr_assert_eq(f, 1);
    cr_assert_eq(tlpi_gguf_get_f32(g, "inf", true, &f), TLP_OK);
    cr_assert(isinf(f));
    tlpi_gguf_close(g);
    free(file.data);
    gw_free(&w);
}

Test(gguf, elements)
{
    gw_file w;
    static const double doubles[] = { 1e300, -1e300, -7.9, 9.3e18 };
    write_full(&w);
    gw_kv_array(&w, "doubles", TLPI_GGUF_F64, 4, doubles, sizeof doubles);
    gw_bytes file = gw_finish(&w);
    tlpi_gguf *g = open_bytes(&file);
    const tlpi_gguf_kv *kv = tlpi_gguf_find(g, "strs");
    static const char *const want[] = { "one", "", "three" };
    const uint8_t *at = kv->data;

    for (size_t i = 0; i < 3; i++) {
        tlpi_str s = tlpi_gguf_next_str(&at);
        cr_assert_eq(s.n, strlen(want[i]));
        cr_assert_eq(memcmp(s.s, want[i], s.n), 0);
    }
    cr_assert_eq(at, kv->data + kv->n_bytes);
    cr_assert_eq(tlpi_gguf_elem_i64(tlpi_gguf_find(g, "shorts"), 2), 65535);
    cr_assert_eq(tlpi_gguf_elem_f64(tlpi_gguf_find(g, "floats"), 1), -2);
    cr_assert_eq(tlpi_gguf_elem_f64(tlpi_gguf_find(g, "i16"), 0), -32768);
    cr_assert_eq(tlpi_gguf_elem_i64(tlpi_gguf_find(g, "i8"), 0), -1);
    cr_assert_eq(tlpi_gguf_elem_i64(tlpi_gguf_find(g, "i64"), 0), INT64_MIN);
    cr_assert_eq(tlpi_gguf_elem_i64(tlpi_gguf_find(g, "u64"), 0), INT64_MAX);
    kv = tlpi_gguf_find(g, "doubles");
    cr_assert_eq(tlpi_gguf_elem_i64(kv, 0), INT64_MAX);
    cr_assert_eq(tlpi_gguf_elem_i64(kv, 1), INT64_MIN);
    cr_assert_eq(tlpi_gguf_elem_i64(kv, 2), -7);
    cr_assert_eq(tlpi_gguf_elem_i64(kv, 3), INT64_MAX);
    tlpi_gguf_close(g);
    free(file.data);
    gw_free(&w);
}

Test(gguf, values_as_text)
{
    static const char *const lines[] = {
        "a\nb", "0123456789012345678901234567890123456789012345678901234567"
    };
    static const int8_t bytes[10] = { 0, -1, -2, -3, 4, 5, 6, 7, 8, 9 };
    gw_file w;
    write_full(&w);
    gw_kv_strs(&w, "lines", lines, 2);
    gw_kv_array(&w, "bytes", TLPI_GGUF_I8, 10, bytes, 10);
    gw_bytes file = gw_finish(&w);
    tlpi_gguf *g = open_bytes(&file);

    check_text(g, "u64", "18446744073709551615");
    check_text(g, "i64", "-9223372036854775808");
    check_text(g, "i16", "-32768");
    check_text(g, "f32", "0.100000001");
    check_text(g, "f64", "3.25");
    check_text(g, "bool", "true");
    check_text(g, "str", "text");
    check_text(g, "empty", "");
    check_text(g, "strs", "str[3] \"one\", \"\", \"three\"");
    check_text(g, "bools", "bool[2] true, false");
    check_text(g, "none", "str[0]");
    check_text(g, "bytes", "i8[10] 0, -1, -2, -3, 4, 5, 6, 7, ...");
    check_text(g, "lines",
               "str[2] \"a?b\", "
               "\"012345678901234567890123456789012345678901234567...\"");
    tlpi_gguf_close(g);
    free(file.data);
    gw_free(&w);
}

Test(gguf, alignment_and_gaps)
{
    static const uint64_t ne[] = { 1 };
    float x[3];
    gw_file w;

    gw_init(&w);
    w.alignment = 256;
    gw_kv_u32(&w, "general.alignment", 256);
    for (int i = 0; i < 3; i++) {
        float value = (float)i + 1;
        char name[2] = { (char)('x' + i), '\0' };
        gw_tensor(&w, name, TLPI_F32, 1, ne, &value, sizeof value);
    }
    gw_bytes file = gw_finish(&w);
    tlpi_gguf *g = open_bytes(&file);
    cr_assert_eq(g->alignment, 256);
    for (int i = 0; i < 3; i++) {
        memcpy(&x[i], g->tensor[i].data, sizeof x[i]);
        cr_assert_eq(x[i], (float)i + 1);
        cr_assert_eq(((const uint8_t *)g->tensor[i].data - file.data) % 256, 0);
    }
    tlpi_gguf_close(g);
    free(file.data);
    gw_free(&w);
}

/* Names in an order that would hurt a careless sort, or look-up. */
Test(gguf, a_hundred_thousand_names)
{
    enum { N = 100000 };
    char name[32];
    uint64_t ne[] = { 1 };
    gw_file w;

    gw_init(&w);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "key.%06d", (i * 7919) % N);
        gw_kv_u32(&w, name, (uint32_t)i);
        gw_tensor(&w, name, TLPI_F32, 1, ne, &(float){ (float)i }, 4);
    }
    gw_bytes file = gw_finish(&w);
    clock_t start = clock(); /* of this process: other programs cost nothing */
    tlpi_gguf *g = open_bytes(&file);
    for (int i = 0; i < N; i++) {
        uint32_t value = N;
        snprintf(name, sizeof name, "key.%06d", (i * 7919) % N);
        cr_assert_eq(tlpi_gguf_get_u32(g, name, true, &value), TLP_OK);
        cr_assert_eq(value, (uint32_t)i);
        cr_assert_eq(tlpi_gguf_tensor(g, name), &g->tensor[i]);
    }
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    cr_assert_lt(seconds, 5.0 * CHECK_SLOWDOWN); /* 0.2; quadratic: 100 */
    tlpi_gguf_close(g);
    free(file.data);
    gw_free(&w);
}

/* ==== memory ============================================================= */

Test(gguf, every_allocation_may_fail)
{
    counting c = { 0 };
    tlp_allocator mem = counting_allocator(&c);
    tlp_status st = TLP_ENOMEM;
    tlpi_gguf *g = NULL;
    gw_file w;

    write_full(&w);
    gw_bytes file = gw_finish(&w);
    cr_assert_eq(tlpi_env_init(&env, &mem, NULL, NULL), TLP_OK);
    for (long n = 1; st != TLP_OK; n++) {
        c.calls = 0;
        c.fail_at = n;
        st = tlpi_gguf_open_memory(&g, &env, file.data, file.n);
        if (st == TLP_OK)
            break;
        cr_assert_eq(st, TLP_ENOMEM);
        cr_assert_null(g);
        cr_assert_eq(c.n_live, 0);
        cr_assert_lt(n, 100);
    }
    cr_assert_gt(c.calls, 4);
    tlpi_gguf_close(g);
    cr_assert_eq(c.n_live, 0);
    cr_assert_eq(c.bad, 0);
    free(file.data);
    gw_free(&w);
}

/* ==== tiny models ======================================================== */

static void check_same_weights(const tlpi_tensor *a, const tlpi_tensor *b)
{
    cr_assert_str_eq(a->name, b->name);
    cr_assert_eq(a->n_bytes, b->n_bytes);
    cr_assert_eq(memcmp(a->data, b->data, a->n_bytes), 0);
}

Test(gguf, split_files_hold_the_same_model)
{
    tiny_spec spec = tiny_default();
    tlpi_gguf *whole = NULL, *part = NULL;
    size_t n = 0;

    spec.type = TLPI_Q4_1;
    const char *path = tiny_make(&spec);
    cr_assert_eq(tlpi_gguf_open(&whole, &env, path, NULL), TLP_OK, "%s",
                 tlp_last_error());
    spec.n_split = 3;
    spec.version = 2;
    char *next = strdup(tiny_make(&spec));
    char *number = strstr(next, "-00001-of-00003.gguf");
    cr_assert_not_null(number);
    for (int i = 1; i <= 3; i++) {
        number[5] = (char)('0' + i);
        cr_assert_eq(tlpi_gguf_open(&part, &env, next, NULL), TLP_OK, "%s",
                     tlp_last_error());
        for (size_t t = 0; t < part->n_tensor; t++, n++)
            check_same_weights(&part->tensor[t], &whole->tensor[n]);
        tlpi_gguf_close(part);
    }
    cr_assert_eq(n, whole->n_tensor);
    tlpi_gguf_close(whole);
    free(next);
}
