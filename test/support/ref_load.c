/*
 * ref_load.c - a GGUF file as arrays of doubles, and plans as lists of stages.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/gguf.h"
#include "ref_impl.h"

static const char *const tensor_names[N_TENSOR] = {
    "attn_norm.weight",
    "attn_q.weight",
    "attn_k.weight",
    "attn_v.weight",
    "attn_output.weight",
    "attn_q.bias",
    "attn_k.bias",
    "attn_v.bias",
    "attn_output.bias",
    "attn_sinks.weight",
    "attn_q_norm.weight",
    "attn_k_norm.weight",
    "post_attention_norm.weight",
    "ffn_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate.weight",
    "ffn_up.weight",
    "ffn_down.weight",
    "ffn_gate_inp.bias",
    "ffn_gate_exps.bias",
    "ffn_up_exps.bias",
    "ffn_down_exps.bias",
    "post_ffw_norm.weight"
};

/* Of experts. */
static const char *const stack_names[] = { "ffn_gate_exps.weight",
                                           "ffn_up_exps.weight",
                                           "ffn_down_exps.weight" };

/* What the architecture's name says. */
typedef struct ref_form {
    const char *arch;
    bool neighbours; /* rotation pairs (2i, 2i+1) */
    bool gelu, clamp, row_norms, gate_up, embd_root;
    bool late_norm;      /* FFN_NORM has the name of ATTN_POST */
    bool yarn_exact;     /* YaRN's ramp begins and ends between two pairs */
    int no_rope_step;    /* every such layer does not rotate; 0: all rotate */
    int window_step;     /* every such layer has no window; 0: all have one */
    bool window_rope;    /* with windows, other layers do not rotate */
    double window_theta; /* of layers with a window, without scaling; -1: the
                            model's, 0: no angles of their own */
} ref_form;

static const ref_form forms[] = {
    { .arch = "llama", .neighbours = true },
    { .arch = "qwen2" },
    { .arch = "qwen3" },
    { .arch = "qwen3moe" },
    { .arch = "gpt-oss",
      .clamp = true,
      .late_norm = true,
      .yarn_exact = true,
      .window_step = 2 },
    { .arch = "granite", .neighbours = true },
    { .arch = "smollm3", .neighbours = true, .no_rope_step = 4 },
    { .arch = "gemma3",
      .gelu = true,
      .embd_root = true,
      .window_step = 6,
      .window_theta = 10000 },
    { .arch = "olmo2",
      .row_norms = true,
      .window_step = 4,
      .window_theta = -1 },
    { .arch = "phi3", .gate_up = true },
    { .arch = "glm4", .neighbours = true, .gate_up = true },
    { .arch = "exaone4", .window_step = 4, .window_rope = true },
    { .arch = "mistral3", .neighbours = true },
    { .arch = "gemma2", .gelu = true, .embd_root = true, .window_step = 2 },
};

_Noreturn void ref_die(const char *what, const char *which)
{
    fprintf(stderr, "ref: %s: %s\n", what, which);
    exit(3);
}

double *ref_zeros(size_t n)
{
    double *x = calloc(n ? n : 1, sizeof *x);

    if (!x)
        ref_die("out of memory", "");
    return x;
}

static const ref_form *form_of(const char *arch)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i].arch, arch) == 0)
            return &forms[i];
    ref_die("architecture", arch);
}

/* ==== loading ============================================================ */

static ref_array load(const tlpi_gguf *g, const char *name, bool need)
{
    ref_array a = { NULL, 0 };
    const tlpi_tensor *t = tlpi_gguf_tensor(g, name);

    if (!t) {
        if (need)
            ref_die("no tensor", name);
        return a;
    }
    a.n = (size_t)(t->ne[0] * t->ne[1] * t->ne[2]);
    a.x = ref_zeros(a.n);
    float *f = malloc(a.n * sizeof *f);
    if (!f)
        ref_die("out of memory", name);
    tlpi_dequantize(t->type, t->data, f, (int64_t)a.n);
    for (size_t i = 0; i < a.n; i++)
        a.x[i] = (double)f[i];
    free(f);
    return a;
}

static const char *key_of(const char *arch, const char *key)
{
    static char buf[128];

    snprintf(buf, sizeof buf, "%s.%s", arch, key);
    return buf;
}

static int get_int(const tlpi_gguf *g, const char *arch, const char *key,
                   int fallback)
{
    uint32_t v = (uint32_t)fallback;

    if (tlpi_gguf_get_u32(g, key_of(arch, key), fallback < 0, &v))
        ref_die("key", key);
    return (int)v;
}

static double get_float(const tlpi_gguf *g, const char *arch, const char *key,
                        double fallback)
{
    float v = (float)fallback;

    if (tlpi_gguf_get_f32(g, key_of(arch, key), false, &v))
        ref_die("key", key);
    return (double)v;
}

static double *angles(const ref_model *m, double theta, double scale)
{
    double *inv = ref_zeros((size_t)m->n_rot / 2);

    for (int i = 0; i < m->n_rot / 2; i++)
        inv[i] = pow(theta, -2.0 * i / m->n_rot) / scale;
    return inv;
}

/* YaRN: pairs that turn often keep their angles, slow ones have them divided.
 */
static void scale_by_pair(ref_model *m, double theta, double factor, double n,
                          bool exact)
{
    double edge[2];

    for (int i = 0; i < 2; i++) {
        double turns = i ? 1 : 32;
        edge[i] = m->n_rot * log(n / (turns * 2 * M_PI)) / (2 * log(theta));
    }
    double first = fmax(0, exact ? edge[0] : floor(edge[0]));
    double last = fmin(m->n_rot - 1, exact ? edge[1] : ceil(edge[1]));
    for (int i = 0; i < m->n_rot / 2; i++) {
        double slow = fmin(1, fmax(0, (i - first) / (last - first)));

        m->inv_freq[i] *= 1 - slow + slow / factor;
    }
    m->rope_gain = 0.1 * log(factor) + 1;
}

/* The tensor that divides the angles: rope_freqs, or longrope's. */
static ref_array load_divisors(const tlpi_gguf *g, int n_old)
{
    const char *name = REF_N_CTX > n_old ? "rope_factors_long.weight"
                                         : "rope_factors_short.weight";
    ref_array div = load(g, name, false);

    return div.x ? div : load(g, "rope_freqs.weight", false);
}

static void load_rope(ref_model *m, const tlpi_gguf *g, const char *arch)
{
    const ref_form *form = form_of(arch);
    double theta = get_float(g, arch, "rope.freq_base", 10000);
    double factor = get_float(g, arch, "rope.scaling.factor", 1);
    double log_mul = get_float(g, arch, "rope.scaling.yarn_log_multiplier", 0);
    int n = get_int(g, arch, "rope.scaling.original_context_length", 0);
    ref_array div = load_divisors(g, n);

    m->rope_gain = get_float(g, arch, "rope.scaling.attn_factor", 1);
    m->inv_freq = angles(m, theta, n ? 1 : factor);
    if (n && factor != 1)
        scale_by_pair(m, theta, factor, n, form->yarn_exact);
    m->rope_gain /= 1 + 0.1 * log_mul * log(factor);
    for (int i = 0; div.x && i < m->n_rot / 2; i++)
        m->inv_freq[i] /= div.x[i];
    free(div.x);
    if (form->window_theta != 0)
        m->inv_freq_window = angles(
            m,
            get_float(g, arch, "rope.freq_base_swa",
                      form->window_theta > 0 ? form->window_theta : theta),
            1);
}

/* A part of a fused tensor: n of its numbers behind the first `at`. */
static ref_array part_of(const ref_array *all, size_t at, size_t n)
{
    ref_array a = { ref_zeros(n), n };

    if (at + n > all->n)
        ref_die("fused tensor", "too small");
    memcpy(a.x, all->x + at, n * sizeof *a.x);
    return a;
}

/* Cut what attn_qkv and ffn_up of phi3 hold. */
static void split_layer(const ref_model *m, const tlpi_gguf *g, int l,
                        bool gate_up, ref_layer *layer)
{
    size_t d = (size_t)m->d, ff = (size_t)m->n_ff * d;
    size_t q = (size_t)(m->n_head * m->hd) * d;
    size_t kv = (size_t)(m->n_head_kv * m->hd) * d;
    char name[64];

    snprintf(name, sizeof name, "blk.%d.attn_qkv.weight", l);
    ref_array qkv = load(g, name, false), up = layer->t[FFN_UP];
    if (qkv.x) {
        layer->t[ATTN_Q] = part_of(&qkv, 0, q);
        layer->t[ATTN_K] = part_of(&qkv, q, kv);
        layer->t[ATTN_V] = part_of(&qkv, q + kv, kv);
    }
    if (gate_up) {
        layer->t[FFN_GATE] = part_of(&up, 0, ff);
        layer->t[FFN_UP] = part_of(&up, ff, ff);
        free(up.x);
    }
    free(qkv.x);
}

/* NULL: the model has no such tensor. */
static const char *name_of(const ref_model *m, const ref_form *form, int tensor)
{
    if (form->late_norm && tensor == ATTN_POST)
        return NULL;
    if (form->late_norm && tensor == FFN_NORM)
        return tensor_names[ATTN_POST];
    return m->n_expert && tensor >= FFN_GATE && tensor <= FFN_DOWN
               ? stack_names[tensor - FFN_GATE]
               : tensor_names[tensor];
}

static void load_tensors(ref_model *m, const tlpi_gguf *g, int l,
                         const ref_form *form)
{
    ref_layer *layer = &m->layer[l];

    for (int i = 0; i < N_TENSOR; i++) {
        const char *rest = name_of(m, form, i);
        char name[64];

        if (!rest)
            continue;
        snprintf(name, sizeof name, "blk.%d.%s", l, rest);
        layer->t[i] = load(g, name, false);
    }
    split_layer(m, g, l, form->gate_up, layer);
    for (int i = 0; i < N_TENSOR; i++)
        if (!layer->t[i].x && ((i >= ATTN_Q && i <= ATTN_OUT) ||
                               (i >= FFN_GATE && i <= FFN_DOWN)))
            ref_die("no tensor", tensor_names[i]);
}

static void load_experts(ref_model *m, const tlpi_gguf *g, const char *arch)
{
    bool norm = true;

    m->n_expert = get_int(g, arch, "expert_count", 0);
    m->n_used = get_int(g, arch, "expert_used_count", 0);
    m->expert_scale = get_float(g, arch, "expert_weights_scale", 1);
    if (tlpi_gguf_get_bool(g, key_of(arch, "expert_weights_norm"), false,
                           &norm))
        ref_die("key", "expert_weights_norm");
    m->all_share = !norm;
    if (m->n_expert)
        m->n_ff = get_int(g, arch, "expert_feed_forward_length", m->n_ff);
}

static void load_layers(ref_model *m, const tlpi_gguf *g, const char *arch)
{
    const ref_form *form = form_of(arch);
    int window = get_int(g, arch, "attention.sliding_window", 0);
    int step =
        get_int(g, arch, "attention.sliding_window_pattern", form->window_step);

    m->layer = calloc((size_t)m->n_layer, sizeof *m->layer);
    if (!m->layer)
        ref_die("out of memory", "layers");
    for (int l = 0; l < m->n_layer; l++) {
        ref_layer *layer = &m->layer[l];
        bool rotates = !form->no_rope_step || (l + 1) % form->no_rope_step != 0;

        load_tensors(m, g, l, form);
        layer->inv_freq = rotates ? m->inv_freq : NULL;
        if (window && step && (l + 1) % step == 0 && form->window_rope)
            layer->inv_freq = NULL;
        if (!window || (step && (l + 1) % step == 0))
            continue;
        layer->window = window;
        if (m->inv_freq_window)
            layer->inv_freq = m->inv_freq_window;
    }
}

ref_model *ref_open(const char *path)
{
    tlpi_env env;
    tlpi_gguf *g = NULL;
    tlpi_str s = { NULL, 0 };
    char arch[16];
    ref_model *m = calloc(1, sizeof *m);

    if (!m || tlpi_env_init(&env, NULL, NULL, NULL) ||
        tlpi_gguf_open(&g, &env, path, NULL) ||
        tlpi_gguf_get_str(g, "general.architecture", true, &s))
        ref_die(path, tlp_last_error());
    snprintf(arch, sizeof arch, "%.*s", (int)s.n, s.s);
    m->n_layer = get_int(g, arch, "block_count", -1);
    m->d = get_int(g, arch, "embedding_length", -1);
    m->n_ff = get_int(g, arch, "feed_forward_length", -1);
    load_experts(m, g, arch);
    m->n_head = get_int(g, arch, "attention.head_count", -1);
    m->n_head_kv = get_int(g, arch, "attention.head_count_kv", m->n_head);
    m->hd = get_int(g, arch, "attention.key_length", m->d / m->n_head);
    m->n_rot = get_int(g, arch, "rope.dimension_count", m->hd);
    m->eps = get_float(g, arch, "attention.layer_norm_rms_epsilon", 0);
    m->gelu = form_of(arch)->gelu;
    m->clamp = form_of(arch)->clamp;
    m->row_norms = form_of(arch)->row_norms;
    m->neighbours = form_of(arch)->neighbours;
    m->embedding_scale = get_float(g, arch, "embedding_scale", 1);
    m->residual_scale = get_float(g, arch, "residual_scale", 1);
    m->attention_scale = get_float(g, arch, "attention.scale", 0);
    m->logit_scale = get_float(g, arch, "logit_scale", 1);
    if (m->attention_scale == 0)
        m->attention_scale = 1 / sqrt(m->hd);
    if (form_of(arch)->embd_root)
        m->embedding_scale = sqrt(m->d);
    m->attn_cap = get_float(g, arch, "attn_logit_softcapping", 0);
    m->logit_cap = get_float(g, arch, "final_logit_softcapping", 0);
    m->query_scale = get_float(g, arch, "attention.temperature_scale", 0);
    m->query_ctx = get_int(g, arch, "rope.scaling.original_context_length", 1);
    load_rope(m, g, arch);
    m->embd = load(g, "token_embd.weight", true);
    m->n_vocab = (int)(m->embd.n / (size_t)m->d);
    m->output_norm = load(g, "output_norm.weight", true);
    m->output = load(g, "output.weight", false);
    load_layers(m, g, arch);
    tlpi_gguf_close(g);
    return m;
}

void ref_layer_clear(ref_layer *l)
{
    for (int i = 0; i < N_TENSOR; i++)
        free(l->t[i].x);
}

void ref_close(ref_model *m)
{
    if (!m)
        return;
    for (int l = 0; l < m->n_layer; l++)
        ref_layer_clear(&m->layer[l]);
    free(m->layer);
    free(m->inv_freq);
    free(m->inv_freq_window);
    free(m->embd.x);
    free(m->output_norm.x);
    free(m->output.x);
    free(m);
}

int ref_n_vocab(const ref_model *m)
{
    return m->n_vocab;
}

int ref_n_layer(const ref_model *m)
{
    return m->n_layer;
}

bool ref_has_posts(const ref_model *m)
{
    return m->layer[0].t[ATTN_POST].x != NULL;
}

int ref_n_embd(const ref_model *m)
{
    return m->d;
}

/* ==== plans ============================================================== */

ref_plan ref_parse(const char *text)
{
    static const char *const names[] = { "",      "lp:",      "par:",
                                         "asym:", "lp-code:", "merge:" };
    ref_plan p = { 0 };
    const char *s = text;

    if (*s == '@') {
        p.n_track = s[1] - '0';
        s += strlen("@2 ");
    }
    while (*s) {
        ref_stage *st = &p.stage[p.n_stage];

        if (p.n_stage == REF_MAX_STAGE)
            ref_die("too many stages", text);
        for (int i = REF_LP; i <= REF_MERGE; i++)
            if (strncmp(s, names[i], strlen(names[i])) == 0) {
                st->mode = (ref_mode)i;
                s += strlen(names[i]);
                break;
            }
        for (int i = 0; i < REF_MAX_MEMBER; i++)
            st->adjust[i].attn_gain = st->adjust[i].ffn_gain = 1;
        do {
            char *end;

            if (st->n_member == REF_MAX_MEMBER)
                ref_die("too many members", text);
            st->layers[st->n_member++] = (int)strtol(s, &end, 10);
            if (end == s)
                ref_die("layer expected", text);
            s = end;
        } while (*s == ',' && *s++);
        st->open_attn = *s == 'a' && *s++;
        st->open_ffn = *s == 'f' && *s++;
        if (*s && *s++ != ' ')
            ref_die("blank expected", text);
        p.n_stage++;
    }
    return p;
}
