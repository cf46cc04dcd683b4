/*
 * convert.c - write a model to a file with its matrices in another type, with
 * its hidden units in another order, or both.
 *
 * Threads convert rows through floats into a piece, one thread for each row;
 * then the piece is written.  Memory stays small for a model of any size, and
 * the result does not depend on the number of threads.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "file/gguf_write.h"
#include "file/mapfile.h"
#include "model/convert.h"
#include "model/imatrix.h"
#include "model/recipe.h"

#define PIECE (1 << 20) /* elements converted, or bytes copied, at once */

/* Version of the block layouts, for general.quantization_version. */
#define LAYOUT_VERSION 2

typedef struct converter {
    const tlpi_convert *job;
    const tlp_model *m; /* of the job, as the next two are */
    const char *path;
    tlp_quantize_options opts;
    const tlpi_recipe *recipe; /* NULL: types stay */
    tlpi_imatrix *imatrix;     /* NULL: columns count alike */
    tlp_quantize_result result;
    const tlpi_tensor **from; /* [n] tensors of all files */
    tlpi_tensor *to;          /* [n] these tensors in their new types */
    size_t n;
    tlpi_gguf_kv *kv;
    size_t n_kv;
    uint32_t version;
    tlpi_pool *pool;
    tlpi_gguf_writer out;
    float *row;   /* [n_thread][2][max_cols]: a row as floats, and as bytes */
    float *moved; /* [max_cols] importances of columns in a new order */
    int64_t max_cols;
    uint8_t *piece;
    uint64_t done, total; /* elements */
} converter;

/* ==== what the file will hold ============================================ */

static tlp_status list_tensors(converter *c)
{
    const tlp_model *m = c->m;

    for (size_t f = 0; f < m->n_file; f++)
        c->n += m->file[f]->n_tensor;
    c->from = tlpi_alloc_array(&m->env, c->n, sizeof(const tlpi_tensor *));
    c->to = tlpi_alloc_array(&m->env, c->n, sizeof *c->to);
    if (!c->from || !c->to)
        return tlpi_fail_nomem_for("a quantized model");
    size_t n = 0;
    for (size_t f = 0; f < m->n_file; f++)
        for (size_t i = 0; i < m->file[f]->n_tensor; i++)
            c->from[n++] = &m->file[f]->tensor[i];
    return TLP_OK;
}

static int64_t rows_of(const tlpi_tensor *t)
{
    return t->ne[1] * t->ne[2] * t->ne[3];
}

/* The tensor of the job that takes the place of one of the files', or NULL. */
static const tlpi_tensor *replacement_of(const converter *c,
                                         const tlpi_tensor *t)
{
    for (size_t i = 0; i < c->job->n_replace; i++)
        if (strcmp(c->job->replace[i].name, t->name) == 0)
            return &c->job->replace[i];
    return NULL;
}

static bool is_summed(const converter *c, const tlpi_tensor *t)
{
    const tlpi_convert_sum *sum = c->job->sum;

    return sum && sum->has(sum->arg, t);
}

/* A type with eight bits an element at least. */
static tlpi_dtype widened(const tlpi_tensor *t)
{
    const tlpi_dtype_info *type = tlpi_dtype_get(t->type);
    const tlpi_dtype_info *q8 = tlpi_dtype_get(TLPI_Q8_0);

    if (type->size >= type->block)
        return t->type;
    return t->ne[0] % q8->block ? TLPI_F16 : TLPI_Q8_0;
}

static tlp_status choose_type(converter *c, size_t i)
{
    const tlpi_tensor *from = c->from[i];
    tlpi_tensor *to = &c->to[i];
    tlpi_dtype wanted = from->type;

    *to = *from;
    if (c->recipe)
        to->type = tlpi_recipe_type(c->recipe, c->m, from, c->opts.pure != 0,
                                    c->imatrix != NULL, &wanted);
    else if (replacement_of(c, from) || is_summed(c, from))
        to->type = wanted = widened(from);
    if (!tlpi_mul(tlpi_row_bytes(to->type, to->ne[0]), (size_t)rows_of(to),
                  &to->n_bytes))
        return tlpi_fail_nomem_for("a quantized model");
    if (to->type != wanted)
        tlpi_log(&c->m->env, TLP_LOG_INFO,
                 "%s: tensor %s: rows of %lld do not fit %s, %s is used",
                 c->path, to->name, (long long)to->ne[0],
                 tlpi_dtype_name(wanted), tlpi_dtype_name(to->type));
    c->result.n_tensor++;
    c->result.n_converted += to->type != from->type;
    c->result.n_fallback += to->type != wanted;
    c->result.n_bytes += (int64_t)to->n_bytes;
    c->max_cols = TLPI_MAX(c->max_cols, to->ne[0]);
    c->total += (uint64_t)to->ne[0] * (uint64_t)rows_of(to);
    return TLP_OK;
}

/* Replace a key's value, or add it at the end. */
static void set_u32(converter *c, const char *key, const uint32_t *value)
{
    size_t i = 0;

    while (i < c->n_kv && strcmp(c->kv[i].key, key) != 0)
        i++;
    c->n_kv = TLPI_MAX(c->n_kv, i + 1);
    c->kv[i] = (tlpi_gguf_kv){
        .key = key,
        .type = TLPI_GGUF_U32,
        .n = 1,
        .data = (const uint8_t *)value,
        .n_bytes = sizeof *value,
    };
}

/* Keys of the old file that would be wrong in the new one. */
static bool is_replaced(const converter *c, const char *key)
{
    return strncmp(key, "split.", 6) == 0 ||
           (c->recipe && strncmp(key, "quantize.imatrix.", 17) == 0);
}

static tlp_status list_keys(converter *c)
{
    const tlpi_gguf *g = c->m->file[0];

    c->kv = tlpi_alloc_array(&c->m->env, g->n_kv + 4, sizeof *c->kv);
    if (!c->kv)
        return tlpi_fail_nomem_for("a quantized model");
    for (size_t i = 0; i < g->n_kv; i++)
        if (!is_replaced(c, g->kv[i].key))
            c->kv[c->n_kv++] = g->kv[i];
    if (!c->recipe)
        return TLP_OK;
    c->version = LAYOUT_VERSION;
    set_u32(c, "general.file_type", &c->recipe->file_type);
    set_u32(c, "general.quantization_version", &c->version);
    if (c->imatrix) {
        set_u32(c, "quantize.imatrix.entries_count", &c->imatrix->n);
        set_u32(c, "quantize.imatrix.chunks_count", &c->imatrix->n_chunk);
    }
    return TLP_OK;
}

/* The types of the new file are chosen: from here on other numbers are read. */
static tlp_status replace_tensors(converter *c)
{
    size_t n_found = 0;

    for (size_t i = 0; i < c->n; i++) {
        const tlpi_tensor *t = replacement_of(c, c->from[i]);

        c->from[i] = t ? t : c->from[i];
        n_found += t != NULL;
    }
    if (n_found == c->job->n_replace)
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: its layers have fused tensors, which "
                     "cannot be replaced",
                     c->m->path);
}

/* ==== rows =============================================================== */

typedef struct rows {
    converter *c;
    const tlpi_tensor *from, *to;
    const tlpi_unit_moves *units;
    const tlpi_convert_sum *sum; /* or NULL */
    const float *moved;          /* importances of columns in the new order, or
                                    NULL: those of c->imatrix */
    int64_t first, n;
    bool bad[TLPI_CONVERT_THREADS]; /* it met a value that the type cannot hold
                                     */
} rows;

/* The largest magnitude that a type can hold. */
static float limit_of(tlpi_dtype type)
{
    if (type == TLPI_F32)
        return FLT_MAX;
    return type == TLPI_BF16 ? 0x1.fep127f : 65504.0f;
}

/* The first value beyond the limit, or NULL; NaN is beyond any. */
static const float *find_bad(const float *x, int64_t n, float limit)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= limit))
            return &x[i];
    return NULL;
}

/* A row of the new order.  x: room for two rows of floats; the first gets the
 * row. */
static void read_row(const rows *r, int64_t row, float *x)
{
    const tlpi_tensor *t = r->from;
    void *bytes = x + r->c->max_cols;

    tlpi_unit_row(r->units, t, row, bytes);
    tlpi_dequantize(t->type, bytes, x, t->ne[0]);
    if (r->sum)
        r->sum->add(r->sum->arg, t, row, x);
}

static void convert_rows(void *arg, int ith, int nth)
{
    rows *r = arg;
    float *x = r->c->row + 2 * ith * r->c->max_cols;
    int64_t cols = r->to->ne[0];
    size_t bytes = tlpi_row_bytes(r->to->type, cols);

    r->bad[ith] = false;
    for (int64_t i = r->n * ith / nth; i < r->n * (ith + 1) / nth; i++) {
        read_row(r, r->first + i, x);
        if (find_bad(x, cols, limit_of(r->to->type))) {
            r->bad[ith] = true;
            return;
        }
        const float *w = r->moved;
        if (!w)
            w = tlpi_imatrix_row(r->c->imatrix, r->from, r->first + i);
        tlpi_quantize_columns(r->to->type, x, w,
                              r->c->piece + (size_t)i * bytes, cols);
    }
}

/* Name the first value of the tensor, in its own order, that the type cannot
 * hold. */
static tlp_status refuse_value(const rows *r)
{
    const converter *c = r->c;
    const tlpi_tensor *t = r->from;
    const tlpi_unit_moves stay = { .unit = NULL };
    const rows own = { .c = r->c, .from = t, .units = &stay, .sum = r->sum };
    const float *x = NULL;
    int64_t row = 0;

    for (; row < rows_of(t) && !x; row++) {
        read_row(&own, row, c->row);
        x = find_bad(c->row, t->ne[0], limit_of(r->to->type));
    }
    return tlpi_fail(TLP_EFORMAT,
                     "%s: tensor %s: row %lld, column %lld: %g has no place "
                     "in %s",
                     c->m->file[t->file]->path, t->name, (long long)(row - 1),
                     x ? (long long)(x - c->row) : 0, x ? (double)*x : 0,
                     tlpi_dtype_name(r->to->type));
}

static tlp_status check_rows(const rows *r)
{
    for (int i = 0; i < tlpi_pool_size(r->c->pool); i++)
        if (r->bad[i])
            return refuse_value(r);
    return TLP_OK;
}

/* ==== the file =========================================================== */

static tlp_status report(converter *c, uint64_t elements)
{
    c->done += elements;
    if (c->opts.progress && c->opts.progress((double)c->done / (double)c->total,
                                             c->opts.progress_data) != 0)
        return tlpi_fail(TLP_ECANCELED, "%s: writing was canceled", c->path);
    return TLP_OK;
}

static tlp_status convert_tensor(converter *c, const tlpi_tensor *from,
                                 const tlpi_tensor *to,
                                 const tlpi_unit_moves *units)
{
    tlp_status st = TLP_OK;
    rows r = { .c = c,
               .from = from,
               .to = to,
               .units = units,
               .sum = is_summed(c, from) ? c->job->sum : NULL };
    size_t row_bytes = tlpi_row_bytes(to->type, to->ne[0]);
    int64_t at_once = TLPI_MAX(PIECE / to->ne[0], 1);
    const float *w = tlpi_imatrix_row(c->imatrix, from, 0);

    if (w && tlpi_unit_columns(units, w, c->moved))
        r.moved = c->moved;

    for (; r.first < rows_of(to); r.first += r.n) {
        r.n = TLPI_MIN(at_once, rows_of(to) - r.first);
        tlpi_pool_map(c->pool, tlpi_pool_size(c->pool), convert_rows, &r);
        TLP_TRY(check_rows(&r));
        TLP_TRY(
            tlpi_gguf_write_data(&c->out, c->piece, (size_t)r.n * row_bytes));
        TLP_TRY(report(c, (uint64_t)(r.n * to->ne[0])));
    }
done:
    return st;
}

/* Write a tensor with its hidden units in another order. */
static tlp_status move_units(converter *c, const tlpi_tensor *t,
                             const tlpi_unit_moves *units)
{
    tlp_status st = TLP_OK;
    size_t row_bytes = tlpi_row_bytes(t->type, t->ne[0]);
    int64_t at_once = TLPI_MAX(PIECE / t->ne[0], 1);

    for (int64_t first = 0, n; first < rows_of(t); first += n) {
        n = TLPI_MIN(at_once, rows_of(t) - first);
        for (int64_t i = 0; i < n; i++)
            tlpi_unit_row(units, t, first + i,
                          c->piece + (size_t)i * row_bytes);
        TLP_TRY(tlpi_gguf_write_data(&c->out, c->piece, (size_t)n * row_bytes));
        TLP_TRY(report(c, (uint64_t)(n * t->ne[0])));
    }
done:
    return st;
}

static tlp_status copy_tensor(converter *c, const tlpi_tensor *t)
{
    tlp_status st = TLP_OK;
    const uint8_t *data = t->data;

    for (size_t at = 0; at < t->n_bytes; at += PIECE) {
        TLP_TRY(tlpi_gguf_write_data(&c->out, data + at,
                                     TLPI_MIN(t->n_bytes - at, (size_t)PIECE)));
        TLP_TRY(report(c, 0));
    }
    TLP_TRY(report(c, (uint64_t)(t->ne[0] * rows_of(t))));
done:
    return st;
}

static tlp_status write_tensors(converter *c)
{
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < c->n; i++) {
        tlpi_unit_moves units = { .unit = NULL };

        if (c->job->order)
            units = tlpi_unit_find(c->m, c->job->order, c->from[i]);
        if (c->to[i].type != c->from[i]->type || is_summed(c, c->from[i]))
            TLP_TRY(convert_tensor(c, c->from[i], &c->to[i], &units));
        else if (units.unit)
            TLP_TRY(move_units(c, c->from[i], &units));
        else
            TLP_TRY(copy_tensor(c, c->from[i]));
        TLP_TRY(tlpi_gguf_write_next(&c->out));
        if (!replacement_of(c, c->from[i]))
            tlpi_model_drop_pages(c->m, c->from[i]);
    }
done:
    return st;
}

/* A piece is PIECE elements, or one row if a row is longer. */
static tlp_status start_work(converter *c)
{
    const tlpi_env *env = &c->m->env;
    int n = c->opts.n_thread ? c->opts.n_thread
                             : TLPI_MIN(tlpi_n_cores(), TLPI_CONVERT_THREADS);
    tlpi_pool_options pool = { .n_thread = n, .n_machine = n };
    size_t most = (size_t)TLPI_MAX(c->max_cols, PIECE);

    c->row = tlpi_alloc_array(env, (2 * (size_t)n + 1) * (size_t)c->max_cols,
                              sizeof *c->row);
    c->piece = tlpi_alloc_array(env, most, sizeof(float));
    if (!c->row || !c->piece)
        return tlpi_fail_nomem_for("a quantized model");
    c->moved = c->row + 2 * (int64_t)n * c->max_cols;
    return tlpi_pool_create(&c->pool, env, &pool);
}

static tlp_status convert(converter *c)
{
    tlp_status st = TLP_OK;

    TLP_TRY(list_tensors(c));
    for (size_t i = 0; i < c->n; i++)
        TLP_TRY(choose_type(c, i));
    TLP_TRY(replace_tensors(c));
    TLP_TRY(list_keys(c));
    TLP_TRY(start_work(c));
    TLP_TRY(tlpi_gguf_write_begin(&c->out, &c->m->env, c->path,
                                  c->m->file[0]->alignment, c->kv, c->n_kv,
                                  c->to, c->n));
    TLP_TRY(write_tensors(c));
    if (c->job->ready) {
        TLP_TRY(tlpi_gguf_write_sync(&c->out));
        TLP_TRY(c->job->ready(c->job->ready_arg, c->out.file.temp.data));
    }
    TLP_TRY(tlpi_gguf_write_commit(&c->out));
done:
    return st;
}

static void tear_down(converter *c)
{
    const tlpi_env *env = &c->m->env;

    tlpi_gguf_write_end(&c->out);
    tlpi_imatrix_free(c->imatrix);
    tlpi_pool_free(c->pool);
    tlpi_free(env, c->piece);
    tlpi_free(env, c->row);
    tlpi_free(env, c->kv);
    tlpi_free(env, c->to);
    tlpi_free(env, c->from);
}

/* ==== the call =========================================================== */

tlp_status tlpi_model_check_path(const tlp_model *m, const char *path)
{
    for (size_t f = 0; f < m->n_file; f++)
        if (m->file[f]->map && tlpi_map_is_file(m->file[f]->map, path))
            return tlpi_fail(TLP_EINVAL, "%s: is the model's own file %s", path,
                             m->file[f]->path);
    return TLP_OK;
}

static tlp_status check(const converter *c)
{
    const tlp_model *m = c->m;

    if (m->vocab_only)
        return tlpi_fail(TLP_EINVAL, "%s was opened with vocab_only", m->path);
    if (c->opts.imatrix && !c->recipe)
        return tlpi_fail(TLP_EINVAL,
                         "%s: an importance matrix needs a type to quantize to",
                         c->opts.imatrix);
    return tlpi_model_check_path(m, c->path);
}

tlp_status tlpi_model_convert(const tlpi_convert *job,
                              tlp_quantize_result *result)
{
    converter c = { .job = job,
                    .m = job->model,
                    .path = job->path,
                    .opts = job->opts,
                    .out = { .file = { .fd = -1 } } };
    tlp_status st;

    if (job->type) {
        TLP_TRY(tlpi_convert_check_type(job->model, job->type));
        c.recipe = tlpi_recipe_find(job->type);
    }
    TLP_TRY(check(&c));
    if (c.opts.imatrix) {
        TLP_TRY(tlpi_imatrix_open(&c.imatrix, &c.m->env, c.opts.imatrix));
        TLP_TRY(tlpi_imatrix_match(c.imatrix, c.m));
    }
    TLP_TRY(convert(&c));
    if (result)
        *result = c.result;
done:
    tear_down(&c);
    return st;
}
