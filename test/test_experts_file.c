/*
 * test_experts_file.c - files of layers with experts whose keys or tensors are
 * missing, wrong or of another kind are refused by name.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "support/check.h"
#include "support/gguf_writer.h"
#include "support/tiny.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

TestSuite(experts_file, .timeout = 60);

/* The models of Mixtral's kind. */
static tiny_spec mixtral(void)
{
    tiny_spec s = tiny_default();

    s.n_layer = 3;
    s.n_expert = 5;
    s.n_used = 2;
    return s;
}

static tiny_spec qwen3moe(void)
{
    tiny_spec s = tiny_default();

    s.arch = "qwen3moe";
    s.n_layer = 3;
    return s;
}

static tlp_status open_model(const char *path)
{
    tlp_model *m = NULL;
    tlp_status st = tlp_model_open(&m, path, NULL);

    tlp_model_free(m);
    return st;
}

#define REFUSED(status, text, expr)                                            \
    do {                                                                       \
        CHECK_FAILS(status, expr);                                             \
        cr_expect(strstr(tlp_last_error(), text), "%s", tlp_last_error());     \
    } while (0)

Test(experts_file, in_wrong_numbers)
{
    tiny_spec s = qwen3moe();

    s.n_expert = 4;
    s.n_used = 5;
    REFUSED(TLP_EFORMAT, "qwen3moe.expert_used_count: 5 is not in 1..4",
            open_model(tiny_make(&s)));
    s.n_used = 0;
    REFUSED(TLP_EFORMAT, "qwen3moe.expert_used_count: 0 is not in 1..4",
            open_model(tiny_make(&s)));
    s.n_expert = 1025;
    s.n_used = 1;
    s.n_ff = 1;
    REFUSED(TLP_EFORMAT, "qwen3moe.expert_count: 1025 is not in 1..1024",
            open_model(tiny_make(&s)));
    s = mixtral();
    s.expert_scale = -1;
    REFUSED(TLP_EFORMAT, "llama.expert_weights_scale: -1 is not above 0",
            open_model(tiny_make(&s)));
    s.expert_scale = NAN;
    REFUSED(TLP_EFORMAT, "llama.expert_weights_scale: nan is not above 0",
            open_model(tiny_make(&s)));
}

/* What a copy of a file has otherwise. */
typedef struct tweak {
    const char *drop;   /* a key or a tensor that is left out */
    const char *rename; /* a tensor, and its other name */
    const char *name;
    const char *turned; /* a tensor whose two first dimensions change places */
    const char *typed;  /* a tensor of F32 that becomes BF16 */
    const char *cut;    /* a tensor that loses its last column or element */
    const char *key;    /* one more key, and its value */
    uint32_t value;
} tweak;

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static void copy_tensor(gw_file *w, const tlpi_tensor *t, const tweak *k)
{
    bool turned = is(k->turned, t->name), typed = is(k->typed, t->name);
    uint64_t ne[4] = { (uint64_t)t->ne[turned], (uint64_t)t->ne[!turned],
                       (uint64_t)t->ne[2], (uint64_t)t->ne[3] };
    size_t n_bytes = typed ? t->n_bytes / 2 : t->n_bytes;

    if (is(k->cut, t->name)) {
        n_bytes -= n_bytes / ne[0];
        ne[0]--;
    }
    if (!is(k->drop, t->name))
        gw_tensor(w, is(k->rename, t->name) ? k->name : t->name,
                  typed ? TLPI_BF16 : t->type, t->n_dim, ne, t->data, n_bytes);
}

static const char *tweaked(const tiny_spec *s, tweak k)
{
    const char *path = tiny_path("tweaked.gguf");
    tlpi_gguf *g = NULL;
    tlpi_env env;
    gw_file w;

    CHECK_OK(tlpi_env_init(&env, NULL, NULL, NULL));
    CHECK_OK(tlpi_gguf_open(&g, &env, tiny_make(s), NULL));
    gw_init(&w);
    for (size_t i = 0; i < g->n_kv; i++) {
        const tlpi_gguf_kv *kv = &g->kv[i];

        if (is(k.drop, kv->key) || is(k.key, kv->key))
            continue;
        if (kv->is_array)
            gw_kv_array(&w, kv->key, kv->type, kv->n, kv->data, kv->n_bytes);
        else
            gw_kv(&w, kv->key, kv->type, kv->data, kv->n_bytes);
    }
    if (k.key)
        gw_kv_u32(&w, k.key, k.value);
    for (size_t i = 0; i < g->n_tensor; i++)
        copy_tensor(&w, &g->tensor[i], &k);
    cr_assert(gw_save(&w, path));
    gw_free(&w);
    tlpi_gguf_close(g);
    return path;
}

Test(experts_file, with_other_keys)
{
    static const struct {
        const char *key;
        uint32_t value;
        tlp_status status;
    } keys[] = {
        { "llama.expert_gating_func", 1, TLP_OK },
        { "llama.expert_gating_func", 2, TLP_ENOTSUP },
        { "llama.expert_gating_func", 3, TLP_ENOTSUP },
        { "llama.expert_shared_count", 0, TLP_OK },
        { "llama.expert_shared_count", 1, TLP_ENOTSUP },
        { "llama.expert_group_count", 2, TLP_ENOTSUP },
        { "llama.leading_dense_block_count", 1, TLP_ENOTSUP },
        { "llama.expert_feed_forward_length", 160, TLP_OK },
        { "llama.expert_feed_forward_length", 96, TLP_EFORMAT },
        { "llama.expert_count", 0, TLP_ENOTSUP }, /* of expert_used_count */
        { "llama.expert_count", 6, TLP_EFORMAT },
    };
    tiny_spec s = mixtral(), dense = tiny_default();

    for (int i = 0; i < COUNT(keys); i++) {
        tlp_status st = open_model(
            tweaked(&s, (tweak){ .key = keys[i].key, .value = keys[i].value }));

        cr_expect_eq(st, keys[i].status, "%s %u: %s", keys[i].key,
                     keys[i].value, tlp_last_error());
    }
    REFUSED(
        TLP_EFORMAT, "llama.expert_used_count is missing",
        open_model(tweaked(&s, (tweak){ .drop = "llama.expert_used_count" })));
    REFUSED(
        TLP_ENOTSUP, "llama.expert_used_count: 2 is not supported",
        open_model(tweaked(
            &dense, (tweak){ .key = "llama.expert_used_count", .value = 2 })));
    dense.arch = "qwen3";
    REFUSED(TLP_ENOTSUP, "qwen3.expert_count: 4 is not supported",
            open_model(tweaked(
                &dense, (tweak){ .key = "qwen3.expert_count", .value = 4 })));
    s = qwen3moe();
    REFUSED(
        TLP_EFORMAT, "qwen3moe.expert_count is missing",
        open_model(tweaked(&s, (tweak){ .drop = "qwen3moe.expert_count" })));
    REFUSED(TLP_EFORMAT, "qwen3moe.expert_feed_forward_length is missing",
            open_model(tweaked(
                &s, (tweak){ .drop = "qwen3moe.expert_feed_forward_length" })));
}

Test(experts_file, in_other_tensors)
{
    static const char gate[] = "blk.1.ffn_gate_exps.weight";
    static const char down[] = "blk.2.ffn_down_exps.weight";
    static const char router[] = "blk.0.ffn_gate_inp.weight";
    tiny_spec s = mixtral();

    REFUSED(
        TLP_ENOTSUP, "blk.1.ffn_gate.0.weight: a tensor of one expert",
        open_model(tweaked(
            &s, (tweak){ .rename = gate, .name = "blk.1.ffn_gate.0.weight" })));
    REFUSED(TLP_ENOTSUP, "blk.1.ffn_gate_shexp.weight: not known for llama",
            open_model(
                tweaked(&s, (tweak){ .rename = gate,
                                     .name = "blk.1.ffn_gate_shexp.weight" })));
    REFUSED(
        TLP_ENOTSUP, "blk.1.ffn_gate.weight: not known for llama",
        open_model(tweaked(
            &s, (tweak){ .rename = gate, .name = "blk.1.ffn_gate.weight" })));
    REFUSED(TLP_EFORMAT, "blk.0.ffn_gate_inp.weight: missing",
            open_model(tweaked(&s, (tweak){ .drop = router })));
    REFUSED(TLP_EFORMAT, "blk.1.ffn_gate_exps.weight: missing",
            open_model(tweaked(&s, (tweak){ .drop = gate })));
    REFUSED(TLP_EFORMAT,
            "blk.2.ffn_down_exps.weight: shape 96 x 160 x 5 x 1, "
            "160 x 96 x 5 expected",
            open_model(tweaked(&s, (tweak){ .turned = down })));
    REFUSED(TLP_ENOTSUP,
            "blk.0.ffn_gate_inp.weight: type BF16, F32 or F16 expected",
            open_model(tweaked(&s, (tweak){ .typed = router })));
}

/* ==== gpt-oss ============================================================ */

static tiny_spec gpt_oss(void)
{
    tiny_spec s = qwen3moe();

    s.arch = "gpt-oss";
    return s;
}

Test(experts_file, without_sinks_or_biases)
{
    static const char *const names[] = {
        "blk.2.attn_sinks.weight",    "blk.1.post_attention_norm.weight",
        "blk.0.ffn_gate_inp.bias",    "blk.1.ffn_gate_exps.bias",
        "blk.0.ffn_up_exps.bias",     "blk.2.ffn_down_exps.bias",
        "blk.1.ffn_down_exps.weight",
    };
    tiny_spec s = gpt_oss(), other = qwen3moe();
    char want[96];

    for (int i = 0; i < COUNT(names); i++) {
        const char *path = tweaked(&s, (tweak){ .drop = names[i] });

        snprintf(want, sizeof want, "tensor %s: missing", names[i]);
        REFUSED(TLP_EFORMAT, want, open_model(path));
        cr_expect(strstr(tlp_last_error(), path), "%s", tlp_last_error());
    }
    /* the norm has one name, and others have no such tensors */
    REFUSED(TLP_ENOTSUP, "blk.1.ffn_norm.weight: not known for gpt-oss",
            open_model(tweaked(
                &s, (tweak){ .rename = "blk.1.post_attention_norm.weight",
                             .name = "blk.1.ffn_norm.weight" })));
    REFUSED(TLP_ENOTSUP, "blk.1.attn_sinks.weight: not known for qwen3moe",
            open_model(
                tweaked(&other, (tweak){ .rename = "blk.1.ffn_norm.weight",
                                         .name = "blk.1.attn_sinks.weight" })));
    REFUSED(TLP_ENOTSUP, "blk.1.ffn_up_exps.bias: not known for qwen3moe",
            open_model(
                tweaked(&other, (tweak){ .rename = "blk.1.ffn_norm.weight",
                                         .name = "blk.1.ffn_up_exps.bias" })));
}

Test(experts_file, with_sinks_and_biases_of_other_shapes)
{
    static const struct {
        const char *name, *want;
    } cut[] = {
        { "blk.2.attn_sinks.weight", "shape 5 x 1 x 1 x 1, 6 x 1 expected" },
        { "blk.0.ffn_gate_inp.bias", "shape 5 x 1 x 1 x 1, 6 x 1 expected" },
        { "blk.1.ffn_gate_exps.bias",
          "shape 159 x 6 x 1 x 1, 160 x 6 expected" },
        { "blk.0.ffn_down_exps.bias", "shape 95 x 6 x 1 x 1, 96 x 6 expected" },
        { "blk.0.attn_output.bias", "shape 95 x 1 x 1 x 1, 96 x 1 expected" },
    };
    tiny_spec s = gpt_oss();
    char want[128];

    for (int i = 0; i < COUNT(cut); i++) {
        const char *path = tweaked(&s, (tweak){ .cut = cut[i].name });

        snprintf(want, sizeof want, "%s: %s", cut[i].name, cut[i].want);
        REFUSED(TLP_EFORMAT, want, open_model(path));
        cr_expect(strstr(tlp_last_error(), path), "%s", tlp_last_error());
    }
    REFUSED(
        TLP_EFORMAT,
        "blk.2.ffn_up_exps.bias: shape 6 x 160 x 1 x 1, 160 x 6 expected",
        open_model(tweaked(&s, (tweak){ .turned = "blk.2.ffn_up_exps.bias" })));
    REFUSED(
        TLP_ENOTSUP, "blk.2.ffn_up_exps.bias: type BF16, F32 expected",
        open_model(tweaked(&s, (tweak){ .typed = "blk.2.ffn_up_exps.bias" })));
    REFUSED(
        TLP_ENOTSUP, "blk.0.attn_sinks.weight: type BF16, F32 expected",
        open_model(tweaked(&s, (tweak){ .typed = "blk.0.attn_sinks.weight" })));
}

Test(experts_file, of_gpt_oss_with_other_keys)
{
    static const struct {
        const char *key;
        uint32_t value;
        tlp_status status;
    } keys[] = {
        { "gpt-oss.expert_gating_func", 3, TLP_OK },
        { "gpt-oss.expert_gating_func", 2, TLP_ENOTSUP },
        { "gpt-oss.attention.sliding_window_pattern", 2, TLP_OK },
        { "gpt-oss.expert_shared_count", 1, TLP_ENOTSUP },
        { "gpt-oss.expert_used_count", 7, TLP_EFORMAT },
    };
    tiny_spec s = gpt_oss();

    for (int i = 0; i < COUNT(keys); i++) {
        tlp_status st = open_model(
            tweaked(&s, (tweak){ .key = keys[i].key, .value = keys[i].value }));

        cr_expect_eq(st, keys[i].status, "%s %u: %s", keys[i].key,
                     keys[i].value, tlp_last_error());
    }
}
