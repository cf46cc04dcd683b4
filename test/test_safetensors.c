/*
 * test_safetensors.c - images laid out, read back, and refused.
 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/safetensors.h"
#include "support/counting.h"

static tlpi_env env;
static counting count;

static void set_up(void)
{
    tlp_allocator mem = counting_allocator(&count);

    CHECK_OK(tlpi_env_init(&env, &mem, NULL, NULL));
}

static void check_leaks(void)
{
    cr_assert_eq(count.n_live, 0);
    cr_assert_eq(count.bad, 0);
}

TestSuite(safetensors, .init = set_up, .fini = check_leaks, .timeout = 60);

static const tlpi_safetensors_meta meta[] = { { "k", "v" },
                                              { "plan", "a;b" },
                                              { "json", "{\"a\": \"\\\"\"}" } };

static void lay_out(void **image, size_t *n)
{
    tlpi_safetensors_part part[] = {
        { .name = "half", .type = TLPI_F16, .n_dim = 2, .ne = { 3, 5 } },
        { .name = "one", .type = TLPI_F32, .n_dim = 1, .ne = { 1, 1 } },
        { .name = "brain", .type = TLPI_BF16, .n_dim = 1, .ne = { 7, 1 } },
        { .name = "wide", .type = TLPI_F32, .n_dim = 2, .ne = { 2, 3 } },
    };

    CHECK_OK(tlpi_safetensors_lay_out(&env, part, TLPI_COUNT(part), meta,
                                      TLPI_COUNT(meta), image, n));
    for (size_t i = 0; i < TLPI_COUNT(part); i++)
        memset(part[i].data, (int)i + 1, part[i].n_bytes);
}

static void check_tensor(const tlpi_tensor *t, const char *name,
                         tlpi_dtype type, int n_dim, int64_t cols, int64_t rows,
                         int byte)
{
    cr_assert_str_eq(t->name, name);
    cr_assert_eq(t->type, type);
    cr_assert_eq(t->n_dim, n_dim);
    cr_assert_eq(t->ne[0], cols);
    cr_assert_eq(t->ne[1], rows);
    cr_assert_eq(t->ne[2], 1);
    cr_assert_eq(t->ne[3], 1);
    cr_assert_eq(t->n_bytes,
                 (size_t)(cols * rows) * (type == TLPI_F32 ? 4 : 2));
    for (size_t i = 0; i < t->n_bytes; i++)
        cr_assert_eq(((const uint8_t *)t->data)[i], byte);
}

Test(safetensors, what_is_laid_out_is_read_back)
{
    tlpi_safetensors *s = NULL;
    void *image;
    size_t n;

    lay_out(&image, &n);
    CHECK_OK(tlpi_safetensors_open(&s, &env, image, n, "x"));
    cr_assert_eq(s->n_tensor, 4);
    check_tensor(&s->tensor[0], "one", TLPI_F32, 1, 1, 1, 2);
    check_tensor(&s->tensor[1], "wide", TLPI_F32, 2, 2, 3, 4);
    check_tensor(&s->tensor[2], "half", TLPI_F16, 2, 3, 5, 1);
    check_tensor(&s->tensor[3], "brain", TLPI_BF16, 1, 7, 1, 3);
    cr_assert_eq(((const char *)s->tensor[0].data - (char *)image) % 64, 0);
    cr_expect_eq(s->n_meta, 3);
    cr_expect_str_eq(tlpi_safetensors_get(s, "k"), "v");
    cr_expect_str_eq(tlpi_safetensors_get(s, "json"), meta[2].value);
    cr_expect_str_eq(tlpi_safetensors_get(s, "plan"), "a;b");
    cr_expect_null(tlpi_safetensors_get(s, "v"));
    tlpi_safetensors_close(s);
    tlpi_free(&env, image);
}

/* Bytes are read where a caller asks for them. */
Test(safetensors, bytes_are_read_on_demand)
{
    tlpi_safetensors_part part = {
        .name = "codes", .type = TLPI_BYTES, .n_dim = 4, .ne = { 2, 3, 1, 5 }
    };
    tlpi_safetensors *s = NULL;
    void *image;
    size_t n;

    CHECK_OK(tlpi_safetensors_lay_out(&env, &part, 1, NULL, 0, &image, &n));
    cr_assert_eq(part.n_bytes, 30);
    memset(part.data, 7, part.n_bytes);
    CHECK_FAILS(TLP_ENOTSUP, tlpi_safetensors_open(&s, &env, image, n, "x"));
    cr_expect(strstr(tlp_last_error(), "x: tensor codes: dtype U8, F32, F16"),
              "%s", tlp_last_error());
    CHECK_OK(tlpi_safetensors_open_bytes(&s, &env, image, n, "x"));
    cr_assert_eq(s->n_tensor, 1);
    cr_expect_eq(s->tensor[0].type, TLPI_BYTES);
    cr_expect_eq(s->tensor[0].ne[3], 5);
    cr_expect_eq(s->tensor[0].n_bytes, 30);
    tlpi_safetensors_close(s);
    tlpi_free(&env, image);
}

Test(safetensors, a_cut_image_is_refused_wherever_it_ends)
{
    void *image;
    size_t n;

    lay_out(&image, &n);
    for (size_t cut = 0; cut < n; cut++) {
        tlpi_safetensors *s = NULL;
        /* a block of its own, whose end a sanitizer watches */
        uint8_t *part = malloc(cut + 1);
        cr_assert_not_null(part);
        uint8_t *end = realloc(part, cut ? cut : 1);
        cr_assert_not_null(end);
        memcpy(end, image, cut);
        CHECK_FAILS(TLP_EFORMAT,
                    tlpi_safetensors_open(&s, &env, end, cut, "x"));
        cr_assert_null(s);
        free(end);
    }
    tlpi_free(&env, image);
}

Test(safetensors, memory_may_run_out)
{
    void *image = NULL;
    size_t n = 0;
    bool done = false;

    lay_out(&image, &n);
    for (long at = 1; !done; at++) {
        tlpi_safetensors *s = NULL;
        count.calls = 0;
        count.fail_at = at;
        tlp_status st = tlpi_safetensors_open(&s, &env, image, n, "x");
        done = count.calls < at;
        cr_assert_eq(st, done ? TLP_OK : TLP_ENOMEM);
        cr_assert_eq(!s, !done);
        tlpi_safetensors_close(s);
    }
    count.fail_at = 0;
    tlpi_free(&env, image);
}

/* ==== headers ============================================================ */

/* n_header 0: the text's own length. */
static tlp_status open_text(tlpi_safetensors **s, const char *header,
                            uint64_t n_header, size_t n_data)
{
    size_t n_text = strlen(header), n = 8 + n_text + n_data;
    uint8_t *image = calloc(1, n);

    cr_assert_not_null(image);
    n_header = n_header ? n_header : n_text;
    for (int i = 0; i < 8; i++)
        image[i] = (uint8_t)(n_header >> (8 * i));
    memcpy(image + 8, header, n_text);
    tlp_status st = tlpi_safetensors_open(s, &env, image, n, "x.st");
    free(image);
    return st;
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"
#define ENTRY(dtype, shape, offsets)                                           \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape                             \
    ",\"data_offsets\":" offsets "}}   "

typedef struct header_case {
    const char *header;
    size_t n_data;
    tlp_status status;
    const char *text;
} header_case;

static const header_case bad[] = {
    { "", 0, TLP_EFORMAT, "x.st: header: " },
    { "[]", 0, TLP_EFORMAT, "a JSON object expected" },
    { "{", 0, TLP_EFORMAT, "header: byte" },
    { "{} x", 0, TLP_EFORMAT, "header: byte" },
    { "{" A "," A "}", 4, TLP_EFORMAT, "duplicate" },
    { "{\"a\":[[[0]]]}", 0, TLP_EFORMAT, "nested deeper" },
    { "{\"a\":1}", 0, TLP_EFORMAT, "tensor a: an object expected" },
    { "{\"a\":{}}", 0, TLP_EFORMAT, "dtype: a text expected" },
    { "{\"a\\u0000b\":{}}", 0, TLP_EFORMAT, "header: byte" },
    { "{\"__metadata__\":1}", 0, TLP_EFORMAT, "__metadata__: an object" },
    { "{\"__metadata__\":{\"k\":1}}", 0, TLP_EFORMAT,
      "__metadata__.k: a text expected" },
    { ENTRY("\"I64\"", "[1]", "[0,8]"), 8, TLP_ENOTSUP, "dtype I64" },
    { ENTRY("1", "[1]", "[0,4]"), 4, TLP_EFORMAT, "dtype: a text" },
    { ENTRY("\"F32\"", "[]", "[0,4]"), 4, TLP_EFORMAT, "1 to 4 dim" },
    { ENTRY("\"F32\"", "4", "[0,4]"), 4, TLP_EFORMAT, "1 to 4 dim" },
    { ENTRY("\"F32\"", "[1,1,1,1,1]", "[0,4]"), 4, TLP_EFORMAT, "1 to 4 dim" },
    { ENTRY("\"F32\"", "[0]", "[0,0]"), 0, TLP_EFORMAT, "dimension 0 is 0" },
    { ENTRY("\"F32\"", "[1,-1]", "[0,4]"), 4, TLP_EFORMAT,
      "dimension 1 is -1" },
    { ENTRY("\"F32\"", "[1.0]", "[0,4]"), 4, TLP_EFORMAT, "dimension 0" },
    { ENTRY("\"F32\"", "[4611686018427387905]", "[0,4]"), 4, TLP_EFORMAT,
      "dimension 0 is 4611686018427387905" },
    { ENTRY("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0, TLP_EFORMAT,
      "dimension 1 is 4294967296" },
    { ENTRY("\"F32\"", "[1]", "4"), 4, TLP_EFORMAT, "two integers" },
    { ENTRY("\"F32\"", "[1]", "[0]"), 4, TLP_EFORMAT, "two integers" },
    { ENTRY("\"F32\"", "[1]", "[0,4,8]"), 4, TLP_EFORMAT, "two integers" },
    { ENTRY("\"F32\"", "[1]", "[0,4.0]"), 4, TLP_EFORMAT, "two integers" },
    { ENTRY("\"F32\"", "[1]", "[-4,0]"), 4, TLP_EFORMAT, "-4 to 0" },
    { ENTRY("\"F32\"", "[1]", "[4,0]"), 4, TLP_EFORMAT, "4 to 0" },
    { ENTRY("\"F32\"", "[1]", "[0,8]"), 4, TLP_EFORMAT, "the data has 4" },
    { ENTRY("\"F32\"", "[1]", "[9223372036854775803,9223372036854775807]"), 4,
      TLP_EFORMAT, "the data has 4" },
    { ENTRY("\"F32\"", "[2]", "[0,4]"), 4, TLP_EFORMAT, "its shape takes 8" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],"
      "\"x\":1}}",
      4, TLP_EFORMAT, "keys other than" },
    { "{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
      "\"data_offsets\":[0,4]}} ",
      4, TLP_EFORMAT, "begins at byte 0 of the data, 4 expected" },
    { "{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
      "\"data_offsets\":[8,12]}}",
      12, TLP_EFORMAT, "begins at byte 8 of the data, 4 expected" },
    { "{" A "} ", 8, TLP_EFORMAT, "8 bytes of data, the tensors take 4" },
};

/* So many spaces that the data begins at a multiple of 4. */
static const char *padded(const char *header)
{
    static char text[512];
    size_t n = strlen(header);

    n = n ? (n + 3) / 4 * 4 : 0;
    snprintf(text, sizeof text, "%-*s", (int)n, header);
    return text;
}

Test(safetensors, malformed_headers_are_refused_by_tensor_and_key)
{
    for (size_t i = 0; i < TLPI_COUNT(bad); i++) {
        tlpi_safetensors *s = NULL;
        CHECK_FAILS(bad[i].status,
                    open_text(&s, padded(bad[i].header), 0, bad[i].n_data));
        cr_assert_null(s);
        cr_expect(strstr(tlp_last_error(), bad[i].text), "%s: %s",
                  bad[i].header, tlp_last_error());
        cr_expect(strstr(tlp_last_error(), "x.st: ") == tlp_last_error());
    }
}

Test(safetensors, numbers_at_odd_addresses_are_refused)
{
    tlpi_safetensors *s = NULL;

    CHECK_FAILS(TLP_EFORMAT, open_text(&s, "{" A "}", 0, 4)); /* 59 + 8 */
    cr_expect(strstr(tlp_last_error(), "not aligned"), "%s", tlp_last_error());
    CHECK_OK(open_text(&s, padded("{" A "}"), 0, 4));
    tlpi_safetensors_close(s);
}

Test(safetensors, headers_longer_than_the_image_are_refused)
{
    static const uint64_t sizes[] = { 3, 1000, (uint64_t)9 << 20,
                                      UINT64_MAX - 7, UINT64_MAX };

    for (size_t i = 0; i < TLPI_COUNT(sizes); i++) {
        tlpi_safetensors *s = NULL;
        CHECK_FAILS(TLP_EFORMAT, open_text(&s, "{}", sizes[i], 0));
        cr_expect(strstr(tlp_last_error(), "a header of"), "%s",
                  tlp_last_error());
    }
}

Test(safetensors, no_tensors_and_four_dimensions_are_fine)
{
    tlpi_safetensors *s = NULL;

    CHECK_OK(open_text(&s, "{}", 0, 0));
    cr_expect_eq(s->n_tensor, 0);
    tlpi_safetensors_close(s);
    CHECK_OK(open_text(&s, padded(ENTRY("\"F16\"", "[5,4,3,2]", "[0,240]")), 0,
                       240));
    cr_expect_eq(s->tensor->n_dim, 4);
    cr_expect_eq(s->tensor->ne[0], 2);
    cr_expect_eq(s->tensor->ne[3], 5);
    tlpi_safetensors_close(s);
}
