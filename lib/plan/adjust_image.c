/*
 * adjust_image.c - an image as the adjustments of a plan: where it comes from,
 * who owns it, what it counts.
 */
#include "plan/adjust.h"

#include <string.h>

#include "base/sha256.h"
#include "plan/plan_sketch.h"
#include "tlp_tune.h"

#define VERSION "1"
#define UNSAVED_FILE "adjust.safetensors"

/* ==== what the file says of itself ======================================= */

static tlp_status check_meta(const tlpi_adjust *a, const char *where,
                             const char *key, const char *expected)
{
    const char *value = tlpi_safetensors_get(a->index, key);

    if (!value)
        return tlpi_fail(TLP_EFORMAT, "%s: metadata: key %s is missing", where,
                         key);
    if (strcmp(value, expected) != 0)
        return tlpi_fail(TLP_EMISMATCH,
                         "%s: metadata: %s is %.80s, %.80s expected", where,
                         key, value, expected);
    return TLP_OK;
}

static tlp_status check_origin(const tlpi_adjust *a, const tlp_plan *p,
                               const char *where)
{
    tlpi_text text = { .env = &p->model->env };
    const char *version = tlpi_safetensors_get(a->index, "tlp_adjust");
    tlp_status st;

    if (version && strcmp(version, VERSION) != 0)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: metadata: tlp_adjust is %.20s, " VERSION
                         " expected",
                         where, version);
    TLP_TRY(check_meta(a, where, "tlp_adjust", VERSION));
    TLP_TRY(check_meta(a, where, "model", tlpi_model_fingerprint(p->model)));
    tlpi_plan_write_text(p, &text);
    if (text.failed)
        TLP_TRY(tlpi_fail_nomem_for("adjustments"));
    TLP_TRY(check_meta(a, where, "plan", text.data));
done:
    tlpi_text_free(&text);
    return st;
}

/* ==== objects ============================================================ */

/* Free the image and its views; keep the hash. */
static void drop_image(const tlpi_env *env, tlpi_adjust *a)
{
    tlpi_safetensors_close(a->index);
    tlpi_free(env, a->stage);
    tlpi_free(env, a->member);
    tlpi_free(env, a->lora);
    tlpi_free(env, a->image);
    a->index = NULL;
    a->stage = NULL;
    a->member = NULL;
    a->lora = NULL;
    a->image = NULL;
    a->n_image = 0;
}

void tlpi_adjust_free(const tlpi_env *env, tlpi_adjust *a)
{
    if (a)
        drop_image(env, a);
    tlpi_free(env, a);
}

static tlp_status make_places(tlpi_adjust *a, const tlp_plan *p)
{
    const tlpi_env *env = &p->model->env;
    int n_member = 0;

    for (int i = 0; i < p->n_stage; i++)
        n_member += tlpi_adjust_n_place(p, i);
    a->stage = tlpi_calloc(env, (size_t)p->n_stage, sizeof *a->stage);
    a->member = tlpi_calloc(env, (size_t)n_member, sizeof *a->member);
    if (!a->stage || !a->member)
        return tlpi_fail_nomem_for("adjustments");
    for (int i = 0; i < n_member; i++)
        a->member[i].attn_gain = a->member[i].ffn_gain = 1;
    return TLP_OK;
}

/* Read an image.  The function takes over its memory, also on failure. */
static tlp_status read_image(tlpi_adjust *a, const tlp_plan *p, void *image,
                             size_t n_image, const char *where)
{
    const tlpi_env *env = &p->model->env;
    tlp_status st;

    a->image = image;
    a->n_image = n_image;
    TLP_TRY(tlpi_safetensors_open(&a->index, env, image, n_image, where));
    TLP_TRY(check_origin(a, p, where));
    if (a->index->n_tensor == 0)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: no tensors", where));
    TLP_TRY(make_places(a, p));
    for (size_t i = 0; i < a->index->n_tensor; i++)
        TLP_TRY(tlpi_adjust_place(a, p, &a->index->tensor[i], where));
    for (int i = 0; i < p->n_stage; i++)
        if (a->stage[i].member)
            TLP_TRY(tlpi_adjust_check_pairs(a, p, i, where));
    if (a->lora)
        TLP_TRY(tlpi_lora_check_pairs(a->lora, p->model, where));
done:
    if (st != TLP_OK)
        drop_image(env, a);
    return st;
}

static void make_hash(const void *image, size_t n, char out[TLPI_HASH_TEXT])
{
    tlpi_sha256 s;

    tlpi_sha256_init(&s);
    tlpi_sha256_add(&s, image, n);
    tlpi_sha256_text(&s, out);
}

tlp_status tlpi_plan_with_adjust(tlp_plan **out, const tlp_plan *plan,
                                 void *image, size_t n_image, const char *where)
{
    const tlpi_env *env = &plan->model->env;
    tlp_plan *p = NULL;
    tlp_status st;

    *out = NULL;
    TLP_TRY(tlpi_plan_rebuild(&p, plan->model, plan, plan->made));
    p->adjust = tlpi_calloc(env, 1, sizeof *p->adjust);
    if (!p->adjust)
        TLP_TRY(tlpi_fail_nomem_for("adjustments"));
    memcpy(p->adjust->file, UNSAVED_FILE, sizeof UNSAVED_FILE);
    make_hash(image, n_image, p->adjust->sha256);
    void *taken = image;
    image = NULL;
    TLP_TRY(read_image(p->adjust, p, taken, n_image, where));
    *out = p;
    p = NULL;
done:
    tlpi_free(env, image);
    tlp_plan_free(p);
    return st;
}

tlp_status tlpi_plan_supply_adjust(tlp_plan *plan, void *image, size_t n_image,
                                   const char *where)
{
    char hash[TLPI_HASH_TEXT];

    make_hash(image, n_image, hash);
    if (strcmp(hash, plan->adjust->sha256) != 0) {
        tlpi_free(&plan->model->env, image);
        return tlpi_fail(TLP_EMISMATCH,
                         "%s: not the file that the plan was saved with: it "
                         "has %s, the plan names %s",
                         where, hash, plan->adjust->sha256);
    }
    return read_image(plan->adjust, plan, image, n_image, where);
}

/* ==== what there is ====================================================== */

static void count_member(const tlpi_member_adjust *m,
                         tlp_plan_adjust_info *info)
{
    info->n_gain += (m->attn_gain != 1) + (m->ffn_gain != 1);
    info->n_norm += (m->attn_norm != NULL) + (m->ffn_norm != NULL) +
                    (m->attn_post != NULL) + (m->ffn_post != NULL);
    info->n_low_rank += (m->attn_in.rank > 0) + (m->ffn_in.rank > 0);
}

tlp_status tlp_plan_get_adjust(tlp_plan_adjust_info *out, const tlp_plan *plan)
{
    tlp_plan_adjust_info info = { .struct_size = sizeof info };

    if (!plan || !out)
        return tlpi_fail(TLP_EINVAL, "plan and out are required");
    const tlpi_adjust *a = plan->adjust;
    for (int i = 0; a && a->stage && i < plan->n_stage; i++) {
        const tlpi_stage_adjust *s = &a->stage[i];
        info.n_low_rank += s->out_rank > 0;
        for (int j = 0; s->member && j < tlpi_adjust_n_place(plan, i); j++)
            count_member(&s->member[j], &info);
    }
    if (a) {
        info.n_lora = tlpi_lora_count(a->lora, plan->model);
        info.n_bytes = a->n_image;
        info.sha256 = a->sha256;
    }
    return tlpi_struct_write(out, &info, sizeof info, "tlp_plan_adjust_info");
}
