/*
 * hf_longrope.c - positions of Phi-3: a part of a head rotates, and two tables
 * divide the angles, one of two by the length of a session.
 *
 * The file has no type of scaling: its reader knows longrope by the tables.
 */
#include <math.h>
#include <string.h>

#include "hf/hf_model.h"

static const char original_key[] = "original_max_position_embeddings";

tlp_status tlpi_hf_rope_tables(tlpi_hf_model *m, int n)
{
    m->rope = tlpi_alloc_array(m->env, (size_t)n * (size_t)(m->n_rot / 2),
                               sizeof *m->rope);
    if (!m->rope)
        return tlpi_fail_nomem_for("rotation tables");
    m->n_rope = n;
    return TLP_OK;
}

/* ==== how much of a head rotates ========================================= */

/* The factor, at the root of config.json or in the object of scaling. */
static tlp_status read_part(const tlpi_hf_model *m, const tlpi_hf_at *root,
                            const tlpi_hf_at *rope, double *part)
{
    const char *key = "partial_rotary_factor";
    double outer = 0;
    tlp_status st;

    *part = 0;
    TLP_TRY(tlpi_hf_num(root, key, false, &outer));
    if (rope->object)
        TLP_TRY(tlpi_hf_num(rope, key, false, part));
    if (outer != 0 && *part != 0 && outer != *part)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, rope, key, "but %s is %g outside",
                               key, outer));
    const tlpi_hf_at *at = *part != 0 ? rope : root;
    if (*part == 0)
        *part = outer != 0 ? outer : m->arch->partial;
    if (m->arch->partial == 0)
        return tlpi_hf_nothing(at, key, 1);
    double n = floor(m->head_dim * *part);
    if (!(*part > 0 && *part <= 1) || n < 2 || fmod(n, 2) != 0)
        st = tlpi_hf_refuse(TLP_EFORMAT, at, key,
                            "a part of %d numbers that is an even number of "
                            "them expected",
                            m->head_dim);
done:
    return st;
}

tlp_status tlpi_hf_partial_read(tlpi_hf_model *m, const tlpi_hf_at *root,
                                const tlpi_hf_at *rope)
{
    double part = 0;
    tlp_status st = read_part(m, root, rope, &part);

    if (st != TLP_OK)
        return st;
    m->n_rot = m->arch->partial != 0 ? (int)(m->head_dim * part) : m->head_dim;
    /* Converters write the number for these and the family of Llama. */
    if (m->arch->partial != 0 || m->arch->permute)
        tlpi_build_u32(&m->keys, tlpi_hf_key_of(m, "rope.dimension_count").name,
                       (uint32_t)m->n_rot);
    return TLP_OK;
}

/* ==== the tables ========================================================= */

static tlp_status read_table(const tlpi_hf_model *m, const tlpi_hf_at *at,
                             const char *key, float *out)
{
    const size_t n = (size_t)m->n_rot / 2;
    json_t *list;
    tlp_status st = tlpi_hf_list(at, key, &list);

    if (st != TLP_OK)
        return st;
    if (json_array_size(list) != n)
        return tlpi_hf_refuse(TLP_EFORMAT, at, key, "an array of %zu expected",
                              n);
    for (size_t i = 0; i < n; i++) {
        json_t *x = json_array_get(list, i);

        out[i] = (float)json_number_value(x);
        if (!json_is_number(x) || !isfinite(out[i]) || !(out[i] > 0))
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key %s%s: element %zu is %g, a finite number "
                             "above 0 expected",
                             at->file->path.data, at->prefix, key, i,
                             json_number_value(x));
    }
    return TLP_OK;
}

/* What is rotated is multiplied by a number, which follows from the factor by
 * which the context has grown. */
static tlp_status read_gain(tlpi_hf_model *m, const tlpi_hf_at *at, int n_ctx)
{
    double growth = (double)m->n_ctx / n_ctx, factor = growth, gain = 1;
    tlp_status st;

    TLP_TRY(tlpi_hf_num(at, "factor", false, &factor));
    if (!(fabs(factor - growth) <= 1e-6 * growth))
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, at, "factor",
                               "%g expected, the growth of the context",
                               growth));
    if (growth > 1)
        gain = sqrt(1 + log(growth) / log(n_ctx));
    TLP_TRY(tlpi_hf_num(at, "attention_factor", false, &gain));
    if (!(gain > 0))
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "attention_factor",
                               "a number above 0 expected"));
    tlpi_build_f32(&m->keys, tlpi_hf_key_of(m, "rope.scaling.attn_factor").name,
                   (float)gain);
done:
    return st;
}

/* The context before it grew: at the root, which transformers prefers, or in
 * the object of scaling. */
static tlp_status read_original(const tlpi_hf_at *root, const tlpi_hf_at *rope,
                                int *n_ctx)
{
    int inner = 0;
    tlp_status st;

    *n_ctx = 0;
    TLP_TRY(tlpi_hf_int(root, original_key, false, 2, INT32_MAX, n_ctx));
    if (rope->object)
        TLP_TRY(tlpi_hf_int(rope, original_key, false, 2, INT32_MAX, &inner));
    if (*n_ctx && inner && *n_ctx != inner)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, rope, original_key,
                               "but %s is %d outside", original_key, *n_ctx));
    if (*n_ctx == 0)
        *n_ctx = inner;
    if (*n_ctx == 0) { /* the default of transformers */
        *n_ctx = 4096;
        tlpi_hf_warn(root, original_key, "%d is used", *n_ctx);
    }
done:
    return st;
}

tlp_status tlpi_hf_longrope_read(tlpi_hf_model *m, const tlpi_hf_at *root,
                                 const tlpi_hf_at *rope, const char *type)
{
    const bool scales = type && strcmp(type, "default") != 0;
    int n_ctx = 0;
    tlp_status st;

    if (scales && strcmp(type, "longrope") != 0 && strcmp(type, "su") != 0)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key %srope_type: \"%.32s\" is not supported",
                         rope->file->path.data, rope->prefix, type);
    TLP_TRY(read_original(root, rope, &n_ctx));
    tlpi_build_u32(
        &m->keys,
        tlpi_hf_key_of(m, "rope.scaling.original_context_length").name,
        (uint32_t)n_ctx);
    if (!scales) {
        TLP_TRY(tlpi_hf_nothing(rope, "short_factor", 0));
        return tlpi_hf_nothing(rope, "long_factor", 0);
    }
    TLP_TRY(tlpi_hf_rope_tables(m, 2));
    TLP_TRY(read_table(m, rope, "long_factor", m->rope));
    TLP_TRY(read_table(m, rope, "short_factor", m->rope + m->n_rot / 2));
    st = read_gain(m, rope, n_ctx);
done:
    return st;
}
