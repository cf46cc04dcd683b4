/*
 * vocab.c - read and check the tokenizer.* keys of a GGUF file.
 */
#include <string.h>

#include "text/vocab_impl.h"

/* ==== token list ========================================================= */

static bool is_integer(tlpi_gguf_type type)
{
    return type != TLPI_GGUF_STRING && type != TLPI_GGUF_F32 &&
           type != TLPI_GGUF_F64;
}

tlp_status tlpi_vocab_array(const tlpi_vocab *v, const char *key, bool strings,
                            uint64_t n, bool need, const tlpi_gguf_kv **kv)
{
    *kv = tlpi_gguf_find(v->g, key);
    if (!*kv)
        return need ? tlpi_fail(TLP_EFORMAT, "%s: key %s: missing", v->g->path,
                                key)
                    : TLP_OK;
    if (!(*kv)->is_array || ((*kv)->type == TLPI_GGUF_STRING) != strings)
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: array of %s expected",
                         v->g->path, key, strings ? "strings" : "numbers");
    if (n > 0 && (*kv)->n != n)
        return tlpi_fail(TLP_EFORMAT,
                         "%s: key %s: %llu elements, %llu expected (one for "
                         "each token)",
                         v->g->path, key, (unsigned long long)(*kv)->n,
                         (unsigned long long)n);
    return TLP_OK;
}

static tlp_status load_tokens(tlpi_vocab *v)
{
    const tlpi_gguf_kv *kv;
    const char *key = "tokenizer.ggml.tokens";
    tlp_status st = tlpi_vocab_array(v, key, true, 0, true, &kv);

    if (st != TLP_OK)
        return st;
    uint64_t max = v->n_vocab > 0 ? (uint64_t)v->n_vocab : INT32_MAX;
    if (kv->n == 0 || kv->n > max)
        return tlpi_fail(
            TLP_EFORMAT, "%s: key %s: %llu tokens, 1 to %llu expected%s",
            v->g->path, key, (unsigned long long)kv->n, (unsigned long long)max,
            v->n_vocab > 0 ? " (rows of the embedding)" : "");
    size_t n = (size_t)kv->n;
    v->n_token = (int)n;
    if (v->n_vocab == 0)
        v->n_vocab = v->n_token;
    v->text = tlpi_alloc_array(v->env, n, sizeof *v->text);
    v->piece = tlpi_alloc_array(v->env, n, sizeof *v->piece);
    v->type = tlpi_alloc_array(v->env, n, sizeof *v->type);
    v->bytes = tlpi_alloc(v->env, kv->n_bytes);
    if (!v->text || !v->piece || !v->type || !v->bytes)
        return tlpi_fail_nomem();
    const uint8_t *at = kv->data;
    for (size_t i = 0; i < n; i++)
        v->text[i] = tlpi_gguf_next_str(&at);
    return TLP_OK;
}

static tlp_status load_types(tlpi_vocab *v)
{
    const tlpi_gguf_kv *kv;
    tlp_status st = tlpi_vocab_array(v, "tokenizer.ggml.token_type", false,
                                     (uint64_t)v->n_token, false, &kv);

    if (st != TLP_OK)
        return st;
    memset(v->type, TLPI_TOKEN_NORMAL, (size_t)v->n_token);
    if (!kv)
        return TLP_OK;
    if (!is_integer(kv->type))
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: array of integers expected",
                         v->g->path, kv->key);
    for (int32_t id = 0; id < v->n_token; id++) {
        int64_t type = tlpi_gguf_elem_i64(kv, (uint64_t)id);
        if (type < TLPI_TOKEN_NORMAL || type > TLPI_TOKEN_BYTE)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key %s[%d]: %lld, %d to %d expected",
                             v->g->path, kv->key, id, (long long)type,
                             TLPI_TOKEN_NORMAL, TLPI_TOKEN_BYTE);
        v->type[id] = (uint8_t)type;
    }
    return TLP_OK;
}

/* ==== special ids ======================================================== */

/* *id keeps its default if the file has no such key. */
static tlp_status load_id(const tlpi_vocab *v, const char *key, int32_t *id)
{
    const uint32_t none = UINT32_MAX;
    uint32_t value = none;
    tlp_status st = tlpi_gguf_get_u32(v->g, key, false, &value);

    if (st != TLP_OK)
        return st;
    if (value == none && !tlpi_gguf_find(v->g, key))
        return TLP_OK;
    if (value >= (uint32_t)v->n_vocab)
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: %u, less than %d expected",
                         v->g->path, key, value, v->n_vocab);
    *id = (int32_t)value;
    return TLP_OK;
}

static void add_end(tlpi_vocab *v, int32_t id)
{
    for (int i = 0; i < v->n_end; i++)
        if (v->end[i] == id)
            return;
    if (id >= 0 && v->n_end < (int)TLPI_COUNT(v->end))
        v->end[v->n_end++] = id;
}

/* Control tokens that end a turn in some family, most reliable first. */
static const char *const turn_ends[] = {
    "<|im_end|>",    "<|eot_id|>",    "<|end|>",
    "<end_of_turn>", "<|endoftext|>", "<EOT>",
};
static const char *const other_ends[] = {
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
};

static int32_t find_control(const tlpi_vocab *v, const char *text)
{
    int32_t id = tlpi_index_find1(v, text, strlen(text));

    return id >= 0 && v->type[id] == TLPI_TOKEN_CONTROL ? id : -1;
}

static void find_ends(tlpi_vocab *v)
{
    for (size_t i = 0; i < TLPI_COUNT(turn_ends); i++) {
        int32_t id = find_control(v, turn_ends[i]);
        if (v->special.eot < 0)
            v->special.eot = id;
        add_end(v, id);
    }
    for (size_t i = 0; i < TLPI_COUNT(other_ends); i++)
        add_end(v, find_control(v, other_ends[i]));
    add_end(v, v->special.eos);
    add_end(v, v->special.eot);
}

static tlp_status need_id(const tlpi_vocab *v, bool add, int32_t id,
                          const char *add_key, const char *id_key)
{
    return add && id < 0
               ? tlpi_fail(TLP_EFORMAT, "%s: key %s: true, but %s is missing",
                           v->g->path, add_key, id_key)
               : TLP_OK;
}

static tlp_status load_special(tlpi_vocab *v)
{
    tlp_status st = TLP_OK;
    tlpi_special *s = &v->special;
    bool spm = v->kind == TLPI_SPM;
    const char *bos = "tokenizer.ggml.bos_token_id";
    const char *eos = "tokenizer.ggml.eos_token_id";

    s->bos = s->eos = s->eot = s->unk = s->pad = -1;
    if (spm && v->n_token > 2) { /* SentencePiece's own defaults */
        s->unk = 0;
        s->bos = 1;
        s->eos = 2;
    }
    TLP_TRY(load_id(v, bos, &s->bos));
    TLP_TRY(load_id(v, eos, &s->eos));
    TLP_TRY(load_id(v, "tokenizer.ggml.eot_token_id", &s->eot));
    TLP_TRY(load_id(v, "tokenizer.ggml.unknown_token_id", &s->unk));
    TLP_TRY(load_id(v, "tokenizer.ggml.padding_token_id", &s->pad));
    bool said = tlpi_gguf_find(v->g, "tokenizer.ggml.add_bos_token") != NULL;
    s->add_bos = (spm || v->rules.add_bos) && s->bos >= 0;
    TLP_TRY(tlpi_gguf_get_bool(v->g, "tokenizer.ggml.add_bos_token", false,
                               &s->add_bos));
    TLP_TRY(tlpi_gguf_get_bool(v->g, "tokenizer.ggml.add_eos_token", false,
                               &s->add_eos));
    TLP_TRY(need_id(v, said && s->add_bos, s->bos,
                    "tokenizer.ggml.add_bos_token", bos));
    TLP_TRY(
        need_id(v, s->add_eos, s->eos, "tokenizer.ggml.add_eos_token", eos));
    find_ends(v);
done:
    return st;
}

/* ==== creation =========================================================== */

static tlp_status load_bpe(tlpi_vocab *v)
{
    tlpi_str pre = { "default", strlen("default") };
    tlp_status st = tlpi_gguf_get_str(v->g, "tokenizer.ggml.pre", false, &pre);

    if (st == TLP_OK)
        st = tlpi_pretok_create(&v->pretok, v->env, v->g->path, pre, &v->rules);
    return st == TLP_OK ? tlpi_bpe_load(v) : st;
}

static tlp_status load_spm(tlpi_vocab *v)
{
    tlp_status st = tlpi_spm_load(v);

    v->space_prefix = true;
    return st == TLP_OK
               ? tlpi_gguf_get_bool(v->g, "tokenizer.ggml.add_space_prefix",
                                    false, &v->space_prefix)
               : st;
}

static tlp_status load_kind(tlpi_vocab *v)
{
    tlpi_str model = { "", 0 };
    tlp_status st =
        tlpi_gguf_get_str(v->g, "tokenizer.ggml.model", true, &model);

    if (st != TLP_OK)
        return st;
    if (model.n == 4 && memcmp(model.s, "gpt2", 4) == 0)
        v->kind = TLPI_BPE;
    else if (model.n == 5 && memcmp(model.s, "llama", 5) == 0)
        v->kind = TLPI_SPM;
    else
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key tokenizer.ggml.model: tokenizer \"%.*s\" is "
                         "not supported",
                         v->g->path, TLPI_STR(model));
    return TLP_OK;
}

tlp_status tlpi_vocab_create(tlpi_vocab **out, const tlpi_env *env,
                             const tlpi_gguf *g, int n_vocab)
{
    tlp_status st = TLP_OK;
    tlpi_vocab *v = tlpi_calloc(env, 1, sizeof *v);

    *out = NULL;
    if (!v)
        return tlpi_fail_nomem();
    v->env = env;
    v->g = g;
    v->n_vocab = n_vocab;
    TLP_TRY(load_kind(v));
    TLP_TRY(load_tokens(v));
    TLP_TRY(load_types(v));
    TLP_TRY(tlpi_index_create(v));
    TLP_TRY(v->kind == TLPI_BPE ? load_bpe(v) : load_spm(v));
    TLP_TRY(load_special(v));
    TLP_TRY(tlpi_trie_create(v));
    TLP_TRY(tlpi_gguf_get_str(g, "tokenizer.chat_template", false,
                              &v->chat_template));
    for (int32_t id = 0; id < v->n_token; id++)
        v->max_piece = TLPI_MAX(v->max_piece, v->piece[id].n);
    *out = v;
    v = NULL;
done:
    tlpi_vocab_free(v);
    return st;
}

void tlpi_vocab_free(tlpi_vocab *v)
{
    if (!v)
        return;
    tlpi_pretok_free(v->pretok);
    tlpi_free(v->env, v->trie.node);
    tlpi_free(v->env, v->pair);
    tlpi_free(v->env, v->rank);
    tlpi_free(v->env, v->index.slot);
    tlpi_free(v->env, v->bytes);
    tlpi_free(v->env, v->type);
    tlpi_free(v->env, v->piece);
    tlpi_free(v->env, v->text);
    tlpi_free(v->env, v);
}

/* ==== questions ========================================================== */

int tlpi_vocab_size(const tlpi_vocab *v)
{
    return v->n_vocab;
}

const tlpi_special *tlpi_vocab_special(const tlpi_vocab *v)
{
    return &v->special;
}

bool tlpi_vocab_is_end(const tlpi_vocab *v, int32_t id)
{
    for (int i = 0; i < v->n_end; i++)
        if (v->end[i] == id)
            return true;
    return false;
}

bool tlpi_vocab_is_control(const tlpi_vocab *v, int32_t id)
{
    return id < v->n_token && v->type[id] != TLPI_TOKEN_NORMAL &&
           v->type[id] != TLPI_TOKEN_USER_DEFINED &&
           v->type[id] != TLPI_TOKEN_BYTE;
}

tlpi_str tlpi_vocab_piece(const tlpi_vocab *v, int32_t id, uint32_t flags)
{
    bool shown = id < v->n_token && ((flags & TLP_DETOKENIZE_SPECIAL) ||
                                     !tlpi_vocab_is_control(v, id));

    return shown ? v->piece[id] : (tlpi_str){ "", 0 };
}

size_t tlpi_vocab_max_piece(const tlpi_vocab *v)
{
    return v->max_piece;
}

bool tlpi_vocab_adds_space(const tlpi_vocab *v)
{
    return v->space_prefix;
}

tlpi_str tlpi_vocab_text(const tlpi_vocab *v, int32_t id)
{
    return id >= 0 && id < v->n_token ? v->text[id] : (tlpi_str){ "", 0 };
}

tlpi_str tlpi_vocab_chat_template(const tlpi_vocab *v)
{
    return v->chat_template;
}
