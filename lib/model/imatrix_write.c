/*
 * imatrix_write.c - write an importance matrix as a GGUF file, as llama-imatrix
 * does.
 */
#include "model/imatrix_write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "file/gguf_build.h"
#include "file/gguf_layout.h"
#include "file/gguf_write.h"

/* Sums and counts as floats, and tensors of them. */
typedef struct image {
    const tlpi_env *env;
    tlpi_gguf_build build;
    float *made, *at;
} image;

/* ==== the tables ========================================================= */

static void add_keys(image *f, const tlpi_imatrix_file *x)
{
    tlpi_gguf_build *b = &f->build;
    tlpi_text name = { .env = f->env };

    tlpi_build_str(b, "general.type", "imatrix", strlen("imatrix"));
    if (x->dataset)
        tlpi_gguf_put_str(&name, x->dataset, strlen(x->dataset));
    tlpi_build_array(b, "imatrix.datasets", TLPI_GGUF_STRING,
                     x->dataset != NULL, name.data, name.len);
    b->kv.failed |= name.failed;
    tlpi_build_u32(b, "imatrix.chunk_count", x->n_chunk);
    tlpi_build_u32(b, "imatrix.chunk_size", x->chunk_size);
    tlpi_text_free(&name);
}

static void add_tensor(image *f, const char *matrix, const char *suffix,
                       int64_t cols, int64_t rows)
{
    char name[TLPI_GGUF_MAX_NAME + 1];
    const tlpi_tensor t = { .name = name,
                            .type = TLPI_F32,
                            .n_dim = 2,
                            .ne = { cols, rows, 1, 1 },
                            .data = f->at,
                            .n_bytes = (size_t)(cols * rows) * sizeof *f->at };

    snprintf(name, sizeof name, "%s.%s", matrix, suffix);
    tlpi_build_tensor(&f->build, &t, (tlpi_gguf_source){ .at = 0 });
}

static tlp_status add_item(image *f, const tlpi_imatrix_sums *e)
{
    int64_t n = e->n * e->n_mat;

    add_tensor(f, e->name, "in_sum2", e->n, e->n_mat);
    for (int64_t i = 0; i < n; i++) {
        f->at[i] = (float)e->sum[i];
        if (!isfinite(f->at[i]))
            return tlpi_fail(TLP_EFORMAT,
                             "tensor %s: the sum of squares of input %lld is "
                             "%g, a finite number expected",
                             e->name, (long long)i, (double)f->at[i]);
    }
    f->at += n;
    add_tensor(f, e->name, "counts", 1, e->n_mat);
    for (int64_t i = 0; i < e->n_mat; i++)
        f->at[i] = (float)e->count[i];
    f->at += e->n_mat;
    return TLP_OK;
}

static tlp_status fill(image *f, const tlpi_imatrix_file *x)
{
    size_t n = 0;
    tlp_status st;

    for (size_t i = 0; i < x->n; i++)
        n += (size_t)((x->item[i].n + 1) * x->item[i].n_mat);
    f->made = tlpi_alloc_array(f->env, n, sizeof *f->made);
    if (!f->made)
        return tlpi_fail_nomem_for("an importance matrix");
    f->at = f->made;
    TLP_TRY(tlpi_build_reserve(&f->build, 2 * x->n));
    add_keys(f, x);
    for (size_t i = 0; i < x->n; i++)
        TLP_TRY(add_item(f, &x->item[i]));
done:
    return st;
}

/* ==== the file =========================================================== */

static tlp_status write_file(const tlpi_gguf *g, const char *path)
{
    tlpi_gguf_writer w = { .at = 0 };
    tlp_status st;

    TLP_TRY(tlpi_gguf_write_begin(&w, g->env, path, g->alignment, g->kv,
                                  g->n_kv, g->tensor, g->n_tensor));
    for (size_t i = 0; i < g->n_tensor; i++) {
        TLP_TRY(
            tlpi_gguf_write_data(&w, g->tensor[i].data, g->tensor[i].n_bytes));
        TLP_TRY(tlpi_gguf_write_next(&w));
    }
    st = tlpi_gguf_write_commit(&w);
done:
    tlpi_gguf_write_end(&w);
    return st;
}

tlp_status tlpi_imatrix_write(const tlpi_imatrix_file *x, const tlpi_env *env,
                              const char *path)
{
    image f = { .env = env, .build = { .env = env, .kv.env = env } };
    tlpi_gguf *g = NULL;
    tlp_status st;

    TLP_TRY(fill(&f, x));
    TLP_TRY(tlpi_build_finish(&g, &f.build, path, NULL, f.made));
    f.made = NULL;
    st = write_file(g, path);
done:
    tlpi_gguf_close(g);
    tlpi_free(env, f.made);
    tlpi_build_end(&f.build);
    return st;
}
