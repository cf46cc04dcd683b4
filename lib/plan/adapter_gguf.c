/*
 * adapter_gguf.c - LoRA adapters as GGUF files, in the form of llama.cpp.
 *
 *   general.type            "adapter"
 *   general.architecture    the model's
 *   adapter.type            "lora"
 *   adapter.lora.alpha      f32; missing or 0: b is complete
 *
 *   blk.N.attn_q.weight.lora_a   [rank][cols]    any type
 *   blk.N.attn_q.weight.lora_b   [rows][rank]    times alpha / rank
 *
 * The rows of attn_q and attn_k are in the order of the model's file.  A file
 * is hostile: a key or a tensor that may change results in a way that the
 * library does not know is refused, other keys get a warning.
 */
#include "plan/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "file/gguf_rule.h"
#include "file/gguf_write.h"
#include "plan/adjust.h"
#include "tlp.h"
#include "tlp_tune.h"

#define ALPHA "adapter.lora.alpha"
#define ALIGNMENT 32

/* ==== keys =============================================================== */

typedef enum adapter_key {
    NOTE,    /* it describes the file */
    CHECKED, /* its value may change results, so a rule must allow it */
    UNKNOWN  /* another program wrote it */
} adapter_key;

static bool begins(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

static adapter_key kind_of(const char *key)
{
    if (begins(key, "adapter.") || begins(key, "split.") ||
        strcmp(key, "general.type") == 0 ||
        strcmp(key, "general.architecture") == 0)
        return CHECKED;
    return begins(key, "general.") ? NOTE : UNKNOWN;
}

/* "adapter.alora.*", "split.*" and other keys that no rule names are
 * refused. */
static tlp_status check_keys(const tlpi_gguf *g, const tlp_model *m)
{
    const tlpi_gguf_rule rules[] = {
        { .name = "general.type", .kind = TLPI_RULE_TEXT, .text = "adapter" },
        { .name = "general.architecture",
          .kind = TLPI_RULE_TEXT,
          .text = tlpi_arch_get(&m->hp)->name },
        { .name = "adapter.type", .kind = TLPI_RULE_TEXT, .text = "lora" },
        { .name = ALPHA },
        { .name = "adapter.lora.task_name", .kind = TLPI_RULE_NOTE },
        { .name = "adapter.lora.prompt_prefix", .kind = TLPI_RULE_NOTE },
    };
    size_t n_unknown = 0;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < g->n_kv && st == TLP_OK; i++) {
        const tlpi_gguf_kv *kv = &g->kv[i];
        adapter_key kind = kind_of(kv->key);

        if (kind == CHECKED)
            st = tlpi_gguf_check_key(g, kv, kv->key, rules, TLPI_COUNT(rules),
                                     0);
        else if (kind == UNKNOWN)
            tlpi_gguf_warn_unknown(g, kv, &n_unknown);
    }
    tlpi_gguf_warn_rest(g, n_unknown);
    return st;
}

static tlp_status need_key(const tlpi_gguf *g, const char *key)
{
    return tlpi_gguf_find(g, key)
               ? TLP_OK
               : tlpi_fail(TLP_EFORMAT, "%s: key %s is missing", g->path, key);
}

static tlp_status read_keys(const tlpi_gguf *g, const tlp_model *m,
                            float *alpha)
{
    tlp_status st;

    TLP_TRY(need_key(g, "general.type"));
    TLP_TRY(need_key(g, "general.architecture"));
    TLP_TRY(need_key(g, "adapter.type"));
    TLP_TRY(check_keys(g, m));
    TLP_TRY(tlpi_gguf_get_f32(g, ALPHA, false, alpha));
    if (!(*alpha >= 0 && isfinite(*alpha)))
        st = tlpi_fail(TLP_EFORMAT,
                       "%s: key " ALPHA
                       ": %g, a finite number that is not negative expected",
                       g->path, (double)*alpha);
done:
    return st;
}

/* ==== tensors ============================================================ */

/* "blk.N.MATRIX.weight.lora_a" without ".weight"; false for other texts. */
static bool read_name(const char *text, tlpi_lora_name *out)
{
    static const char weight[] = ".weight.lora_";
    const char *at = strstr(text, weight);
    char plain[TLPI_LORA_NAME];
    size_t n = at ? (size_t)(at - text) : 0;

    if (!at || strlen(text) >= sizeof plain)
        return false;
    snprintf(plain, sizeof plain, "%.*s%s", (int)n, text,
             at + strlen(".weight"));
    return tlpi_lora_read_name(plain, out);
}

/* The shape is checked with the image's. */
static tlp_status check_tensor(const tlpi_gguf *g, const tlp_model *m,
                               const tlpi_tensor *t, tlpi_lora_name *name)
{
    if (!read_name(t->name, name))
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: tensor %s: lora_a or lora_b of attn_q, attn_k, "
                         "attn_v, attn_output, ffn_gate, ffn_up or ffn_down "
                         "expected",
                         g->path, t->name);
    if (name->layer >= m->hp.n_layer)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: the model has %d layers (0-%d)",
                         g->path, t->name, m->hp.n_layer, m->hp.n_layer - 1);
    if (t->n_dim != 2)
        return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: %d dims, 2 expected",
                         g->path, t->name, t->n_dim);
    return TLP_OK;
}

/* The factor of a tensor: alpha / rank for b, 1 for a. */
static float scale_of(const tlpi_lora_name *name, const tlpi_tensor *t,
                      float alpha)
{
    return name->is_b && alpha > 0 ? alpha / (float)t->ne[0] : 1;
}

/* A row times the scale, as the type holds it. */
static void read_row(const tlpi_tensor *t, int64_t i, float scale, float *row)
{
    tlpi_read_row(t, i, row, t->ne[0]);
    for (int64_t j = 0; j < t->ne[0]; j++)
        row[j] *= scale;
}

/* F16 where it holds every number, else F32. */
static tlpi_dtype type_of(const tlpi_tensor *t, float scale, float *row)
{
    if (t->type == TLPI_F16 && scale == 1)
        return TLPI_F16;
    for (int64_t i = 0; i < t->ne[1]; i++) {
        read_row(t, i, scale, row);
        for (int64_t j = 0; j < t->ne[0]; j++)
            if (tlpi_f16_to_f32(tlpi_f32_to_f16(row[j])) != row[j])
                return TLPI_F32;
    }
    return TLPI_F16;
}

static void copy_tensor(const tlpi_tensor *t, float scale,
                        const tlpi_safetensors_part *to, float *row)
{
    size_t bytes = tlpi_row_bytes(to->type, t->ne[0]);

    for (int64_t i = 0; i < t->ne[1]; i++) {
        read_row(t, i, scale, row);
        tlpi_quantize(to->type, row, to->data + (size_t)i * bytes, t->ne[0]);
    }
}

static tlp_status make_image(const tlpi_gguf *g, const tlp_model *m,
                             float alpha, void **image, size_t *n_image)
{
    const tlpi_env *env = &m->env;
    const tlpi_safetensors_meta meta[] = {
        { "tlp_lora", "1" },
        { "model", tlpi_model_fingerprint(m) },
    };
    tlpi_safetensors_part *part =
        tlpi_calloc(env, g->n_tensor + 1, sizeof *part);
    float *scale = tlpi_calloc(env, g->n_tensor + 1, sizeof *scale);
    float *row = NULL;
    int64_t wide = 1;
    tlp_status st = TLP_OK;

    if (!part || !scale)
        TLP_TRY(tlpi_fail_nomem_for("an adapter"));
    for (size_t i = 0; i < g->n_tensor; i++)
        wide = TLPI_MAX(wide, g->tensor[i].ne[0]);
    row = tlpi_alloc_array(env, (size_t)wide, sizeof *row);
    if (!row)
        TLP_TRY(tlpi_fail_nomem_for("an adapter"));
    for (size_t i = 0; i < g->n_tensor; i++) {
        const tlpi_tensor *t = &g->tensor[i];
        tlpi_lora_name name;

        TLP_TRY(check_tensor(g, m, t, &name));
        scale[i] = scale_of(&name, t, alpha);
        tlpi_lora_write_name(name.layer, name.id, name.is_b, part[i].name);
        part[i].n_dim = 2;
        memcpy(part[i].ne, t->ne, sizeof part[i].ne);
        part[i].type = type_of(t, scale[i], row);
    }
    TLP_TRY(tlpi_safetensors_lay_out(env, part, g->n_tensor, meta,
                                     TLPI_COUNT(meta), image, n_image));
    for (size_t i = 0; i < g->n_tensor; i++)
        copy_tensor(&g->tensor[i], scale[i], &part[i], row);
done:
    tlpi_free(env, row);
    tlpi_free(env, scale);
    tlpi_free(env, part);
    return st;
}

tlp_status tlpi_adapter_read(tlp_adapter **out, tlp_model *model,
                             const tlpi_gguf *g)
{
    void *image = NULL;
    size_t n_image = 0;
    float alpha = 0;
    tlp_status st;

    *out = NULL;
    TLP_TRY(read_keys(g, model, &alpha));
    TLP_TRY(make_image(g, model, alpha, &image, &n_image));
    st = tlpi_adapter_from_image(out, model, image, n_image, g->path);
done:
    return st;
}

tlp_status tlp_adapter_open(tlp_adapter **out, tlp_model *model,
                            const char *path)
{
    tlpi_gguf *g = NULL;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !model || !path)
        return tlpi_fail(TLP_EINVAL, "out, model and path are required");
    if (model->vocab_only)
        return tlpi_fail(TLP_EINVAL,
                         "%s was opened with vocab_only, an adapter is for its "
                         "layers",
                         model->path);
    TLP_TRY(tlpi_gguf_open(&g, &model->env, path, &(tlpi_gguf_options){ 0 }));
    st = tlpi_adapter_read(out, model, g);
done:
    tlpi_gguf_close(g);
    return st;
}

/* ==== writing ============================================================ */

static tlpi_gguf_kv text_kv(const char *key, const char *value, uint8_t *room)
{
    uint64_t n = strlen(value);

    memcpy(room, &n, sizeof n);
    memcpy(room + sizeof n, value, n);
    return (tlpi_gguf_kv){ .key = key,
                           .type = TLPI_GGUF_STRING,
                           .n = 1,
                           .data = room,
                           .n_bytes = sizeof n + n };
}

/* Half of a pair in the file: its tensor, and zeros where the rank is below the
 * file's, because alpha is one for all pairs. */
typedef struct adapter_half {
    const tlpi_tensor *t;
    bool is_b;
    int missing; /* rank of the file less the pair's */
} adapter_half;

typedef struct adapter_writer {
    const tlpi_env *env;
    adapter_half *half; /* [n] */
    tlpi_tensor *to;    /* [n] */
    char (*name)[64];   /* [n] */
    size_t n;
    int rank;
    tlpi_gguf_writer out;
} adapter_writer;

static void add_half(adapter_writer *w, int layer, tlpi_layer_id id, bool is_b,
                     const tlpi_lowrank *pair)
{
    const tlpi_tensor *t = is_b ? &pair->up : &pair->down;
    tlpi_tensor *to = &w->to[w->n];

    snprintf(w->name[w->n], sizeof w->name[w->n], "blk.%d.%s.lora_%c", layer,
             tlpi_layer_table[id].name, is_b ? 'b' : 'a');
    w->half[w->n] = (adapter_half){ t, is_b, w->rank - pair->rank };
    *to = *t;
    to->name = w->name[w->n++];
    to->ne[is_b ? 0 : 1] = w->rank;
    to->n_bytes = (size_t)to->ne[1] * tlpi_row_bytes(to->type, to->ne[0]);
}

static tlp_status list_halves(adapter_writer *w, const tlp_model *m,
                              const tlpi_layer_lora *lora)
{
    size_t most = 2 * (size_t)tlpi_lora_count(lora, m);

    w->half = tlpi_calloc(w->env, most, sizeof *w->half);
    w->to = tlpi_calloc(w->env, most, sizeof *w->to);
    w->name = tlpi_calloc(w->env, most, sizeof *w->name);
    if (!w->half || !w->to || !w->name)
        return tlpi_fail_nomem_for("an adapter");
    for (int l = 0; l < m->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++)
            w->rank = TLPI_MAX(w->rank, lora[l].pair[i].rank);
    for (int l = 0; l < m->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++)
            if (lora[l].pair[i].rank > 0) {
                add_half(w, l, (tlpi_layer_id)i, false, &lora[l].pair[i]);
                add_half(w, l, (tlpi_layer_id)i, true, &lora[l].pair[i]);
            }
    return TLP_OK;
}

static tlp_status write_zeros(adapter_writer *w, size_t n)
{
    static const char zeros[256];
    tlp_status st = TLP_OK;

    for (size_t piece; n > 0 && st == TLP_OK; n -= piece) {
        piece = TLPI_MIN(n, sizeof zeros);
        st = tlpi_gguf_write_data(&w->out, zeros, piece);
    }
    return st;
}

static tlp_status write_half(adapter_writer *w, const adapter_half *h)
{
    const tlpi_tensor *t = h->t;
    size_t row = tlpi_row_bytes(t->type, t->ne[0]);
    size_t more = tlpi_row_bytes(t->type, h->is_b ? h->missing : t->ne[0]);
    const char *data = t->data;
    tlp_status st = TLP_OK;

    for (int64_t i = 0; i < t->ne[1]; i++) {
        TLP_TRY(tlpi_gguf_write_data(&w->out, data + (size_t)i * row, row));
        if (h->is_b)
            TLP_TRY(write_zeros(w, more));
    }
    if (!h->is_b)
        TLP_TRY(write_zeros(w, more * (size_t)h->missing));
    st = tlpi_gguf_write_next(&w->out);
done:
    return st;
}

static tlp_status write_adapter(adapter_writer *w, const tlp_plan *plan,
                                const char *path)
{
    const char *arch = tlpi_arch_get(&plan->model->hp)->name;
    uint8_t room[3][64];
    float alpha;
    tlp_status st;

    TLP_TRY(list_halves(w, plan->model, plan->adjust->lora));
    alpha = (float)w->rank; /* so that b is complete */
    const tlpi_gguf_kv kv[] = {
        text_kv("general.type", "adapter", room[0]),
        text_kv("general.architecture", arch, room[1]),
        text_kv("adapter.type", "lora", room[2]),
        { .key = ALPHA,
          .type = TLPI_GGUF_F32,
          .n = 1,
          .data = (const uint8_t *)&alpha,
          .n_bytes = sizeof alpha },
    };
    TLP_TRY(tlpi_gguf_write_begin(&w->out, w->env, path, ALIGNMENT, kv,
                                  TLPI_COUNT(kv), w->to, w->n));
    for (size_t i = 0; i < w->n; i++)
        TLP_TRY(write_half(w, &w->half[i]));
    st = tlpi_gguf_write_commit(&w->out);
done:
    return st;
}

tlp_status tlp_plan_save_adapter(const tlp_plan *plan, const char *path)
{
    adapter_writer w = { .out = { .file = { .fd = -1 } } };
    tlp_status st;

    if (!plan || !path)
        return tlpi_fail(TLP_EINVAL, "plan and path are required");
    if (!plan->adjust || !plan->adjust->lora)
        return tlpi_fail(TLP_EINVAL, "plan: it has no LoRA to write");
    TLP_TRY(tlpi_model_check_path(plan->model, path));
    w.env = &plan->model->env;
    st = write_adapter(&w, plan, path);
    tlpi_gguf_write_end(&w.out);
    tlpi_free(w.env, w.name);
    tlpi_free(w.env, w.to);
    tlpi_free(w.env, w.half);
done:
    return st;
}
