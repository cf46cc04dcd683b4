/*
 * hf_fp8.c - matrices of 8-bit floating-point numbers (quant_method "fp8").
 *
 * A number has a sign, 4 bits of exponent and 3 of mantissa (E4M3, without
 * infinities).  It stands for itself times a scale, of which there is one for
 * the matrix or one for each block of weight_block_size, in the tensor NAME +
 * "_scale_inv" of the same file.  The model has the products in BF16, as
 * transformers makes them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "file/safetensors.h"
#include "hf/hf_tensors.h"

#define SCALE "_scale_inv"
#define MAX_BLOCK 4096 /* has 13 bits: hf_shard.c */

/* ==== keys =============================================================== */

static const tlpi_hf_rule rules[] = {
    { .key = "quant_method" },
    { .key = "fmt" },
    { .key = "weight_block_size" },
    /* of activations, which are not rounded to 8 bits here */
    { .key = "activation_scheme" },
    { .key = "dequantize" },
    /* the tensors tell */
    { .key = "modules_to_not_convert" },
    { .key = "ignored_layers" },
};

static tlp_status read_block(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    static const char key[] = "weight_block_size";
    json_t *list;
    tlp_status st = tlpi_hf_list(at, key, &list);

    if (st != TLP_OK || !list)
        return st;
    json_int_t rows = json_integer_value(json_array_get(list, 0));
    json_int_t cols = json_integer_value(json_array_get(list, 1));

    if (json_array_size(list) != 2 || rows < 1 || rows > MAX_BLOCK ||
        cols < 1 || cols > MAX_BLOCK)
        return tlpi_hf_refuse(TLP_EFORMAT, at, key,
                              "two sizes from 1 to %d expected", MAX_BLOCK);
    m->fp8_rows = (int)rows;
    m->fp8_cols = (int)cols;
    return TLP_OK;
}

/* In a model that reads images too, the root has the key. */
tlp_status tlpi_hf_fp8_read(tlpi_hf_model *m, const tlpi_hf_at *text)
{
    static const char key[] = "quantization_config";
    const tlpi_hf_at root = tlpi_hf_root(&m->config);
    const char *method = NULL, *fmt = "e4m3";
    tlpi_hf_at at;
    tlp_status st;

    TLP_TRY(tlpi_hf_enter(&at, text, key));
    if (!at.object && m->arch->inner)
        TLP_TRY(tlpi_hf_enter(&at, &root, key));
    if (!at.object)
        return TLP_OK;
    TLP_TRY(tlpi_hf_str(&at, "quant_method", true, &method));
    if (strcmp(method, "fp8") != 0)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, &at, "quant_method",
                               "\"fp8\" expected"));
    TLP_TRY(tlpi_hf_check(&at, rules, TLPI_COUNT(rules)));
    TLP_TRY(tlpi_hf_str(&at, "fmt", false, &fmt));
    if (strcmp(fmt, "e4m3") != 0)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, &at, "fmt", "\"e4m3\" expected"));
    m->fp8 = true;
    st = read_block(m, &at);
done:
    return st;
}

/* ==== names ============================================================== */

static bool ends_in(const char *name, const char *tail)
{
    size_t n = strlen(name), m = strlen(tail);

    return n > m && strcmp(name + n - m, tail) == 0;
}

tlpi_hf_fp8_part tlpi_hf_fp8_name(const tlpi_hf_model *m, const char *name)
{
    if (!m->fp8)
        return TLPI_HF_FP8_NONE;
    if (ends_in(name, ".weight" SCALE))
        return TLPI_HF_FP8_SCALE;
    return ends_in(name, ".activation_scale") || ends_in(name, ".input_scale")
               ? TLPI_HF_FP8_OTHER
               : TLPI_HF_FP8_NONE;
}

/* ==== scales ============================================================= */

/* Blocks of a dimension; size 0: one. */
static int64_t n_block(int64_t n, int size)
{
    return size ? (n + size - 1) / size : 1;
}

static tlp_status check_matrix(const tlpi_hf_tensor *to, const tlpi_tensor *t,
                               const char *where)
{
    bool whole =
        to->part == TLPI_HF_NO_PART &&
        (to->change == TLPI_HF_KEEP || to->change == TLPI_HF_PERMUTE_Q ||
         to->change == TLPI_HF_PERMUTE_K);

    return t->n_dim == 2 && whole && !to->is_bias
               ? TLP_OK
               : tlpi_fail(TLP_ENOTSUP,
                           "%s: tensor %.128s: dtype F8_E4M3, which is read of "
                           "matrices outside of experts alone",
                           where, t->name);
}

static tlp_status check_scale(const tlpi_hf_model *m, const tlpi_tensor *t,
                              const tlpi_tensor *scale, const char *where)
{
    int64_t cols = n_block(t->ne[0], m->fp8_cols);
    int64_t rows = n_block(t->ne[1], m->fp8_rows);
    int64_t n = tlpi_hf_count(scale);

    if (scale->type == TLPI_BYTES || scale->type == TLPI_F8)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: tensor %.128s: dtype F32, F16 or BF16 expected",
                         where, scale->name);
    if (m->fp8_rows
            ? scale->ne[0] == cols && scale->ne[1] == rows && n == rows * cols
            : n == 1)
        return TLP_OK;
    return tlpi_fail(
        TLP_EFORMAT, "%s: tensor %.128s: %lld numbers, %lld x %lld expected",
        where, scale->name, (long long)n, (long long)rows, (long long)cols);
}

static int by_name(const void *a, const void *b)
{
    const tlpi_tensor *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static const tlpi_tensor *find(const tlpi_tensor *const *sorted, size_t n,
                               const char *name)
{
    const tlpi_tensor key = { .name = name }, *at = &key;
    const tlpi_tensor *const *found =
        bsearch(&at, sorted, n, sizeof(*sorted), by_name);

    return found ? *found : NULL;
}

/* Pair matrices and scales by their names. */
static tlp_status pair(const tlpi_hf_model *m, const tlpi_safetensors *file,
                       tlpi_hf_tensor *to, const tlpi_tensor *const *sorted,
                       const char *where)
{
    size_t n_scale = 0, n_pair = 0;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < file->n_tensor; i++) {
        const tlpi_tensor *t = &file->tensor[i];
        char name[512];

        n_scale += tlpi_hf_fp8_name(m, t->name) == TLPI_HF_FP8_SCALE;
        if (t->type != TLPI_F8 || (!to[i].name[0] && !to[i].part))
            continue;
        TLP_TRY(check_matrix(&to[i], t, where));
        snprintf(name, sizeof name, "%.480s" SCALE, t->name);
        to[i].scale = find(sorted, file->n_tensor, name);
        if (!to[i].scale)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: tensor %.128s: dtype F8_E4M3, but the file "
                             "has no %.140s",
                             where, t->name, name);
        TLP_TRY(check_scale(m, t, to[i].scale, where));
        n_pair++;
    }
    if (n_pair == n_scale)
        return TLP_OK;
    for (size_t i = 0; i < file->n_tensor; i++) {
        const tlpi_tensor *t = &file->tensor[i], *of;
        char name[512];

        if (tlpi_hf_fp8_name(m, t->name) != TLPI_HF_FP8_SCALE)
            continue;
        snprintf(name, sizeof name, "%.480s", t->name);
        name[strlen(name) - strlen(SCALE)] = '\0';
        of = find(sorted, file->n_tensor, name);
        if (!of || (of->type != TLPI_F8 && !to[i].is_out))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: tensor %.128s: the file has no F8_E4M3 "
                             "tensor %.128s",
                             where, t->name, name);
    }
done:
    return st;
}

tlp_status tlpi_hf_fp8_pair(const tlpi_hf_model *m,
                            const tlpi_safetensors *file, tlpi_hf_tensor *to,
                            const char *where)
{
    const tlpi_tensor **sorted;
    tlp_status st;

    if (!m->fp8)
        return TLP_OK;
    sorted = tlpi_alloc_array(m->env, file->n_tensor, sizeof *sorted);
    if (!sorted)
        return tlpi_fail_nomem_for("the tensors of a model");
    for (size_t i = 0; i < file->n_tensor; i++)
        sorted[i] = &file->tensor[i];
    qsort(sorted, file->n_tensor, sizeof *sorted, by_name);
    st = pair(m, file, to, sorted, where);
    tlpi_free(m->env, sorted);
    return st;
}

/* ==== numbers ============================================================ */

static float value_of(uint8_t x)
{
    int exponent = x >> 3 & 15, mantissa = x & 7;
    float y = exponent ? ldexpf((float)(8 + mantissa), exponent - 10)
                       : ldexpf((float)mantissa, -9);

    if ((x & 0x7f) == 0x7f)
        y = NAN;
    return x & 0x80 ? -y : y;
}

void tlpi_hf_fp8_values(float value[256])
{
    for (int i = 0; i < 256; i++)
        value[i] = value_of((uint8_t)i);
}

bool tlpi_hf_fp8_row(const tlpi_hf_model *m, const float value[256],
                     const tlpi_tensor *t, const tlpi_tensor *scale,
                     int64_t row, uint16_t *out)
{
    const uint8_t *x = (const uint8_t *)t->data + row * t->ne[0];
    int64_t size = m->fp8_cols ? m->fp8_cols : t->ne[0];
    int64_t n = n_block(t->ne[0], m->fp8_cols);
    int64_t first = m->fp8_rows ? row / m->fp8_rows * n : 0;
    size_t width = (size_t)tlpi_dtype_get((uint32_t)scale->type)->size;
    bool fine = true;
    float s;

    for (int64_t b = 0; b < n; b++) {
        int64_t end = TLPI_MIN((b + 1) * size, t->ne[0]);

        tlpi_dequantize(
            scale->type,
            (const uint8_t *)scale->data + (size_t)(first + b) * width, &s, 1);
        for (int64_t i = b * size; i < end; i++) {
            float y = value[x[i]] * s;

            fine = fine && isfinite(y);
            out[i] = tlpi_f32_to_bf16(y);
        }
    }
    return fine;
}
