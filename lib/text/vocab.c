/*
 * vocab.c - read and check the tokenizer.* keys of a GGUF file.
 */
#include <string.h>

#include "text/vocab_impl.h"

/* ==== token list ========================================================= */

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
        return tlpi_fail_nomem_for("a vocabulary");
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
    if (!tlpi_gguf_is_integer(kv->type))
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

/* ==== creation =========================================================== */

static tlp_status load_bpe(tlpi_vocab *v)
{
    tlpi_str pre = { "default", strlen("default") };
    const char *key = "tokenizer.ggml.pre";
    bool prefix = false;
    tlp_status st;

    TLP_TRY(tlpi_gguf_get_str(v->g, key, false, &pre));
    if (!tlpi_gguf_find(v->g, key))
        tlpi_log(v->env, TLP_LOG_WARN,
                 "%s: key %s: missing; \"%.*s\" is used, which may cut texts "
                 "into other tokens than in training",
                 v->g->path, key, TLPI_STR(pre));
    TLP_TRY(tlpi_pretok_create(&v->pretok, v->env, v->g->path, pre, &v->rules));
    TLP_TRY(tlpi_gguf_get_bool(v->g, "tokenizer.ggml.add_space_prefix", false,
                               &prefix));
    if (prefix)
        tlpi_log(v->env, TLP_LOG_WARN,
                 "%s: key tokenizer.ggml.add_space_prefix: true, which "
                 "byte-level BPE leaves out",
                 v->g->path);
    TLP_TRY(tlpi_bpe_load(v));
done:
    return st;
}

static tlp_status load_spm(tlpi_vocab *v)
{
    tlp_status st;

    v->space_prefix = v->legacy = true;
    TLP_TRY(tlpi_gguf_get_bool(v->g, "tokenizer.ggml.add_space_prefix", false,
                               &v->space_prefix));
    TLP_TRY(
        tlpi_gguf_get_bool(v->g, "tokenizer.ggml.legacy", false, &v->legacy));
    TLP_TRY(tlpi_spm_load(v));
done:
    return st;
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
        return tlpi_fail_nomem_for("a vocabulary");
    v->env = env;
    v->g = g;
    v->n_vocab = n_vocab;
    TLP_TRY(load_kind(v));
    TLP_TRY(load_tokens(v));
    TLP_TRY(load_types(v));
    TLP_TRY(tlpi_index_create(v));
    TLP_TRY(v->kind == TLPI_BPE ? load_bpe(v) : load_spm(v));
    TLP_TRY(tlpi_vocab_load_special(v));
    TLP_TRY(tlpi_trie_create(v));
    TLP_TRY(tlpi_pieces_create(v));
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
    tlpi_pieces_free(v);
    tlpi_pretok_free(v->pretok);
    tlpi_free(v->env, v->trie.node);
    tlpi_free(v->env, v->pair);
    tlpi_free(v->env, v->rank);
    tlpi_free(v->env, v->index.slot);
    tlpi_free(v->env, v->bytes);
    tlpi_free(v->env, v->made);
    tlpi_free(v->env, v->is_end);
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
    return id >= 0 && id < v->n_vocab && v->is_end[id];
}

tlpi_token_type tlpi_vocab_type(const tlpi_vocab *v, int32_t id)
{
    return id < v->n_token ? (tlpi_token_type)v->type[id] : TLPI_TOKEN_PADDING;
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

const tlpi_gguf *tlpi_vocab_file(const tlpi_vocab *v)
{
    return v->g;
}
