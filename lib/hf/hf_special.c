/*
 * hf_special.c - ids of special tokens, what is put around a text, and the
 * tokens that end a generation.
 *
 * tokenizer_config.json names tokens by their texts.  config.json has ids of
 * tokens that it does not name; generation_config.json has all ends.
 */
#include <stdio.h>
#include <string.h>

#include "hf/hf_model.h"

#define MAX_BYTES ((size_t)32 << 20)
#define MAX_END 64

typedef enum special_kind { SPECIAL_BOS, SPECIAL_EOS } special_kind;

static const struct {
    const char *text_key, *id_key, *key;
} kinds[] = {
    [SPECIAL_BOS] = { "bos_token", "bos_token_id", "bos_token_id" },
    [SPECIAL_EOS] = { "eos_token", "eos_token_id", "eos_token_id" },
    { "unk_token", "unk_token_id", "unknown_token_id" },
    { "sep_token", "sep_token_id", "seperator_token_id" }, /* GGUF's spelling */
    { "pad_token", "pad_token_id", "padding_token_id" },
    { "cls_token", "cls_token_id", "cls_token_id" },
    { "mask_token", "mask_token_id", "mask_token_id" },
};

typedef struct special_reader {
    tlpi_hf_vocab *v;
    tlpi_hf_file config, generation; /* of the tokenizer; of generation */
    int id[TLPI_COUNT(kinds)];       /* -1: none */
    int end[MAX_END], n_end;
} special_reader;

/* ==== ids ================================================================ */

/* A text, or the text of an object. */
static tlp_status read_text(const tlpi_hf_at *at, const char *key,
                            const char **out)
{
    json_t *value = tlpi_hf_get(at, key);
    json_t *text =
        json_is_object(value) ? json_object_get(value, "content") : value;

    *out = json_string_value(text);
    return !value || *out
               ? TLP_OK
               : tlpi_hf_refuse(TLP_EFORMAT, at, key, "a text expected");
}

static int id_of_text(const tlpi_hf_vocab *v, const char *text)
{
    int id = tlpi_hf_added_id(v, text);
    json_t *plain = id < 0 ? json_object_get(v->vocab, text) : NULL;

    return plain ? (int)json_integer_value(plain) : id;
}

/* The first of the ids at a key. */
static tlp_status read_id(const tlpi_hf_at *at, const char *key, int *id)
{
    json_t *value = tlpi_hf_get(at, key);

    if (json_is_array(value))
        value = json_array_get(value, 0);
    if (!value)
        return TLP_OK;
    if (!json_is_integer(value) || json_integer_value(value) > INT32_MAX)
        return tlpi_hf_refuse(TLP_EFORMAT, at, key, "an id expected");
    *id = (int)TLPI_MAX(json_integer_value(value), -1);
    return TLP_OK;
}

static tlp_status read_ids(special_reader *r)
{
    tlpi_hf_at names = tlpi_hf_root(&r->config);
    const tlpi_hf_model *m = r->v->m;
    tlpi_hf_at ids = tlpi_hf_root(&m->config);
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < TLPI_COUNT(kinds); i++) {
        const char *text = NULL;

        r->id[i] = -1;
        TLP_TRY(read_text(&names, kinds[i].text_key, &text));
        if (text)
            r->id[i] = id_of_text(r->v, text);
        if (text && r->id[i] < 0)
            tlpi_hf_warn(&names, kinds[i].text_key, "no token of that text");
        if (r->id[i] < 0)
            TLP_TRY(read_id(&ids, kinds[i].id_key, &r->id[i]));
        if (r->id[i] < 0 && m->arch->inner)
            TLP_TRY(read_id(&m->text, kinds[i].id_key, &r->id[i]));
        if (r->id[i] < m->n_vocab)
            continue;
        tlpi_hf_warn(text ? &names : &ids,
                     text ? kinds[i].text_key : kinds[i].id_key,
                     "id %d is beyond vocab_size and left out", r->id[i]);
        r->id[i] = -1;
    }
    if (r->v->unk && !r->v->is_bytes && r->id[2] < 0)
        r->id[2] = id_of_text(r->v, r->v->unk);
done:
    return st;
}

static void add_ids(const special_reader *r)
{
    for (size_t i = 0; i < TLPI_COUNT(kinds); i++) {
        char key[64];

        snprintf(key, sizeof key, "tokenizer.ggml.%s", kinds[i].key);
        if (r->id[i] >= 0)
            tlpi_build_u32(&r->v->m->keys, key, (uint32_t)r->id[i]);
    }
}

/* ==== what is put around a text ========================================== */

typedef struct around {
    bool bos, eos;
} around;

/* A token before or behind the text in a template. */
static tlp_status take_special(const special_reader *r, const tlpi_hf_at *at,
                               const char *text, special_kind kind, bool *add)
{
    if (*add || r->id[kind] < 0 || id_of_text(r->v, text) != r->id[kind])
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key %ssingle: puts \"%.64s\" %s a text, %s "
                         "alone expected",
                         at->file->path.data, at->prefix, text,
                         kind == SPECIAL_BOS ? "before" : "behind",
                         kinds[kind].text_key);
    *add = true;
    return TLP_OK;
}

static tlp_status read_template(const special_reader *r, const tlpi_hf_at *at,
                                around *a)
{
    json_t *list;
    bool behind = false;
    tlp_status st = tlpi_hf_list(at, "single", &list);

    for (size_t i = 0; i < json_array_size(list) && st == TLP_OK; i++) {
        json_t *item = json_array_get(list, i);
        json_t *token = json_object_get(item, "SpecialToken");
        const char *text = json_string_value(json_object_get(token, "id"));

        if (json_object_get(item, "Sequence") && !behind)
            behind = true;
        else if (text)
            st = take_special(r, at, text, behind ? SPECIAL_EOS : SPECIAL_BOS,
                              behind ? &a->eos : &a->bos);
        else
            st = tlpi_hf_refuse(TLP_ENOTSUP, at, "single",
                                "special tokens and one sequence expected");
    }
    return st;
}

static tlp_status read_part(const special_reader *r, const tlpi_hf_at *at,
                            around *a)
{
    const char *type = NULL;
    tlp_status st = tlpi_hf_str(at, "type", true, &type);

    if (st != TLP_OK || strcmp(type, "ByteLevel") == 0)
        return st;
    return strcmp(type, "TemplateProcessing") == 0
               ? read_template(r, at, a)
               : tlpi_hf_refuse(TLP_ENOTSUP, at, "type", "not supported");
}

static tlp_status read_post(const special_reader *r, around *a)
{
    tlpi_hf_at root = tlpi_hf_root(&r->v->file), at;
    json_t *list = NULL;
    tlp_status st;

    TLP_TRY(tlpi_hf_enter(&at, &root, "post_processor"));
    if (!at.object)
        return TLP_OK;
    TLP_TRY(tlpi_hf_list(&at, "processors", &list));
    if (!list)
        return read_part(r, &at, a);
    for (size_t i = 0; i < json_array_size(list); i++) {
        tlpi_hf_at part = { .file = at.file,
                            .object = json_array_get(list, i) };

        snprintf(part.prefix, sizeof part.prefix,
                 "post_processor.processors[%zu].", i);
        TLP_TRY(read_part(r, &part, a));
    }
done:
    return st;
}

/* The tokenizer's own settings win over the template. */
static tlp_status read_switch(const special_reader *r, const char *key,
                              bool *add, bool *given)
{
    tlpi_hf_at at = tlpi_hf_root(&r->config);
    bool by_template = *add;
    tlp_status st = tlpi_hf_bool(&at, key, false, add);

    *given = tlpi_hf_get(&at, key) != NULL;
    if (st == TLP_OK && *add != by_template)
        tlpi_hf_warn(&at, key, "although tokenizer.json says %s",
                     by_template ? "true" : "false");
    return st;
}

static tlp_status add_around(const special_reader *r)
{
    tlpi_gguf_build *keys = &r->v->m->keys;
    around a = { .bos = false };
    bool given;
    tlp_status st;

    TLP_TRY(read_post(r, &a));
    TLP_TRY(read_switch(r, "add_bos_token", &a.bos, &given));
    tlpi_build_bool(keys, "tokenizer.ggml.add_bos_token", a.bos);
    TLP_TRY(read_switch(r, "add_eos_token", &a.eos, &given));
    if (a.eos || given)
        tlpi_build_bool(keys, "tokenizer.ggml.add_eos_token", a.eos);
done:
    return st;
}

/* ==== ends =============================================================== */

static tlp_status take_end(special_reader *r, const tlpi_hf_at *at, json_t *id)
{
    json_int_t x = json_integer_value(id);

    if (!json_is_integer(id) || x < 0 || x >= r->v->m->n_vocab)
        return tlpi_hf_refuse(TLP_EFORMAT, at, "eos_token_id",
                              "ids below vocab_size, %d, expected",
                              r->v->m->n_vocab);
    for (int i = 0; i < r->n_end; i++)
        if (r->end[i] == x)
            return TLP_OK;
    if (r->n_end == MAX_END)
        return tlpi_hf_refuse(TLP_ENOTSUP, at, "eos_token_id",
                              "at most %d ids expected", MAX_END);
    r->end[r->n_end++] = (int)x;
    return TLP_OK;
}

static tlp_status read_ends(special_reader *r, const tlpi_hf_at *at)
{
    json_t *value = tlpi_hf_get(at, "eos_token_id");
    tlp_status st = TLP_OK;

    if (!json_is_array(value))
        return value ? take_end(r, at, value) : TLP_OK;
    for (size_t i = 0; i < json_array_size(value) && st == TLP_OK; i++)
        st = take_end(r, at, json_array_get(value, i));
    return st;
}

/* The list is written if it says more than the id of EOS. */
static void add_ends(const special_reader *r)
{
    if (r->n_end > 1 || (r->n_end == 1 && r->end[0] != r->id[SPECIAL_EOS]))
        tlpi_build_array(&r->v->m->keys, "tokenizer.ggml.eos_token_ids",
                         TLPI_GGUF_I32, (uint64_t)r->n_end, r->end,
                         (size_t)r->n_end * sizeof *r->end);
}

/* ==== both files ========================================================= */

static tlp_status read_all(special_reader *r)
{
    const tlpi_hf_model *m = r->v->m;
    tlp_status st;

    /* model_max_length can be 10^30, which is no integer of C. */
    TLP_TRY(tlpi_hf_open(&r->config, m->env, m->folder, "tokenizer_config.json",
                         MAX_BYTES, JSON_DECODE_INT_AS_REAL, false));
    TLP_TRY(tlpi_hf_open(&r->generation, m->env, m->folder,
                         "generation_config.json", MAX_BYTES, 0, false));
    TLP_TRY(read_ids(r));
    add_ids(r);
    TLP_TRY(add_around(r));
    const tlpi_hf_at root = tlpi_hf_root(&m->config);
    const tlpi_hf_at generation = tlpi_hf_root(&r->generation);
    TLP_TRY(read_ends(r, &root));
    if (m->arch->inner)
        TLP_TRY(read_ends(r, &m->text));
    TLP_TRY(read_ends(r, &generation));
    add_ends(r);
    st = tlpi_hf_templates_read(r->v, &r->config);
done:
    return st;
}

tlp_status tlpi_hf_special_read(tlpi_hf_vocab *v)
{
    special_reader r = { .v = v };
    tlp_status st = read_all(&r);

    tlpi_hf_close(&r.generation);
    tlpi_hf_close(&r.config);
    return st;
}
