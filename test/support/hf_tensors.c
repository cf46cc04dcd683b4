/*
 * hf_tensors.c - the tensors of a folder: names and rows as transformers has
 * them, stacks of experts as a tensor for each expert or as one of all gates
 * and ups.
 */
#include <stdint.h>

#include "hf_source.h"

typedef struct name_pair {
    const char *gguf, *name;
    const char *only; /* an architecture; NULL: all that no earlier row names */
} name_pair;

static const name_pair names[] = {
    { "post_attention_norm.", "post_self_attn_layernorm.", "glm4" },
    { "post_ffw_norm.", "post_mlp_layernorm.", "glm4" },
    { "ffn_norm.", "pre_feedforward_layernorm.", "gemma2" },
    { "ffn_norm.", "pre_feedforward_layernorm.", "gemma3" },
    { "ffn_up.", "mlp.gate_up_proj.", "glm4" },
    { "ffn_up.", "mlp.gate_up_proj.", "phi3" },
    { "ffn_gate_inp.", "mlp.router.", "gpt-oss" },
    { "attn_sinks.weight", "self_attn.sinks", NULL },
    { "attn_norm.", "input_layernorm.", NULL },
    { "attn_q.", "self_attn.q_proj.", NULL },
    { "attn_k.", "self_attn.k_proj.", NULL },
    { "attn_v.", "self_attn.v_proj.", NULL },
    { "attn_qkv.", "self_attn.qkv_proj.", NULL },
    { "attn_output.", "self_attn.o_proj.", NULL },
    { "attn_q_norm.", "self_attn.q_norm.", NULL },
    { "attn_k_norm.", "self_attn.k_norm.", NULL },
    { "post_attention_norm.", "post_attention_layernorm.", NULL },
    { "post_ffw_norm.", "post_feedforward_layernorm.", NULL },
    { "ffn_norm.", "post_attention_layernorm.", NULL },
    { "ffn_gate.", "mlp.gate_proj.", NULL },
    { "ffn_up.", "mlp.up_proj.", NULL },
    { "ffn_down.", "mlp.down_proj.", NULL },
    { "ffn_gate_inp.", "mlp.gate.", NULL },
};

/* A tensor of a layer, "blk.N." left out. */
static void name_in_layer(const hf_source *s, const char *gguf, char *out,
                          size_t cap)
{
    const name_pair *p = names;

    while (strncmp(gguf, p->gguf, strlen(p->gguf)) != 0 ||
           (p->only && !hf_is(s, p->only)))
        NEED(++p < names + sizeof names / sizeof names[0]);
    if (hf_is_mixtral(s) && !s->spec->fused &&
        strcmp(gguf, "ffn_gate_inp.weight") == 0)
        snprintf(out, cap, "block_sparse_moe.gate.weight");
    else
        snprintf(out, cap, "%s%s", p->name, gguf + strlen(p->gguf));
}

static void name_expert(const hf_source *s, const char *gguf, int expert,
                        char *out, size_t cap)
{
    static const char *const parts[][3] = {
        { "ffn_gate_exps.weight", "gate_proj", "w1" },
        { "ffn_up_exps.weight", "up_proj", "w3" },
        { "ffn_down_exps.weight", "down_proj", "w2" },
    };
    bool mixtral = hf_is_mixtral(s);

    for (int i = 0; i < 3; i++)
        if (strcmp(gguf, parts[i][0]) == 0)
            snprintf(out, cap, "%s.experts.%d.%s.weight",
                     mixtral ? "block_sparse_moe" : "mlp", expert,
                     parts[i][mixtral ? 2 : 1]);
}

static void name_of(const hf_source *s, const hf_item *x, char *out, size_t cap)
{
    const char *gguf = x->t->name;
    char rest[64];
    int layer = 0, n = 0;

    if (strcmp(gguf, "token_embd.weight") == 0)
        snprintf(out, cap, "model.embed_tokens.weight");
    else if (strcmp(gguf, "output_norm.weight") == 0)
        snprintf(out, cap, "model.norm.weight");
    else if (strcmp(gguf, "output.weight") == 0)
        snprintf(out, cap, "lm_head.weight");
    else
        NEED(sscanf(gguf, "blk.%d.%n", &layer, &n) == 1 && n > 0);
    if (n == 0)
        return;
    if (x->kind != HF_ROWS)
        hf_name_turns(x, rest, sizeof rest);
    else if (x->up)
        snprintf(rest, sizeof rest, "mlp.experts.gate_up_proj");
    else if (x->expert >= 0)
        name_expert(s, gguf + n, x->expert, rest, sizeof rest);
    else if (strstr(gguf, "_exps.bias"))
        snprintf(rest, sizeof rest, "mlp.experts.down_proj_bias");
    else if (strstr(gguf, "_exps."))
        snprintf(rest, sizeof rest, "mlp.experts.down_proj");
    else
        name_in_layer(s, gguf + n, rest, sizeof rest);
    NEED(snprintf(out, cap, "model.layers.%d.%s", layer, rest) < (int)cap);
}

/* ==== items ============================================================== */

/* The up that belongs to a gate. */
static const tlpi_tensor *up_of(const hf_source *s, const tlpi_tensor *gate)
{
    char name[96];
    int layer = 0;

    NEED(sscanf(gate->name, "blk.%d.", &layer) == 1);
    snprintf(name, sizeof name, "blk.%d.ffn_up_exps%s", layer,
             strrchr(gate->name, '.'));
    return tlpi_gguf_tensor(s->g, name);
}

/* All tensors of the folder; rotation tables are in config.json. */
static size_t list_items(const hf_source *s, hf_item *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s->g->n_tensor; i++) {
        const tlpi_tensor *t = &s->g->tensor[i];
        bool stack = strstr(t->name, "_exps.") != NULL;

        if (strncmp(t->name, "rope_", 5) == 0)
            continue;
        if (hf_is(s, "gpt-oss") && stack) {
            bool gate = strstr(t->name, "gate_exps.") != NULL;

            n += hf_list_turns(s, t, gate ? up_of(s, t) : NULL, out + n);
        } else if (!stack) {
            out[n++] = (hf_item){ t, NULL, -1, HF_ROWS };
        } else if (!s->spec->fused) {
            for (int e = 0; e < t->ne[2]; e++)
                out[n++] = (hf_item){ t, NULL, e, HF_ROWS };
        } else if (strstr(t->name, "gate_exps.")) {
            out[n++] = (hf_item){ t, up_of(s, t), -1, HF_ROWS };
        } else if (strstr(t->name, "down_exps.")) {
            out[n++] = (hf_item){ t, NULL, -1, HF_ROWS };
        }
    }
    return n;
}

static size_t max_items(const hf_source *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->g->n_tensor; i++)
        n += (size_t)s->g->tensor[i].ne[2] + 1;
    return n;
}

/* ==== data =============================================================== */

/* Row r of a head in the order of transformers stands in row 2 r, or behind the
 * first half in row 2 (r - half) + 1. */
static int64_t row_in_gguf(const hf_source *s, const tlpi_tensor *t,
                           int64_t row)
{
    int64_t dim = hf_number(s, "attention.key_length",
                            hf_number(s, "rope.dimension_count", 0));
    int64_t half = dim / 2, r = row % dim;
    bool moved = (hf_is(s, "llama") || hf_is(s, "granite") ||
                  hf_is(s, "smollm3") || hf_is(s, "mistral3")) &&
                 (strstr(t->name, "attn_q.") || strstr(t->name, "attn_k."));

    return moved ? row - r + (r < half ? 2 * r : 2 * (r - half) + 1) : row;
}

static bool is_float(tlpi_dtype type)
{
    return type == TLPI_F32 || type == TLPI_F16 || type == TLPI_BF16;
}

/* Rows [from, from + n) of a tensor's matrices behind each other. */
static uint8_t *copy_rows(const hf_source *s, const tlpi_tensor *t,
                          tlpi_dtype type, int64_t from, int64_t n,
                          uint8_t *out)
{
    int64_t cols = t->n_dim == 1 ? 1 : t->ne[0];
    bool gemma = strncmp(s->arch, "gemma", 5) == 0;
    float less = gemma && strstr(t->name, "norm.weight") ? 1 : 0;
    float *x = malloc((size_t)cols * sizeof *x);

    NEED(x);
    for (int64_t r = from; r < from + n; r++) {
        const uint8_t *src =
            (const uint8_t *)t->data +
            (size_t)row_in_gguf(s, t, r) * tlpi_row_bytes(t->type, cols);

        tlpi_dequantize(t->type, src, x, cols);
        if (t->n_dim == 1)
            x[0] -= less;
        tlpi_quantize(type, x, out, cols);
        out += tlpi_row_bytes(type, cols);
    }
    free(x);
    return out;
}

static void copy_item(const hf_source *s, const hf_item *x,
                      const tlpi_safetensors_part *p)
{
    const tlpi_tensor *t = x->t;
    int64_t rows = t->n_dim == 1 ? t->ne[0] : t->ne[1];
    uint8_t *out = p->data;

    if (x->kind != HF_ROWS) {
        hf_copy_turns(x, p);
    } else if (x->up) {
        for (int64_t e = 0; e < t->ne[2]; e++) {
            out = copy_rows(s, t, p->type, e * rows, rows, out);
            out = copy_rows(s, x->up, p->type, e * rows, rows, out);
        }
    } else if (x->expert >= 0) {
        copy_rows(s, t, p->type, x->expert * rows, rows, out);
    } else {
        copy_rows(s, t, p->type, 0, rows * t->ne[2], out);
    }
}

/* ==== files ============================================================== */

/* The name in a model that reads images too, as older programs and as newer
 * ones write it. */
static void name_outside(const hf_source *s, const char *name, char *out,
                         size_t cap)
{
    const char *in = strncmp(name, "model.", 6) == 0 ? name + 6 : NULL;
    int n;

    if (!s->spec->images)
        n = snprintf(out, cap, "%s", name);
    else if (s->spec->older)
        n = snprintf(out, cap, "language_model.%s", name);
    else if (in)
        n = snprintf(out, cap, "model.language_model.%s", in);
    else
        n = snprintf(out, cap, "%s", name);
    NEED(n < (int)cap);
}

/* A tensor for images, in BF16. */
static void add_image_part(const hf_source *s, tlpi_safetensors_part *p)
{
    *p = (tlpi_safetensors_part){ .type = TLPI_BF16,
                                  .n_dim = 4,
                                  .ne = { 2, 2, 3, 4 } };
    snprintf(p->name, sizeof p->name, "%svision_tower.patch_conv.weight",
             s->spec->older ? "" : "model.");
}

static void shape_part(const hf_source *s, const hf_item *x,
                       tlpi_safetensors_part *p)
{
    const tlpi_tensor *t = x->t;

    char name[64];

    name_of(s, x, name, sizeof name);
    name_outside(s, name, p->name, sizeof p->name);
    if (x->kind != HF_ROWS) {
        hf_shape_turns(s, x, p);
        return;
    }
    p->type = is_float(t->type) ? t->type : TLPI_F32;
    if (t->n_dim == 1 || strstr(t->name, "ffn_gate_inp.") ||
        strstr(t->name, ".bias"))
        p->type = s->spec->vector;
    p->n_dim = t->n_dim;
    for (int i = 0; i < 3; i++)
        p->ne[i] = t->ne[i];
    if (x->expert >= 0)
        p->n_dim = 2;
    if (x->up)
        p->ne[1] *= 2;
}

/* Items first, first + step, ... of all n. */
static void write_shard(const hf_source *s, const char *name, const hf_item *x,
                        size_t n, size_t step, json_t *index)
{
    size_t n_part = 0, n_image;
    tlpi_safetensors_part *part = calloc(n + 2, sizeof *part);
    const tlpi_safetensors_meta meta = { "format", "pt" };
    bool images = s->spec->images && json_object_size(index) == 0;
    void *image;

    NEED(part);
    for (size_t i = 0; i < n; i += step) {
        shape_part(s, &x[i], &part[n_part]);
        NEED(json_object_set_new(index, part[n_part].name, json_string(name)) ==
             0);
        n_part++;
    }
    if (images) {
        add_image_part(s, &part[n_part]);
        NEED(json_object_set_new(index, part[n_part].name, json_string(name)) ==
             0);
        n_part++;
    }
    NEED(tlpi_safetensors_lay_out(s->g->env, part, n_part, &meta, 1, &image,
                                  &n_image) == TLP_OK);
    if (images)
        memset(part[n_part - 1].data, 0, part[n_part - 1].n_bytes);
    n_part = 0;
    for (size_t i = 0; i < n; i += step)
        copy_item(s, &x[i], &part[n_part++]);
    hf_write(s->folder, name, image, n_image);
    tlpi_free(s->g->env, image);
    free(part);
}

void hf_write_tensors(const hf_source *s)
{
    size_t n = s->spec->n_shard ? (size_t)s->spec->n_shard : 1;
    hf_item *list = calloc(max_items(s), sizeof *list);
    json_t *index = json_object();

    NEED(list);
    size_t n_item = list_items(s, list);
    n = TLPI_MIN(n, n_item);
    for (size_t i = 0; i < n; i++) {
        char name[64];

        snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1,
                 n);
        write_shard(s, s->spec->n_shard ? name : "model.safetensors", list + i,
                    n_item - i, n, index);
    }
    json_t *root = json_pack("{s{si} so}", "metadata", "total_size", 1,
                             "weight_map", index);
    if (s->spec->n_shard)
        hf_save(s->folder, "model.safetensors.index.json", root);
    json_decref(root);
    free(list);
}
