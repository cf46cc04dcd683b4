/*
 * fuzz_folder.c - any bytes as a file of a folder of Hugging Face; the first
 * byte says which file.  The other files are right.  What is accepted must have
 * tensors that can be read, and a vocabulary that tokenizes.
 */
#include <string.h>
#include <unistd.h>

#include "model/model.h"
#include "support/hf_folder.h"
#include "support/tiny.h"
#include "fuzz.h"

#define INDEX "model.safetensors.index.json"

enum { SINGLE, INDEXED, PACKED, IMAGES, N_FOLDER };

static const struct {
    char letter;
    int folder;
    const char *name;
} files[] = {
    { 'c', SINGLE, "config.json" },
    { 't', SINGLE, "tokenizer.json" },
    { 'k', SINGLE, "tokenizer_config.json" },
    { 'g', SINGLE, "generation_config.json" },
    { 's', SINGLE, "model.safetensors" },
    { 'i', INDEXED, INDEX },
    { 'o', PACKED, "config.json" },
    { 'x', PACKED, "model.safetensors" },
    { 'm', IMAGES, "config.json" },
    { 'v', IMAGES, "model.safetensors" },
};

/* A model of one layer: llama, with a file of tensors or an index; gpt-oss with
 * experts in MXFP4; Ministral 3 in a model that reads images too. */
static const char *make(int folder)
{
    tiny_spec s = tiny_default();
    hf_spec f = { .n_shard = folder == INDEXED,
                  .packed = folder == PACKED,
                  .images = folder == IMAGES };

    s.type = folder == PACKED ? TLPI_MXFP4 : TLPI_F32;
    s.n_layer = 1;
    s.n_embd = s.n_ff = folder == PACKED ? 32 : 16;
    s.n_head = s.n_head_kv = 1;
    if (folder == PACKED) {
        s.arch = "gpt-oss";
        s.n_expert = 2;
        s.n_used = 1;
    }
    if (folder == IMAGES)
        s.arch = "mistral3";
    if (folder >= PACKED)
        s.yarn = 4;
    s.yarn_log = folder == IMAGES;
    f.gguf = tiny_make(&s);
    return hf_make(&f);
}

/* Every byte of every tensor. */
static void read_tensors(const tlp_model *m)
{
    static volatile uint8_t sum;

    for (size_t f = 0; f < m->n_file; f++)
        for (size_t i = 0; i < m->file[f]->n_tensor; i++) {
            const tlpi_tensor *t = &m->file[f]->tensor[i];
            const uint8_t *at = t->data;

            for (size_t k = 0; k < t->n_bytes; k++)
                sum = (uint8_t)(sum + at[k]);
        }
}

static void try_folder(const char *folder)
{
    static const char text[] = "Hello <|im_end|> 123\n  x\xff";
    int32_t ids[256];
    size_t n = 0;
    tlp_model *m = NULL;

    if (tlp_model_open(&m, folder, NULL) != TLP_OK) {
        promise(!m && *tlp_last_error() != '\0');
        promise(!strchr(tlp_last_error(), '\n'));
        return;
    }
    read_tensors(m);
    promise(tlp_tokenize(ids, 256, &n, m, text, sizeof text - 1,
                         TLP_TOKENIZE_SPECIAL | TLP_TOKENIZE_BOS) == TLP_OK);
    for (size_t i = 0; i < n; i++)
        promise(ids[i] >= 0 && ids[i] < m->hp.n_vocab);
    tlp_model_free(m);
}

/* The right text of a file, which is read once. */
static const char *right_text(const char *folder, size_t i, size_t *n)
{
    static char *text[sizeof files / sizeof files[0]];
    static size_t size[sizeof files / sizeof files[0]];

    if (!text[i]) {
        FILE *f = fopen(hf_file(folder, files[i].name), "rb");

        text[i] = malloc(1 << 20);
        promise(text[i] != NULL);
        size[i] = f ? fread(text[i], 1, 1 << 20, f) : 2;
        if (f)
            fclose(f);
        else
            memcpy(text[i], "{}", 2);
    }
    *n = size[i];
    return text[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *folder[N_FOLDER];

    for (int i = 0; i < N_FOLDER; i++)
        if (!folder[i])
            folder[i] = make(i);
    for (size_t i = 0; size > 0 && i < sizeof files / sizeof files[0]; i++) {
        const char *to = folder[files[i].folder];
        size_t n;
        const char *right = right_text(to, i, &n);

        if (files[i].letter != (char)data[0])
            continue;
        hf_write(to, files[i].name, data + 1, size - 1);
        try_folder(to);
        hf_write(to, files[i].name, right, n);
    }
    return 0;
}
