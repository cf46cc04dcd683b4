/*
 * adjust_make.c - make the image of a file from the fits of all stages.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/adjust.h"
#include "plan/plan_sketch.h"

/* Tensors of a layer: two norms, two gains, three pairs. */
#define MAX_PARTS 10

#define F16_MAX 65504.0f

typedef struct image_maker {
    int64_t d;
    tlpi_safetensors_part *part; /* [n]; part i is read from from[i] */
    const float **from;
    size_t n;
} image_maker;

static bool fits_f16(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (fabsf(x[i]) > F16_MAX)
            return false;
    }
    return true;
}

/* Add a tensor to the list; rows 0: a vector. */
static void add(image_maker *m, int layer, const char *name, const float *from,
                int64_t rows, int64_t cols)
{
    tlpi_safetensors_part *p = &m->part[m->n];

    if (!from)
        return;
    m->from[m->n++] = from;
    snprintf(p->name, sizeof p->name, "blk.%d.%s", layer, name);
    p->n_dim = rows ? 2 : 1;
    p->ne[0] = cols;
    p->ne[1] = rows ? rows : 1;
    p->type = rows && fits_f16(from, rows * cols) ? TLPI_F16 : TLPI_F32;
}

static void add_member(image_maker *m, int layer, const tlpi_fitted_member *f,
                       int out_rank)
{
    add(m, layer, "attn_norm.weight", f->attn_norm, 0, m->d);
    add(m, layer, "ffn_norm.weight", f->ffn_norm, 0, m->d);
    if (f->attn_gain != 1)
        add(m, layer, "attn_gain", &f->attn_gain, 0, 1);
    if (f->ffn_gain != 1)
        add(m, layer, "ffn_gain", &f->ffn_gain, 0, 1);
    if (f->attn_in.rank > 0) {
        add(m, layer, "attn_in.down", f->attn_in.down, f->attn_in.rank, m->d);
        add(m, layer, "attn_in.up", f->attn_in.up, m->d, f->attn_in.rank);
    }
    if (f->ffn_in.rank > 0) {
        add(m, layer, "ffn_in.down", f->ffn_in.down, f->ffn_in.rank, m->d);
        add(m, layer, "ffn_in.up", f->ffn_in.up, m->d, f->ffn_in.rank);
    }
    if (out_rank > 0)
        add(m, layer, "out.down", f->out_down, out_rank, m->d);
}

static void add_stages(image_maker *m, const tlp_plan *p,
                       const tlpi_fitted_stage *stage)
{
    for (int i = 0; i < p->n_stage; i++) {
        const tlpi_stage *s = &p->stage[i];
        if (!stage[i].member)
            continue;
        for (int j = 0; j < s->n_member; j++)
            add_member(m, s->layers[j], &stage[i].member[j], stage[i].out_rank);
        if (stage[i].out_rank > 0)
            add(m, s->layers[0], "out.up", stage[i].out_up, m->d,
                stage[i].out_rank);
    }
}

tlp_status tlpi_adjust_image(const tlp_plan *plan,
                             const tlpi_fitted_stage *stage, void **image,
                             size_t *n_image)
{
    const tlpi_env *env = &plan->model->env;
    size_t most = MAX_PARTS * (size_t)plan->model->hp.n_layer;
    tlpi_text text = { .env = env };
    image_maker m = { .d = plan->model->hp.n_embd };
    tlp_status st;

    *image = NULL;
    *n_image = 0;
    m.part = tlpi_calloc(env, most, sizeof *m.part);
    m.from = tlpi_calloc(env, most, sizeof *m.from);
    tlpi_plan_write_text(plan, &text);
    if (!m.part || !m.from || text.failed)
        TLP_TRY(tlpi_fail_nomem_for("adjustments"));
    add_stages(&m, plan, stage);
    const tlpi_safetensors_meta meta[] = {
        { "tlp_adjust", "1" },
        { "model", tlpi_model_fingerprint(plan->model) },
        { "plan", text.data },
    };
    TLP_TRY(tlpi_safetensors_lay_out(env, m.part, m.n, meta, TLPI_COUNT(meta),
                                     image, n_image));
    for (size_t i = 0; i < m.n; i++)
        tlpi_quantize(m.part[i].type, m.from[i], m.part[i].data,
                      m.part[i].ne[0] * m.part[i].ne[1]);
done:
    tlpi_text_free(&text);
    tlpi_free(env, (void *)m.from);
    tlpi_free(env, m.part);
    return st;
}
