/*
 * split.c - the files of a model: one, or a set of parts that are named
 * PREFIX-00001-of-0000N.gguf and numbered from 0 by the key split.no, or those
 * of a folder.
 */
#include <stdio.h>
#include <string.h>

#include "hf/folder.h"
#include "model/model.h"

#define MAX_PARTS 99999

/* Cut "-00002-of-00003.gguf" off a path; no is 0 if the path has no such
 * ending. */
typedef struct part_name {
    int prefix; /* bytes before it */
    int no, count;
} part_name;

static bool five_digits(const char *s, int *value)
{
    *value = 0;
    for (int i = 0; i < 5; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *value = *value * 10 + (s[i] - '0');
    }
    return true;
}

static part_name parse_name(const char *path)
{
    static const char form[] = "-00000-of-00000.gguf";
    const size_t n_form = sizeof form - 1;
    size_t n = strlen(path);
    part_name none = { 0, 0, 0 }, name;

    if (n < n_form || n > INT32_MAX)
        return none;
    const char *s = path + n - n_form;
    name.prefix = (int)(n - n_form);
    if (s[0] != '-' || !five_digits(s + 1, &name.no) ||
        strncmp(s + 6, "-of-", 4) != 0 || !five_digits(s + 10, &name.count) ||
        strcmp(s + 15, ".gguf") != 0)
        return none;
    return name.no >= 1 && name.no <= name.count ? name : none;
}

static tlp_status part_path(const tlp_model *m, const part_name *name, int no,
                            tlpi_text *out)
{
    out->env = &m->env;
    out->len = 0;
    tlpi_text_printf(out, "%.*s-%05d-of-%05d.gguf", name->prefix, m->path, no,
                     name->count);
    return out->failed ? tlpi_fail_nomem_for("the files of a model") : TLP_OK;
}

/* The part's own numbering must agree with its name. */
static tlp_status check_part(const tlpi_gguf *g, int no, int count)
{
    uint32_t file_no = 0, file_count = 0;
    tlp_status st;

    TLP_TRY(tlpi_gguf_get_u32(g, "split.no", true, &file_no));
    TLP_TRY(tlpi_gguf_get_u32(g, "split.count", true, &file_count));
    if (file_count != (uint32_t)count)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key split.count: %u, but the name says %d parts",
                         g->path, file_count, count);
    if (file_no != (uint32_t)no - 1)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key split.no: %u, but the name says part %d "
                         "(split.no %d)",
                         g->path, file_no, no, no - 1);
done:
    return st;
}

static tlp_status add_file(tlp_model *m, const char *path,
                           const tlp_model_options *opts)
{
    tlpi_gguf_options o = { opts->no_mmap != 0, opts->vocab_only != 0 };
    tlpi_gguf **grown = tlpi_realloc_array(&m->env, m->file, m->n_file + 1,
                                           sizeof(tlpi_gguf *));
    tlpi_gguf *g = NULL;

    if (!grown)
        return tlpi_fail_nomem_for("the files of a model");
    m->file = grown;
    tlp_status st = tlpi_gguf_open(&g, &m->env, path, &o);
    if (st != TLP_OK)
        return st;
    for (size_t i = 0; i < g->n_tensor; i++)
        g->tensor[i].file = (int)m->n_file;
    m->file[m->n_file++] = g;
    return TLP_OK;
}

static tlp_status report(const tlp_model_options *opts, int done, int count)
{
    /* Opening files counts as nine tenths of the progress. */
    double share = 0.9 * done / count;

    if (opts->progress && opts->progress(share, opts->progress_data) != 0)
        return tlpi_fail(TLP_ECANCELED, "opening the model was canceled");
    return TLP_OK;
}

static tlp_status check_tensor_count(const tlp_model *m)
{
    size_t n_tensor = 0;
    uint32_t expected = 0;

    for (size_t f = 0; f < m->n_file; f++)
        n_tensor += m->file[f]->n_tensor;
    expected = (uint32_t)n_tensor;
    tlp_status st =
        tlpi_gguf_get_u32(m->file[0], "split.tensors.count", false, &expected);
    if (st == TLP_OK && expected != n_tensor)
        st = tlpi_fail(TLP_EFORMAT,
                       "%s: key split.tensors.count: %u, but the parts hold "
                       "%zu tensors",
                       m->path, expected, n_tensor);
    return st;
}

/* The file opened as m->path stands alone; its name may say part 1 of 1. */
static tlp_status check_single(const tlpi_gguf *g)
{
    uint32_t count = 0, no = 0;
    tlp_status st;

    TLP_TRY(tlpi_gguf_get_u32(g, "split.count", false, &count));
    TLP_TRY(tlpi_gguf_get_u32(g, "split.no", false, &no));
    if (count > 1)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key split.count: one of %u parts, but not named "
                         "...-00001-of-%05u.gguf",
                         g->path, count, count);
    if (no > 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key split.no: %u, 0 expected of a whole file",
                         g->path, no);
done:
    return st;
}

static tlp_status report_file(void *arg, int n, int n_all)
{
    return report(arg, n, n_all);
}

static tlp_status open_folder(tlp_model *m, const tlp_model_options *opts)
{
    tlp_model_options given = *opts;
    tlpi_folder_options o = { .no_mmap = opts->no_mmap != 0,
                              .vocab_only = opts->vocab_only != 0,
                              .opened = report_file,
                              .arg = &given };
    tlpi_folder folder;
    tlp_status st = tlpi_folder_open(&folder, &m->env, m->path, &o);

    m->file = folder.file;
    m->n_file = folder.n_file;
    for (size_t f = 0; f < m->n_file && st == TLP_OK; f++)
        for (size_t i = 0; i < m->file[f]->n_tensor; i++)
            m->file[f]->tensor[i].file = (int)f;
    return st;
}

tlp_status tlpi_model_open_files(tlp_model *m, const tlp_model_options *opts)
{
    part_name name = parse_name(m->path);
    tlpi_text path = { 0 };
    tlp_status st;

    if (tlpi_folder_is(m->path))
        return open_folder(m, opts);
    if (name.no > 1) {
        TLP_TRY(part_path(m, &name, 1, &path));
        TLP_TRY(tlpi_fail(TLP_EINVAL,
                          "%s: part %d of a set of %d; its first part is to be "
                          "opened: %s",
                          m->path, name.no, name.count, path.data));
    }
    TLP_TRY(add_file(m, m->path, opts));
    if (name.count <= 1) {
        TLP_TRY(check_single(m->file[0]));
        TLP_TRY(check_tensor_count(m));
        TLP_TRY(report(opts, 1, 1));
        goto done;
    }
    TLP_TRY(check_part(m->file[0], 1, name.count));
    for (int no = 2; no <= name.count && !opts->vocab_only; no++) {
        TLP_TRY(report(opts, no - 1, name.count));
        TLP_TRY(part_path(m, &name, no, &path));
        TLP_TRY(add_file(m, path.data, opts));
        TLP_TRY(check_part(m->file[no - 1], no, name.count));
    }
    if (!opts->vocab_only)
        TLP_TRY(check_tensor_count(m));
    TLP_TRY(report(opts, name.count, name.count));
done:
    tlpi_text_free(&path);
    return st;
}
