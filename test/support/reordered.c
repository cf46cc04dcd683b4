/*
 * reordered.c - compare a model with its copy in another order of hidden units.
 */
#include "reordered.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

float reordered_element(const tlpi_tensor *t, int64_t row, int64_t col)
{
    float x[512];

    cr_assert_leq(t->ne[0], 512);
    tlpi_dequantize(t->type,
                    (const char *)t->data +
                        (size_t)row * tlpi_row_bytes(t->type, t->ne[0]),
                    x, t->ne[0]);
    return x[col];
}

void reordered_keeps_rest(const tlp_model *a, const tlp_model *b)
{
    const tlpi_gguf *x = a->file[0], *y = b->file[0];

    cr_assert_eq(b->n_file, 1);
    if (a->n_file == 1)
        cr_assert_eq(x->n_kv, y->n_kv);
    for (size_t i = 0, j = 0; i < x->n_kv; i++) {
        if (strncmp(x->kv[i].key, "split.", 6) == 0)
            continue;
        cr_expect_str_eq(x->kv[i].key, y->kv[j].key);
        cr_expect_eq(x->kv[i].type, y->kv[j].type);
        cr_assert_eq(x->kv[i].n_bytes, y->kv[j].n_bytes);
        cr_expect_eq(memcmp(x->kv[i].data, y->kv[j].data, y->kv[j].n_bytes), 0);
        j++;
    }
    for (size_t f = 0; f < a->n_file; f++)
        for (size_t i = 0; i < a->file[f]->n_tensor; i++) {
            const tlpi_tensor *t = &a->file[f]->tensor[i];
            const tlpi_tensor *u = tlpi_model_tensor(b, t->name);

            cr_assert(u && u->type == t->type && u->n_bytes == t->n_bytes);
            if (!strstr(t->name, "ffn_gate") && !strstr(t->name, "ffn_up") &&
                !strstr(t->name, "ffn_down"))
                cr_expect_eq(memcmp(t->data, u->data, t->n_bytes), 0, "%s",
                             t->name);
        }
}

void reordered_is_same(tlp_model *a, tlp_model *b, const text_windows *text)
{
    size_t n = (size_t)text->n * (size_t)a->hp.n_vocab;
    float *x = text_serial_logits(a, text), *y = text_serial_logits(b, text);
    double scale = 0;

    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)x[i]));
    cr_expect_lt(rig_diff_f(x, y, n), 2e-5 * scale);
    cr_expect_gt(rig_diff_f(x, y, n), 0, "no unit moved");
    for (int t = 0; t < text->n; t++) {
        const float *p = x + (size_t)t * (size_t)a->hp.n_vocab;
        const float *q = y + (size_t)t * (size_t)a->hp.n_vocab;
        int i = 0, j = 0;

        for (int k = 1; k < a->hp.n_vocab; k++) {
            i = p[k] > p[i] ? k : i;
            j = q[k] > q[j] ? k : j;
        }
        cr_expect_eq(i, j, "token %d", t);
    }
    free(y);
    free(x);
}
