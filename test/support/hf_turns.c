/*
 * hf_turns.c - the tensors of gpt-oss's experts: numbers of gates and ups in
 * turns, transposed or as codes of MXFP4.
 */
#include "hf_source.h"

enum { N_CODE = 32, BLOCK = 17 };

size_t hf_list_turns(const hf_source *s, const tlpi_tensor *t,
                     const tlpi_tensor *up, hf_item *out)
{
    bool bias = strstr(t->name, ".bias") != NULL;

    if (strstr(t->name, "up_exps."))
        return 0;
    if (bias) {
        out[0] = (hf_item){ t, up, -1, up ? HF_BIASES : HF_ROWS };
        return 1;
    }
    if (!s->spec->packed) {
        out[0] = (hf_item){ t, up, -1, HF_COLUMNS };
        return 1;
    }
    out[0] = (hf_item){ t, up, -1, HF_CODES };
    out[1] = (hf_item){ t, up, -1, HF_SCALES };
    return 2;
}

void hf_name_turns(const hf_item *x, char *out, size_t cap)
{
    static const char *const tails[] = { [HF_COLUMNS] = "",
                                         [HF_CODES] = "_blocks",
                                         [HF_SCALES] = "_scales",
                                         [HF_BIASES] = "_bias" };

    snprintf(out, cap, "mlp.experts.%s_proj%s", x->up ? "gate_up" : "down",
             tails[x->kind]);
}

void hf_shape_turns(const hf_source *s, const hf_item *x,
                    tlpi_safetensors_part *p)
{
    int64_t cols = x->t->ne[0], rows = x->t->ne[1] * (x->up ? 2 : 1);
    int64_t n = x->t->ne[2];
    bool packed = x->kind == HF_CODES || x->kind == HF_SCALES;

    p->type = packed ? TLPI_BYTES : s->spec->vector;
    p->n_dim = x->kind == HF_CODES ? 4 : x->kind == HF_BIASES ? 2 : 3;
    if (x->kind == HF_COLUMNS) {
        bool is_float = x->t->type == TLPI_F32 || x->t->type == TLPI_F16 ||
                        x->t->type == TLPI_BF16;

        p->type = is_float ? x->t->type : TLPI_F32;
        memcpy(p->ne, (int64_t[4]){ rows, cols, n, 1 }, sizeof p->ne);
    } else if (x->kind == HF_CODES) {
        memcpy(p->ne, (int64_t[4]){ N_CODE / 2, cols / N_CODE, rows, n },
               sizeof p->ne);
    } else if (x->kind == HF_SCALES) {
        memcpy(p->ne, (int64_t[4]){ cols / N_CODE, rows, n, 1 }, sizeof p->ne);
    } else { /* the file has a row of biases for each expert */
        memcpy(p->ne, (int64_t[4]){ 2 * cols, x->t->ne[1], 1, 1 },
               sizeof p->ne);
    }
}

/* ==== data =============================================================== */

static const uint8_t *row_of(const tlpi_tensor *t, int64_t row)
{
    return (const uint8_t *)t->data +
           (size_t)row * tlpi_row_bytes(t->type, t->ne[0]);
}

static void put(const tlpi_safetensors_part *p, int64_t at, float x)
{
    size_t size = p->type == TLPI_F32 ? 4 : 2;

    tlpi_quantize(p->type, &x, p->data + (size_t)at * size, 1);
}

/* Matrix e of t, its row r at every `step`th place from `first`. */
static void copy_columns(const tlpi_tensor *t, const tlpi_safetensors_part *p,
                         int64_t e, int first, int step)
{
    int64_t cols = t->ne[0], rows = t->ne[1];
    float *x = malloc((size_t)cols * sizeof *x);

    NEED(x);
    for (int64_t r = 0; r < rows; r++) {
        tlpi_dequantize(t->type, row_of(t, e * rows + r), x, cols);
        for (int64_t c = 0; c < cols; c++)
            put(p, ((e * cols + c) * rows + r) * step + first, x[c]);
    }
    free(x);
}

static void copy_biases(const tlpi_tensor *t, const tlpi_safetensors_part *p,
                        int first)
{
    const float *x = t->data;

    for (int64_t i = 0; i < t->ne[0] * t->ne[1]; i++)
        put(p, 2 * i + first, x[i]);
}

static int code(const uint8_t *block, int i)
{
    return i < N_CODE / 2 ? block[1 + i] & 15 : block[1 + i - N_CODE / 2] >> 4;
}

static void copy_packed(const tlpi_tensor *t, const hf_item *x,
                        const tlpi_safetensors_part *p, int first, int step)
{
    int64_t n = t->ne[0] / N_CODE;

    NEED(t->type == TLPI_MXFP4);
    for (int64_t r = 0; r < t->ne[1] * t->ne[2]; r++)
        for (int64_t i = 0; i < n; i++) {
            const uint8_t *block = row_of(t, r) + i * BLOCK;
            int64_t at = (r * step + first) * n + i;

            if (x->kind == HF_SCALES)
                p->data[at] = block[0];
            for (int k = 0; x->kind == HF_CODES && k < N_CODE / 2; k++)
                p->data[at * N_CODE / 2 + k] =
                    (uint8_t)(code(block, 2 * k) | code(block, 2 * k + 1) << 4);
        }
}

void hf_copy_turns(const hf_item *x, const tlpi_safetensors_part *p)
{
    const tlpi_tensor *of[] = { x->t, x->up };
    int step = x->up ? 2 : 1;

    for (int i = 0; i < step; i++) {
        if (x->kind == HF_BIASES)
            copy_biases(of[i], p, i);
        else if (x->kind != HF_COLUMNS)
            copy_packed(of[i], x, p, i, step);
        for (int64_t e = 0; x->kind == HF_COLUMNS && e < x->t->ne[2]; e++)
            copy_columns(of[i], p, e, i, step);
    }
}
