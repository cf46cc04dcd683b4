/*
 * adjust_file.c - read and write the file of a plan's adjustments, which is in
 * the folder of the plan file.
 */
#include <string.h>

#include "file/mapfile.h"
#include "plan/adjust.h"

#define PLAN_SUFFIX ".json"
#define ADJUST_SUFFIX ".adjust.safetensors"

tlp_status tlpi_adjust_check_name(const char *where, const char *name)
{
    char line[256];
    size_t n = strlen(name);

    if (n == 0 || n >= sizeof line)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: adjustments: a file name of %zu bytes, 1 to %zu "
                         "expected",
                         where, n, sizeof line - 1);
    memcpy(line, name, n + 1);
    if (name[0] == '.' || strpbrk(name, "/\\\"") ||
        tlpi_clean_line(line, n, false) != n || strcmp(line, name) != 0)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: adjustments: file name \"%.80s\": a visible file "
                         "beside the plan expected, in UTF-8 and without "
                         "quotes and backslashes",
                         where, name);
    return TLP_OK;
}

/* Length of the folder part of a path, with its last slash. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash + 1 - path) : 0;
}

static tlp_status path_beside(tlpi_text *out, const char *path,
                              const char *name)
{
    tlpi_text_add(out, path, folder_length(path));
    tlpi_text_add(out, name, strlen(name));
    return out->failed ? tlpi_fail_nomem_for("adjustments") : TLP_OK;
}

/* Three corrections of the highest rank as F32, norms and gains in every
 * layer, or in every track of every layer; LoRA of every matrix. */
size_t tlpi_adjust_max_bytes(const tlp_plan *p)
{
    uint64_t d = (uint64_t)p->model->hp.n_embd;
    uint64_t member = 3 * 2 * d * d * 4 + 4 * d * 4 + 2 * 4;
    uint64_t n =
        (uint64_t)p->model->hp.n_layer * (uint64_t)TLPI_MAX(1, p->n_track);
    uint64_t all = member * n + tlpi_lora_max_bytes(p->model) +
                   TLPI_SAFETENSORS_MAX_HEADER + sizeof(uint64_t);

    return (size_t)TLPI_MIN(all, (uint64_t)PTRDIFF_MAX);
}

tlp_status tlpi_adjust_load(tlp_plan *plan, const char *path)
{
    const tlpi_env *env = &plan->model->env;
    tlpi_text beside = { .env = env };
    char *image = NULL;
    size_t n = 0;
    tlp_status st;

    TLP_TRY(path_beside(&beside, path, plan->adjust->file));
    TLP_TRY(tlpi_file_read(env, beside.data, tlpi_adjust_max_bytes(plan),
                           &image, &n));
    TLP_TRY(tlpi_plan_supply_adjust(plan, image, n, beside.data));
done:
    tlpi_text_free(&beside);
    return st;
}

tlp_status tlpi_adjust_write(tlpi_adjust_file *f, const tlp_plan *plan,
                             const char *path)
{
    const tlpi_adjust *a = plan->adjust;
    const tlpi_env *env = &plan->model->env;
    const char *base = path + folder_length(path);
    size_t n = strlen(base), n_suffix = strlen(PLAN_SUFFIX);
    tlpi_text made = { .env = env };
    tlp_status st;

    *f = (tlpi_adjust_file){ .path = { .env = env }, .file = { .fd = -1 } };
    if (n > n_suffix && strcmp(base + n - n_suffix, PLAN_SUFFIX) == 0)
        n -= n_suffix;
    tlpi_text_add(&made, base, n);
    tlpi_text_add(&made, ADJUST_SUFFIX, strlen(ADJUST_SUFFIX));
    if (made.failed)
        TLP_TRY(tlpi_fail_nomem_for("adjustments"));
    if (!a->image)
        TLP_TRY(tlpi_fail(
            TLP_ESTATE, "%s: of the adjustments only the hash is known", path));
    if (tlpi_adjust_check_name(path, made.data) != TLP_OK)
        TLP_TRY(TLP_EINVAL);
    memcpy(f->name, made.data, made.len + 1);
    TLP_TRY(path_beside(&f->path, path, f->name));
    TLP_TRY(tlpi_replace_begin(&f->file, env, f->path.data, a->n_image));
    TLP_TRY(tlpi_replace_write(&f->file, a->image, a->n_image));
    TLP_TRY(tlpi_replace_sync(&f->file));
done:
    tlpi_text_free(&made);
    return st;
}

void tlpi_adjust_file_end(tlpi_adjust_file *f)
{
    tlpi_replace_end(&f->file);
    tlpi_text_free(&f->path);
}
