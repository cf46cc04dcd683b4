/*
 * adjust_make.c - make the image of a file from the fits of all stages.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/adjust.h"
#include "plan/plan_sketch.h"

/* Tensors of a member: four norms, two gains, three pairs. */
#define MAX_PARTS 12
#define MAX_LORA_PARTS (2 * (size_t)TLPI_N_LAYER_TENSOR) /* of a layer */

/* "blk.N.track.T" */
enum { MAX_MEMBER_NAME = 32 };

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
static void add(image_maker *m, const char *name, const float *from,
                int64_t rows, int64_t cols)
{
    tlpi_safetensors_part *p = &m->part[m->n];

    m->from[m->n++] = from;
    snprintf(p->name, sizeof p->name, "%s", name);
    p->n_dim = rows ? 2 : 1;
    p->ne[0] = cols;
    p->ne[1] = rows ? rows : 1;
    p->type = rows && fits_f16(from, rows * cols) ? TLPI_F16 : TLPI_F32;
}

/* A tensor of a member; from NULL: it has none. */
static void add_of(image_maker *m, const char *member, const char *name,
                   const float *from, int64_t rows, int64_t cols)
{
    char text[64];

    snprintf(text, sizeof text, "%s.%s", member, name);
    if (from)
        add(m, text, from, rows, cols);
}

static void add_member(image_maker *m, const char *member,
                       const tlpi_fitted_member *f, int out_rank)
{
    add_of(m, member, "attn_norm.weight", f->attn_norm, 0, m->d);
    add_of(m, member, "ffn_norm.weight", f->ffn_norm, 0, m->d);
    add_of(m, member, "post_attention_norm.weight", f->attn_post, 0, m->d);
    add_of(m, member, "post_ffw_norm.weight", f->ffn_post, 0, m->d);
    if (f->attn_gain != 1)
        add_of(m, member, "attn_gain", &f->attn_gain, 0, 1);
    if (f->ffn_gain != 1)
        add_of(m, member, "ffn_gain", &f->ffn_gain, 0, 1);
    if (f->attn_in.rank > 0) {
        add_of(m, member, "attn_in.down", f->attn_in.down, f->attn_in.rank,
               m->d);
        add_of(m, member, "attn_in.up", f->attn_in.up, m->d, f->attn_in.rank);
    }
    if (f->ffn_in.rank > 0) {
        add_of(m, member, "ffn_in.down", f->ffn_in.down, f->ffn_in.rank, m->d);
        add_of(m, member, "ffn_in.up", f->ffn_in.up, m->d, f->ffn_in.rank);
    }
    if (out_rank > 0)
        add_of(m, member, "out.down", f->out_down, out_rank, m->d);
}

/* "blk.N", or "blk.N.track.T" */
static void name_member(const tlp_plan *p, int stage, int member,
                        char name[MAX_MEMBER_NAME])
{
    int layer = tlpi_stage_layer(&p->stage[stage], member);

    if (tlpi_plan_has_tracks(p, stage))
        snprintf(name, MAX_MEMBER_NAME, "blk.%d.track.%d", layer, member);
    else
        snprintf(name, MAX_MEMBER_NAME, "blk.%d", layer);
}

static void add_stages(image_maker *m, const tlp_plan *p,
                       const tlpi_fitted_stage *stage)
{
    char name[MAX_MEMBER_NAME];

    for (int i = 0; i < p->n_stage; i++) {
        if (!stage[i].member)
            continue;
        for (int j = 0; j < tlpi_plan_n_member(p, i); j++) {
            name_member(p, i, j, name);
            add_member(m, name, &stage[i].member[j], stage[i].out_rank);
        }
        name_member(p, i, 0, name);
        if (stage[i].out_rank > 0)
            add_of(m, name, "out.up", stage[i].out_up, m->d, stage[i].out_rank);
    }
}

static void add_lora(image_maker *m, const tlp_model *model,
                     const tlpi_fitted_lora *lora)
{
    for (int l = 0; lora && l < model->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_fitted_lowrank *pair = &lora[l].pair[i];
            const tlpi_tensor *w = model->w.layer[l].t[i];
            char name[TLPI_LORA_NAME];

            if (pair->rank == 0)
                continue;
            tlpi_lora_write_name(l, (tlpi_layer_id)i, false, name);
            add(m, name, pair->down, pair->rank, w->ne[0]);
            tlpi_lora_write_name(l, (tlpi_layer_id)i, true, name);
            add(m, name, pair->up, w->ne[1], pair->rank);
        }
}

tlp_status tlpi_adjust_image(const tlp_plan *plan,
                             const tlpi_fitted_stage *stage,
                             const tlpi_fitted_lora *lora, void **image,
                             size_t *n_image)
{
    const tlpi_env *env = &plan->model->env;
    size_t most =
        (MAX_PARTS * (size_t)TLPI_MAX(1, plan->n_track) + MAX_LORA_PARTS) *
        (size_t)plan->model->hp.n_layer;
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
    add_lora(&m, plan->model, lora);
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
