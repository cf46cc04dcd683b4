/*
 * twist.c - see twist.h.
 */
#include "twist.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_writer.h"
#include "tiny.h"
#include "tiny_vocab.h"

static bool is(const char *twisted, const char *name)
{
    return twisted && strcmp(twisted, name) == 0;
}

static void put_u32(gw_file *w, const twist *t, const char *key, uint32_t x)
{
    char name[96];

    snprintf(name, sizeof name, "%s.%s", t->arch ? t->arch : "llama", key);
    if (!is(t->key, name))
        gw_kv_u32(w, name, x);
}

static void put_twisted_key(gw_file *w, const twist *t)
{
    uint32_t pair[2] = { (uint32_t)t->number, (uint32_t)t->number };

    switch (t->kind) {
    case 'u':
        gw_kv_u32(w, t->key, (uint32_t)t->number);
        break;
    case 'f':
        gw_kv_f32(w, t->key, (float)t->number);
        break;
    case 's':
        gw_kv_str(w, t->key, t->text);
        break;
    case 'b':
        gw_kv_bool(w, t->key, t->number != 0);
        break;
    case 'd':
        pair[1]++;
        gw_kv_array(w, t->key, TLPI_GGUF_U32, 2, pair, sizeof pair);
        break;
    case 'a':
        gw_kv_array(w, t->key, TLPI_GGUF_U32, 2, pair, sizeof pair);
        break;
    default:
        break;
    }
}

static void put_zeroes(gw_file *w, const char *name, tlpi_dtype type, int n_dim,
                       const uint64_t *ne)
{
    size_t n = (n_dim > 1 ? ne[1] : 1) * tlpi_row_bytes(type, (int64_t)ne[0]);
    void *data = calloc(1, n);

    cr_assert_not_null(data);
    gw_tensor(w, name, type, n_dim, ne, data, n);
    free(data);
}

static void put_twisted_tensor(gw_file *w, const twist *t)
{
    float x[HEAD_DIM / 2];

    for (int i = 0; i < HEAD_DIM / 2; i++)
        x[i] = powf(10000.0f, (float)-i / (HEAD_DIM / 2));
    if (t->inv_freq)
        gw_tensor(w, t->tensor, t->type, t->n_dim, t->ne, x, sizeof x);
    else if (t->n_dim)
        put_zeroes(w, t->tensor, t->type, t->n_dim, t->ne);
}

static void put(gw_file *w, const twist *t, const char *name, uint64_t rows,
                uint64_t cols)
{
    uint64_t ne[2] = { cols, rows };

    if (!is(t->tensor, name))
        put_zeroes(w, name, TLPI_F32, rows ? 2 : 1, ne);
}

static void put_layer(gw_file *w, const twist *t, int l)
{
    static const struct {
        const char *name;
        uint64_t rows, cols;
    } tensors[] = {
        { "attn_norm", 0, N_EMBD },
        { "attn_q", N_HEAD * HEAD_DIM, N_EMBD },
        { "attn_k", N_KV * HEAD_DIM, N_EMBD },
        { "attn_v", N_KV * HEAD_DIM, N_EMBD },
        { "attn_output", N_EMBD, N_HEAD * HEAD_DIM },
        { "ffn_norm", 0, N_EMBD },
        { "ffn_gate", N_FF, N_EMBD },
        { "ffn_up", N_FF, N_EMBD },
        { "ffn_down", N_EMBD, N_FF },
        { "attn_q_norm", 0, HEAD_DIM },
        { "attn_k_norm", 0, HEAD_DIM },
    };
    size_t n = TLPI_COUNT(tensors) - (is(t->arch, "qwen3") ? 0 : 2);
    char name[64];

    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", l, tensors[i].name);
        put(w, t, name, tensors[i].rows, tensors[i].cols);
    }
}

static const char *write_model(const twist *t)
{
    const char *path = tiny_path("twisted.gguf");
    char eps[64];
    gw_file w;

    gw_init(&w);
    if (!is(t->key, "general.architecture"))
        gw_kv_str(&w, "general.architecture", t->arch ? t->arch : "llama");
    put_u32(&w, t, "block_count", 2);
    put_u32(&w, t, "context_length", N_CTX);
    put_u32(&w, t, "embedding_length", N_EMBD);
    put_u32(&w, t, "feed_forward_length", N_FF);
    put_u32(&w, t, "attention.head_count", N_HEAD);
    put_u32(&w, t, "attention.head_count_kv", N_KV);
    snprintf(eps, sizeof eps, "%s.attention.layer_norm_rms_epsilon",
             t->arch ? t->arch : "llama");
    if (!is(t->key, eps))
        gw_kv_f32(&w, eps, 1e-5f);
    put_twisted_key(&w, t);
    tiny_vocab_write(&w, N_VOCAB, false);
    put(&w, t, "token_embd.weight", N_VOCAB, N_EMBD);
    put_layer(&w, t, 0);
    put_layer(&w, t, 1);
    put(&w, t, "output_norm.weight", 0, N_EMBD);
    put_twisted_tensor(&w, t);
    cr_assert(gw_save(&w, path));
    gw_free(&w);
    return path;
}

void twist_refused(twist t, tlp_status status, const char *error)
{
    tlp_model *m = (tlp_model *)&t;
    tlp_status st = tlp_model_open(&m, write_model(&t), NULL);

    cr_expect_eq(st, status, "%s expected, %s found: %s", error,
                 tlp_status_name(st), tlp_last_error());
    cr_expect_null(m);
    if (st != TLP_OK) {
        cr_expect(strstr(tlp_last_error(), error), "%s expected: %s", error,
                  tlp_last_error());
        cr_expect(strstr(tlp_last_error(), "twisted.gguf: "), "%s",
                  tlp_last_error());
    } else {
        tlp_model_free(m);
    }
}

tlp_model *twist_open(twist t)
{
    tlp_model *m = NULL;

    CHECK_OK(tlp_model_open(&m, write_model(&t), NULL));
    return m;
}
