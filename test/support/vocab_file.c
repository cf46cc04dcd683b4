/*
 * vocab_file.c - vocabularies as GGUF metadata.
 */
#include "vocab_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiny.h"

#define MAX_TOKEN 1024

void vf_write_general(gw_file *w)
{
    gw_kv_str(w, "general.architecture", "llama");
    gw_kv_u32(w, "llama.context_length", 256);
    gw_kv_u32(w, "llama.embedding_length", 64);
    gw_kv_u32(w, "llama.block_count", 1);
    gw_kv_u32(w, "llama.feed_forward_length", 64);
    gw_kv_u32(w, "llama.attention.head_count", 4);
    gw_kv_u32(w, "llama.attention.head_count_kv", 4);
    gw_kv_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
}

typedef struct lists {
    char byte[256][8];
    const char *text[MAX_TOKEN];
    int32_t type[MAX_TOKEN];
    float score[MAX_TOKEN];
    size_t n;
} lists;

static void add(lists *l, const char *text, int32_t type, float score)
{
    if (l->n == MAX_TOKEN)
        abort();
    l->text[l->n] = text;
    l->type[l->n] = type;
    l->score[l->n++] = score;
}

/* Each byte as its letter: the byte itself if it is printable, else the next
 * unused letter from U+0100 on. */
static void add_bpe_bytes(lists *l)
{
    int next = 256;

    for (int b = 0; b < 256; b++) {
        int code =
            (b >= '!' && b <= '~') || (b >= 0xa1 && b != 0xad) ? b : next++;
        if (code < 128)
            snprintf(l->byte[b], sizeof l->byte[b], "%c", code);
        else
            snprintf(l->byte[b], sizeof l->byte[b], "%c%c", 0xc0 | code >> 6,
                     0x80 | (code & 63));
        add(l, l->byte[b], 1, 0.0f);
    }
}

static void add_spm_bytes(lists *l)
{
    add(l, "<unk>", 2, 0.0f);
    add(l, "<s>", 3, 0.0f);
    add(l, "</s>", 3, 0.0f);
    for (int b = 0; b < 256; b++) {
        snprintf(l->byte[b], sizeof l->byte[b], "<0x%02X>", (unsigned)b);
        add(l, l->byte[b], 6, 0.0f);
    }
}

void vf_write(gw_file *w, const vf_spec *spec)
{
    lists *l = calloc(1, sizeof *l);

    if (!l)
        abort();
    vf_write_general(w);
    gw_kv_str(w, "tokenizer.ggml.model", spec->pre ? "gpt2" : "llama");
    if (spec->pre) {
        gw_kv_str(w, "tokenizer.ggml.pre", spec->pre);
        add_bpe_bytes(l);
    } else {
        add_spm_bytes(l);
    }
    for (size_t i = 0; i < spec->n_token; i++)
        add(l, spec->token[i].text, spec->token[i].type, spec->token[i].score);
    gw_kv_strs(w, "tokenizer.ggml.tokens", l->text, l->n);
    gw_kv_array(w, "tokenizer.ggml.token_type", TLPI_GGUF_I32, l->n, l->type,
                l->n * sizeof l->type[0]);
    if (spec->pre)
        gw_kv_strs(w, "tokenizer.ggml.merges", spec->merge, spec->n_merge);
    else
        gw_kv_array(w, "tokenizer.ggml.scores", TLPI_GGUF_F32, l->n, l->score,
                    l->n * sizeof l->score[0]);
    if (spec->bos)
        gw_kv_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)spec->bos);
    if (spec->eos)
        gw_kv_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)spec->eos);
    if (spec->chat)
        gw_kv_str(w, "tokenizer.chat_template", spec->chat);
    free(l);
}

tlp_model *vf_open(const gw_file *w)
{
    const char *path = tiny_path("vocab.gguf");
    tlp_model_options opts = TLP_MODEL_OPTIONS_INIT;
    tlp_model *model = NULL;

    opts.vocab_only = 1;
    if (!gw_save(w, path) || tlp_model_open(&model, path, &opts) != TLP_OK) {
        fprintf(stderr, "%s: %s\n", path, tlp_last_error());
        abort();
    }
    return model;
}

tlp_model *vf_make(const vf_spec *spec)
{
    gw_file w;

    gw_init(&w);
    vf_write(&w, spec);
    tlp_model *model = vf_open(&w);
    gw_free(&w);
    return model;
}
