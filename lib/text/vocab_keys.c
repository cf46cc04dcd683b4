/*
 * vocab_keys.c - the allow list of tokenizer.* keys.
 *
 * A key that is not in the list may change tokens, so the file is refused.
 */
#include "file/gguf_rule.h"
#include "text/vocab.h"

#define ANY(NAME)                                                              \
    {                                                                          \
        .name = NAME                                                           \
    }
#define FALSE(NAME)                                                            \
    {                                                                          \
        .name = NAME, .kind = TLPI_RULE_BOOL                                   \
    }
#define EMPTY(NAME)                                                            \
    {                                                                          \
        .name = NAME, .kind = TLPI_RULE_EMPTY                                  \
    }

static const tlpi_gguf_rule rules[] = {
    /* read in vocab.c, vocab_special.c, bpe.c, spm.c and by chat */
    ANY("ggml.model"),
    ANY("ggml.pre"),
    ANY("ggml.tokens"),
    ANY("ggml.token_type"),
    ANY("ggml.scores"),
    ANY("ggml.merges"),
    ANY("ggml.bos_token_id"),
    ANY("ggml.eos_token_id"),
    ANY("ggml.eos_token_ids"),
    ANY("ggml.eot_token_id"),
    ANY("ggml.eom_token_id"),
    ANY("ggml.unknown_token_id"),
    ANY("ggml.padding_token_id"),
    ANY("ggml.add_bos_token"),
    ANY("ggml.add_eos_token"),
    ANY("ggml.add_space_prefix"),
    ANY("ggml.legacy"),
    ANY("chat_template"),
    ANY("chat_template.*"),
    ANY("chat_templates"),
    /* ids of tokens that the library never adds to a text */
    ANY("ggml.bos_token_ids"),
    ANY("ggml.seperator_token_id"), /* the spelling of GGUF */
    ANY("ggml.separator_token_id"),
    ANY("ggml.cls_token_id"),
    ANY("ggml.mask_token_id"),
    ANY("ggml.prefix_token_id"),
    ANY("ggml.suffix_token_id"),
    ANY("ggml.middle_token_id"),
    ANY("ggml.fim_pre_token_id"),
    ANY("ggml.fim_suf_token_id"),
    ANY("ggml.fim_mid_token_id"),
    ANY("ggml.fim_pad_token_id"),
    ANY("ggml.fim_rep_token_id"),
    ANY("ggml.fim_sep_token_id"),
    /* for pairs of texts, and for segments of BERT */
    ANY("ggml.add_sep_token"),
    ANY("ggml.token_type_count"),
    /* the tokenizer again, in the format of Hugging Face */
    ANY("huggingface.json"),
    /* changes of the text before it is cut, and of logits */
    FALSE("ggml.remove_extra_whitespaces"),
    FALSE("ggml.normalizer.lowercase"),
    FALSE("ggml.normalizer.strip_accents"),
    FALSE("ggml.add_unknown_token"),
    FALSE("ggml.add_padding_token"),
    FALSE("ggml.add_cls_token"),
    FALSE("ggml.add_mask_token"),
    EMPTY("ggml.precompiled_charsmap"),
    EMPTY("ggml.suppress_tokens"),
};

tlp_status tlpi_vocab_check_key(const tlpi_gguf *g, const tlpi_gguf_kv *kv,
                                const char *name)
{
    return tlpi_gguf_check_key(g, kv, name, rules, TLPI_COUNT(rules), 0);
}
