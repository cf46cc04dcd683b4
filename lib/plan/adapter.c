/*
 * adapter.c - an adapter from its image; its lifetime, and the plans that it
 * fits.
 */
#include "plan/adapter.h"

#include <string.h>

#include "tlp.h"

#define VERSION "1"

static tlp_status check_meta(const tlpi_safetensors *s, const char *where,
                             const char *key, const char *expected)
{
    const char *value = tlpi_safetensors_get(s, key);

    if (!value || strcmp(value, expected) != 0)
        return tlpi_fail(TLP_EMISMATCH,
                         "%s: metadata: %s is %.80s, %.80s "
                         "expected",
                         where, key, value ? value : "missing", expected);
    return TLP_OK;
}

static tlp_status read_image(tlp_adapter *a, const char *where)
{
    const tlp_model *m = a->model;
    tlpi_sha256 s;
    tlp_status st;

    TLP_TRY(
        tlpi_safetensors_open(&a->index, &m->env, a->image, a->n_image, where));
    TLP_TRY(check_meta(a->index, where, "tlp_lora", VERSION));
    TLP_TRY(check_meta(a->index, where, "model", tlpi_model_fingerprint(m)));
    if (a->index->n_tensor == 0)
        TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: no tensors", where));
    a->lora = tlpi_calloc(&m->env, (size_t)m->hp.n_layer, sizeof *a->lora);
    if (!a->lora)
        TLP_TRY(tlpi_fail_nomem_for("an adapter"));
    for (size_t i = 0; i < a->index->n_tensor; i++) {
        const tlpi_tensor *t = &a->index->tensor[i];
        tlpi_lora_name name;

        if (!tlpi_lora_read_name(t->name, &name))
            TLP_TRY(tlpi_fail(TLP_EFORMAT, "%s: tensor %.80s is not known",
                              where, t->name));
        TLP_TRY(tlpi_lora_place(a->lora, m, &name, t, where));
    }
    TLP_TRY(tlpi_lora_check_pairs(a->lora, m, where));
    tlpi_sha256_init(&s);
    tlpi_sha256_add(&s, a->image, a->n_image);
    tlpi_sha256_text(&s, a->sha256);
done:
    return st;
}

tlp_status tlpi_adapter_from_image(tlp_adapter **out, tlp_model *model,
                                   void *image, size_t n_image,
                                   const char *where)
{
    tlp_adapter *a = tlpi_calloc(&model->env, 1, sizeof *a);

    *out = NULL;
    if (!a) {
        tlpi_free(&model->env, image);
        return tlpi_fail_nomem_for("an adapter");
    }
    a->refs = 1;
    a->model = tlpi_model_retain(model);
    a->image = image;
    a->n_image = n_image;
    tlp_status st = read_image(a, where);
    if (st == TLP_OK)
        *out = a;
    else
        tlp_adapter_free(a);
    return st;
}

const tlp_adapter *tlpi_adapter_retain(const tlp_adapter *a)
{
    if (a)
        atomic_fetch_add_explicit(&((tlp_adapter *)(uintptr_t)a)->refs, 1,
                                  memory_order_relaxed);
    return a;
}

void tlp_adapter_free(tlp_adapter *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) > 1)
        return;
    tlp_model *model = a->model;

    tlpi_safetensors_close(a->index);
    tlpi_free(&model->env, a->lora);
    tlpi_free(&model->env, a->image);
    tlpi_free(&model->env, a);
    tlp_model_free(model); /* last: env lives in it */
}

size_t tlpi_adapter_max_bytes(const tlp_model *m)
{
    uint64_t all =
        tlpi_lora_max_bytes(m) + TLPI_SAFETENSORS_MAX_HEADER + sizeof(uint64_t);

    return (size_t)TLPI_MIN(all, (uint64_t)PTRDIFF_MAX);
}

tlp_status tlpi_adapter_check(const tlp_adapter *a, const tlp_plan *plan)
{
    tlp_status st = TLP_OK;

    if (!a)
        return TLP_OK;
    if (a->model != plan->model)
        return tlpi_fail(TLP_EMISMATCH,
                         "session option adapter: it was opened for another "
                         "model than the plan's");
    for (int i = 0; i < plan->n_stage && st == TLP_OK; i++)
        st = tlpi_lora_check_mode(plan->stage[i].mode);
    return st == TLP_OK ? st : tlpi_fail_prefix(st, "session option adapter: ");
}
