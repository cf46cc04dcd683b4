/*
 * hf_tokenizer.c - tokenizer.json to the keys of a GGUF file: the tokens and
 * their types.
 *
 * The list has a token for each row of the embedding.  A row without a token
 * gets "[PADn]", of type unused, as converters write it.
 */
#include <stdio.h>
#include <string.h>

#include "file/gguf_layout.h"
#include "hf/hf_model.h"

#define MAX_BYTES ((size_t)128 << 20)

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, UNUSED = 5, BYTE = 6 };

static const tlpi_hf_rule root_rules[] = {
    { .key = "version" },    { .key = "truncation" },
    { .key = "padding" },    { .key = "added_tokens" },
    { .key = "normalizer" }, { .key = "pre_tokenizer" },
    { .key = "decoder" },    { .key = "post_processor" },
    { .key = "model" },
};

static const tlpi_hf_rule model_rules[] = {
    { .key = "type" },
    { .key = "vocab" },
    { .key = "merges" },
    { .key = "unk_token" },
    { .key = "byte_fallback" },
    { .key = "fuse_unk" }, /* no text gives the unknown token */
    { .key = "ignore_merges" },
    { "dropout", TLPI_HF_NOTHING, 0 },
    { "continuing_subword_prefix", TLPI_HF_NOTHING, 0 },
    { "end_of_word_suffix", TLPI_HF_NOTHING, 0 },
};

/* ==== tokens ============================================================= */

static tlp_status put_token(tlpi_hf_vocab *v, const tlpi_hf_at *at,
                            const char *text, json_t *id, int type)
{
    json_int_t i = json_integer_value(id);

    if (!json_is_integer(id) || i < 0 || i >= v->m->n_vocab)
        return tlpi_hf_refuse(TLP_EFORMAT, at, text,
                              "an id below vocab_size, %d, expected",
                              v->m->n_vocab);
    if (v->text[i])
        return tlpi_hf_refuse(TLP_EFORMAT, at, text, "which is \"%.64s\" too",
                              v->text[i]);
    v->text[i] = text;
    v->type[i] = (uint8_t)type;
    return TLP_OK;
}

/* <0xXX> */
static bool is_byte(const char *s)
{
    return strlen(s) == 6 && strncmp(s, "<0x", 3) == 0 && s[5] == '>' &&
           strspn(s + 3, "0123456789ABCDEF") == 2;
}

static int plain_type(const tlpi_hf_vocab *v, const char *text)
{
    if (v->is_bytes)
        return NORMAL;
    if (v->unk && strcmp(text, v->unk) == 0)
        return UNKNOWN;
    return is_byte(text) ? BYTE : NORMAL;
}

static tlp_status read_plain(tlpi_hf_vocab *v)
{
    tlpi_hf_at at;
    const char *text;
    json_t *id;
    tlp_status st = tlpi_hf_enter(&at, &v->model, "vocab");

    if (st != TLP_OK)
        return st;
    if (!at.object)
        return tlpi_hf_refuse(TLP_EFORMAT, &v->model, "vocab",
                              "an object expected");
    v->vocab = at.object;
    json_object_foreach(v->vocab, text, id)
    {
        st = put_token(v, &at, text, id, plain_type(v, text));
        if (st != TLP_OK)
            return st;
    }
    return TLP_OK;
}

/* ==== added tokens ======================================================= */

static bool is_framed(const char *s, const char *open, const char *close)
{
    size_t n = strlen(s), a = strlen(open), b = strlen(close);

    return n >= a + b && strncmp(s, open, a) == 0 &&
           strcmp(s + n - b, close) == 0;
}

/* Texts that converters take as control tokens although the folder says that
 * they are text. */
static bool looks_special(const char *s)
{
    static const char *const known[] = { "<pad>", "<mask>", "<2mass>",
                                         "[@BOS@]" };

    for (size_t i = 0; i < TLPI_COUNT(known); i++)
        if (strcmp(s, known[i]) == 0)
            return true;
    return is_framed(s, "<|", "|>") ||
           is_framed(s, "<\xef\xbd\x9c", "\xef\xbd\x9c>") ||
           is_framed(s, "<unused", ">");
}

static tlp_status read_flag(const tlpi_hf_at *at, const char *key, int *n)
{
    bool x = false;
    tlp_status st = tlpi_hf_bool(at, key, false, &x);

    *n += x;
    return st;
}

/* An added token; *n_strip counts those that take blanks beside them, or
 * stand alone as words. */
static tlp_status read_one(tlpi_hf_vocab *v, const tlpi_hf_at *at, int *n_strip)
{
    const char *text = NULL;
    bool special = false;
    int id = -1;
    tlp_status st;

    TLP_TRY(tlpi_hf_str(at, "content", true, &text));
    TLP_TRY(tlpi_hf_int(at, "id", true, 0, INT32_MAX, &id));
    TLP_TRY(tlpi_hf_bool(at, "special", false, &special));
    TLP_TRY(read_flag(at, "lstrip", n_strip));
    TLP_TRY(read_flag(at, "rstrip", n_strip));
    TLP_TRY(read_flag(at, "single_word", n_strip));
    if (text[0] == '\0')
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "content", "a text expected"));
    if (id >= v->m->n_vocab) {
        v->n_skipped++;
        return TLP_OK;
    }
    if (v->text[id] && strcmp(v->text[id], text) != 0)
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "content",
                               "but token %d is \"%.64s\"", id, v->text[id]));
    if (!v->text[id] && json_object_get(v->vocab, text))
        TLP_TRY(tlpi_hf_refuse(TLP_EFORMAT, at, "id",
                               "but the vocabulary has \"%.64s\" elsewhere",
                               text));
    v->text[id] = text;
    v->type[id] = special || looks_special(text) ? CONTROL : USER;
done:
    return st;
}

static tlp_status read_added(tlpi_hf_vocab *v)
{
    tlpi_hf_at root = tlpi_hf_root(&v->file);
    int n_strip = 0;
    tlp_status st = tlpi_hf_list(&root, "added_tokens", &v->added);

    for (size_t i = 0; i < json_array_size(v->added) && st == TLP_OK; i++) {
        tlpi_hf_at at = { .file = &v->file,
                          .object = json_array_get(v->added, i) };

        snprintf(at.prefix, sizeof at.prefix, "added_tokens[%zu].", i);
        st = json_is_object(at.object)
                 ? read_one(v, &at, &n_strip)
                 : tlpi_hf_refuse(TLP_EFORMAT, &root, "added_tokens",
                                  "objects expected");
    }
    if (st == TLP_OK && n_strip > 0)
        tlpi_hf_warn(&root, "added_tokens",
                     "lstrip, rstrip and single_word of %d are left out: "
                     "blanks beside such tokens stay",
                     n_strip);
    if (st == TLP_OK && v->n_skipped > 0)
        tlpi_hf_warn(&root, "added_tokens",
                     "%d have ids beyond vocab_size and are left out",
                     v->n_skipped);
    return st;
}

int tlpi_hf_added_id(const tlpi_hf_vocab *v, const char *text)
{
    for (size_t i = 0; i < json_array_size(v->added); i++) {
        json_t *token = json_array_get(v->added, i);
        const char *s = json_string_value(json_object_get(token, "content"));

        if (s && strcmp(s, text) == 0)
            return (int)json_integer_value(json_object_get(token, "id"));
    }
    return -1;
}

/* ==== the list =========================================================== */

static void put_pad(tlpi_text *out, int id)
{
    char text[24];
    int n = snprintf(text, sizeof text, "[PAD%d]", id);

    tlpi_gguf_put_str(out, text, (size_t)n);
}

static tlp_status add_list(tlpi_hf_vocab *v)
{
    const int n = v->m->n_vocab;
    tlpi_gguf_build *keys = &v->m->keys;
    int32_t *type = tlpi_alloc_array(v->m->env, (size_t)n, sizeof *type);

    if (!type)
        return tlpi_fail_nomem_for("a vocabulary");
    tlpi_build_array(keys, "tokenizer.ggml.tokens", TLPI_GGUF_STRING,
                     (uint64_t)n, "", 0);
    for (int id = 0; id < n; id++) {
        type[id] = v->text[id] ? v->type[id] : UNUSED;
        if (v->text[id])
            tlpi_gguf_put_str(&keys->kv, v->text[id], strlen(v->text[id]));
        else
            put_pad(&keys->kv, id);
    }
    tlpi_build_array(keys, "tokenizer.ggml.token_type", TLPI_GGUF_I32,
                     (uint64_t)n, type, (size_t)n * sizeof *type);
    tlpi_free(v->m->env, type);
    return TLP_OK;
}

/* Byte-level BPE spells all bytes, and SentencePiece falls back to them: no
 * text gives the unknown token. */
static tlp_status check_bytes(const tlpi_hf_vocab *v)
{
    char text[8];

    for (unsigned b = 0; b < 256 && !v->is_bytes; b++) {
        snprintf(text, sizeof text, "<0x%02X>", b);
        if (!json_object_get(v->vocab, text))
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: key model.vocab: no token %s, all 256 "
                             "expected with byte_fallback",
                             v->file.path.data, text);
    }
    return TLP_OK;
}

/* ==== the file =========================================================== */

static tlp_status read_model(tlpi_hf_vocab *v)
{
    tlpi_hf_at root = tlpi_hf_root(&v->file);
    const char *type = NULL;
    tlp_status st;

    TLP_TRY(tlpi_hf_check(&root, root_rules, TLPI_COUNT(root_rules)));
    TLP_TRY(tlpi_hf_enter(&v->model, &root, "model"));
    if (!v->model.object)
        TLP_TRY(
            tlpi_hf_refuse(TLP_EFORMAT, &root, "model", "an object expected"));
    TLP_TRY(tlpi_hf_str(&v->model, "type", true, &type));
    if (strcmp(type, "BPE") != 0)
        TLP_TRY(
            tlpi_hf_refuse(TLP_ENOTSUP, &v->model, "type", "\"BPE\" expected"));
    TLP_TRY(tlpi_hf_check(&v->model, model_rules, TLPI_COUNT(model_rules)));
    TLP_TRY(tlpi_hf_bool(&v->model, "ignore_merges", false, &v->ignore_merges));
    st = tlpi_hf_str(&v->model, "unk_token", false, &v->unk);
done:
    return st;
}

static tlp_status read_all(tlpi_hf_vocab *v)
{
    const size_t n = (size_t)v->m->n_vocab;
    tlp_status st;

    TLP_TRY(tlpi_hf_open(&v->file, v->m->env, v->m->folder, "tokenizer.json",
                         MAX_BYTES, 0, true));
    v->text = tlpi_calloc(v->m->env, n, sizeof *v->text);
    v->type = tlpi_calloc(v->m->env, n, sizeof *v->type);
    if (!v->text || !v->type)
        TLP_TRY(tlpi_fail_nomem_for("a vocabulary"));
    TLP_TRY(read_model(v));
    TLP_TRY(tlpi_hf_pretok_read(v));
    TLP_TRY(read_plain(v));
    TLP_TRY(read_added(v));
    TLP_TRY(check_bytes(v));
    TLP_TRY(add_list(v));
    TLP_TRY(tlpi_hf_merges_read(v));
    st = tlpi_hf_special_read(v);
done:
    return st;
}

tlp_status tlpi_hf_tokenizer_read(tlpi_hf_model *m)
{
    tlpi_hf_vocab v = { .m = m };
    tlp_status st = read_all(&v);

    tlpi_free(m->env, v.type);
    tlpi_free(m->env, v.text);
    tlpi_hf_close(&v.file);
    return st;
}
