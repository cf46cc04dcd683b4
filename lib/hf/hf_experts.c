/*
 * hf_experts.c - experts: their keys, and the tensors that GGUF files stack.
 *
 * A folder has a tensor for each expert, or, as newer programs write, one with
 * the gates and ups of all experts.  The file has a stack for each of gate, up
 * and down.  The slices of a stack may come from several files, so that they
 * are copied when all files are open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/mapfile.h"
#include "hf/hf_tensors.h"

#define MAX_EXPERT 65536
#define ALIGNMENT 64 /* of stacks */
#define BIT(experts) (1u << TLPI_HF_EXPERTS_##experts)
#define BOTH (BIT(QWEN) | BIT(MIXTRAL))

/* ==== keys =============================================================== */

static void add_int(tlpi_hf_model *m, const char *suffix, int x)
{
    tlpi_build_u32(&m->keys, tlpi_hf_key_of(m, suffix).name, (uint32_t)x);
}

/* The number of experts has two names. */
static tlp_status read_number(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    static const char *const keys[] = { "num_experts", "num_local_experts" };
    int n[2] = { 0 };
    tlp_status st = TLP_OK;

    for (int i = 0; i < 2; i++)
        TLP_TRY(tlpi_hf_int(at, keys[i], false, 1, MAX_EXPERT, &n[i]));
    if (n[0] && n[1] && n[0] != n[1])
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, keys[1], "but %s is %d",
                               keys[0], n[0]));
    m->expert_key = keys[n[0] ? 0 : 1];
    m->n_expert = n[0] ? n[0] : n[1] ? n[1] : m->arch->n_expert;
done:
    return st;
}

/* Weights of experts that do not sum to 1.  Readers divide them by their sum
 * where the file does not say otherwise. */
static tlp_status read_norm(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    bool norm = false;
    tlp_status st;

    if (m->arch->experts == TLPI_HF_EXPERTS_MIXTRAL)
        return TLP_OK;
    st = tlpi_hf_bool(at, "norm_topk_prob", false, &norm);
    if (st == TLP_OK && !norm)
        tlpi_build_bool(&m->keys, tlpi_hf_key_of(m, "expert_weights_norm").name,
                        false);
    return st;
}

static tlp_status refuse_experts(const tlpi_hf_at *at)
{
    static const char *const keys[] = { "num_experts", "num_local_experts",
                                        "num_experts_per_tok",
                                        "moe_intermediate_size",
                                        "norm_topk_prob" };
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < TLPI_COUNT(keys) && st == TLP_OK; i++)
        st = tlpi_hf_nothing(at, keys[i], 0);
    return st;
}

tlp_status tlpi_hf_experts_read(tlpi_hf_model *m, const tlpi_hf_at *at)
{
    int n_used = m->arch->n_used;
    tlp_status st;

    if (m->arch->experts == TLPI_HF_EXPERTS_NONE)
        return refuse_experts(at);
    TLP_TRY(read_number(m, at));
    TLP_TRY(
        tlpi_hf_int(at, "num_experts_per_tok", false, 1, m->n_expert, &n_used));
    m->n_ff_expert = m->arch->n_ff_expert ? m->arch->n_ff_expert : m->n_ff;
    if (m->arch->n_ff_expert)
        TLP_TRY(tlpi_hf_int(at, "moe_intermediate_size", false, 1, INT32_MAX,
                            &m->n_ff_expert));
    else
        TLP_TRY(tlpi_hf_nothing(at, "moe_intermediate_size", 0));
    add_int(m, "expert_count", m->n_expert);
    add_int(m, "expert_used_count", n_used);
    if (m->arch->n_ff_expert)
        add_int(m, "expert_feed_forward_length", m->n_ff_expert);
    st = read_norm(m, at);
done:
    return st;
}

/* ==== names ============================================================== */

/* "mlp.experts.7.up_proj.weight": head, number, tail. */
typedef struct slice_row {
    const char *head, *tail;
    tlpi_hf_part part;
    uint32_t only; /* bits of tlpi_hf_experts */
} slice_row;

static const slice_row slice_rows[] = {
    { "mlp.experts.", ".gate_proj.weight", TLPI_HF_GATE, BIT(QWEN) },
    { "mlp.experts.", ".up_proj.weight", TLPI_HF_UP, BIT(QWEN) },
    { "mlp.experts.", ".down_proj.weight", TLPI_HF_DOWN, BIT(QWEN) },
    { "block_sparse_moe.experts.", ".w1.weight", TLPI_HF_GATE, BIT(MIXTRAL) },
    { "block_sparse_moe.experts.", ".w3.weight", TLPI_HF_UP, BIT(MIXTRAL) },
    { "block_sparse_moe.experts.", ".w2.weight", TLPI_HF_DOWN, BIT(MIXTRAL) },
};

/* Tensors of all experts. */
static const struct {
    const char *name, *gguf;
    tlpi_hf_change change;
    tlpi_hf_part part;
    uint32_t only;
} whole_rows[] = {
    { "mlp.gate.weight", "ffn_gate_inp.weight", TLPI_HF_WIDEN, TLPI_HF_NO_PART,
      BOTH },
    { "block_sparse_moe.gate.weight", "ffn_gate_inp.weight", TLPI_HF_WIDEN,
      TLPI_HF_NO_PART, BIT(MIXTRAL) },
    { "mlp.experts.gate_up_proj", "", TLPI_HF_KEEP, TLPI_HF_GATE_UP, BOTH },
    { "mlp.experts.down_proj", "ffn_down_exps.weight", TLPI_HF_KEEP,
      TLPI_HF_NO_PART, BOTH },
};

static const char *const stack_names[] = {
    [TLPI_HF_GATE] = "ffn_gate_exps.weight",
    [TLPI_HF_UP] = "ffn_up_exps.weight",
    [TLPI_HF_DOWN] = "ffn_down_exps.weight",
};

static bool applies(const tlpi_hf_model *m, uint32_t only)
{
    return only >> m->arch->experts & 1;
}

/* The expert of "HEAD7TAIL"; -1 for another name. */
static int expert_of(const slice_row *row, const char *rest)
{
    const char *p = rest + strlen(row->head);
    int n = 0;

    if (strncmp(rest, row->head, strlen(row->head)) != 0 || *p < '0' ||
        *p > '9' || (*p == '0' && p[1] != '.'))
        return -1;
    for (; *p >= '0' && *p <= '9' && n < 1000000; p++)
        n = n * 10 + (*p - '0');
    return strcmp(p, row->tail) == 0 ? n : -1;
}

bool tlpi_hf_expert_name(tlpi_hf_tensor *out, const tlpi_hf_model *m, int layer,
                         const char *rest)
{
    out->layer = layer;
    for (size_t i = 0; i < TLPI_COUNT(slice_rows); i++) {
        int expert = applies(m, slice_rows[i].only)
                         ? expert_of(&slice_rows[i], rest)
                         : -1;

        if (expert < 0)
            continue;
        out->part = slice_rows[i].part;
        out->expert = expert;
        return true;
    }
    for (size_t i = 0; i < TLPI_COUNT(whole_rows); i++) {
        if (!applies(m, whole_rows[i].only) ||
            strcmp(whole_rows[i].name, rest) != 0)
            continue;
        out->part = whole_rows[i].part;
        out->change = whole_rows[i].change;
        if (whole_rows[i].gguf[0])
            snprintf(out->name, sizeof out->name, "blk.%d.%s", layer,
                     whole_rows[i].gguf);
        return true;
    }
    return false;
}

/* ==== slices ============================================================= */

/* A matrix of one expert, where it stands in its file. */
typedef struct tlpi_hf_slice {
    int layer, expert;
    tlpi_hf_part part;
    tlpi_dtype type;
    const uint8_t *data;
    const tlpi_map *map; /* of the file */
} slice;

static int64_t rows_of(const tlpi_hf_model *m, tlpi_hf_part part)
{
    return part == TLPI_HF_DOWN      ? m->n_embd
           : part == TLPI_HF_GATE_UP ? 2 * (int64_t)m->n_ff_expert
                                     : m->n_ff_expert;
}

static int64_t cols_of(const tlpi_hf_model *m, tlpi_hf_part part)
{
    return part == TLPI_HF_DOWN ? m->n_ff_expert : m->n_embd;
}

static size_t bytes_of(const tlpi_hf_model *m, const slice *s)
{
    return (size_t)rows_of(m, s->part) *
           tlpi_row_bytes(s->type, cols_of(m, s->part));
}

static tlp_status check_slice(const tlpi_hf_model *m, const tlpi_hf_tensor *to,
                              const tlpi_tensor *t, const char *where)
{
    int64_t rows = rows_of(m, to->part), cols = cols_of(m, to->part);
    int64_t depth = to->part == TLPI_HF_GATE_UP ? m->n_expert : 1;

    if (to->expert >= m->n_expert)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: tensor %.128s: %s is %d, an expert from 0 to %d "
                         "expected",
                         where, t->name, m->expert_key, m->n_expert,
                         m->n_expert - 1);
    if (t->ne[0] == cols && t->ne[1] == rows && t->ne[2] == depth &&
        t->ne[3] == 1)
        return TLP_OK;
    return tlpi_fail(TLP_EFORMAT,
                     "%s: tensor %.128s: shape %lld x %lld x %lld x %lld, "
                     "%lld x %lld x %lld expected",
                     where, t->name, (long long)t->ne[0], (long long)t->ne[1],
                     (long long)t->ne[2], (long long)t->ne[3], (long long)cols,
                     (long long)rows, (long long)depth);
}

static tlp_status push(tlpi_hf_stacks *s, const slice *x)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        slice *more = tlpi_alloc_array(s->env, cap, sizeof *more);

        if (!more)
            return tlpi_fail_nomem_for("the tensors of a model");
        if (s->n > 0)
            memcpy(more, s->slice, s->n * sizeof *more);
        tlpi_free(s->env, s->slice);
        s->slice = more;
        s->cap = cap;
    }
    s->slice[s->n++] = *x;
    return TLP_OK;
}

tlp_status tlpi_hf_stacks_add(tlpi_hf_stacks *s, const tlpi_hf_model *m,
                              const tlpi_hf_tensor *to, const tlpi_tensor *t,
                              const char *where, const struct tlpi_map *map)
{
    slice x = { to->layer, to->expert, to->part, t->type, t->data, map };
    tlp_status st = check_slice(m, to, t, where);

    if (st != TLP_OK || to->part != TLPI_HF_GATE_UP)
        return st == TLP_OK ? push(s, &x) : st;
    for (x.expert = 0; x.expert < m->n_expert && st == TLP_OK; x.expert++)
        for (x.part = TLPI_HF_GATE; x.part <= TLPI_HF_UP && st == TLP_OK;
             x.part++) {
            st = push(s, &x);
            x.data += bytes_of(m, &x);
        }
    return st;
}

void tlpi_hf_stacks_free(tlpi_hf_stacks *s)
{
    tlpi_free(s->env, s->slice);
    s->slice = NULL;
}

/* ==== stacks ============================================================= */

static int by_place(const void *a, const void *b)
{
    const slice *x = a, *y = b;

    if (x->layer != y->layer)
        return x->layer < y->layer ? -1 : 1;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return (x->expert > y->expert) - (x->expert < y->expert);
}

/* The name of an expert's tensor in the folder. */
static void name_slice(const tlpi_hf_model *m, const slice *x, int expert,
                       char *out, size_t cap)
{
    for (size_t i = 0; i < TLPI_COUNT(slice_rows); i++)
        if (slice_rows[i].part == x->part && applies(m, slice_rows[i].only))
            snprintf(out, cap, "model.layers.%d.%s%d%s", x->layer,
                     slice_rows[i].head, expert, slice_rows[i].tail);
}

/* The slices from x on must be those of all experts, of one type. */
static tlp_status check_stack(const tlpi_hf_model *m, const slice *x,
                              const slice *end)
{
    char name[128] = "";

    for (int i = 0; i < m->n_expert; i++) {
        bool is_part =
            x + i < end && x[i].layer == x->layer && x[i].part == x->part;

        name_slice(m, x, i, name, sizeof name);
        if (!is_part || x[i].expert > i)
            return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: missing, %s is %d",
                             m->folder, name, m->expert_key, m->n_expert);
        if (x[i].type != x->type)
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: tensor %s: type %s, %s as of expert 0 "
                             "expected",
                             m->folder, name, tlpi_dtype_name(x[i].type),
                             tlpi_dtype_name(x->type));
        if (x[i].expert < i ||
            (x + i + 1 < end && by_place(x + i, x + i + 1) == 0))
            return tlpi_fail(TLP_EFORMAT, "%s: tensor %s: there twice",
                             m->folder, name);
    }
    return TLP_OK;
}

/* Bytes from a stack to the next. */
static size_t room_of(const tlpi_hf_model *m, const slice *x)
{
    size_t n = bytes_of(m, x) * (size_t)m->n_expert;

    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static tlp_status measure(tlpi_hf_stacks *s, const tlpi_hf_model *m,
                          size_t *n_bytes)
{
    const slice *end = s->slice + s->n;
    tlp_status st = TLP_OK;

    qsort(s->slice, s->n, sizeof *s->slice, by_place);
    for (size_t i = 0; i < s->n; i += (size_t)m->n_expert)
        TLP_TRY(check_stack(m, s->slice + i, end));
    for (size_t i = 0; i < s->n; i += (size_t)m->n_expert)
        if (!tlpi_add(*n_bytes, room_of(m, &s->slice[i]), n_bytes))
            return tlpi_fail_nomem_for("the experts of a model");
done:
    return st;
}

/* Copy the slices of a stack to `at`. */
static tlpi_tensor copy_stack(const tlpi_hf_model *m, const slice *x,
                              uint8_t *at, char *name, size_t cap)
{
    size_t n = bytes_of(m, x);
    tlpi_tensor t = { .name = name,
                      .type = x->type,
                      .n_dim = 3,
                      .ne = { cols_of(m, x->part), rows_of(m, x->part),
                              m->n_expert, 1 },
                      .data = at,
                      .n_bytes = n * (size_t)m->n_expert };

    snprintf(name, cap, "blk.%d.%s", x->layer, stack_names[x->part]);
    for (int i = 0; i < m->n_expert; i++) {
        memcpy(at + (size_t)i * n, x[i].data, n);
        tlpi_map_drop(x[i].map, x[i].data, n);
    }
    return t;
}

tlp_status tlpi_hf_stacks_make(tlpi_gguf **out, tlpi_hf_stacks *s,
                               const tlpi_hf_model *m)
{
    tlpi_gguf_build build = { .env = s->env, .kv.env = s->env };
    uint8_t *made = NULL;
    size_t n_bytes = 0;
    tlp_status st;

    *out = NULL;
    if (s->n == 0)
        return TLP_OK;
    TLP_TRY(measure(s, m, &n_bytes));
    TLP_TRY(tlpi_build_reserve(&build, s->n / (size_t)m->n_expert));
    made = tlpi_alloc(s->env, n_bytes);
    if (!made)
        TLP_TRY(tlpi_fail_nomem_for("the experts of a model"));
    uint8_t *at = made;
    for (size_t i = 0; i < s->n; i += (size_t)m->n_expert) {
        char name[TLPI_GGUF_MAX_NAME + 1];
        tlpi_tensor t = copy_stack(m, &s->slice[i], at, name, sizeof name);

        at += room_of(m, &s->slice[i]);
        tlpi_build_tensor(&build, &t, (tlpi_gguf_source){ .at = 0 });
    }
    TLP_TRY(tlpi_build_finish(out, &build, m->folder, NULL, made));
    made = NULL;
done:
    tlpi_free(s->env, made);
    tlpi_build_end(&build);
    return st;
}
