/*
 * adjust_make.c - make the image of a file from the fits of all stages.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/adjust.h"
#include "plan/plan_sketch.h"

/* Tensors of a member: two norms, two gains, three pairs. */
#define MAX_PARTS 10

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
static void add(image_maker *m, const char *member, const char *name,
                const float *from, int64_t rows, int64_t cols)
{
    tlpi_safetensors_part *p = &m->part[m->n];

    if (!from)
        return;
    m->from[m->n++] = from;
    snprintf(p->name, sizeof p->name, "%s.%s", member, name);
    p->n_dim = rows ? 2 : 1;
    p->ne[0] = cols;
    p->ne[1] = rows ? rows : 1;
    p->type = rows && fits_f16(from, rows * cols) ? TLPI_F16 : TLPI_F32;
}

static void add_member(image_maker *m, const char *member,
                       const tlpi_fitted_member *f, int out_rank)
{
    add(m, member, "attn_norm.weight", f->attn_norm, 0, m->d);
    add(m, member, "ffn_norm.weight", f->ffn_norm, 0, m->d);
    if (f->attn_gain != 1)
        add(m, member, "attn_gain", &f->attn_gain, 0, 1);
    if (f->ffn_gain != 1)
        add(m, member, "ffn_gain", &f->ffn_gain, 0, 1);
    if (f->attn_in.rank > 0) {
        add(m, member, "attn_in.down", f->attn_in.down, f->attn_in.rank, m->d);
        add(m, member, "attn_in.up", f->attn_in.up, m->d, f->attn_in.rank);
    }
    if (f->ffn_in.rank > 0) {
        add(m, member, "ffn_in.down", f->ffn_in.down, f->ffn_in.rank, m->d);
        add(m, member, "ffn_in.up", f->ffn_in.up, m->d, f->ffn_in.rank);
    }
    if (out_rank > 0)
        add(m, member, "out.down", f->out_down, out_rank, m->d);
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
            add(m, name, "out.up", stage[i].out_up, m->d, stage[i].out_rank);
    }
}

tlp_status tlpi_adjust_image(const tlp_plan *plan,
                             const tlpi_fitted_stage *stage, void **image,
                             size_t *n_image)
{
    const tlpi_env *env = &plan->model->env;
    size_t most = MAX_PARTS * (size_t)plan->model->hp.n_layer *
                  (size_t)TLPI_MAX(1, plan->n_track);
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
