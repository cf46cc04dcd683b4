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

static const struct {
    char letter;
    bool has_index; /* of the folder with an index, not with a single file */
    const char *name;
} files[] = {
    { 'c', false, "config.json" },
    { 't', false, "tokenizer.json" },
    { 'k', false, "tokenizer_config.json" },
    { 'g', false, "generation_config.json" },
    { 's', false, "model.safetensors" },
    { 'i', true, INDEX },
};

static const char *make(int n_shard)
{
    tiny_spec s = tiny_default();

    s.type = TLPI_F32;
    s.n_layer = 1;
    s.n_embd = 16;
    s.n_ff = 16;
    s.n_head = s.n_head_kv = 1;
    hf_spec f = { .gguf = tiny_make(&s), .n_shard = n_shard };
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
    static const char *folder[2];

    for (int i = 0; i < 2; i++)
        if (!folder[i])
            folder[i] = make(i);
    for (size_t i = 0; size > 0 && i < sizeof files / sizeof files[0]; i++) {
        const char *to = folder[files[i].has_index];
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
