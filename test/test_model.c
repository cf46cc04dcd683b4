/*
 * test_model.c - good models: what is read from their files, split sets,
 * fingerprints, progress, memory.  test_model_bad.c has the others.
 */
#include "support/check.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/model.h"
#include "base/sha256.h"
#include "support/mem.h"
#include "support/rig.h"
#include "support/tiny.h"
#include "support/vocab_file.h"

static tlp_model *open_tiny(const tiny_spec *spec)
{
    return rig_open_model(tiny_make(spec));
}

static tlp_model_info info_of(const tlp_model *m)
{
    tlp_model_info info = { .struct_size = sizeof info };

    CHECK_OK(tlp_model_get_info(&info, m));
    return info;
}

/* ==== facts ============================================================== */

Test(model, facts_are_those_of_the_file)
{
    tiny_spec spec = tiny_default();
    spec.type = TLPI_Q8_0;
    tlp_model *m = open_tiny(&spec);
    tlp_model_info i = info_of(m);
    /* 5 layers of 2 norms, q, k, v, o and 3 FFN matrices; embedding, head */
    int64_t n_param = 5 * (2 * 96 + 2 * 96 * 96 + 2 * 96 * 48 + 3 * 96 * 160) +
                      96 + 2 * 288 * 96;

    cr_expect_str_eq(i.arch, "llama");
    cr_expect_str_eq(i.name, "tiny");
    cr_expect_str_eq(i.quant, "Q8_0");
    cr_expect_eq(i.n_layer, 5);
    cr_expect_eq(i.n_embd, 96);
    cr_expect_eq(i.n_ff, 160);
    cr_expect_eq(i.n_head, 6);
    cr_expect_eq(i.n_head_kv, 3);
    cr_expect_eq(i.head_dim, 16);
    cr_expect_eq(i.n_vocab, 288);
    cr_expect_eq(i.n_ctx_train, 256);
    cr_expect_eq(i.bos, 286);
    cr_expect_eq(i.eos, 287);
    cr_expect_eq(i.n_tensor, 5 * 9 + 3);
    cr_expect_eq(i.n_param, n_param);
    /* Q8_0: 34 bytes for 32 values; norms are F32 */
    int64_t n_norm = 11 * 96;
    cr_expect_eq(i.n_bytes, (n_param - n_norm) / 32 * 34 + n_norm * 4);
    tlp_model_free(m);
}

/* One row for each architecture: what its layers have and how they rotate. */
Test(model, architectures_differ_in_rope_biases_and_norms)
{
    static const struct {
        const char *name;
        bool neox, biases, raw, qk_norm, row_norm, post_norm;
        int rotating, windows; /* of layers 0 to 4, as bits */
    } archs[TLPI_N_ARCH] = {
        { "llama", false, false, false, false, false, false, 0x1f, 0 },
        { "qwen2", true, true, false, false, false, false, 0x1f, 0 },
        { "qwen3", true, false, false, true, false, false, 0x1f, 0 },
        { "granite", false, false, false, false, false, false, 0x1f, 0 },
        { "smollm3", false, false, false, false, false, false, 0x17, 0 },
        { "gemma3", true, false, false, true, false, true, 0x1f, 0x1b },
        { "olmo2", true, false, true, false, true, true, 0x1f, 0x17 },
        { "phi3", true, false, false, false, false, false, 0x1f, 0x1f },
        { "glm4", false, true, false, false, false, true, 0x1f, 0 },
        { "exaone4", true, false, true, true, false, true, 0x17, 0x17 },
        { "qwen3moe", true, false, false, true, false, false, 0x1f, 0 },
        { "gpt-oss", true, true, false, false, false, false, 0x1f, 0x15 },
        { "mistral3", false, false, false, false, false, false, 0x1f, 0 },
        { "gemma2", true, false, false, false, false, true, 0x1f, 0x15 },
    };

    for (int a = 0; a < TLPI_N_ARCH; a++) {
        tiny_spec spec = tiny_default();
        spec.arch = archs[a].name;
        tlp_model *m = open_tiny(&spec);
        cr_expect_eq((int)m->hp.arch, a);
        cr_expect_str_eq(tlpi_arch_get(&m->hp)->name, archs[a].name);
        cr_expect_eq(tlpi_arch_get(&m->hp)->rope_neox, archs[a].neox);
        cr_expect_eq(m->hp.n_rot, a == TLPI_ARCH_PHI3   ? 12
                                  : a == TLPI_ARCH_GLM4 ? 8
                                                        : 16);
        cr_expect_float_eq(m->hp.rope_scale, 1.0f, 0.0f);
        cr_expect_float_eq(m->hp.rope_theta,
                           a == TLPI_ARCH_GEMMA3 ? 1e6f : 1e4f, 0.0f);
        bool own_angles = a == TLPI_ARCH_GEMMA3 || a == TLPI_ARCH_OLMO2;
        cr_expect_float_eq(m->hp.window_theta, own_angles ? 1e4f : 0, 0.0f);
        cr_expect_float_eq(m->hp.norm_eps, 1e-5f, 0.0f);
        for (int l = 0; l < 5; l++) {
            const tlpi_layer *w = &m->w.layer[l];
            cr_expect_eq(w->rope != TLPI_ROPE_NONE,
                         (archs[a].rotating >> l & 1) != 0, "%s, layer %d",
                         archs[a].name, l);
            for (int i = TLPI_ATTN_Q_BIAS; i <= TLPI_ATTN_V_BIAS; i++)
                cr_expect_eq(w->t[i] != NULL, archs[a].biases);
            cr_expect_eq(w->t[TLPI_ATTN_OUTPUT_BIAS] != NULL,
                         a == TLPI_ARCH_GPT_OSS);
            cr_expect_eq(w->t[TLPI_ATTN_Q_NORM] != NULL, archs[a].qk_norm);
            cr_expect_eq(w->t[TLPI_ATTN_K_NORM] != NULL, archs[a].qk_norm);
            cr_expect_eq(w->t[TLPI_ATTN_Q_ROW_NORM] != NULL, archs[a].row_norm);
            cr_expect_eq(w->t[TLPI_ATTN_K_ROW_NORM] != NULL, archs[a].row_norm);
            cr_expect_eq(w->t[TLPI_ATTN_NORM] == NULL, archs[a].raw);
            cr_expect_eq(w->t[TLPI_FFN_NORM] == NULL, archs[a].raw);
            cr_expect_eq(w->t[TLPI_ATTN_POST_NORM] != NULL, archs[a].post_norm);
            cr_expect_eq(w->t[TLPI_FFN_POST_NORM] != NULL, archs[a].post_norm);
            cr_expect_eq(w->window, archs[a].windows >> l & 1 ? 5 : 0);
            cr_expect_eq(w->rope == TLPI_ROPE_WINDOW,
                         own_angles && (archs[a].windows >> l & 1) != 0);
        }
        tlp_model_free(m);
    }
}

/* A file may say of each layer whether it has a window, if the layers without
 * one are as far apart as a step has them. */
Test(model, windows_by_layer)
{
    static const struct {
        const char *digits; /* 1: window */
        tlp_status st;
    } cases[] = {
        { "11101", TLP_OK },      { "11111", TLP_OK },
        { "10101", TLP_OK },      { "00000", TLP_OK },
        { "01111", TLP_ENOTSUP }, { "11100", TLP_ENOTSUP },
        { "1110", TLP_EFORMAT },  { "111011", TLP_EFORMAT },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        tiny_spec spec = tiny_default();
        tlp_model *m = NULL;

        spec.arch = "olmo2";
        spec.windows = cases[i].digits;
        tlp_status st = tlp_model_open(&m, tiny_make(&spec), NULL);
        cr_expect_eq(st, cases[i].st, "%s: %s", cases[i].digits,
                     tlp_status_name(st));
        for (int l = 0; m && l < 5; l++)
            cr_expect_eq(m->w.layer[l].window != 0, cases[i].digits[l] == '1',
                         "%s, layer %d", cases[i].digits, l);
        tlp_model_free(m);
    }
}

Test(model, scales_are_read_or_neutral)
{
    tiny_spec spec = tiny_default();

    spec.arch = "granite";
    tlp_model *m = open_tiny(&spec);
    cr_expect_float_eq(m->hp.embedding_scale, 3.0f, 0.0f);
    cr_expect_float_eq(m->hp.residual_scale, 0.375f, 0.0f);
    cr_expect_float_eq(m->hp.attention_scale, 0.125f, 0.0f);
    cr_expect_float_eq(m->hp.logit_scale, 1.5f, 0.0f);
    tlp_model_free(m);
    spec.embedding_scale = spec.residual_scale = 0;
    spec.attention_scale = spec.logit_scale = 0;
    m = open_tiny(&spec);
    cr_expect_float_eq(m->hp.embedding_scale, 1.0f, 0.0f);
    cr_expect_float_eq(m->hp.residual_scale, 1.0f, 0.0f);
    cr_expect_float_eq(m->hp.attention_scale, 0.0f, 0.0f);
    cr_expect_float_eq(m->hp.logit_scale, 1.0f, 0.0f);
    tlp_model_free(m);
}

Test(model, every_tensor_is_bound_to_its_name)
{
    tiny_spec spec = tiny_default();
    spec.rope_freqs = true;
    tlp_model *m = open_tiny(&spec);
    static const char *const names[] = {
        "attn_norm", "attn_q",   "attn_k", "attn_v",  "attn_output",
        "ffn_norm",  "ffn_gate", "ffn_up", "ffn_down"
    };

    for (int l = 0; l < 5; l++) {
        const tlpi_layer *w = &m->w.layer[l];
        const tlpi_tensor *const bound[] = {
            w->t[TLPI_ATTN_NORM], w->t[TLPI_ATTN_Q],      w->t[TLPI_ATTN_K],
            w->t[TLPI_ATTN_V],    w->t[TLPI_ATTN_OUTPUT], w->t[TLPI_FFN_NORM],
            w->t[TLPI_FFN_GATE],  w->t[TLPI_FFN_UP],      w->t[TLPI_FFN_DOWN]
        };
        for (size_t i = 0; i < TLPI_COUNT(names); i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, names[i]);
            cr_assert_str_eq(bound[i]->name, name);
            cr_assert_eq(tlpi_model_tensor(m, name), bound[i]);
        }
    }
    cr_expect_str_eq(m->w.t[TLPI_TOKEN_EMBD]->name, "token_embd.weight");
    cr_expect_str_eq(m->w.t[TLPI_OUTPUT]->name, "output.weight");
    cr_expect_str_eq(m->w.t[TLPI_OUTPUT_NORM]->name, "output_norm.weight");
    cr_expect_str_eq(m->w.t[TLPI_ROPE_FREQS]->name, "rope_freqs.weight");
    cr_expect_null(tlpi_model_tensor(m, "blk.5.attn_q.weight"));
    tlpi_model_drop_pages(m, m->w.t[TLPI_TOKEN_EMBD]);
    tlp_model_free(m);
}

Test(model, a_tied_model_reads_logits_off_the_embedding)
{
    tiny_spec spec = tiny_default();
    spec.tied = true;
    tlp_model *m = open_tiny(&spec);

    cr_expect_eq(m->w.t[TLPI_OUTPUT], m->w.t[TLPI_TOKEN_EMBD]);
    cr_expect_null(m->w.t[TLPI_ROPE_FREQS]);
    tlp_model_free(m);
}

Test(model, linear_rope_scaling_is_read)
{
    tiny_spec spec = tiny_default();
    spec.rope_scale = 4;
    tlp_model *m = open_tiny(&spec);

    cr_expect_float_eq(m->hp.rope_scale, 4.0f, 0.0f);
    tlp_model_free(m);
}

Test(model, tensors_are_listed_in_file_order)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_tiny(&spec);
    tlp_tensor_info t = { .struct_size = sizeof t };

    CHECK_OK(tlp_model_get_tensor(&t, m, 0));
    cr_expect_str_eq(t.name, "token_embd.weight");
    cr_expect_str_eq(t.type, "F32");
    cr_expect_eq(t.n_dim, 2);
    cr_expect_eq(t.file, 0);
    cr_expect_eq(t.ne[0], 96);
    cr_expect_eq(t.ne[1], 288);
    cr_expect_eq(t.ne[2], 1);
    cr_expect_eq(t.ne[3], 1);
    cr_expect_eq(t.n_bytes, 96 * 288 * 4);
    CHECK_OK(tlp_model_get_tensor(&t, m, 1));
    cr_expect_str_eq(t.name, "blk.0.attn_norm.weight");
    cr_expect_eq(t.n_dim, 1);
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_tensor(&t, m, 48));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_tensor(&t, m, SIZE_MAX));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_tensor(NULL, m, 0));
    tlp_model_free(m);
}

Test(model, metadata_is_given_as_text)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_tiny(&spec);
    char buf[16];
    size_t len = 0;
    int n = 0;

    while (tlp_model_meta_key(m, (size_t)n))
        n++;
    cr_expect_eq(n, info_of(m).n_meta);
    cr_expect_str_eq(tlp_model_meta_key(m, 0), "general.architecture");
    cr_expect_null(tlp_model_meta_key(NULL, 0));
    CHECK_OK(tlp_model_get_meta(buf, sizeof buf, &len, m, "llama.block_count"));
    cr_expect_str_eq(buf, "5");
    cr_expect_eq(len, 1);
    CHECK_FAILS(TLP_EBUFS,
                tlp_model_get_meta(buf, 5, &len, m, "general.architecture"));
    cr_expect_eq(len, 5);
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_meta(buf, 5, &len, m, "none"));
    cr_expect(strstr(tlp_last_error(), "none"));
    tlp_model_free(m);
}

Test(model, vocab_only_has_no_weights)
{
    tiny_spec spec = tiny_default();
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;
    tlp_plan *p = NULL;

    o.vocab_only = 1;
    spec.n_split = 3;
    const char *path = tiny_make(&spec);
    CHECK_OK(tlp_model_open(&m, path, &o));
    cr_expect_eq(m->n_file, 1);
    cr_expect_null(m->w.layer);
    cr_expect_null(m->w.t[TLPI_TOKEN_EMBD]);
    cr_expect_eq(info_of(m).n_vocab, 288);
    cr_expect_eq(info_of(m).n_layer, 5);
    cr_expect_str_empty(info_of(m).fingerprint);
    CHECK_FAILS(TLP_EINVAL, tlp_plan_parse(&p, m, "serial"));
    cr_expect(strstr(tlp_last_error(), "vocab_only"));
    tlp_model_free(m);
}

/* ==== opening ============================================================ */

Test(model, misuse_is_refused)
{
    tlp_model *m = (tlp_model *)&m;
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;

    CHECK_FAILS(TLP_EINVAL, tlp_model_open(NULL, "x", NULL));
    CHECK_FAILS(TLP_EINVAL, tlp_model_open(&m, NULL, NULL));
    cr_expect_null(m);
    CHECK_FAILS(TLP_EIO, tlp_model_open(&m, "/nonexistent.gguf", NULL));
    cr_expect(strstr(tlp_last_error(), "/nonexistent.gguf"));
    o.struct_size = 1;
    CHECK_FAILS(TLP_EINVAL, tlp_model_open(&m, "x", &o));
    CHECK_FAILS(TLP_EINVAL, tlp_model_get_info(NULL, NULL));
    tlp_model_free(NULL);
}

typedef struct steps {
    int n, stop_at; /* 0: never */
    double last;
} steps;

static int step(double done, void *user_data)
{
    steps *s = user_data;

    cr_expect_geq(done, s->last);
    cr_expect_leq(done, 1.0);
    s->last = done;
    return ++s->n == s->stop_at;
}

Test(model, progress_rises_to_one_and_may_cancel_at_any_call)
{
    tiny_spec spec = tiny_default();
    spec.n_split = 4;
    const char *path = tiny_make(&spec);
    steps all = { 0, 0, 0 };
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;

    o.progress = step;
    o.progress_data = &all;
    CHECK_OK(tlp_model_open(&m, path, &o));
    tlp_model_free(m);
    cr_expect_float_eq(all.last, 1.0, 0.0);
    cr_assert_geq(all.n, 5);
    for (int i = 1; i <= all.n; i++) {
        steps some = { 0, i, 0 };
        o.progress_data = &some;
        m = (tlp_model *)&some;
        CHECK_FAILS(TLP_ECANCELED, tlp_model_open(&m, path, &o));
        cr_expect_null(m);
        cr_expect_eq(some.n, i);
    }
}

/* ==== split sets ========================================================= */

Test(model, a_split_set_is_one_model)
{
    tiny_spec spec = tiny_default();
    tlp_model *whole = open_tiny(&spec);
    spec.n_split = 3;
    tlp_model *split = open_tiny(&spec);
    tlp_tensor_info a = { .struct_size = sizeof a }, b = a;
    int file = 0;

    cr_assert_eq(split->n_file, 3);
    for (size_t i = 0; i < 48; i++) {
        CHECK_OK(tlp_model_get_tensor(&a, whole, i));
        CHECK_OK(tlp_model_get_tensor(&b, split, i));
        cr_expect_str_eq(a.name, b.name);
        cr_expect_geq(b.file, file);
        file = b.file;
    }
    cr_expect_eq(file, 2);
    cr_expect_str_eq(info_of(whole).fingerprint, info_of(split).fingerprint);
    tlp_model_free(whole);
    tlp_model_free(split);
}

/* The path of another part of the set that begins at `first`. */
static const char *part_of(const char *first, int no)
{
    static char path[512];

    snprintf(path, sizeof path, "%s", first);
    char *at = strstr(path, "-00001-of-");
    cr_assert_not_null(at);
    at[5] = (char)('0' + no);
    return path;
}

Test(model, only_the_first_part_is_opened)
{
    tiny_spec spec = tiny_default();
    spec.n_split = 3;
    const char *first = tiny_make(&spec);
    tlp_model *m = NULL;

    CHECK_FAILS(TLP_EINVAL, tlp_model_open(&m, part_of(first, 2), NULL));
    cr_expect(strstr(tlp_last_error(), "part 2 of a set of 3"));
    cr_expect(strstr(tlp_last_error(), first));
}

Test(model, a_missing_part_is_named)
{
    tiny_spec spec = tiny_default();
    spec.n_split = 3;
    const char *first = tiny_make(&spec);
    tlp_model *m = NULL;

    cr_assert_eq(unlink(part_of(first, 3)), 0);
    CHECK_FAILS(TLP_EIO, tlp_model_open(&m, first, NULL));
    cr_expect(strstr(tlp_last_error(), part_of(first, 3)));
}

Test(model, parts_that_do_not_belong_together_are_refused)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = NULL;
    char from[512];

    spec.n_split = 3;
    const char *first = tiny_make(&spec);
    snprintf(from, sizeof from, "%s", part_of(first, 3));
    cr_assert_eq(rename(from, part_of(first, 2)), 0);
    CHECK_FAILS(TLP_EFORMAT, tlp_model_open(&m, first, NULL));
    cr_expect(strstr(tlp_last_error(), "split.no: 2"), "%s", tlp_last_error());

    /* A part under a name without numbers, and under a smaller set's. */
    first = tiny_make(&spec);
    snprintf(from, sizeof from, "%s", tiny_path("alone.gguf"));
    cr_assert_eq(rename(first, from), 0);
    CHECK_FAILS(TLP_EFORMAT, tlp_model_open(&m, from, NULL));
    cr_expect(strstr(tlp_last_error(), "split.count"), "%s", tlp_last_error());
    const char *two = tiny_path("x-00001-of-00002.gguf");
    cr_assert_eq(rename(from, two), 0);
    CHECK_FAILS(TLP_EFORMAT, tlp_model_open(&m, two, NULL));
    cr_expect(strstr(tlp_last_error(), "split.count: 3, but the name says 2"),
              "%s", tlp_last_error());

    /* A model that was never split, under a part's name. */
    spec.n_split = 1;
    CHECK_OK(tiny_write(two, &spec) ? TLP_OK : TLP_EIO);
    CHECK_FAILS(TLP_EFORMAT, tlp_model_open(&m, two, NULL));
    cr_expect(strstr(tlp_last_error(), "split.no"), "%s", tlp_last_error());
}

/* x-00001-of-00001.gguf is a whole file, split or not. */
Test(model, the_only_part_is_a_whole_file)
{
    static const struct {
        const char *key;
        uint32_t value;
        const char *error; /* NULL: it opens */
    } cases[] = {
        { NULL, 0, NULL },
        { "split.count", 0, NULL },
        { "split.count", 1, NULL },
        { "split.count", 2, "split.count: one of 2 parts" },
        { "split.no", 0, NULL },
        { "split.no", 1, "split.no: 1, 0 expected" },
        { "split.tensors.count", 0, "split.tensors.count: 0" },
    };

    for (size_t i = 0; i < TLPI_COUNT(cases); i++) {
        const char *path = tiny_path("x-00001-of-00001.gguf");
        tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
        tlp_model *m = NULL;
        gw_file w;

        gw_init(&w);
        vf_write(&w, &(vf_spec){ .pre = "smollm" });
        if (cases[i].key)
            gw_kv_u32(&w, cases[i].key, cases[i].value);
        if (cases[i].key && strstr(cases[i].key, "tensors"))
            gw_tensor(&w, "x", TLPI_F32, 1, (uint64_t[]){ 1 }, &(float){ 0 },
                      4);
        cr_assert(gw_save(&w, path));
        gw_free(&w);
        o.vocab_only = 1;
        tlp_status st = tlp_model_open(&m, path, &o);
        cr_expect_eq(st, cases[i].error ? TLP_EFORMAT : TLP_OK, "%zu: %s", i,
                     tlp_last_error());
        cr_expect(!cases[i].error || strstr(tlp_last_error(), cases[i].error),
                  "%s", tlp_last_error());
        tlp_model_free(m);
    }
    tiny_spec spec = tiny_default();
    const char *path = tiny_path("y-00001-of-00001.gguf");
    tlp_model *m = NULL;
    cr_assert(tiny_write(path, &spec));
    CHECK_OK(tlp_model_open(&m, path, NULL));
    tlp_model_free(m);
}

/* ==== fingerprint ======================================================== */

Test(model, fingerprints_tell_weights_apart_and_nothing_else)
{
    tiny_spec spec = tiny_default();
    const char *path = tiny_make(&spec);
    tlp_model *m = rig_open_model(path), *again = rig_open_model(path);
    const char *base = tlpi_model_fingerprint(m);

    cr_expect_eq(strlen(base), 7 + 64);
    cr_expect_eq(strncmp(base, "sha256:", 7), 0);
    cr_expect_eq(strspn(base + 7, "0123456789abcdef"), 64);
    cr_expect_str_eq(base, tlpi_model_fingerprint(again));
    tlp_model_free(again);

    tiny_spec other[] = { spec, spec, spec, spec, spec };
    other[0].version = 2; /* how it is stored does not count */
    other[1].seed = 2;
    other[2].type = TLPI_F16;
    other[3].rope_scale = 2;
    other[4].tied = true;
    for (size_t i = 0; i < TLPI_COUNT(other); i++) {
        again = open_tiny(&other[i]);
        cr_expect_eq(strcmp(base, tlpi_model_fingerprint(again)) == 0, i == 0,
                     "%zu", i);
        tlp_model_free(again);
    }
    tlp_model_free(m);
}

static void forget_fingerprint(tlp_model *m)
{
    tlpi_fingerprint_free(&m->env, m->fingerprint);
    CHECK_OK(tlpi_fingerprint_create(&m->fingerprint, &m->env));
}

/* Plans name models by their fingerprints, so that of a file stays what it was
 * in earlier versions of the library: later hyper-parameters enter it only
 * where a file uses them. */
Test(model, fingerprints_of_earlier_versions)
{
    static const struct {
        const char *arch, *fingerprint;
    } old[] = {
        { "llama",
          "sha256:"
          "365c54cac307f62f4d343ccd3f70a32d53d2807d5796f4156e3b844429653870" },
        { "qwen2",
          "sha256:"
          "7569832b7f179440b0b4277cda12c497d9d558fce30f02ba20fa1c908a046328" },
        { "qwen3",
          "sha256:"
          "b6f66c64bd3afeed8469b8caaf715d1f1863fdc241b2ab467af03c90c106b40a" },
    };

    for (size_t i = 0; i < TLPI_COUNT(old); i++) {
        tiny_spec spec = tiny_default();
        spec.arch = old[i].arch;
        tlp_model *m = open_tiny(&spec);
        cr_expect_str_eq(tlpi_model_fingerprint(m), old[i].fingerprint);
        tlp_model_free(m);
    }
}

Test(model, every_hyper_parameter_is_in_the_fingerprint)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_tiny(&spec);
    char base[72];
    int n_left_out = 0;

    snprintf(base, sizeof base, "%s", tlpi_model_fingerprint(m));
    for (size_t i = 0; i < TLPI_N_HPARAM; i++) {
        const tlpi_hparam *row = &tlpi_hparam_table[i];
        const tlpi_hparams old = m->hp;
        char *field = (char *)&m->hp + row->at;

        if (row->is_float)
            *(float *)(void *)field += 0.5f;
        else
            *(int *)(void *)field += 1;
        forget_fingerprint(m);
        bool differs = strcmp(tlpi_model_fingerprint(m), base) != 0;
        cr_expect_eq(differs, row->identity != TLPI_SAME_MODEL, "%s",
                     row->name);
        n_left_out += !differs;
        m->hp = old;
    }
    forget_fingerprint(m);
    cr_expect_str_eq(tlpi_model_fingerprint(m), base);
    cr_expect_eq(n_left_out, 1, "n_ctx_train alone is left out");
    tlp_model_free(m);
}

/* One byte changed at either end of a tensor of any size shows. */
Test(model, the_ends_of_every_tensor_are_in_the_fingerprint)
{
    tiny_spec spec = tiny_default();
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
    tlp_model *m = NULL;
    char base[72];

    o.no_mmap = 1; /* so that the bytes can be changed in memory */
    CHECK_OK(tlp_model_open(&m, tiny_make(&spec), &o));
    snprintf(base, sizeof base, "%s", tlpi_model_fingerprint(m));
    for (size_t i = 0; i < m->file[0]->n_tensor; i++) {
        const tlpi_tensor *t = &m->file[0]->tensor[i];
        uint8_t *data = (uint8_t *)(uintptr_t)t->data;
        for (int end = 0; end < 2; end++) {
            uint8_t *byte = end ? data + t->n_bytes - 1 : data;
            struct tlpi_fingerprint *f = NULL;
            *byte ^= 1;
            CHECK_OK(tlpi_fingerprint_create(&f, &m->env));
            tlpi_fingerprint_free(&m->env, m->fingerprint);
            m->fingerprint = f;
            cr_assert_str_neq(tlpi_model_fingerprint(m), base, "%s", t->name);
            *byte ^= 1;
        }
    }
    tlp_model_free(m);
}

static void *fingerprint_of(void *arg)
{
    return (void *)(uintptr_t)tlpi_model_fingerprint(arg);
}

Test(model, threads_may_ask_for_the_fingerprint_at_once)
{
    tiny_spec spec = tiny_default();
    tlp_model *m = open_tiny(&spec), *other = open_tiny(&spec);
    pthread_t thread[4];

    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, fingerprint_of, m), 0);
    for (int i = 0; i < 4; i++) {
        void *text = NULL;
        cr_assert_eq(pthread_join(thread[i], &text), 0);
        cr_expect_str_eq((const char *)text, tlpi_model_fingerprint(other));
    }
    tlp_model_free(m);
    tlp_model_free(other);
}

/* ==== memory ============================================================= */

Test(model, any_allocation_may_fail, .timeout = 120)
{
    tiny_spec spec = tiny_default();
    spec.n_layer = 1;
    spec.n_split = 2;
    const char *path = tiny_make(&spec);
    bool opened = false;
    int n_failed = 0;

    for (long at = 1; !opened; at++) {
        mem m = { .fail_at = at };
        tlp_model_options o = TLP_MODEL_OPTIONS_INIT;
        tlp_model *model = NULL;
        tlp_plan *plan = NULL;

        o.allocator = mem_hooks(&m);
        tlp_status st = tlp_model_open(&model, path, &o);
        if (st == TLP_OK)
            st = tlp_plan_parse(&plan, model,
                                "{\"tlp_plan\": 1, \"made\": {}, \"stages\": "
                                "[{\"layers\": [0]}]}");
        if (st == TLP_OK) {
            tlp_plan_cost cost = { .struct_size = sizeof cost };
            st = tlp_plan_get_cost(&cost, plan, 2);
        }
        opened = m.failed == 0;
        /* PCRE2 does without memory for compiled patterns. */
        cr_assert(st == TLP_OK || (st == TLP_ENOMEM && !opened), "%ld: %s: %s",
                  at, tlp_status_name(st), tlp_last_error());
        n_failed += st != TLP_OK;
        tlp_plan_free(plan);
        tlp_model_free(model);
        cr_assert_eq(m.live, 0, "%ld: %ld blocks left", at, m.live);
    }
    cr_expect_geq(n_failed, 30);
}

/* ==== SHA-256 ============================================================ */

static const char *sha256_hex(const char *text, size_t n, size_t piece)
{
    static char hex[65];
    uint8_t digest[32];
    tlpi_sha256 s;

    tlpi_sha256_init(&s);
    for (size_t at = 0; at < n; at += piece)
        tlpi_sha256_add(&s, text + at, TLPI_MIN(piece, n - at));
    tlpi_sha256_finish(&s, digest);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return hex;
}

Test(sha256, vectors_of_the_standard)
{
    static const char two_blocks[] =
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

    cr_expect_str_eq(sha256_hex("", 0, 1),
                     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b"
                     "7852b855");
    cr_expect_str_eq(sha256_hex("abc", 3, 3),
                     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61"
                     "f20015ad");
    for (size_t piece = 1; piece <= 56; piece++)
        cr_expect_str_eq(
            sha256_hex(two_blocks, 56, piece),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd4"
            "19db06c1");
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    cr_expect_str_eq(sha256_hex(million, 1000000, 1000),
                     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39cc"
                     "c7112cd0");
    free(million);
}
