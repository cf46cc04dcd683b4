/*
 * tiny.c - random models of any shape.
 *
 * The values of a tensor depend only on the seed and its name, so files that
 * differ in type, version, splitting or tying hold one model.  Scales keep
 * activations and logits of order one.
 */
#include "tiny_meta.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SPLIT 64

typedef struct plan_tensor {
    char name[64];
    int64_t cols, rows; /* rows 0: a vector */
    int64_t depth;      /* matrices of a stack, else 1 */
    bool exact;         /* F32 whatever the type of matrices */
    float mean, scale;  /* values: mean + scale * noise of variance 1 */
} plan_tensor;

/* All tensors of the files, in file order. */
typedef struct plan_list {
    plan_tensor *at;
    size_t n, cap;
} plan_list;

tiny_spec tiny_default(void)
{
    return (tiny_spec){ .arch = "llama",
                        .n_layer = 5,
                        .n_embd = 96,
                        .n_ff = 160,
                        .n_head = 6,
                        .n_head_kv = 3,
                        .head_dim = 16,
                        .n_vocab = 288,
                        .n_ctx = 256,
                        .scale_ctx = 64,
                        .type = TLPI_F32,
                        .embedding_scale = 3,
                        .residual_scale = 0.375f,
                        .attention_scale = 0.125f,
                        .logit_scale = 1.5f,
                        .window = 5,
                        .seed = 1 };
}

/* ==== values ============================================================= */

static uint64_t next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Bell-shaped, variance 1, bounded by 2 sqrt(3): a sum of four uniforms, in
 * integers so that every machine gets equal values. */
static float noise(uint64_t *state)
{
    uint64_t bits = next(state);
    int64_t sum = -2 * 65535;

    for (int i = 0; i < 4; i++)
        sum += (int64_t)(bits >> (16 * i) & 0xffff);
    return (float)sum * (1.7320508f / 65536.0f);
}

static uint64_t seed_of(uint64_t seed, const char *name)
{
    uint64_t h = seed * 0x9e3779b97f4a7c15u ^ 14695981039346656037u;

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h;
}

/* ==== tensors ============================================================ */

static void add(plan_list *list, const char *name, int64_t rows, int64_t cols,
                float mean, float scale)
{
    if (list->n == list->cap) {
        list->cap = 2 * list->cap + 64;
        list->at = realloc(list->at, list->cap * sizeof *list->at);
        if (!list->at)
            abort();
    }
    plan_tensor *t = &list->at[list->n++];
    *t = (plan_tensor){
        .rows = rows, .cols = cols, .depth = 1, .mean = mean, .scale = scale
    };
    snprintf(t->name, sizeof t->name, "%s", name);
}

static void add_matrix(plan_list *list, const char *name, int64_t rows,
                       int64_t cols)
{
    add(list, name, rows, cols, 0, 1 / sqrtf((float)cols));
}

/* A matrix for each expert. */
static void add_stack(plan_list *list, const char *name, int64_t depth,
                      int64_t rows, int64_t cols)
{
    add_matrix(list, name, rows, cols);
    list->at[list->n - 1].depth = depth;
}

static void add_norm(plan_list *list, const char *name, int64_t n)
{
    add(list, name, 0, n, 1, 0.1f);
}

/* Those of gates and of ups reach the limits of gpt-oss. */
static void add_expert_biases(plan_list *list, const tiny_spec *s, int l)
{
    static const struct {
        const char *of;
        float scale;
        bool wide; /* a number for each element of the stream */
    } bias[] = { { "gate", 2, false },
                 { "up", 2, false },
                 { "down", 1, true } };
    char name[64];

    snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.bias", l);
    add(list, name, 0, s->n_expert, 0, 1);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.bias", l, bias[i].of);
        add(list, name, s->n_expert, bias[i].wide ? s->n_embd : s->n_ff, 0,
            bias[i].scale);
        list->at[list->n - 1].exact = true;
    }
}

static void add_layer(plan_list *list, const tiny_spec *s, int l)
{
    int64_t d = s->n_embd, q = (int64_t)s->n_head * s->head_dim,
            kv = (int64_t)s->n_head_kv * s->head_dim;
    const tiny_form *form = tiny_form_of(s);
    char name[64];
#define NAME(suffix) (snprintf(name, sizeof name, "blk.%d." suffix, l), name)

    if (!form->raw)
        add_norm(list, NAME("attn_norm.weight"), d);
    add_matrix(list, NAME("attn_q.weight"), q, d);
    add_matrix(list, NAME("attn_k.weight"), kv, d);
    add_matrix(list, NAME("attn_v.weight"), kv, d);
    add_matrix(list, NAME("attn_output.weight"), d, q);
    if (form->biases) {
        add(list, NAME("attn_q.bias"), 0, q, 0, 0.3f);
        add(list, NAME("attn_k.bias"), 0, kv, 0, 0.3f);
        add(list, NAME("attn_v.bias"), 0, kv, 0, 0.3f);
    }
    if (s->out_bias || form->sinks)
        add(list, NAME("attn_output.bias"), 0, d, 0, 0.3f);
    if (form->sinks)
        add(list, NAME("attn_sinks.weight"), 0, s->n_head, 0.5f, 1);
    if (form->head_norms) {
        add_norm(list, NAME("attn_q_norm.weight"), s->head_dim);
        add_norm(list, NAME("attn_k_norm.weight"), s->head_dim);
    }
    if (form->row_norms) {
        add_norm(list, NAME("attn_q_norm.weight"), q);
        add_norm(list, NAME("attn_k_norm.weight"), kv);
    }
    if (form->post_norms)
        add_norm(list, NAME("post_attention_norm.weight"), d);
    if (!form->raw)
        add_norm(list,
                 form->sinks ? NAME("post_attention_norm.weight")
                             : NAME("ffn_norm.weight"),
                 d);
    if (s->n_expert) {
        add_matrix(list, NAME("ffn_gate_inp.weight"), s->n_expert, d);
        list->at[list->n - 1].exact = true;
        add_stack(list, NAME("ffn_gate_exps.weight"), s->n_expert, s->n_ff, d);
        add_stack(list, NAME("ffn_up_exps.weight"), s->n_expert, s->n_ff, d);
        add_stack(list, NAME("ffn_down_exps.weight"), s->n_expert, d, s->n_ff);
        if (form->sinks)
            add_expert_biases(list, s, l);
    } else {
        add_matrix(list, NAME("ffn_gate.weight"), s->n_ff, d);
        add_matrix(list, NAME("ffn_up.weight"), s->n_ff, d);
        add_matrix(list, NAME("ffn_down.weight"), d, s->n_ff);
    }
    if (form->post_norms)
        add_norm(list, NAME("post_ffw_norm.weight"), d);
#undef NAME
}

static void add_all(plan_list *list, const tiny_spec *s)
{
    int half = tiny_rotating(s) / 2;

    add_matrix(list, "token_embd.weight", s->n_vocab, s->n_embd);
    for (int l = 0; l < s->n_layer; l++)
        add_layer(list, s, l);
    add_norm(list, "output_norm.weight", s->n_embd);
    if (!s->tied)
        add_matrix(list, "output.weight", s->n_vocab, s->n_embd);
    if (s->rope_freqs)
        add(list, "rope_freqs.weight", 0, half, 2, 0.25f);
    if (s->long_gain != 0) {
        add(list, "rope_factors_long.weight", 0, half, 2, 0.25f);
        add(list, "rope_factors_short.weight", 0, half, 1.25f, 0.1f);
    }
}

static tlpi_dtype type_of(const plan_tensor *t, tlpi_dtype wanted)
{
    if (t->rows == 0 || t->exact)
        return TLPI_F32;
    if (t->cols % tlpi_dtype_get(wanted)->block == 0)
        return wanted;
    return t->cols % 32 == 0 ? TLPI_Q8_0 : TLPI_F16;
}

/* Rows of all matrices; a vector is one. */
static int64_t rows_of(const plan_tensor *t)
{
    return t->rows ? t->rows * t->depth : 1;
}

static size_t tensor_bytes(const plan_tensor *t, tlpi_dtype type)
{
    return (size_t)rows_of(t) * tlpi_row_bytes(type, t->cols);
}

static void fill(const plan_tensor *t, const tiny_spec *s, uint8_t *data)
{
    tlpi_dtype type = type_of(t, s->type);
    size_t row_bytes = tlpi_row_bytes(type, t->cols);
    uint64_t state = seed_of(s->seed, t->name);
    float *row = malloc((size_t)t->cols * sizeof *row);

    if (!row)
        abort();
    for (int64_t r = 0; r < rows_of(t); r++) {
        for (int64_t c = 0; c < t->cols; c++)
            row[c] = t->mean + t->scale * noise(&state);
        tlpi_quantize(type, row, data + (size_t)r * row_bytes, t->cols);
    }
    free(row);
}

/* n tensors, one behind the other, as one of that name. */
static void write_tensors(gw_file *w, const plan_tensor *t, int n,
                          const char *name, const tiny_spec *s)
{
    tlpi_dtype type = type_of(t, s->type);
    int n_dim = t->depth > 1 ? 3 : t->rows ? 2 : 1;
    uint64_t ne[3] = { (uint64_t)t->cols, 0, (uint64_t)t->depth };
    size_t n_bytes = 0, at = 0;

    for (int i = 0; i < n; i++)
        n_bytes += tensor_bytes(&t[i], type);
    uint8_t *data = malloc(n_bytes);
    if (!data)
        abort();
    for (int i = 0; i < n; i++) {
        fill(&t[i], s, data + at);
        at += tensor_bytes(&t[i], type);
        ne[n_dim > 1] += (uint64_t)(n_dim > 1 ? t[i].rows : t[i].cols);
    }
    if (n_dim == 1)
        ne[0] -= (uint64_t)t->cols; /* counted twice */
    gw_tensor(w, name, type, n_dim, ne, data, n_bytes);
    free(data);
}

/* The tensors from t on that are written as one: their number, and its name. */
static int join(const plan_tensor *t, const tiny_spec *s, char name[64])
{
    const tiny_form *form = tiny_form_of(s);
    const char *q = strstr(t->name, ".attn_q.");
    const char *gate = strstr(t->name, ".ffn_gate.");

    snprintf(name, 64, "%s", t->name);
    if (q && (s->fused || form->qkv)) {
        snprintf(name, 64, "%.*s.attn_qkv.%s", (int)(q - t->name), t->name,
                 q + strlen(".attn_q."));
        return 3;
    }
    if (!gate || !form->gate_up)
        return 1;
    snprintf(name, 64, "%.*s.ffn_up.weight", (int)(gate - t->name), t->name);
    return 2;
}

/* ==== files ============================================================== */

static void write_split_meta(gw_file *w, int no, int n_split, size_t n_tensor)
{
    uint16_t no16 = (uint16_t)no, count = (uint16_t)n_split;
    int32_t n = (int32_t)n_tensor;

    gw_kv(w, "split.no", TLPI_GGUF_U16, &no16, sizeof no16);
    gw_kv(w, "split.count", TLPI_GGUF_U16, &count, sizeof count);
    gw_kv(w, "split.tensors.count", TLPI_GGUF_I32, &n, sizeof n);
}

static void split_path(char *out, size_t cap, const char *path, int no,
                       int n_split)
{
    size_t n = strlen(path);

    if (n_split <= 1) {
        snprintf(out, cap, "%s", path);
        return;
    }
    if (n > 5 && strcmp(path + n - 5, ".gguf") == 0)
        n -= 5;
    snprintf(out, cap, "%.*s-%05d-of-%05d.gguf", (int)n, path, no + 1, n_split);
}

static bool write_file(const char *path, const tiny_spec *s,
                       const plan_list *list, int no, int n_split)
{
    size_t n = (size_t)n_split, i = (size_t)no;
    char name[4096];
    gw_file w;

    gw_init(&w);
    w.version = s->version ? s->version : 3;
    if (no == 0)
        tiny_write_meta(&w, s);
    if (n_split > 1)
        write_split_meta(&w, no, n_split, list->n);
    for (size_t t = list->n * i / n; t < list->n * (i + 1) / n;) {
        char joined[64];
        int n_joined = join(&list->at[t], s, joined);

        write_tensors(&w, &list->at[t], n_joined, joined, s);
        t += (size_t)n_joined;
    }
    split_path(name, sizeof name, path, no, n_split);
    bool ok = gw_save(&w, name);
    gw_free(&w);
    return ok;
}

/* With the experts that the architecture has without a word. */
static tiny_spec with_experts(const tiny_spec *spec)
{
    tiny_spec s = *spec;

    if (tiny_form_of(&s)->experts && s.n_expert == 0) {
        s.n_expert = 6;
        s.n_used = 3;
    }
    return s;
}

bool tiny_write(const char *path, const tiny_spec *wanted)
{
    const tiny_spec full = with_experts(wanted), *spec = &full;
    plan_list list = { 0 };
    int n_split = spec->n_split > 1 ? spec->n_split : 1;
    bool ok = true;

    if (n_split > MAX_SPLIT || !tiny_vocab_fits(spec->n_vocab)) {
        fprintf(stderr, "%s: %d files or %d tokens cannot be made\n", path,
                n_split, spec->n_vocab);
        return false;
    }
    add_all(&list, spec);
    for (int i = 0; ok && i < n_split; i++)
        ok = write_file(path, spec, &list, i, n_split);
    free(list.at);
    return ok;
}

const char *tiny_make(const tiny_spec *spec)
{
    const char *path = tiny_path("tiny.gguf");

    if (!tiny_write(path, spec))
        abort();
    char first[512];
    split_path(first, sizeof first, path, 0, spec->n_split);
    return tiny_keep_path(first);
}
