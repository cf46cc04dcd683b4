/*
 * fuzz_adapter.c - any bytes as a LoRA adapter: as a GGUF file, as what follows
 * the keys of one whose keys are right, and as the image that ranks get.  What
 * is accepted must be finite, of fitting ranks, and within the image.
 */
#include <math.h>
#include <string.h>

#include "plan/adapter.h"
#include "support/fake_model.h"
#include "fuzz.h"

#define D 8

static tlp_model *model;

static void check_tensor(const tlp_adapter *a, const tlpi_tensor *t)
{
    const char *begin = a->image, *at = t->data;
    float x;

    promise(at >= begin && at + t->n_bytes <= begin + a->n_image);
    for (int64_t i = 0; i < t->ne[0] * t->ne[1]; i++) {
        tlpi_dequantize(t->type, at + i * tlpi_dtype_get(t->type)->size, &x, 1);
        promise(isfinite(x));
    }
}

/* Frees the adapter, if there is one. */
static void check_adapter(tlp_status st, tlp_adapter *a)
{
    if (st != TLP_OK) {
        promise(!a && *tlp_last_error() != '\0');
        return;
    }
    for (int l = 0; l < model->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            const tlpi_lowrank *p = &a->lora[l].pair[i];
            const tlpi_tensor *w = model->w.layer[l].t[i];

            promise(p->rank >= 0 && p->rank <= D);
            if (p->rank == 0)
                continue;
            promise(p->down.ne[0] == w->ne[0] && p->down.ne[1] == p->rank);
            promise(p->up.ne[0] == p->rank && p->up.ne[1] == w->ne[1]);
            check_tensor(a, &p->down);
            check_tensor(a, &p->up);
        }
    tlp_adapter_free(a);
}

static void try_file(const uint8_t *data, size_t n)
{
    tlp_adapter *a = NULL;
    tlpi_gguf *g = NULL;

    if (tlpi_gguf_open_memory(&g, &model->env, data, n) != TLP_OK)
        return;
    check_adapter(tlpi_adapter_read(&a, model, g), a);
    tlpi_gguf_close(g);
}

static void put(tlpi_text *t, const void *data, size_t n)
{
    tlpi_text_add(t, data, n);
}

static void put_str(tlpi_text *t, const char *s)
{
    uint64_t n = strlen(s);

    put(t, &n, sizeof n);
    put(t, s, n);
}

static void put_text_key(tlpi_text *t, const char *key, const char *value)
{
    const uint32_t type = TLPI_GGUF_STRING;

    put_str(t, key);
    put(t, &type, sizeof type);
    put_str(t, value);
}

/* A byte for the number of tensors, then their descriptions and data. */
static void try_tensors(const uint8_t *data, size_t size)
{
    tlpi_text file = { .env = &model->env };
    const uint32_t version = 3;
    const uint64_t n_kv = 3;

    if (size < 1)
        return;
    uint64_t n_tensor = data[0];
    put(&file, "GGUF", 4);
    put(&file, &version, sizeof version);
    put(&file, &n_tensor, sizeof n_tensor);
    put(&file, &n_kv, sizeof n_kv);
    put_text_key(&file, "general.type", "adapter");
    put_text_key(&file, "general.architecture",
                 tlpi_arch_get(&model->hp)->name);
    put_text_key(&file, "adapter.type", "lora");
    put(&file, data + 1, size - 1);
    promise(!file.failed);
    try_file((const uint8_t *)file.data, file.len);
    tlpi_text_free(&file);
}

static void try_image(const uint8_t *data, size_t n)
{
    tlp_adapter *a = NULL;
    void *image = tlpi_alloc(&model->env, n);

    promise(image != NULL);
    if (n > 0)
        memcpy(image, data, n);
    check_adapter(tlpi_adapter_from_image(&a, model, image, n, "fuzz"), a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fake_shape shape = { 6, D, 16, 2, 1, 4, 16 };
    static const tlpi_dtype f32[] = { TLPI_F32 };

    model = fake_model(&shape, f32, 1);
    try_file(data, size);
    try_tensors(data, size);
    try_image(data, size);
    tlp_model_free(model);
    return 0;
}
