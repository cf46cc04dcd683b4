/*
 * gguf_read.c - values of an opened GGUF file, by type and as text.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "file/gguf_parse.h"

#define MAX_SHOWN 8      /* printed elements of an array */
#define MAX_SHOWN_STR 48 /* printed bytes of a string in an array */

/* ==== elements =========================================================== */

static bool is_signed(tlpi_gguf_type type)
{
    return type == TLPI_GGUF_I8 || type == TLPI_GGUF_I16 ||
           type == TLPI_GGUF_I32 || type == TLPI_GGUF_I64;
}

static bool is_unsigned(tlpi_gguf_type type)
{
    return type == TLPI_GGUF_U8 || type == TLPI_GGUF_U16 ||
           type == TLPI_GGUF_U32 || type == TLPI_GGUF_U64 ||
           type == TLPI_GGUF_BOOL;
}

bool tlpi_gguf_is_integer(tlpi_gguf_type type)
{
    return is_signed(type) || (is_unsigned(type) && type != TLPI_GGUF_BOOL);
}

/* The bytes of a scalar in the low end of a word. */
static uint64_t raw(const tlpi_gguf_kv *kv, uint64_t i)
{
    size_t size = tlpi_gguf_type_size(kv->type);
    uint64_t x = 0;

    memcpy(&x, kv->data + i * size, size);
    return x;
}

static int64_t sign_extend(uint64_t x, size_t size)
{
    uint64_t sign = (uint64_t)1 << (8 * size - 1);

    return (int64_t)((x ^ sign) - sign);
}

double tlpi_gguf_elem_f64(const tlpi_gguf_kv *kv, uint64_t i)
{
    uint64_t x = raw(kv, i);

    if (kv->type == TLPI_GGUF_F32) {
        float f;
        memcpy(&f, &x, sizeof f);
        return (double)f;
    }
    if (kv->type == TLPI_GGUF_F64) {
        double d;
        memcpy(&d, &x, sizeof d);
        return d;
    }
    if (is_signed(kv->type))
        return (double)sign_extend(x, tlpi_gguf_type_size(kv->type));
    return (double)x;
}

int64_t tlpi_gguf_elem_i64(const tlpi_gguf_kv *kv, uint64_t i)
{
    if (is_signed(kv->type))
        return sign_extend(raw(kv, i), tlpi_gguf_type_size(kv->type));
    if (is_unsigned(kv->type)) {
        uint64_t x = raw(kv, i);
        return x > INT64_MAX ? INT64_MAX : (int64_t)x;
    }
    double d = tlpi_gguf_elem_f64(kv, i);
    if (!(d > -0x1p63))
        return INT64_MIN;
    return d >= 0x1p63 ? INT64_MAX : (int64_t)d;
}

tlpi_str tlpi_gguf_next_str(const uint8_t **at)
{
    uint64_t n;

    memcpy(&n, *at, sizeof n);
    tlpi_str s = { (const char *)*at + sizeof n, (size_t)n };
    *at += sizeof n + n;
    return s;
}

/* ==== typed reads ======================================================== */

/* A scalar value, or NULL; *st tells whether NULL is a failure. */
static const tlpi_gguf_kv *find_scalar(const tlpi_gguf *g, const char *key,
                                       bool need, tlp_status *st)
{
    const tlpi_gguf_kv *kv = tlpi_gguf_find(g, key);

    *st = TLP_OK;
    if (!kv && need)
        *st = tlpi_fail(TLP_EFORMAT, "%s: key %s is missing", g->path, key);
    if (!kv || !kv->is_array)
        return kv;
    *st = tlpi_fail(TLP_EFORMAT, "%s: key %s: an array, one value expected",
                    g->path, key);
    return NULL;
}

static tlp_status wrong_type(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                             const char *expected)
{
    return tlpi_fail(TLP_EFORMAT, "%s: key %s: of type %s, %s expected",
                     g->path, kv->key, tlpi_gguf_type_name(kv->type), expected);
}

tlp_status tlpi_gguf_get_u32(const tlpi_gguf *g, const char *key, bool need,
                             uint32_t *out)
{
    tlp_status st;
    const tlpi_gguf_kv *kv = find_scalar(g, key, need, &st);

    if (!kv)
        return st;
    if (!tlpi_gguf_is_integer(kv->type))
        return wrong_type(g, kv, "an integer");
    int64_t x = tlpi_gguf_elem_i64(kv, 0);
    if (x < 0 || x > UINT32_MAX)
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: %lld, 0 to %lu expected",
                         g->path, key, (long long)x, (unsigned long)UINT32_MAX);
    *out = (uint32_t)x;
    return TLP_OK;
}

tlp_status tlpi_gguf_get_f32(const tlpi_gguf *g, const char *key, bool need,
                             float *out)
{
    tlp_status st;
    const tlpi_gguf_kv *kv = find_scalar(g, key, need, &st);

    if (!kv)
        return st;
    if (kv->type != TLPI_GGUF_F32 && kv->type != TLPI_GGUF_F64)
        return wrong_type(g, kv, "a float");
    double x = tlpi_gguf_elem_f64(kv, 0);
    if (isfinite(x) && fabs(x) > (double)FLT_MAX)
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: %g, at most %g expected",
                         g->path, key, x, (double)FLT_MAX);
    *out = (float)x;
    return TLP_OK;
}

tlp_status tlpi_gguf_get_bool(const tlpi_gguf *g, const char *key, bool need,
                              bool *out)
{
    tlp_status st;
    const tlpi_gguf_kv *kv = find_scalar(g, key, need, &st);

    if (!kv)
        return st;
    if (kv->type != TLPI_GGUF_BOOL)
        return wrong_type(g, kv, "a bool");
    *out = kv->data[0] != 0;
    return TLP_OK;
}

tlp_status tlpi_gguf_get_str(const tlpi_gguf *g, const char *key, bool need,
                             tlpi_str *out)
{
    tlp_status st;
    const tlpi_gguf_kv *kv = find_scalar(g, key, need, &st);

    if (!kv)
        return st;
    if (kv->type != TLPI_GGUF_STRING)
        return wrong_type(g, kv, "a string");
    const uint8_t *at = kv->data;
    *out = tlpi_gguf_next_str(&at);
    return TLP_OK;
}

/* ==== text =============================================================== */

static void format_number(const tlpi_gguf_kv *kv, uint64_t i, tlpi_text *out)
{
    if (kv->type == TLPI_GGUF_BOOL)
        tlpi_text_printf(out, "%s", raw(kv, i) ? "true" : "false");
    else if (is_signed(kv->type))
        tlpi_text_printf(out, "%" PRId64, tlpi_gguf_elem_i64(kv, i));
    else if (is_unsigned(kv->type))
        tlpi_text_printf(out, "%" PRIu64, raw(kv, i));
    else
        tlpi_text_printf(out, kv->type == TLPI_GGUF_F32 ? "%.9g" : "%.17g",
                         tlpi_gguf_elem_f64(kv, i));
}

/* Print a string of an array: quoted, on one line, cut. */
static void format_quoted(tlpi_str s, tlpi_text *out)
{
    char line[MAX_SHOWN_STR + 1];
    bool cut = s.n > MAX_SHOWN_STR;
    size_t n = TLPI_MIN(s.n, (size_t)MAX_SHOWN_STR);

    memcpy(line, s.s, n);
    tlpi_clean_line(line, n, cut);
    tlpi_text_printf(out, "\"%s%s\"", line, cut ? "..." : "");
}

void tlpi_gguf_format(const tlpi_gguf_kv *kv, tlpi_text *out)
{
    const uint8_t *at = kv->data;

    if (!kv->is_array && kv->type == TLPI_GGUF_STRING) {
        tlpi_str s = tlpi_gguf_next_str(&at);
        tlpi_text_add(out, s.s, s.n);
        return;
    }
    if (!kv->is_array) {
        format_number(kv, 0, out);
        return;
    }
    tlpi_text_printf(out, "%s[%" PRIu64 "]", tlpi_gguf_type_name(kv->type),
                     kv->n);
    for (uint64_t i = 0; i < kv->n && i < MAX_SHOWN; i++) {
        tlpi_text_add(out, i ? ", " : " ", i ? 2 : 1);
        if (kv->type == TLPI_GGUF_STRING)
            format_quoted(tlpi_gguf_next_str(&at), out);
        else
            format_number(kv, i, out);
    }
    if (kv->n > MAX_SHOWN)
        tlpi_text_add(out, ", ...", 5);
}
