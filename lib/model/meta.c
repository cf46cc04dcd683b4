/*
 * meta.c - facts, tensors and metadata of a model, for the public functions.
 */
#include <string.h>

#include "model/digest.h"
#include "model/hparams_read.h"
#include "text/vocab.h"

/* Cut at a character's border, so that the text stays UTF-8. */
static void copy_text(char *dst, size_t cap, tlpi_str s)
{
    size_t n = TLPI_MIN(s.n, cap - 1);

    while (n > 0 && n < s.n && ((unsigned char)s.s[n] & 0xC0) == 0x80)
        n--;
    if (n > 0)
        memcpy(dst, s.s, n);
    dst[n] = '\0';
}

static tlpi_str str_of(const char *text)
{
    return (tlpi_str){ text, strlen(text) };
}

/* Sum the sizes of all tensors, and find the type with most bytes. */
static void count_tensors(const tlp_model *m, tlp_model_info *info)
{
    uint64_t bytes_of_type[TLPI_MXFP4 + 1] = { 0 };
    const tlpi_dtype_info *top = NULL;

    for (size_t f = 0; f < m->n_file; f++) {
        for (size_t i = 0; i < m->file[f]->n_tensor; i++) {
            const tlpi_tensor *t = &m->file[f]->tensor[i];
            info->n_tensor++;
            info->n_param += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
            info->n_bytes += (int64_t)t->n_bytes;
            bytes_of_type[t->type] += t->n_bytes;
            if (!top || bytes_of_type[t->type] > bytes_of_type[top->type])
                top = tlpi_dtype_get((uint32_t)t->type);
        }
    }
    if (top)
        copy_text(info->quant, sizeof info->quant, str_of(top->name));
}

static void fill_info(const tlp_model *m, tlp_model_info *info)
{
    const tlpi_hparams *hp = &m->hp;
    const tlpi_special *special = tlpi_vocab_special(m->vocab);
    const tlpi_gguf_kv *name = tlpi_gguf_find(m->file[0], "general.name");

    copy_text(info->arch, sizeof info->arch, str_of(tlpi_arch_get(hp)->name));
    if (name && name->type == TLPI_GGUF_STRING && !name->is_array) {
        const uint8_t *at = name->data;
        copy_text(info->name, sizeof info->name, tlpi_gguf_next_str(&at));
    }
    copy_text(info->fingerprint, sizeof info->fingerprint,
              str_of(tlpi_model_fingerprint(m)));
    info->n_layer = hp->n_layer;
    info->n_embd = hp->n_embd;
    info->n_ff = hp->n_ff;
    info->n_head = hp->n_head;
    info->n_head_kv = hp->n_head_kv;
    info->head_dim = hp->head_dim;
    info->n_vocab = hp->n_vocab;
    info->n_ctx_train = hp->n_ctx_train;
    info->n_expert = hp->n_expert;
    info->n_expert_used = hp->n_expert_used;
    info->bos = special->bos;
    info->eos = special->eos;
    info->eot = special->eot;
    info->pad = special->pad;
    info->n_meta = (int32_t)m->file[0]->n_kv;
    count_tensors(m, info);
}

tlp_status tlp_model_get_info(tlp_model_info *out, const tlp_model *model)
{
    tlp_model_info info = { 0 };

    if (!model || !out)
        return tlpi_fail(TLP_EINVAL, "model and out are required");
    tlp_status st = tlpi_struct_check(out, sizeof info, "tlp_model_info");
    if (st != TLP_OK) /* before the fingerprint is computed */
        return st;
    fill_info(model, &info);
    return tlpi_struct_write(out, &info, sizeof info, "tlp_model_info");
}

tlp_status tlp_model_get_digest(char *buf, size_t cap, size_t *len,
                                const tlp_model *model)
{
    const char *digest = NULL;

    if (!model || !len)
        return tlpi_fail(TLP_EINVAL, "model and len are required");
    tlp_status st = tlpi_model_digest(model, &digest, NULL, NULL);
    if (st != TLP_OK)
        return st;
    return tlpi_copy_out(digest, strlen(digest), buf, cap, len);
}

static const tlpi_tensor *tensor_at(const tlp_model *m, size_t index)
{
    for (size_t f = 0; f < m->n_file; f++) {
        if (index < m->file[f]->n_tensor)
            return &m->file[f]->tensor[index];
        index -= m->file[f]->n_tensor;
    }
    return NULL;
}

tlp_status tlp_model_get_tensor(tlp_tensor_info *out, const tlp_model *model,
                                size_t index)
{
    if (!model || !out)
        return tlpi_fail(TLP_EINVAL, "model and out are required");
    const tlpi_tensor *t = tensor_at(model, index);
    if (!t)
        return tlpi_fail(TLP_EINVAL, "%s: no tensor has the index %zu",
                         model->path, index);
    tlp_tensor_info info = {
        .name = t->name,
        .type = tlpi_dtype_name((uint32_t)t->type),
        .n_dim = t->n_dim,
        .file = t->file,
        .n_bytes = t->n_bytes,
    };
    memcpy(info.ne, t->ne, sizeof info.ne);
    return tlpi_struct_write(out, &info, sizeof info, "tlp_tensor_info");
}

const char *tlp_model_meta_key(const tlp_model *model, size_t index)
{
    if (!model || index >= model->file[0]->n_kv)
        return NULL;
    return model->file[0]->kv[index].key;
}

tlp_status tlp_model_get_meta(char *buf, size_t cap, size_t *len,
                              const tlp_model *model, const char *key)
{
    if (len)
        *len = 0;
    if (!model || !key || !len || (!buf && cap > 0))
        return tlpi_fail(TLP_EINVAL, "model, key, len and buf are required");
    const tlpi_gguf_kv *kv = tlpi_gguf_find(model->file[0], key);
    if (!kv)
        return tlpi_fail(TLP_EINVAL, "%s: key %s: not in the file", model->path,
                         key);
    tlpi_text text = { .env = &model->env };
    tlpi_gguf_format(kv, &text);
    tlp_status st = text.failed ? tlpi_fail_nomem_for("the metadata of a model")
                                : tlpi_copy_out(text.data ? text.data : "",
                                                text.len, buf, cap, len);
    tlpi_text_free(&text);
    return st;
}

static tlp_status refuse(const tlp_model *m, const char *where,
                         const char *what, const char *why)
{
    return tlpi_fail(TLP_ENOTSUP, "%s: %s %s models, %s", where, what,
                     tlpi_arch_get(&m->hp)->name, why);
}

tlp_status tlpi_model_check_post(const tlp_model *m, const char *where,
                                 const char *what)
{
    return tlpi_arch_get(&m->hp)->post_norm
               ? refuse(m, where, what, "whose layers normalise what they give")
               : TLP_OK;
}

tlp_status tlpi_model_check_inputs(const tlp_model *m, const char *where,
                                   const char *what)
{
    return tlpi_arch_get(&m->hp)->raw_input
               ? refuse(m, where, what,
                        "whose layers do not normalise what they read")
               : TLP_OK;
}

tlp_status tlpi_model_check_rows(const tlp_model *m, const char *where,
                                 const char *what)
{
    return tlpi_arch_get(&m->hp)->qk_norm == TLPI_QK_NORM_ROWS
               ? refuse(m, where, what,
                        "whose ranks exchange squares of queries and keys")
               : TLP_OK;
}

tlp_status tlpi_model_check_experts(const tlp_model *m, const char *where,
                                    const char *what)
{
    return m->hp.n_expert ? refuse(m, where, what, "whose layers have experts")
                          : TLP_OK;
}

int32_t tlpi_model_pooling(const tlp_model *m)
{
    tlpi_arch_key key = tlpi_hparams_key(&m->hp, "pooling_type");
    const tlpi_gguf_kv *kv = tlpi_gguf_find(m->file[0], key.name);

    return kv && tlpi_gguf_elem_f64(kv, 0) == TLPI_GGUF_POOLING_MEAN
               ? TLP_POOLING_MEAN
               : TLP_POOLING_LAST;
}
