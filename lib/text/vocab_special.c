/*
 * vocab_special.c - ids of special tokens, and when BOS and EOS are added.
 *
 * An id out of range is refused if texts or generations need it.  The ids for
 * padding and for unknown text count as missing then.
 */
#include "text/vocab_impl.h"

#define BOS_KEY "tokenizer.ggml.bos_token_id"
#define EOS_KEY "tokenizer.ggml.eos_token_id"

/* *id keeps its default if the file has no such key. */
static tlp_status load_id(const tlpi_vocab *v, const char *key, int32_t *id)
{
    uint32_t value = 0;
    tlp_status st = tlpi_gguf_get_u32(v->g, key, false, &value);

    if (st != TLP_OK || !tlpi_gguf_find(v->g, key))
        return st;
    if (value >= (uint32_t)v->n_vocab)
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: %u, less than %d expected",
                         v->g->path, key, value, v->n_vocab);
    *id = (int32_t)value;
    return TLP_OK;
}

static tlp_status load_spare_id(const tlpi_vocab *v, const char *key,
                                int32_t *id)
{
    const tlpi_gguf_kv *kv = tlpi_gguf_find(v->g, key);

    if (!kv || kv->is_array || kv->type == TLPI_GGUF_STRING)
        return load_id(v, key, id);
    int64_t value = tlpi_gguf_elem_i64(kv, 0);
    if (value >= 0 && value < v->n_vocab)
        return load_id(v, key, id);
    tlpi_log(v->env, TLP_LOG_WARN,
             "%s: key %s: %lld, less than %d expected; taken as missing",
             v->g->path, key, (long long)value, v->n_vocab);
    *id = -1;
    return TLP_OK;
}

static void warn_guess(const tlpi_vocab *v, const char *key, int32_t id)
{
    tlpi_str text = tlpi_vocab_text(v, id);

    if (id >= 0 && !tlpi_gguf_find(v->g, key))
        tlpi_log(v->env, TLP_LOG_WARN,
                 "%s: key %s: missing; %d \"%.*s\" is used", v->g->path, key,
                 id, TLPI_STR(text));
}

static tlp_status need_id(const tlpi_vocab *v, bool add, int32_t id,
                          const char *add_key, const char *id_key)
{
    return add && id < 0
               ? tlpi_fail(TLP_EFORMAT, "%s: key %s: true, but %s is missing",
                           v->g->path, add_key, id_key)
               : TLP_OK;
}

static tlp_status load_ids(tlpi_vocab *v)
{
    tlpi_special *s = &v->special;
    tlp_status st;

    s->bos = s->eos = s->eot = s->eom = s->unk = s->pad = -1;
    if (v->kind == TLPI_SPM && v->n_token > 2) { /* SentencePiece's defaults */
        s->unk = 0;
        s->bos = 1;
        s->eos = 2;
    }
    TLP_TRY(load_id(v, BOS_KEY, &s->bos));
    TLP_TRY(load_id(v, EOS_KEY, &s->eos));
    TLP_TRY(load_id(v, "tokenizer.ggml.eot_token_id", &s->eot));
    TLP_TRY(load_id(v, "tokenizer.ggml.eom_token_id", &s->eom));
    TLP_TRY(load_spare_id(v, "tokenizer.ggml.unknown_token_id", &s->unk));
    TLP_TRY(load_spare_id(v, "tokenizer.ggml.padding_token_id", &s->pad));
    warn_guess(v, BOS_KEY, s->bos);
    warn_guess(v, EOS_KEY, s->eos);
done:
    return st;
}

static tlp_status load_adding(tlpi_vocab *v)
{
    const char *add_bos = "tokenizer.ggml.add_bos_token";
    const char *add_eos = "tokenizer.ggml.add_eos_token";
    tlpi_special *s = &v->special;
    tlp_status st;

    s->add_bos = (v->kind == TLPI_SPM || v->rules.add_bos) && s->bos >= 0;
    TLP_TRY(tlpi_gguf_get_bool(v->g, add_bos, false, &s->add_bos));
    TLP_TRY(tlpi_gguf_get_bool(v->g, add_eos, false, &s->add_eos));
    TLP_TRY(need_id(v, s->add_bos, s->bos, add_bos, BOS_KEY));
    TLP_TRY(need_id(v, s->add_eos, s->eos, add_eos, EOS_KEY));
done:
    return st;
}

tlp_status tlpi_vocab_load_special(tlpi_vocab *v)
{
    tlp_status st;

    TLP_TRY(load_ids(v));
    tlpi_vocab_mend_types(v);
    TLP_TRY(load_adding(v));
    TLP_TRY(tlpi_vocab_find_ends(v));
done:
    return st;
}
