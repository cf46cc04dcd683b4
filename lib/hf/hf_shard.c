/*
 * hf_shard.c - one file of tensors as a GGUF file without keys.
 *
 * Matrices stay where they are in the mapping.  Memory of this process holds
 * the tensors that change: vectors, which become F32, and the matrices whose
 * rows change places.
 */
#include <string.h>

#include "file/mapfile.h"
#include "file/safetensors.h"
#include "hf/hf_tensors.h"

#define ALIGNMENT 64 /* of tensors that change */

typedef struct shard {
    const tlpi_hf_model *m;
    tlpi_text path;
    tlpi_map *map;
    tlpi_safetensors *file;
    tlpi_hf_tensor *to; /* [file->n_tensor] */
    tlpi_gguf_build build;
    uint8_t *made;              /* tensors that change */
    size_t n_made;              /* bytes */
    const tlpi_tensor *unsound; /* has a number that is not finite, or NULL */
} shard;

/* ==== which tensors ====================================================== */

/* With tied embeddings the output matrix may be there again, as the matrix of
 * the embeddings: *again. */
static tlp_status check_tied(const shard *s, const tlpi_tensor *head,
                             bool *again)
{
    *again = true;
    for (size_t i = 0; i < s->file->n_tensor; i++) {
        const tlpi_tensor *t = &s->file->tensor[i];

        if (strcmp(s->to[i].name, "token_embd.weight") == 0 &&
            t->type == head->type && t->n_bytes == head->n_bytes &&
            memcmp(t->data, head->data, t->n_bytes) == 0)
            return TLP_OK;
    }
    *again = false;
    if (s->m->tie_open)
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: tensor %s: tie_word_embeddings is true, but the "
                     "file has no equal model.embed_tokens.weight",
                     s->path.data, head->name);
}

/* The index must place each tensor of the file in this file. */
static tlp_status check_place(const shard *s, const tlpi_hf_index *x,
                              const char *name, const char *tensor)
{
    const char *place = json_string_value(json_object_get(x->map, tensor));

    if (!x->map || (place && strcmp(place, name) == 0))
        return TLP_OK;
    return tlpi_fail(TLP_EFORMAT, "%s: tensor %.128s: %s%.64s", s->path.data,
                     tensor, place ? "the index says " : "not in the index",
                     place ? place : "");
}

/* Bytes are parts of packed matrices alone. */
static tlp_status check_bytes(const shard *s, size_t i)
{
    const tlpi_tensor *t = &s->file->tensor[i];

    bool eight = t->type == TLPI_BYTES || (t->type == TLPI_F8 && !s->m->fp8);

    if (!eight || !s->to[i].name[0])
        return TLP_OK;
    return tlpi_fail(
        TLP_ENOTSUP, "%s: tensor %.128s: dtype %s, F32, F16 or BF16 expected",
        s->path.data, t->name,
        t->type == TLPI_F8 ? "F8_E4M3 without quantization_config" : "U8");
}

static tlp_status check_bias(const shard *s, const tlpi_tensor *t)
{
    if (s->m->n_bias == 4 ||
        (s->m->n_bias == 3 && !strstr(t->name, ".o_proj.")))
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: tensor %.128s: %s models of this config.json have "
                     "no such bias",
                     s->path.data, t->name, s->m->arch->architecture);
}

static tlp_status choose(shard *s, const tlpi_hf_index *index, const char *name,
                         int *n_bias, tlpi_hf_stacks *stacks)
{
    tlp_status st = TLP_OK;

    s->to = tlpi_calloc(s->m->env, s->file->n_tensor, sizeof *s->to);
    if (!s->to)
        return tlpi_fail_nomem_for("the tensors of a model");
    for (size_t i = 0; i < s->file->n_tensor; i++) {
        const tlpi_tensor *t = &s->file->tensor[i];

        TLP_TRY(check_place(s, index, name, t->name));
        TLP_TRY(tlpi_hf_name(&s->to[i], s->m, t->name, s->path.data));
        TLP_TRY(check_bytes(s, i));
        if (s->to[i].is_bias)
            TLP_TRY(check_bias(s, t));
        *n_bias += s->to[i].is_bias;
        if (s->to[i].part != TLPI_HF_NO_PART)
            TLP_TRY(tlpi_hf_stacks_add(stacks, s->m, &s->to[i], t, s->path.data,
                                       s->map));
    }
    TLP_TRY(tlpi_hf_fp8_pair(s->m, s->file, s->to, s->path.data));
    for (size_t i = 0; i < s->file->n_tensor; i++) {
        if (!s->m->tied || strcmp(s->to[i].name, "output.weight") != 0)
            continue;
        bool again = false;
        TLP_TRY(check_tied(s, &s->file->tensor[i], &again));
        if (again)
            s->to[i].name[0] = '\0';
    }
    if (index->map) {
        json_int_t want =
            json_integer_value(json_object_get(index->count, name));

        if ((size_t)want != s->file->n_tensor)
            st = tlpi_fail(TLP_EFORMAT, "%s: %zu tensors, the index says %lld",
                           s->path.data, s->file->n_tensor, (long long)want);
    }
done:
    return st;
}

/* ==== their data ========================================================= */

static int n_head_of(const shard *s, tlpi_hf_change change)
{
    return change == TLPI_HF_PERMUTE_Q ? s->m->n_head : s->m->n_head_kv;
}

static bool is_permuted(tlpi_hf_change change)
{
    return change == TLPI_HF_PERMUTE_Q || change == TLPI_HF_PERMUTE_K;
}

/* Is the tensor F32 in the GGUF file? */
static bool is_widened(const shard *s, size_t i)
{
    return s->file->tensor[i].n_dim == 1 || s->to[i].change == TLPI_HF_WIDEN;
}

static bool is_made(const shard *s, size_t i)
{
    const tlpi_tensor *t = &s->file->tensor[i];

    return t->type == TLPI_F8 || is_permuted(s->to[i].change) ||
           (is_widened(s, i) && t->type != TLPI_F32) ||
           s->to[i].change == TLPI_HF_ADD_ONE;
}

static tlp_status refuse_shape(const shard *s, const tlpi_tensor *t,
                               int64_t rows, const char *why)
{
    return tlpi_fail(TLP_EFORMAT,
                     "%s: tensor %.128s: %d dimensions, %lld rows; %lld rows "
                     "expected%s",
                     s->path.data, t->name, t->n_dim,
                     (long long)(t->n_dim == 1 ? t->ne[0] : t->ne[1]),
                     (long long)rows, why);
}

/* The shapes that the changes and the vocabulary rely on.  The model checks all
 * shapes later. */
static tlp_status check_shape(const shard *s, size_t i)
{
    const tlpi_tensor *t = &s->file->tensor[i];
    int64_t rows = t->n_dim == 1 ? t->ne[0] : t->ne[1];
    int64_t heads = (int64_t)n_head_of(s, s->to[i].change) * s->m->head_dim;

    if (is_permuted(s->to[i].change) && (t->n_dim > 2 || rows != heads))
        return refuse_shape(s, t, heads, ", a head's after each other");
    if (s->to[i].change == TLPI_HF_ADD_ONE && t->n_dim != 1)
        return refuse_shape(s, t, 1, " of a norm");
    if (strcmp(s->to[i].name, "token_embd.weight") == 0 &&
        rows != s->m->n_vocab)
        return refuse_shape(s, t, s->m->n_vocab, ", as vocab_size says");
    return TLP_OK;
}

/* A tensor as the GGUF file has it, without data. */
static tlpi_tensor shape_of(const shard *s, size_t i)
{
    tlpi_tensor t = s->file->tensor[i];

    t.name = s->to[i].name;
    if (t.type == TLPI_F8) {
        t.type = TLPI_BF16;
        t.n_bytes *= sizeof(uint16_t);
    } else if (is_widened(s, i)) {
        t.type = TLPI_F32;
        t.n_bytes = (size_t)tlpi_hf_count(&t) * sizeof(float);
    }
    return t;
}

/* Bytes in s->made. */
static size_t room_of(const shard *s, size_t i)
{
    return (shape_of(s, i).n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/*
 * The two numbers of a rotation pair are half a head apart.  Converters make
 * them neighbours: row 2 i + j of a head is its old row j half + i.
 */
static size_t old_row(int64_t row, int head_dim)
{
    int64_t i = row % head_dim;

    return (size_t)(row - i + i % 2 * (head_dim / 2) + i / 2);
}

static void permute(uint8_t *out, const uint8_t *data, int64_t n, int head_dim,
                    size_t row_bytes)
{
    for (int64_t r = 0; r < n; r++)
        memcpy(out + (size_t)r * row_bytes,
               data + old_row(r, head_dim) * row_bytes, row_bytes);
}

/* 8-bit numbers in BF16, row by row. */
static void make_wider(shard *s, size_t i, uint8_t *out)
{
    const tlpi_tensor *t = &s->file->tensor[i];
    bool moved = is_permuted(s->to[i].change);
    uint16_t *x = (uint16_t *)(void *)out;
    float value[256];

    tlpi_hf_fp8_values(value);
    for (int64_t r = 0; r < t->ne[1]; r++, x += t->ne[0]) {
        int64_t row = moved ? (int64_t)old_row(r, s->m->head_dim) : r;

        if (!tlpi_hf_fp8_row(s->m, value, t, s->to[i].scale, row, x))
            s->unsound = t;
    }
}

static void make(shard *s, size_t i, uint8_t *out)
{
    const tlpi_tensor *t = &s->file->tensor[i];
    tlpi_hf_change change = s->to[i].change;

    if (t->type == TLPI_F8) {
        make_wider(s, i, out);
        return;
    }
    if (!is_widened(s, i)) {
        permute(out, t->data, t->ne[1], s->m->head_dim,
                tlpi_row_bytes(t->type, t->ne[0]));
        return;
    }
    float *x = (float *)(void *)out;
    int64_t n = tlpi_hf_count(t);
    if (!is_permuted(change)) {
        tlpi_dequantize(t->type, t->data, x, n);
        for (int64_t k = 0; k < n && change == TLPI_HF_ADD_ONE; k++)
            x[k] += 1;
        return;
    }
    const uint8_t *data = t->data;
    size_t size = (size_t)tlpi_dtype_get((uint32_t)t->type)->size;
    for (int64_t k = 0; k < n; k++)
        tlpi_dequantize(t->type, data + old_row(k, s->m->head_dim) * size,
                        &x[k], 1);
}

/* Number for a cache of digests: all that the data depend on besides the bytes
 * of the file. */
static tlpi_gguf_source source_of(const shard *s, size_t i)
{
    const tlpi_tensor *t = &s->file->tensor[i];
    tlpi_gguf_source source = { .at = 0 };

    source.at = (uint64_t)((const uint8_t *)t->data - s->map->data);
    source.how = (uint64_t)(t->type == TLPI_F8 ? 0xff : t->type) |
                 (uint64_t)s->to[i].change << 8;
    if (is_permuted(s->to[i].change))
        source.how |= (uint64_t)s->m->head_dim << 16;
    if (t->type == TLPI_F8)
        source.how |= (uint64_t)s->m->fp8_rows << 34 | (uint64_t)s->m->fp8_cols
                                                           << 47;
    return source;
}

static tlp_status measure(shard *s)
{
    for (size_t i = 0; i < s->file->n_tensor; i++) {
        tlp_status st = check_shape(s, i);

        if (st != TLP_OK)
            return st;
        if (s->to[i].name[0] && is_made(s, i) &&
            !tlpi_add(s->n_made, room_of(s, i), &s->n_made))
            return tlpi_fail_nomem_for("the tensors of a model");
    }
    s->made = tlpi_alloc(s->m->env, s->n_made);
    return s->made ? tlpi_build_reserve(&s->build, s->file->n_tensor)
                   : tlpi_fail_nomem_for("the tensors of a model");
}

static void fill(shard *s)
{
    uint8_t *at = s->made;

    for (size_t i = 0; i < s->file->n_tensor; i++) {
        tlpi_tensor t = shape_of(s, i);

        if (!t.name[0])
            continue;
        if (is_made(s, i)) {
            make(s, i, at);
            tlpi_map_drop(s->map, s->file->tensor[i].data,
                          s->file->tensor[i].n_bytes);
            t.data = at;
            at += room_of(s, i);
        }
        tlpi_build_tensor(&s->build, &t, source_of(s, i));
    }
}

tlp_status tlpi_hf_shard_open(tlpi_gguf **out, const tlpi_hf_model *m,
                              const tlpi_hf_index *index, const char *name,
                              bool no_mmap, int *n_bias, tlpi_hf_stacks *stacks)
{
    shard s = { .m = m, .path = { .env = m->env }, .build = { .env = m->env } };
    tlp_status st;

    s.build.kv.env = m->env;
    TLP_TRY(tlpi_hf_path(&s.path, m->env, m->folder, name));
    TLP_TRY(tlpi_map_open(&s.map, m->env, s.path.data, no_mmap));
    TLP_TRY(tlpi_safetensors_open_bytes(&s.file, m->env, s.map->data,
                                        s.map->size, s.path.data));
    TLP_TRY(choose(&s, index, name, n_bias, stacks));
    TLP_TRY(measure(&s));
    fill(&s);
    if (s.unsound)
        TLP_TRY(tlpi_fail(TLP_EFORMAT,
                          "%s: tensor %.128s: a number is not finite",
                          s.path.data, s.unsound->name));
    TLP_TRY(tlpi_build_finish(out, &s.build, s.path.data, s.map, s.made));
    s.map = NULL;
    s.made = NULL;
done:
    tlpi_build_end(&s.build);
    tlpi_free(m->env, s.made);
    tlpi_free(m->env, s.to);
    tlpi_safetensors_close(s.file);
    tlpi_map_close(s.map);
    tlpi_text_free(&s.path);
    return st;
}
