/*
 * fuzz_gguf.c - any bytes as a GGUF file: open it, and touch all that it says
 * it holds.
 */
#include "file/gguf.h"
#include "fuzz.h"

/* Read every byte, whatever the optimiser thinks of it. */
static void touch(const void *data, size_t n)
{
    const volatile uint8_t *bytes = data;

    for (size_t i = 0; i < n; i++)
        (void)bytes[i];
}

static void walk_value(const tlpi_gguf *g, const tlpi_gguf_kv *kv)
{
    const uint8_t *at = kv->data;

    if (kv->type == TLPI_GGUF_STRING) {
        for (uint64_t i = 0; i < kv->n; i++) {
            tlpi_str s = tlpi_gguf_next_str(&at);
            touch(s.s, s.n);
        }
        promise(at == kv->data + kv->n_bytes);
    } else {
        for (uint64_t i = 0; i < kv->n; i++) {
            double x = tlpi_gguf_elem_f64(kv, i);
            int64_t n = tlpi_gguf_elem_i64(kv, i);
            promise(!(x >= 1) || n >= 1); /* also NaN: nothing to say */
        }
    }

    tlpi_text text = { .env = g->env };
    tlpi_gguf_format(kv, &text);
    touch(text.data, text.len);
    tlpi_text_free(&text);
}

static void walk_reads(const tlpi_gguf *g, const char *key)
{
    uint32_t u = 0;
    float f = 0;
    bool b = false;
    tlpi_str s = { "", 0 };
    int n_read = 0;

    n_read += tlpi_gguf_get_u32(g, key, true, &u) == TLP_OK;
    n_read += tlpi_gguf_get_f32(g, key, true, &f) == TLP_OK;
    n_read += tlpi_gguf_get_bool(g, key, true, &b) == TLP_OK;
    n_read += tlpi_gguf_get_str(g, key, true, &s) == TLP_OK;
    promise(n_read <= 1);
    touch(s.s, s.n);
}

static void walk_tensor(const tlpi_tensor *t)
{
    const tlpi_dtype_info *info = tlpi_dtype_get(t->type);
    float x[256];

    promise(info && t->ne[0] >= 1 && t->ne[0] % info->block == 0);
    promise(t->n_bytes >= tlpi_row_bytes(t->type, t->ne[0]));
    tlpi_dequantize(t->type, t->data, x, info->block);
    touch(t->data, t->n_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tlpi_env env;
    tlpi_gguf *g = NULL;

    if (tlpi_env_init(&env, NULL, NULL, NULL) != TLP_OK)
        return 0;
    if (tlpi_gguf_open_memory(&g, &env, data, size) != TLP_OK) {
        promise(g == NULL && *tlp_last_error() != '\0');
        return 0;
    }
    for (size_t i = 0; i < g->n_kv; i++) {
        promise(tlpi_gguf_find(g, g->kv[i].key) == &g->kv[i]);
        walk_value(g, &g->kv[i]);
        walk_reads(g, g->kv[i].key);
    }
    for (size_t i = 0; i < g->n_tensor; i++) {
        promise(tlpi_gguf_tensor(g, g->tensor[i].name) == &g->tensor[i]);
        walk_tensor(&g->tensor[i]);
    }
    tlpi_gguf_close(g);
    return 0;
}
