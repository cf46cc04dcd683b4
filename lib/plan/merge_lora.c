/*
 * merge_lora.c - write a plan's model with the plan's LoRA in its matrices, and
 * the plan without LoRA; tlp_plan_merge.
 */
#include <stdio.h>
#include <string.h>

#include "plan/adjust.h"
#include "plan/plan_convert.h"

/* ==== the sum ============================================================ */

/* The product of a matrix, as floats. */
typedef struct merge_product {
    const tlpi_tensor *w;
    size_t rank;
    float *a, *b; /* [rank][cols], [rows][rank] */
} merge_product;

typedef struct merge_sum {
    const tlpi_env *env;
    merge_product *product; /* [n] */
    size_t n;
} merge_sum;

static float *floats_of(const tlpi_env *env, const tlpi_tensor *t)
{
    size_t n = (size_t)t->ne[0] * (size_t)t->ne[1];
    float *x = tlpi_alloc_array(env, n, sizeof *x);

    if (x)
        tlpi_dequantize(t->type, t->data, x, (int64_t)n);
    return x;
}

static void free_sum(merge_sum *s)
{
    for (size_t i = 0; i < s->n; i++) {
        tlpi_free(s->env, s->product[i].a);
        tlpi_free(s->env, s->product[i].b);
    }
    tlpi_free(s->env, s->product);
}

static tlp_status list_products(merge_sum *s, const tlp_plan *plan)
{
    const tlp_model *m = plan->model;
    const tlpi_layer_lora *lora = plan->adjust->lora;

    s->env = &m->env;
    s->product = tlpi_calloc(s->env, (size_t)tlpi_lora_count(lora, m),
                             sizeof *s->product);
    if (!s->product)
        return tlpi_fail_nomem_for("a merged model");
    for (int l = 0; l < m->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_lowrank *pair = &lora[l].pair[i];
            merge_product *to = &s->product[s->n];

            if (pair->rank == 0)
                continue;
            s->n++;
            *to = (merge_product){ .w = m->w.layer[l].t[i],
                                   .rank = (size_t)pair->rank,
                                   .a = floats_of(s->env, &pair->down),
                                   .b = floats_of(s->env, &pair->up) };
            if (!to->a || !to->b)
                return tlpi_fail_nomem_for("a merged model");
        }
    return TLP_OK;
}

/* Is the matrix of a product a tensor of a file, or the part of a fused tensor?
 * *row gets its first row there. */
static bool is_in(const merge_product *p, const tlpi_tensor *t, int64_t *row)
{
    uintptr_t at = (uintptr_t)p->w->data, begin = (uintptr_t)t->data;

    if (at < begin || at >= begin + t->n_bytes)
        return false;
    *row = (int64_t)((at - begin) / tlpi_row_bytes(t->type, t->ne[0]));
    return true;
}

static bool has_product(const void *arg, const tlpi_tensor *t)
{
    const merge_sum *s = arg;
    int64_t row;

    for (size_t i = 0; i < s->n; i++)
        if (is_in(&s->product[i], t, &row))
            return true;
    return false;
}

static void add_scaled(float *restrict y, const float *restrict x, float scale,
                       int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += scale * x[i];
}

/* A row of W + b a */
static void add_row(const void *arg, const tlpi_tensor *t, int64_t row,
                    float *x)
{
    const merge_sum *s = arg;
    size_t cols = (size_t)t->ne[0];
    int64_t first;

    for (size_t i = 0; i < s->n; i++) {
        const merge_product *p = &s->product[i];

        if (!is_in(p, t, &first) || row < first || row - first >= p->w->ne[1])
            continue;
        const float *b = p->b + (size_t)(row - first) * p->rank;
        for (size_t k = 0; k < p->rank; k++)
            add_scaled(x, p->a + k * cols, b[k], t->ne[0]);
    }
}

/* ==== the plan without LoRA ============================================== */

/* The tensors of the plan's image that are no LoRA. */
static size_t list_others(const tlpi_safetensors *index,
                          tlpi_safetensors_part *part, const tlpi_tensor **from)
{
    size_t n = 0;

    for (size_t i = 0; i < index->n_tensor; i++) {
        const tlpi_tensor *t = &index->tensor[i];
        tlpi_lora_name name;

        if (tlpi_lora_read_name(t->name, &name))
            continue;
        snprintf(part[n].name, sizeof part[n].name, "%s", t->name);
        part[n].type = t->type;
        part[n].n_dim = t->n_dim;
        memcpy(part[n].ne, t->ne, sizeof part[n].ne);
        from[n++] = t;
    }
    return n;
}

static tlp_status image_without(const tlpi_adjust *a, const tlpi_env *env,
                                void **image, size_t *n_image)
{
    const tlpi_safetensors *index = a->index;
    tlpi_safetensors_part *part =
        tlpi_calloc(env, index->n_tensor, sizeof *part);
    const tlpi_tensor **from =
        tlpi_calloc(env, index->n_tensor, sizeof(const tlpi_tensor *));
    tlp_status st = TLP_OK;

    *image = NULL;
    if (!part || !from)
        TLP_TRY(tlpi_fail_nomem_for("a merged plan"));
    size_t n = list_others(index, part, from);
    if (n > 0)
        TLP_TRY(tlpi_safetensors_lay_out(env, part, n, index->meta,
                                         index->n_meta, image, n_image));
    for (size_t i = 0; i < n; i++)
        memcpy(part[i].data, from[i]->data, from[i]->n_bytes);
done:
    tlpi_free(env, (void *)from);
    tlpi_free(env, part);
    return st;
}

static tlp_status plan_without(tlp_plan **out, const tlp_plan *plan)
{
    void *image = NULL;
    size_t n_image = 0;
    tlp_status st;

    TLP_TRY(image_without(plan->adjust, &plan->model->env, &image, &n_image));
    st = image ? tlpi_plan_with_adjust(out, plan, image, n_image, "merging")
               : tlpi_plan_rebuild(out, plan->model, plan, plan->made);
done:
    return st;
}

/* ==== the call =========================================================== */

tlp_status tlpi_plan_merge_write(tlp_plan **out, tlp_quantize_result *result,
                                 const tlpi_plan_convert *c)
{
    merge_sum sum = { .n = 0 };
    const tlpi_convert_sum add = { has_product, add_row, &sum };
    tlpi_plan_convert copy = *c;
    tlp_plan *plain = NULL;
    tlp_status st;

    TLP_TRY(list_products(&sum, c->plan));
    TLP_TRY(plan_without(&plain, c->plan));
    copy.plan = plain;
    copy.file.sum = &add;
    st = tlpi_plan_convert_write(out, result, &copy);
done:
    tlp_plan_free(plain);
    if (sum.env)
        free_sum(&sum);
    return st;
}

static tlp_status record(const tlp_plan *plan, char **made)
{
    char value[80];

    snprintf(value, sizeof value, "\"%s\"",
             tlpi_model_fingerprint(plan->model));
    return tlpi_plan_record(plan, "merged_from", value, made);
}

tlp_status tlp_plan_merge(tlp_plan **out, tlp_quantize_result *result,
                          const tlp_plan *plan, const char *path,
                          const char *plan_path, const char *type,
                          const tlp_quantize_options *opts)
{
    tlpi_plan_convert c = { .plan = plan, .plan_path = plan_path };
    char *made = NULL;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !plan || !path)
        return tlpi_fail(TLP_EINVAL, "out, plan and path are required");
    if (!plan->adjust || !plan->adjust->lora)
        return tlpi_fail(TLP_EINVAL, "plan: it has no LoRA to merge");
    c.file.model = plan->model;
    c.file.path = path;
    c.file.type = type;
    TLP_TRY(tlpi_quantize_options(&c.file.opts, opts));
    if (type)
        TLP_TRY(tlpi_convert_check_type(plan->model, type));
    else if (c.file.opts.pure)
        TLP_TRY(tlpi_fail(TLP_EINVAL, "quantize option pure: without a type"));
    TLP_TRY(record(plan, &made));
    c.made = made;
    st = tlpi_plan_convert_call(out, result, &c, tlpi_plan_merge_write);
done:
    tlpi_free(&plan->model->env, made);
    return st;
}
