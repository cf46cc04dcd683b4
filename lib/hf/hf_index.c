/*
 * hf_index.c - which files of tensors a folder has: model.safetensors, or those
 * that model.safetensors.index.json lists for each tensor.
 */
#include <stdlib.h>
#include <string.h>

#include "hf/hf_tensors.h"

#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"
#define MAX_BYTES ((size_t)32 << 20)

/* The name of a file in the folder: it has no slash, and is no hidden file or
 * "..". */
static bool is_plain(const char *name)
{
    return name && name[0] && name[0] != '.' && !strchr(name, '/');
}

/* Count the tensors of each file. */
static tlp_status count(tlpi_hf_index *x)
{
    const char *tensor;
    json_t *value;

    json_object_foreach(x->map, tensor, value)
    {
        const char *name = json_string_value(value);

        if (!is_plain(name))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key weight_map.%.128s: %s%.64s%s, the name "
                             "of a file in the folder expected",
                             x->file.path.data, tensor, name ? "\"" : "",
                             name ? name : "no text", name ? "\"" : "");
        json_int_t n = json_integer_value(json_object_get(x->count, name));
        if (json_object_set_new(x->count, name, json_integer(n + 1)) != 0)
            return tlpi_fail_nomem_for("the files of a model");
    }
    return TLP_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static tlp_status sort_names(tlpi_hf_index *x)
{
    const char *name;
    json_t *value;

    x->name =
        tlpi_alloc_array(x->env, json_object_size(x->count), sizeof *x->name);
    if (!x->name)
        return tlpi_fail_nomem_for("the files of a model");
    json_object_foreach(x->count, name, value)
    {
        (void)value;
        x->name[x->n_name++] = name;
    }
    qsort(x->name, x->n_name, sizeof *x->name, by_text);
    return TLP_OK;
}

static tlp_status read_map(tlpi_hf_index *x)
{
    tlpi_hf_at at = tlpi_hf_root(&x->file), map;
    tlp_status st = tlpi_hf_enter(&map, &at, "weight_map");

    if (st != TLP_OK)
        return st;
    x->map = map.object;
    if (json_object_size(x->map) == 0)
        return tlpi_hf_refuse(TLP_EFORMAT, &at, "weight_map",
                              "the file of each tensor expected");
    return count(x);
}

static tlp_status take_single(tlpi_hf_index *x, const tlpi_hf_model *m)
{
    tlpi_text index;
    tlp_status st = tlpi_hf_path(&index, m->env, m->folder, INDEX);

    if (st == TLP_OK && tlpi_hf_is_there(index.data))
        tlpi_log(m->env, TLP_LOG_WARN, "%s: left out for " SINGLE, index.data);
    if (st == TLP_OK &&
        json_object_set_new(x->count, SINGLE, json_integer(0)) != 0)
        st = tlpi_fail_nomem_for("the files of a model");
    tlpi_text_free(&index);
    return st;
}

/* The only file, which transformers too takes where an index is beside it; or
 * the index. */
static tlp_status find_files(tlpi_hf_index *x, const tlpi_hf_model *m)
{
    tlpi_text single;
    tlp_status st;

    TLP_TRY(tlpi_hf_path(&single, m->env, m->folder, SINGLE));
    if (tlpi_hf_is_there(single.data)) {
        st = take_single(x, m);
        goto done;
    }
    TLP_TRY(
        tlpi_hf_open(&x->file, m->env, m->folder, INDEX, MAX_BYTES, 0, false));
    if (!x->file.root)
        TLP_TRY(tlpi_fail(TLP_EIO,
                          "%s: neither " SINGLE " nor " INDEX " is there",
                          m->folder));
    st = read_map(x);
done:
    tlpi_text_free(&single);
    return st;
}

tlp_status tlpi_hf_index_read(tlpi_hf_index *x, const tlpi_hf_model *m)
{
    tlp_status st;

    *x = (tlpi_hf_index){ .env = m->env, .count = json_object() };
    if (!x->count)
        return tlpi_fail_nomem_for("the files of a model");
    st = find_files(x, m);
    return st == TLP_OK ? sort_names(x) : st;
}

void tlpi_hf_index_free(tlpi_hf_index *x)
{
    tlpi_free(x->env, x->name);
    json_decref(x->count);
    tlpi_hf_close(&x->file);
}
