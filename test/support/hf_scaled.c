/*
 * hf_scaled.c - see hf_scaled.h.
 */
#include "hf_scaled.h"

#include <math.h>
#include <stdint.h>

#include "hf_source.h"

typedef struct conversion {
    const hf_fp8_spec *spec;
    tlpi_safetensors_part *part;
    const tlpi_tensor **from; /* [n] tensor that a part is made of */
    size_t n;
} conversion;

double hf_fp8_value(int byte)
{
    int e = byte >> 3 & 15, m = byte & 7;
    double x = e ? pow(2, e - 7) * (1 + m / 8.0) : pow(2, -6) * (m / 8.0);

    if (e == 15 && m == 7)
        x = NAN;
    return byte & 128 ? -x : x;
}

static uint8_t nearest(double x)
{
    static double value[256];
    int best = 0;

    for (int i = 0; value[1] == 0 && i < 256; i++)
        value[255 - i] = hf_fp8_value(255 - i);
    for (int i = 1; i < 256; i++)
        if (fabs(value[i] - x) < fabs(value[best] - x))
            best = i;
    return (uint8_t)best;
}

static bool is_projection(const tlpi_tensor *t)
{
    return t->n_dim == 2 && strstr(t->name, "_proj.weight");
}

/* ==== scales ============================================================= */

static int64_t height(const conversion *c, const tlpi_tensor *t)
{
    return c->spec->rows ? c->spec->rows : t->ne[1];
}

static int64_t width(const conversion *c, const tlpi_tensor *t)
{
    return c->spec->cols ? c->spec->cols : t->ne[0];
}

/* The scale of the block that has element (r, k), as its type holds it. */
static float scale_at(const conversion *c, const tlpi_tensor *t, int64_t r,
                      int64_t k)
{
    int64_t h = height(c, t), w = width(c, t);
    const float *x = t->data;
    float most = 0, held;
    uint32_t bytes = 0;

    for (int64_t i = r / h * h; i < TLPI_MIN((r / h + 1) * h, t->ne[1]); i++)
        for (int64_t j = k / w * w; j < TLPI_MIN((k / w + 1) * w, t->ne[0]);
             j++)
            most = fmaxf(most, fabsf(x[i * t->ne[0] + j]));
    held = most / 448;
    tlpi_quantize(c->spec->scale, &held, (uint8_t *)&bytes, 1);
    tlpi_dequantize(c->spec->scale, &bytes, &held, 1);
    return held;
}

/* ==== parts ============================================================== */

static tlpi_safetensors_part *add(conversion *c, const tlpi_tensor *t,
                                  const char *name, const char *tail)
{
    tlpi_safetensors_part *p = &c->part[c->n];

    c->from[c->n++] = t;
    *p = (tlpi_safetensors_part){ .type = t->type, .n_dim = t->n_dim };
    memcpy(p->ne, t->ne, sizeof p->ne);
    NEED(snprintf(p->name, sizeof p->name, "%s%s", name, tail) <
         (int)sizeof p->name);
    return p;
}

static void add_scales(conversion *c, const tlpi_tensor *t)
{
    tlpi_safetensors_part *p = add(c, t, t->name, "_scale_inv");
    char name[64];

    p->type = c->spec->scale;
    p->n_dim = c->spec->rows ? 2 : 1;
    p->ne[0] = (t->ne[0] + width(c, t) - 1) / width(c, t);
    p->ne[1] = (t->ne[1] + height(c, t) - 1) / height(c, t);
    if (!c->spec->extra)
        return;
    snprintf(name, sizeof name, "%.*s", (int)strlen(t->name) - 7, t->name);
    p = add(c, t, name, ".activation_scale");
    p->type = TLPI_F32;
    p->n_dim = 1;
    p->ne[0] = p->ne[1] = 1;
}

static void list_parts(conversion *c, const tlpi_safetensors *file)
{
    for (size_t i = 0; i < file->n_tensor; i++) {
        const tlpi_tensor *t = &file->tensor[i];
        tlpi_safetensors_part *p = add(c, t, t->name, "");

        if (!is_projection(t))
            continue;
        NEED(t->type == TLPI_F32);
        p->type = c->spec->wide ? TLPI_BF16 : TLPI_F8;
        if (!c->spec->wide)
            add_scales(c, t);
    }
}

/* The numbers of one block. */
static void fill_block(const conversion *c, const tlpi_tensor *t,
                       const tlpi_safetensors_part *p, int64_t r0, int64_t k0)
{
    const float s = scale_at(c, t, r0, k0), *x = t->data;

    for (int64_t r = r0; r < TLPI_MIN(r0 + height(c, t), t->ne[1]); r++)
        for (int64_t k = k0; k < TLPI_MIN(k0 + width(c, t), t->ne[0]); k++) {
            int64_t i = r * t->ne[0] + k;
            uint8_t code = nearest((double)(x[i] / s));
            float y = (float)hf_fp8_value(code) * s;

            if (c->spec->wide)
                tlpi_quantize(TLPI_BF16, &y, p->data + 2 * i, 1);
            else
                p->data[i] = code;
        }
}

static void fill_projection(const conversion *c, const tlpi_tensor *t,
                            const tlpi_safetensors_part *p)
{
    for (int64_t r = 0; r < t->ne[1]; r += height(c, t))
        for (int64_t k = 0; k < t->ne[0]; k += width(c, t))
            fill_block(c, t, p, r, k);
}

static void fill_scales(const conversion *c, const tlpi_tensor *t,
                        const tlpi_safetensors_part *p)
{
    size_t size = (size_t)tlpi_dtype_get((uint32_t)p->type)->size;
    uint8_t *out = p->data;

    for (int64_t r = 0; r < p->ne[1]; r++)
        for (int64_t k = 0; k < p->ne[0]; k++, out += size) {
            float s = scale_at(c, t, r * height(c, t), k * width(c, t));

            tlpi_quantize(p->type, &s, out, 1);
        }
}

static void fill(const conversion *c, size_t i)
{
    const tlpi_safetensors_part *p = &c->part[i];
    const tlpi_tensor *t = c->from[i];

    if (strstr(p->name, "_scale_inv"))
        fill_scales(c, t, p);
    else if (strstr(p->name, ".activation_scale"))
        *(float *)(void *)p->data = 0.5f;
    else if (is_projection(t))
        fill_projection(c, t, p);
    else
        memcpy(p->data, t->data, t->n_bytes);
}

void hf_fp8(const char *folder, const hf_fp8_spec *spec)
{
    tlpi_env env;
    const tlpi_safetensors_meta meta = { "format", "pt" };
    tlpi_safetensors *file;
    conversion c = { .spec = spec };
    size_t n = 0, n_image;
    char *bytes = NULL;
    void *image;
    FILE *f = fopen(hf_file(folder, "model.safetensors"), "rb");

    NEED(f && tlpi_env_init(&env, NULL, NULL, NULL) == TLP_OK);
    NEED(fseek(f, 0, SEEK_END) == 0);
    n = (size_t)ftell(f);
    rewind(f);
    bytes = malloc(n);
    NEED(bytes && fread(bytes, 1, n, f) == n);
    fclose(f);
    NEED(tlpi_safetensors_open(&file, &env, bytes, n, folder) == TLP_OK);
    c.part = calloc(3 * file->n_tensor, sizeof *c.part);
    c.from = calloc(3 * file->n_tensor, sizeof(*c.from));
    NEED(c.part && c.from);
    list_parts(&c, file);
    NEED(tlpi_safetensors_lay_out(&env, c.part, c.n, &meta, 1, &image,
                                  &n_image) == TLP_OK);
    for (size_t i = 0; i < c.n; i++)
        fill(&c, i);
    hf_write(folder, "model.safetensors", image, n_image);
    tlpi_free(&env, image);
    tlpi_safetensors_close(file);
    free(c.part);
    free(c.from);
    free(bytes);
}
