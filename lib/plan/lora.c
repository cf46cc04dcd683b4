/*
 * lora.c - check the tensors of LoRA and put them into their places; join the
 * LoRA of several sources.
 */
#include "plan/lora.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/safetensors.h"
#include "plan/plan.h"

/* ==== names ============================================================== */

/* Length of a matrix's name without ".weight"; 0 for a tensor that no LoRA
 * belongs to: a vector, a router. */
static size_t stem_length(int id)
{
    const tlpi_tensor_row *row = &tlpi_layer_table[id];

    return tlpi_row_is_matrix(row) && !row->float_alone
               ? strlen(row->name) - strlen(".weight")
               : 0;
}

bool tlpi_lora_read_name(const char *text, tlpi_lora_name *out)
{
    static const char prefix[] = "blk.";
    const char *digits = text + strlen(prefix);
    char *end;

    if (strncmp(text, prefix, strlen(prefix)) != 0 || *digits < '0' ||
        *digits > '9')
        return false;
    long layer = strtol(digits, &end, 10);
    if (*end++ != '.' || layer > INT32_MAX ||
        (*digits == '0' && end > digits + 2))
        return false;
    for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
        size_t n = stem_length(i);

        if (n == 0 || strncmp(end, tlpi_layer_table[i].name, n) != 0)
            continue;
        if (strcmp(end + n, ".lora_a") != 0 && strcmp(end + n, ".lora_b") != 0)
            continue;
        *out = (tlpi_lora_name){ (int)layer, (tlpi_layer_id)i,
                                 end[n + strlen(".lora_")] == 'b' };
        return true;
    }
    return false;
}

void tlpi_lora_write_name(int layer, tlpi_layer_id id, bool is_b,
                          char out[TLPI_LORA_NAME])
{
    snprintf(out, TLPI_LORA_NAME, "blk.%d.%.*s.lora_%c", layer,
             (int)stem_length((int)id), tlpi_layer_table[id].name,
             is_b ? 'b' : 'a');
}

/* ==== tensors ============================================================ */

static int64_t rows_of(const tlp_model *m, tlpi_layer_id id)
{
    return tlpi_extent_size(tlpi_layer_table[id].rows, &m->hp);
}

static int64_t cols_of(const tlp_model *m, tlpi_layer_id id)
{
    return tlpi_extent_size(tlpi_layer_table[id].cols, &m->hp);
}

/* Each matrix has n_embd rows or columns, so no useful rank is above n_embd. */
static tlp_status check_shape(const tlp_model *m, const tlpi_lora_name *name,
                              const tlpi_tensor *t, const char *where)
{
    int64_t rows = rows_of(m, name->id), cols = cols_of(m, name->id);
    int64_t rank = name->is_b ? t->ne[0] : t->ne[1];
    int64_t have = name->is_b ? t->ne[1] : t->ne[0];
    int64_t want = name->is_b ? rows : cols;

    if (t->n_dim != 2 || have != want)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: %d dims, [%lld][%lld]; %s%lld%s "
                         "expected",
                         where, t->name, t->n_dim, (long long)t->ne[1],
                         (long long)t->ne[0], name->is_b ? "[" : "[rank][",
                         (long long)want, name->is_b ? "][rank]" : "]");
    if (rank > m->hp.n_embd)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: rank %lld, at most %d expected", where,
                         t->name, (long long)rank, m->hp.n_embd);
    if (t->type != TLPI_F32 && t->type != TLPI_F16)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: tensor %s: type %s, F32 or F16 expected", where,
                         t->name, tlpi_dtype_name(t->type));
    return tlpi_safetensors_check_finite(t, where);
}

tlp_status tlpi_lora_place(tlpi_layer_lora *lora, const tlp_model *m,
                           const tlpi_lora_name *name, const tlpi_tensor *t,
                           const char *where)
{
    tlp_status st;

    if (name->layer >= m->hp.n_layer)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %s: the model has %d layers (0-%d)", where,
                         t->name, m->hp.n_layer, m->hp.n_layer - 1);
    if (tlpi_row_depth(&tlpi_layer_table[name->id], &m->hp) > 1)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: tensor %s: LoRA of experts is not supported",
                         where, t->name);
    st = check_shape(m, name, t, where);
    if (st != TLP_OK)
        return st;
    tlpi_lowrank *pair = &lora[name->layer].pair[name->id];

    *(name->is_b ? &pair->up : &pair->down) = *t;
    return TLP_OK;
}

/* A missing tensor has no columns. */
tlp_status tlpi_lora_check_pairs(tlpi_layer_lora *lora, const tlp_model *m,
                                 const char *where)
{
    for (int l = 0; l < m->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
            tlpi_lowrank *pair = &lora[l].pair[i];

            if (pair->down.ne[1] != pair->up.ne[0])
                return tlpi_fail(
                    TLP_EFORMAT,
                    "%s: blk.%d.%.*s: lora_a has rank %lld, "
                    "lora_b has %lld",
                    where, l, (int)stem_length(i), tlpi_layer_table[i].name,
                    (long long)pair->down.ne[1], (long long)pair->up.ne[0]);
            pair->rank = (int)pair->up.ne[0];
        }
    return TLP_OK;
}

tlp_status tlpi_lora_check_mode(int mode)
{
    if (mode != TLP_MODE_LP_CODE && mode != TLP_MODE_MERGE)
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP,
                     "a stage in mode %s cannot run LoRA: serial, lp, par, "
                     "asym or nosync expected",
                     tlpi_mode_name(mode));
}

uint64_t tlpi_lora_max_bytes(const tlp_model *m)
{
    uint64_t sum = 0, rank = (uint64_t)m->hp.n_embd;

    for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++) {
        tlpi_layer_id id = (tlpi_layer_id)i;

        if (stem_length(i))
            sum += rank * (uint64_t)(rows_of(m, id) + cols_of(m, id));
    }
    return sum * sizeof(float) * (uint64_t)m->hp.n_layer;
}

int tlpi_lora_count(const tlpi_layer_lora *lora, const tlp_model *m)
{
    int n = 0;

    for (int l = 0; lora && l < m->hp.n_layer; l++)
        for (int i = 0; i < TLPI_N_LAYER_TENSOR; i++)
            n += lora[l].pair[i].rank > 0;
    return n;
}

/* ==== several sources ==================================================== */

int tlpi_lora_rank(const tlpi_lora_source *source, int n, int layer,
                   tlpi_layer_id id)
{
    int rank = 0;

    for (int i = 0; i < n; i++)
        rank += source[i].lora[layer].pair[id].rank;
    return rank;
}

static tlp_status make_tensor(const tlpi_env *env, tlpi_dtype type,
                              int64_t rows, int64_t cols, bool dry,
                              tlpi_tensor *out)
{
    *out =
        (tlpi_tensor){ .name = "LoRA",
                       .type = type,
                       .n_dim = 2,
                       .ne = { cols, rows, 1, 1 },
                       .n_bytes = (size_t)rows * tlpi_row_bytes(type, cols) };
    if (dry)
        return TLP_OK;
    out->data = tlpi_alloc(env, out->n_bytes);
    return out->data ? TLP_OK : tlpi_fail_nomem_for("LoRA");
}

/* Rows or columns from `at` on get the numbers of one source; row: room for a
 * row of floats. */
static void put_rows(const tlpi_tensor *from, tlpi_tensor *to, int64_t row0,
                     int64_t col0, float scale, float *row)
{
    size_t size = tlpi_row_bytes(to->type, 1);
    size_t bytes = tlpi_row_bytes(to->type, to->ne[0]);
    char *data = (char *)(uintptr_t)to->data;

    for (int64_t i = 0; i < from->ne[1]; i++) {
        tlpi_read_row(from, i, row, from->ne[0]);
        for (int64_t j = 0; j < from->ne[0]; j++)
            row[j] *= scale;
        tlpi_quantize(to->type, row,
                      data + (size_t)(row0 + i) * bytes + (size_t)col0 * size,
                      from->ne[0]);
    }
}

static tlp_status fill(const tlpi_env *env, const tlpi_lora_source *source,
                       int n, int layer, tlpi_layer_id id, tlpi_lowrank *out)
{
    int64_t wide = TLPI_MAX(out->down.ne[0], out->up.ne[0]), at = 0;
    float *row = tlpi_alloc_array(env, (size_t)wide, sizeof *row);

    if (!row)
        return tlpi_fail_nomem_for("LoRA");
    for (int i = 0; i < n; i++) {
        const tlpi_lowrank *pair = &source[i].lora[layer].pair[id];

        if (pair->rank == 0)
            continue;
        put_rows(&pair->down, &out->down, at, 0, 1, row);
        put_rows(&pair->up, &out->up, 0, at, source[i].scale, row);
        at += pair->rank;
    }
    tlpi_free(env, row);
    return TLP_OK;
}

/* F16 where that loses nothing. */
tlp_status tlpi_lora_join(const tlpi_env *env, const tlpi_lora_source *source,
                          int n, int layer, tlpi_layer_id id, bool dry,
                          tlpi_lowrank *out)
{
    tlpi_dtype down = TLPI_F16, up = TLPI_F16;
    int64_t rows = 0, cols = 0;
    tlp_status st = TLP_OK;

    *out = (tlpi_lowrank){ .rank = tlpi_lora_rank(source, n, layer, id) };
    if (out->rank == 0)
        return TLP_OK;
    for (int i = 0; i < n; i++) {
        const tlpi_lowrank *pair = &source[i].lora[layer].pair[id];

        if (pair->rank == 0)
            continue;
        rows = pair->up.ne[1];
        cols = pair->down.ne[0];
        down = pair->down.type == TLPI_F16 ? down : TLPI_F32;
        up = pair->up.type == TLPI_F16 && source[i].scale == 1 ? up : TLPI_F32;
    }
    TLP_TRY(make_tensor(env, down, out->rank, cols, dry, &out->down));
    TLP_TRY(make_tensor(env, up, rows, out->rank, dry, &out->up));
    if (!dry)
        TLP_TRY(fill(env, source, n, layer, id, out));
done:
    if (st != TLP_OK) {
        tlpi_free(env, (void *)(uintptr_t)out->down.data);
        tlpi_free(env, (void *)(uintptr_t)out->up.data);
        *out = (tlpi_lowrank){ 0 };
    }
    return st;
}
