/*
 * hf_slice.c - the matrix of one expert, as it stands in its file.
 *
 * gpt-oss has the numbers of gates and of ups in turns.  Its matrices are
 * transposed, or packed as MXFP4: a tensor has the codes of 32 numbers in 16
 * bytes, and another tensor the exponent of each 32.  A byte has two numbers
 * that are neighbours, the first one in its low half; in GGUF it has the
 * numbers i and 16 + i of a block.
 */
#include <stdio.h>
#include <string.h>

#include "file/safetensors.h"
#include "hf/hf_tensors.h"

enum { N_CODE = 32, TILE = 64 };

static bool is_pair(tlpi_hf_part part)
{
    return part == TLPI_HF_GATE_UP || part == TLPI_HF_GATE_UP_BIAS;
}

static bool is_bias(tlpi_hf_part part)
{
    return part >= TLPI_HF_GATE_BIAS;
}

/* A bias is a matrix of one column. */
int64_t tlpi_hf_slice_rows(const tlpi_hf_model *m, tlpi_hf_part part)
{
    return part == TLPI_HF_DOWN ? m->n_embd : m->n_ff_expert;
}

int64_t tlpi_hf_slice_cols(const tlpi_hf_model *m, tlpi_hf_part part)
{
    return is_bias(part)          ? 1
           : part == TLPI_HF_DOWN ? m->n_ff_expert
                                  : m->n_embd;
}

tlpi_dtype tlpi_hf_slice_type(const tlpi_hf_slice *s)
{
    return is_bias(s->part)             ? TLPI_F32
           : s->layout == TLPI_HF_CODES ? TLPI_MXFP4
                                        : s->type;
}

/* ==== shapes ============================================================= */

typedef struct slice_shape {
    int64_t ne[4];
} slice_shape;

static slice_shape shape_of(const tlpi_hf_model *m, const tlpi_hf_tensor *to)
{
    int64_t rows =
        tlpi_hf_slice_rows(m, to->part) * (is_pair(to->part) ? 2 : 1);
    int64_t cols = tlpi_hf_slice_cols(m, to->part), n = m->n_expert;

    if (is_bias(to->part))
        return (slice_shape){ { rows, n, 1, 1 } };
    switch (to->layout) {
    case TLPI_HF_COLUMNS:
        return (slice_shape){ { rows, cols, n, 1 } };
    case TLPI_HF_CODES:
        return (slice_shape){ { N_CODE / 2, cols / N_CODE, rows, n } };
    case TLPI_HF_SCALES:
        return (slice_shape){ { cols / N_CODE, rows, n, 1 } };
    default:
        return (slice_shape){ { cols, rows, is_pair(to->part) ? n : 1, 1 } };
    }
}

static tlp_status check_type(const tlpi_hf_tensor *to, const tlpi_tensor *t,
                             const char *where)
{
    bool bytes = to->layout == TLPI_HF_CODES || to->layout == TLPI_HF_SCALES;

    bool eight = t->type == TLPI_BYTES || t->type == TLPI_F8;
    const char *is = t->type == TLPI_BYTES ? "U8"
                     : t->type == TLPI_F8  ? "F8_E4M3"
                                           : tlpi_dtype_name(t->type);

    if (bytes ? t->type == TLPI_BYTES : !eight)
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP, "%s: tensor %.128s: dtype %s, %s expected",
                     where, t->name, is, bytes ? "U8" : "F32, F16 or BF16");
}

tlp_status tlpi_hf_slice_check(const tlpi_hf_model *m, const tlpi_hf_tensor *to,
                               const tlpi_tensor *t, const char *where)
{
    const bool bytes =
        to->layout == TLPI_HF_CODES || to->layout == TLPI_HF_SCALES;
    const slice_shape want = shape_of(m, to);
    char rest[32] = "";

    if (to->expert >= m->n_expert)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %.128s: %s is %d, an expert from 0 to %d "
                         "expected",
                         where, t->name, m->expert_key, m->n_expert,
                         m->n_expert - 1);
    if (bytes && tlpi_hf_slice_cols(m, to->part) % N_CODE != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %.128s: rows of %lld numbers, a multiple "
                         "of %d expected",
                         where, t->name,
                         (long long)tlpi_hf_slice_cols(m, to->part), N_CODE);
    if (memcmp(t->ne, want.ne, sizeof want.ne) == 0)
        return check_type(to, t, where);
    if (want.ne[3] > 1)
        snprintf(rest, sizeof rest, " x %lld", (long long)want.ne[3]);
    return tlpi_fail(TLP_EFORMAT,
                     "%s: tensor %.128s: shape %lld x %lld x %lld x %lld, "
                     "%lld x %lld x %lld%s expected",
                     where, t->name, (long long)t->ne[0], (long long)t->ne[1],
                     (long long)t->ne[2], (long long)t->ne[3],
                     (long long)want.ne[0], (long long)want.ne[1],
                     (long long)want.ne[2], rest);
}

/* ==== where a matrix begins ============================================== */

/* Bytes from a row to the next of its matrix, or of numbers of a column. */
static size_t unit_of(const tlpi_hf_model *m, const tlpi_hf_slice *s)
{
    size_t cols = (size_t)tlpi_hf_slice_cols(m, s->part);

    switch (s->layout) {
    case TLPI_HF_COLUMNS:
        return (size_t)tlpi_dtype_get((uint32_t)s->type)->size;
    case TLPI_HF_CODES:
        return cols / 2;
    case TLPI_HF_SCALES:
        return cols / N_CODE;
    default:
        return tlpi_row_bytes(s->type, (int64_t)cols);
    }
}

tlpi_hf_slice tlpi_hf_slice_of(const tlpi_hf_model *m, const tlpi_hf_tensor *to,
                               const tlpi_tensor *t, tlpi_hf_part part,
                               int expert)
{
    const bool pair = is_pair(to->part);
    const bool second = part == TLPI_HF_UP || part == TLPI_HF_UP_BIAS;
    size_t rows = (size_t)tlpi_hf_slice_rows(m, part);
    tlpi_hf_slice s = { .layer = to->layer,
                        .expert = expert,
                        .part = part,
                        .layout = to->layout,
                        .type = t->type,
                        .step = pair && to->layout != TLPI_HF_ROWS ? 2 : 1,
                        .data = t->data };

    if (pair || to->layout != TLPI_HF_ROWS) /* else of one expert */
        s.data += t->n_bytes / (size_t)m->n_expert * (size_t)expert;
    if (pair && second)
        s.data += unit_of(m, &s) * (s.step == 2 ? 1 : rows);
    return s;
}

/* ==== copies ============================================================= */

static void copy_columns(const tlpi_hf_model *m, const tlpi_hf_slice *s,
                         uint8_t *out)
{
    int64_t rows = tlpi_hf_slice_rows(m, s->part);
    int64_t cols = tlpi_hf_slice_cols(m, s->part);
    size_t size = unit_of(m, s), step = size * (size_t)s->step;

    for (int64_t r0 = 0; r0 < rows; r0 += TILE)
        for (int64_t c = 0; c < cols; c++)
            for (int64_t r = r0; r < rows && r < r0 + TILE; r++)
                memcpy(out + (size_t)(r * cols + c) * size,
                       s->data + (size_t)(c * rows + r) * step, size);
}

static void copy_bias(const tlpi_hf_model *m, const tlpi_hf_slice *s,
                      uint8_t *out)
{
    size_t step = unit_of(m, s) * (size_t)s->step;
    float *x = (float *)(void *)out;

    for (int64_t r = 0; r < tlpi_hf_slice_rows(m, s->part); r++)
        tlpi_dequantize(s->type, s->data + (size_t)r * step, &x[r], 1);
}

static int code_at(const uint8_t *codes, int i)
{
    return codes[i / 2] >> (i % 2 ? 4 : 0) & 15;
}

/* A block of GGUF: the exponent, then the codes. */
static void copy_block(const uint8_t *codes, uint8_t scale, uint8_t *out)
{
    out[0] = scale;
    for (int i = 0; i < N_CODE / 2; i++)
        out[1 + i] =
            (uint8_t)(code_at(codes, i) | code_at(codes, N_CODE / 2 + i) << 4);
}

static void copy_codes(const tlpi_hf_model *m, const tlpi_hf_slice *s,
                       const tlpi_hf_slice *scales, uint8_t *out)
{
    size_t n = (size_t)tlpi_hf_slice_cols(m, s->part) / N_CODE;
    size_t rows = (size_t)tlpi_hf_slice_rows(m, s->part);
    size_t code_step = unit_of(m, s) * (size_t)s->step;
    size_t scale_step = unit_of(m, scales) * (size_t)scales->step;
    size_t size = (size_t)tlpi_dtype_get(TLPI_MXFP4)->size;

    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++, out += size)
            copy_block(s->data + r * code_step + i * (N_CODE / 2),
                       scales->data[r * scale_step + i], out);
}

void tlpi_hf_slice_copy(const tlpi_hf_model *m, const tlpi_hf_slice *s,
                        const tlpi_hf_slice *scales, uint8_t *out)
{
    if (s->layout == TLPI_HF_CODES)
        copy_codes(m, s, scales, out);
    else if (is_bias(s->part))
        copy_bias(m, s, out);
    else if (s->layout == TLPI_HF_COLUMNS)
        copy_columns(m, s, out);
    else
        memcpy(out, s->data,
               unit_of(m, s) * (size_t)tlpi_hf_slice_rows(m, s->part));
}
