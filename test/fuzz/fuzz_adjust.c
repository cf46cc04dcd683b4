/*
 * fuzz_adjust.c - any bytes as adjustments of a plan: as an image, and, behind
 * a size of the data, as the tensors of one whose origin is right.  What is
 * accepted must be finite, of fitting ranks, and within the image.
 */
#include <math.h>
#include <string.h>

#include "plan/adjust.h"
#include "support/fake_model.h"
#include "fuzz.h"

#define D 8
#define PLAN "par:1-2;drop:5"

static const tlp_plan *plan;

static void check_tensor(const tlpi_adjust *a, const tlpi_tensor *t)
{
    const char *begin = a->image, *at = t->data;
    float x;

    promise(at >= begin && at + t->n_bytes <= begin + a->n_image);
    for (int64_t i = 0; i < t->ne[0] * t->ne[1]; i++) {
        tlpi_dequantize(t->type, at + i * tlpi_dtype_get(t->type)->size, &x, 1);
        promise(isfinite(x));
    }
}

static void check_pair(const tlpi_adjust *a, const tlpi_tensor *down,
                       const tlpi_tensor *up, int rank)
{
    promise(rank >= 0 && rank <= D / 2);
    if (rank == 0)
        return;
    promise(down->ne[0] == D && down->ne[1] == rank);
    promise(up->ne[0] == rank && up->ne[1] == D);
    check_tensor(a, down);
    check_tensor(a, up);
}

static void check_member(const tlpi_adjust *a, const tlpi_stage_adjust *s,
                         const tlpi_member_adjust *m)
{
    promise(isfinite(m->attn_gain) && isfinite(m->ffn_gain));
    if (m->attn_norm)
        check_tensor(a, m->attn_norm);
    if (m->ffn_norm)
        check_tensor(a, m->ffn_norm);
    check_pair(a, &m->attn_in.down, &m->attn_in.up, m->attn_in.rank);
    check_pair(a, &m->ffn_in.down, &m->ffn_in.up, m->ffn_in.rank);
    check_pair(a, &m->out_down, &s->out_up, s->out_rank);
}

static void check_lora(const tlpi_adjust *a, const tlp_model *m)
{
    for (int l = 0; a->lora && l < m->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_lowrank *p = &a->lora[l].pair[i];
            const tlpi_tensor *w = m->w.layer[l].t[i];

            promise(p->rank >= 0 && p->rank <= D);
            if (p->rank == 0)
                continue;
            promise(p->down.ne[0] == w->ne[0] && p->down.ne[1] == p->rank);
            promise(p->up.ne[0] == p->rank && p->up.ne[1] == w->ne[1]);
            check_tensor(a, &p->down);
            check_tensor(a, &p->up);
        }
}

/* Takes the image over. */
static void try_image(void *image, size_t n)
{
    tlp_plan *p = NULL;

    if (tlpi_plan_with_adjust(&p, plan, image, n, "fuzz") != TLP_OK) {
        promise(!p && *tlp_last_error() != '\0');
        return;
    }
    for (int i = 0; i < p->n_stage; i++) {
        const tlpi_stage_adjust *s = &p->adjust->stage[i];
        for (int j = 0; s->member && j < p->stage[i].n_member; j++)
            check_member(p->adjust, s, &s->member[j]);
    }
    check_lora(p->adjust, p->model);
    tlp_plan_free(p);
}

static void *allocate(size_t n)
{
    void *p = tlpi_alloc(&plan->model->env, n);

    promise(p != NULL);
    return p;
}

static void try_raw(const uint8_t *data, size_t n)
{
    void *image = allocate(n);

    if (n > 0)
        memcpy(image, data, n);
    try_image(image, n);
}

/* Two bytes for the size of the data, then the entries of the header. */
static void try_entries(const uint8_t *data, size_t size)
{
    tlpi_text text = { .env = &plan->model->env };

    if (size < 2)
        return;
    size_t n_data = (size_t)data[0] | (size_t)data[1] << 8;
    tlpi_text_printf(&text,
                     "{\"__metadata__\":{\"tlp_adjust\":\"1\",\"model\":\"%s\","
                     "\"plan\":\"" PLAN "\"},",
                     tlpi_model_fingerprint(plan->model));
    tlpi_text_add(&text, (const char *)data + 2, size - 2);
    while (!text.failed && text.len % 8 != 0)
        tlpi_text_add(&text, " ", 1);
    promise(!text.failed);
    uint8_t *image = allocate(8 + text.len + n_data);
    for (int i = 0; i < 8; i++)
        image[i] = (uint8_t)((uint64_t)text.len >> (8 * i));
    memcpy(image + 8, text.data, text.len);
    memset(image + 8 + text.len, 0x3c, n_data);
    try_image(image, 8 + text.len + n_data);
    tlpi_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fake_shape shape = { 6, D, 16, 2, 1, 4, 16 };
    static const tlpi_dtype f32[] = { TLPI_F32 };
    tlp_model *m = fake_model(&shape, f32, 1);
    tlp_plan *p = NULL;

    promise(tlp_plan_parse(&p, m, PLAN) == TLP_OK);
    plan = p;
    try_raw(data, size);
    try_entries(data, size);
    tlp_plan_free(p);
    tlp_model_free(m);
    return 0;
}
