/*
 * imatrix.c - importance matrices: entries by name, and whether they belong to
 * a model; imatrix_read.c reads the files.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/imatrix_read.h"

void tlpi_imatrix_free(tlpi_imatrix *im)
{
    if (!im)
        return;
    for (size_t i = 0; i < im->n; i++)
        tlpi_free(im->env, im->item[i].x);
    tlpi_free(im->env, im->item);
    tlpi_free(im->env, im->names);
    tlpi_free(im->env, im);
}

tlp_status tlpi_imatrix_create(tlpi_imatrix **out, const tlpi_env *env,
                               const char *path, size_t n, size_t name_bytes)
{
    tlpi_imatrix *im = tlpi_calloc(env, 1, sizeof *im);

    *out = im;
    if (!im)
        return tlpi_fail_nomem_for("an importance matrix");
    im->env = env;
    im->path = path;
    im->item = tlpi_alloc_array(env, n, sizeof *im->item);
    im->names = tlpi_alloc(env, name_bytes);
    if (!im->item || !im->names)
        return tlpi_fail_nomem_for("an importance matrix");
    return TLP_OK;
}

/* Divide the values by their mean, so that no product with them overflows. */
static void normalise(tlpi_importance *e)
{
    int64_t n = e->n * e->n_mat;
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += (double)e->x[i];
    for (int64_t i = 0; i < n && sum > 0; i++)
        e->x[i] = (float)((double)e->x[i] / (sum / (double)n));
}

static tlp_status check_values(const tlpi_imatrix *im, const tlpi_importance *e)
{
    for (int64_t i = 0; i < e->n * e->n_mat; i++)
        if (!isfinite(e->x[i]) || e->x[i] < 0)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: entry %s: value %lld is %g, a finite number "
                             "that is not negative expected",
                             im->path, e->name, (long long)i, (double)e->x[i]);
    return TLP_OK;
}

/* The mean squares of a matrix.  An expert that no token chose has no squares:
 * its columns count alike. */
static tlp_status divide(const tlpi_imatrix *im, tlpi_importance *e,
                         const float *count, int64_t n_count)
{
    for (int64_t k = 0; k < e->n_mat; k++) {
        float by = count[n_count == 1 ? 0 : k], *x = e->x + k * e->n;
        bool unused = by == 0 && n_count > 1;

        if (!isfinite(by) || by < 0 || (by == 0 && !unused))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: entry %s: count %lld is %g, a positive "
                             "number expected",
                             im->path, e->name, (long long)k, (double)by);
        for (int64_t i = 0; i < e->n; i++)
            x[i] = unused ? 1 : x[i] / by;
    }
    return TLP_OK;
}

tlp_status tlpi_imatrix_add(tlpi_imatrix *im, tlpi_str name, const void *sums,
                            int64_t n, int64_t n_mat, const float *count,
                            int64_t n_count)
{
    tlp_status st = TLP_OK;
    tlpi_importance e = { .name = im->names + im->names_used,
                          .n = n,
                          .n_mat = n_mat };

    memcpy(im->names + im->names_used, name.s, name.n);
    im->names[im->names_used + name.n] = '\0';
    im->names_used += name.n + 1;
    e.x = tlpi_alloc_array(im->env, (size_t)(n * n_mat), sizeof *e.x);
    if (!e.x)
        return tlpi_fail_nomem_for("an importance matrix");
    memcpy(e.x, sums, (size_t)(n * n_mat) * sizeof *e.x);
    TLP_TRY(divide(im, &e, count, n_count));
    TLP_TRY(check_values(im, &e));
    normalise(&e);
    im->item[im->n++] = e;
    e.x = NULL;
done:
    tlpi_free(im->env, e.x);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tlpi_importance *)a)->name,
                  ((const tlpi_importance *)b)->name);
}

tlp_status tlpi_imatrix_sort(tlpi_imatrix *im)
{
    qsort(im->item, im->n, sizeof *im->item, by_name);
    for (size_t i = 1; i < im->n; i++)
        if (strcmp(im->item[i - 1].name, im->item[i].name) == 0)
            return tlpi_fail(TLP_EFORMAT, "%s: entry %s stands there twice",
                             im->path, im->item[i].name);
    return TLP_OK;
}

/* ==== use ================================================================ */

/* Tools write entries of another length for it, because the rows that tokens
 * choose are no products. */
static bool is_embedding(const char *name)
{
    return strcmp(name, "token_embd.weight") == 0;
}

static const tlpi_importance *find(const tlpi_imatrix *im, const tlpi_tensor *t)
{
    tlpi_importance want = { .name = t->name };
    const tlpi_importance *e =
        bsearch(&want, im->item, im->n, sizeof want, by_name);

    if (!e || e->n != t->ne[0] || (e->n_mat != 1 && e->n_mat != t->ne[2]))
        return NULL;
    return e;
}

const float *tlpi_imatrix_row(const tlpi_imatrix *im, const tlpi_tensor *t,
                              int64_t row)
{
    const tlpi_importance *e = im ? find(im, t) : NULL;

    if (!e)
        return NULL;
    return e->n_mat == 1 ? e->x : e->x + row / t->ne[1] * e->n;
}

static tlp_status check_lengths(const tlpi_imatrix *im, const tlp_model *m,
                                size_t *n_found, const char **unknown)
{
    for (size_t i = 0; i < im->n; i++) {
        const tlpi_importance *e = &im->item[i];
        const tlpi_tensor *t = tlpi_model_tensor(m, e->name);
        if (!t && !*unknown)
            *unknown = e->name;
        if (!t)
            continue;
        ++*n_found;
        if (!find(im, t) && !is_embedding(e->name))
            return tlpi_fail(TLP_EMISMATCH,
                             "%s: entry %s: %lld values, %lld expected for %s",
                             im->path, e->name, (long long)(e->n * e->n_mat),
                             (long long)(t->ne[0] * t->ne[2]), m->path);
    }
    return TLP_OK;
}

/* A matrix of a layer; lists of vectors have two dimensions too. */
static bool is_matrix(const tlp_model *m, const tlpi_tensor *t)
{
    const char *rest;
    int layer;

    if (t->ne[1] == 1 || !tlpi_layer_name(t->name, &layer, &rest))
        return false;
    const tlpi_tensor_row *row =
        tlpi_row_find(tlpi_layer_table, TLPI_N_LAYER_TENSOR, rest, &m->hp);
    return !row || tlpi_row_is_matrix(row);
}

/* Warn of matrices of layers without importances. */
static void warn_missing(const tlpi_imatrix *im, const tlp_model *m)
{
    const char *first = NULL;
    int n = 0;

    for (size_t f = 0; f < m->n_file; f++)
        for (size_t i = 0; i < m->file[f]->n_tensor; i++) {
            const tlpi_tensor *t = &m->file[f]->tensor[i];
            if (!is_matrix(m, t) || find(im, t))
                continue;
            first = first ? first : t->name;
            n++;
        }
    if (n > 0)
        tlpi_log(&m->env, TLP_LOG_WARN,
                 "%s: %d matrices have no entry, %s first: their columns count "
                 "alike",
                 im->path, n, first);
}

tlp_status tlpi_imatrix_match(const tlpi_imatrix *im, const tlp_model *m)
{
    const char *unknown = NULL;
    size_t n_found = 0;
    tlp_status st = check_lengths(im, m, &n_found, &unknown);

    if (st != TLP_OK)
        return st;
    if (n_found == 0)
        return tlpi_fail(TLP_EMISMATCH, "%s: no entry is of a tensor of %s",
                         im->path, m->path);
    if (unknown)
        tlpi_log(&m->env, TLP_LOG_WARN,
                 "%s: %zu entries are of no tensor of %s, %s first", im->path,
                 (size_t)im->n - n_found, m->path, unknown);
    warn_missing(im, m);
    return TLP_OK;
}
