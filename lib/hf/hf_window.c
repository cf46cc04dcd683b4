/*
 * hf_window.c - which layers see the latest positions alone.
 *
 * layer_types names each layer's attention.  Older files lack it, and the
 * architecture tells the layers.
 */
#include <string.h>

#include "hf/hf_model.h"

static tlp_status read_layer_types(const tlpi_hf_model *m, const tlpi_hf_at *at,
                                   json_t *list, uint8_t *has)
{
    if (json_array_size(list) != (size_t)m->n_layer)
        return tlpi_hf_refuse(TLP_EFORMAT, at, "layer_types",
                              "an array of %d expected", m->n_layer);
    for (int l = 0; l < m->n_layer; l++) {
        const char *type = json_string_value(json_array_get(list, (size_t)l));

        if (!type)
            return tlpi_hf_refuse(TLP_EFORMAT, at, "layer_types",
                                  "texts expected");
        has[l] = strcmp(type, "sliding_attention") == 0;
        if (!has[l] && strcmp(type, "full_attention") != 0)
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: key layer_types: element %d: \"%.32s\", "
                             "not supported",
                             at->file->path.data, l, type);
    }
    return TLP_OK;
}

/* The step of layers without a window, under its names in time. */
static tlp_status read_step(const tlpi_hf_model *m, const tlpi_hf_at *at,
                            int *step)
{
    static const char *const keys[] = { "sliding_window_pattern",
                                        "_sliding_window_pattern" };
    tlp_status st = TLP_OK;

    *step = m->arch->window_step;
    for (size_t i = 0; i < TLPI_COUNT(keys) && st == TLP_OK; i++)
        st = tlpi_hf_int(at, keys[i], false, 1, INT32_MAX, step);
    return st;
}

/* The layers where layer_types is missing. */
static tlp_status read_by_arch(const tlpi_hf_model *m, const tlpi_hf_at *at,
                               int n_window, uint8_t *has)
{
    bool used = false;
    int step = 0;
    tlp_status st = TLP_OK;

    switch (m->arch->windows) {
    case TLPI_HF_WINDOWS_NONE:
        break;
    case TLPI_HF_WINDOWS_ALL:
        memset(has, n_window > 0, (size_t)m->n_layer);
        break;
    case TLPI_HF_WINDOWS_SWITCH:
        TLP_TRY(tlpi_hf_bool(at, "use_sliding_window", false, &used));
        if (used)
            st = tlpi_hf_refuse(TLP_ENOTSUP, at, "use_sliding_window",
                                "layer_types expected with it");
        break;
    case TLPI_HF_WINDOWS_STEP:
        TLP_TRY(read_step(m, at, &step));
        for (int l = 0; l < m->n_layer; l++)
            has[l] =
                (l + 1) % step != 0 && !(m->arch->window_rope && n_window == 0);
        break;
    }
done:
    return st;
}

/* The pattern is written where the architecture of the file does not imply it.
 */
static bool is_usual(const tlpi_hf_model *m, const uint8_t *has)
{
    bool by_step = m->arch->windows == TLPI_HF_WINDOWS_STEP;

    if (m->arch->window_list)
        return false;
    for (int l = 0; l < m->n_layer; l++)
        if (has[l] != (!by_step || (l + 1) % m->arch->window_step != 0))
            return false;
    return true;
}

/* sliding_window; 0 if it is null. */
static tlp_status read_size(const tlpi_hf_model *m, const tlpi_hf_at *at,
                            int *n_window)
{
    const char *key = "sliding_window";

    *n_window = json_object_get(at->object, key) ? 0 : m->arch->n_window;
    return tlpi_hf_int(at, key, false, m->arch->window_rope, INT32_MAX,
                       n_window);
}

tlp_status tlpi_hf_window_read(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    const size_t n = (size_t)m->n_layer;
    uint8_t *has = tlpi_calloc(m->env, n, 1);
    int n_window = 0;
    json_t *list;
    tlp_status st = TLP_OK;

    if (!has)
        return tlpi_fail_nomem_for("the metadata of a model file");
    TLP_TRY(read_size(m, at, &n_window));
    TLP_TRY(tlpi_hf_list(at, "layer_types", &list));
    if (list)
        TLP_TRY(read_layer_types(m, at, list, has));
    else
        TLP_TRY(read_by_arch(m, at, n_window, has));
    bool some = memchr(has, 1, n) != NULL;
    if (!some && m->arch->window_key) /* converters tell Phi-4 by this 0 */
        n_window = 0;
    if (!some && !m->arch->window_key &&
        !(m->arch->window_rope && n_window > 0))
        goto done;
    if (some && n_window == 0)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "sliding_window",
                               "a size expected: some layers have windows"));
    tlpi_build_u32(&m->keys, tlpi_hf_key_of(m, "attention.sliding_window").name,
                   (uint32_t)n_window);
    if (n_window > 0 && !is_usual(m, has))
        tlpi_build_array(
            &m->keys,
            tlpi_hf_key_of(m, "attention.sliding_window_pattern").name,
            TLPI_GGUF_BOOL, n, has, n);
done:
    tlpi_free(m->env, has);
    return st;
}
