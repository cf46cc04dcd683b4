/*
 * vocab_control.c - which tokens are control tokens, and which of them end a
 * generation.
 *
 * The types in a file may be missing or contradict the texts: converters write
 * <|im_end|> as ordinary or user-defined text.  Then the text decides, and a
 * warning says so.  A token that merges make out of text stays text.
 */
#include <string.h>

#include "text/vocab_impl.h"

#define BAR "\xef\xbd\x9c"   /* U+FF5C */
#define BLANK "\xe2\x96\x81" /* U+2581 */

/* Texts that end a turn or a generation; of turns the most reliable first. */
typedef struct end_text {
    const char *text;
    bool is_turn;
    bool is_markup; /* may also be a tag of the text that was trained on */
} end_text;

static const end_text ends[] = {
    { "<|im_end|>", true, false },
    { "<|eot_id|>", true, false },
    { "<|end|>", true, false },
    { "<end_of_turn>", true, false },
    { "<|endoftext|>", true, false },
    { "<EOT>", true, false },
    { "<|eot|>", true, false },
    { "<|EOT|>", true, false },
    { "<|end_of_turn|>", true, false },
    { "<|endofturn|>", true, false },
    { "[|endofturn|]", true, false },
    { "<|END_OF_TURN_TOKEN|>", true, false },
    { "<|end_of_sentence|>", true, false },
    { "<turn|>", true, false },
    { "[EOT]", true, false },
    { "_<EOT>", true, false },
    { BLANK "<EOT>", true, false },
    { "<|eom_id|>", false, false },
    { "<|eom|>", false, false },
    { "<|end_of_text|>", false, false },
    { "<|eos|>", false, false },
    { "<|return|>", false, false },
    { "<|call|>", false, false },
    { "<end_of_utterance>", false, false },
    { "<" BAR "end" BLANK "of" BLANK "sentence" BAR ">", false, false },
    { "</s>", false, true },
    { "<eos>", false, true },
    { "[EOS]", false, true },
};

/* Control tokens of a file without types, besides ends and "<|...|>". */
static const char *const usual[] = {
    "<s>",   "<unk>", "<pad>", "<bos>",  "<mask>",  "<start_of_turn>",
    "[PAD]", "[UNK]", "[BOS]", "[INST]", "[/INST]",
};

static bool is(tlpi_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.s, text, s.n) == 0;
}

static int32_t find(const tlpi_vocab *v, const char *text)
{
    return tlpi_index_find1(v, text, strlen(text));
}

/* ==== control tokens by their text ======================================= */

/* Is s an opening, a name and a closing, as in <|name|>? */
static bool is_framed(tlpi_str s, const char *open, const char *close)
{
    size_t n = strlen(open), m = strlen(close);
    bool named = false;

    if (s.n <= n + m || memcmp(s.s, open, n) != 0 ||
        memcmp(s.s + s.n - m, close, m) != 0)
        return false;
    for (size_t i = n; i < s.n - m; i++) {
        char c = s.s[i];
        if (c == '<' || c == '>' || (c >= 0 && c <= ' '))
            return false;
        named |= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 (c >= '0' && c <= '9');
    }
    return named;
}

static const end_text *end_of(tlpi_str text)
{
    for (size_t i = 0; i < TLPI_COUNT(ends); i++)
        if (is(text, ends[i].text))
            return &ends[i];
    return NULL;
}

/* Does the vocabulary have tags like </b>, to which </s> belongs? */
static bool has_markup(const tlpi_vocab *v)
{
    return find(v, "</b>") >= 0 || find(v, "</i>") >= 0 || find(v, "</p>") >= 0;
}

/* Does a key name the token as the begin or end of a text, and is it written
 * like one? */
static bool is_named(const tlpi_vocab *v, int32_t id)
{
    const tlpi_special *s = &v->special;
    tlpi_str text = v->text[id];
    char first = text.s[0], last = text.s[text.n - 1];

    return (id == s->bos || id == s->eos || id == s->eot || id == s->eom) &&
           ((first == '<' && last == '>') || (first == '[' && last == ']'));
}

/* Is this token, whose type says text, a control token? */
static bool looks_special(const tlpi_vocab *v, int32_t id, bool typed)
{
    tlpi_str text = v->text[id];

    /* The texts that are looked for begin with one of these bytes. */
    if (text.n < 3 || !strchr("<[_" BLANK, text.s[0]) ||
        (v->made && v->made[id]))
        return false;
    const end_text *end = end_of(text);
    if (is_named(v, id))
        return true;
    if (end)
        return !end->is_markup || !typed || !has_markup(v);
    if (v->type[id] != TLPI_TOKEN_NORMAL)
        return false;
    if (is_framed(text, "<|", "|>") || is_framed(text, "<" BAR, BAR ">") ||
        is(text, "<start_of_turn>"))
        return true;
    for (size_t i = 0; !typed && i < TLPI_COUNT(usual); i++)
        if (is(text, usual[i]))
            return true;
    return false;
}

static void warn_types(const tlpi_vocab *v, bool typed, int n, int32_t first,
                       int type)
{
    const char *key = "tokenizer.ggml.token_type";
    tlpi_str text = tlpi_vocab_text(v, first);

    if (typed && n > 0)
        tlpi_log(v->env, TLP_LOG_WARN,
                 "%s: key %s[%d]: %d, but \"%.*s\" looks like a control token "
                 "and is taken as one; such tokens: %d",
                 v->g->path, key, first, type, TLPI_STR(text), n);
    else if (!typed && n > 0)
        tlpi_log(v->env, TLP_LOG_WARN,
                 "%s: key %s: missing; taken as control tokens by their texts: "
                 "%d tokens, the first is %d \"%.*s\"",
                 v->g->path, key, n, first, TLPI_STR(text));
    else if (!typed)
        tlpi_log(v->env, TLP_LOG_WARN,
                 "%s: key %s: missing; no token looks like a control token",
                 v->g->path, key);
}

void tlpi_vocab_mend_types(tlpi_vocab *v)
{
    bool typed = tlpi_gguf_find(v->g, "tokenizer.ggml.token_type") != NULL;
    int32_t first = -1;
    int n = 0, type = 0;

    for (int32_t id = 0; id < v->n_token; id++) {
        if (v->type[id] == TLPI_TOKEN_CONTROL || !looks_special(v, id, typed))
            continue;
        if (n++ == 0) {
            first = id;
            type = v->type[id];
        }
        v->type[id] =
            is(v->text[id], "<unk>") ? TLPI_TOKEN_UNKNOWN : TLPI_TOKEN_CONTROL;
        v->piece[id] = v->text[id];
    }
    warn_types(v, typed, n, first, type);
}

/* ==== ends =============================================================== */

static void add_end(tlpi_vocab *v, int32_t id)
{
    if (id >= 0 && id < v->n_vocab)
        v->is_end[id] = 1;
}

/* In the harmony format <|end|> closes a message, and the turn goes on. */
static bool is_harmony(const tlpi_vocab *v)
{
    return find(v, "<|return|>") >= 0 && find(v, "<|call|>") >= 0;
}

static bool add_ends_by_text(tlpi_vocab *v)
{
    bool any = false;

    for (size_t i = 0; i < TLPI_COUNT(ends); i++) {
        int32_t id = find(v, ends[i].text);
        bool is_control = id >= 0 && v->type[id] == TLPI_TOKEN_CONTROL;

        if (id < 0 || (ends[i].is_markup && !is_control) ||
            (is(v->text[id], "<|end|>") && is_harmony(v)))
            continue;
        if (!is_control)
            tlpi_log(v->env, TLP_LOG_WARN,
                     "%s: key tokenizer.ggml.token_type[%d]: %d, but \"%s\" "
                     "ends a generation",
                     v->g->path, id, v->type[id], ends[i].text);
        if (ends[i].is_turn && v->special.eot < 0)
            v->special.eot = id;
        add_end(v, id);
        any = true;
    }
    return any;
}

static tlp_status add_listed_ends(tlpi_vocab *v)
{
    const tlpi_gguf_kv *kv;
    tlp_status st = tlpi_vocab_array(v, "tokenizer.ggml.eos_token_ids", false,
                                     0, false, &kv);

    if (st == TLP_OK && kv && !tlpi_gguf_is_integer(kv->type))
        return tlpi_fail(TLP_EFORMAT, "%s: key %s: array of integers expected",
                         v->g->path, kv->key);
    for (uint64_t i = 0; st == TLP_OK && kv && i < kv->n; i++) {
        int64_t id = tlpi_gguf_elem_i64(kv, i);
        if (id < 0 || id >= v->n_vocab)
            return tlpi_fail(TLP_EFORMAT,
                             "%s: key %s[%llu]: %lld, less than %d expected",
                             v->g->path, kv->key, (unsigned long long)i,
                             (long long)id, v->n_vocab);
        add_end(v, (int32_t)id);
    }
    return st;
}

/* A token that the file names should be a control token, and an end one of the
 * known ends if the file has any. */
static void check_named(const tlpi_vocab *v, const char *key, int32_t id,
                        bool known_ends)
{
    tlpi_str text = tlpi_vocab_text(v, id);
    int type = id >= 0 && id < v->n_token ? v->type[id] : 0;

    if (id < 0)
        return;
    if (type != TLPI_TOKEN_CONTROL)
        tlpi_log(
            v->env, TLP_LOG_WARN,
            "%s: key %s: %d, which is \"%.*s\" of type %d; a control token "
            "expected",
            v->g->path, key, id, TLPI_STR(text), type);
    else if (known_ends && !end_of(text))
        tlpi_log(v->env, TLP_LOG_WARN,
                 "%s: key %s: %d, which is \"%.*s\"; tokens that are known to "
                 "end a text end generations too",
                 v->g->path, key, id, TLPI_STR(text));
}

tlp_status tlpi_vocab_find_ends(tlpi_vocab *v)
{
    tlpi_special *s = &v->special;
    int32_t named_eot = s->eot;

    v->is_end = tlpi_calloc(v->env, (size_t)v->n_vocab, sizeof *v->is_end);
    if (!v->is_end)
        return tlpi_fail_nomem_for("a vocabulary");
    bool known = add_ends_by_text(v);
    if (s->eom < 0)
        s->eom = find(v, "<|eom_id|>");
    add_end(v, s->eos);
    add_end(v, s->eot);
    add_end(v, s->eom);
    check_named(v, "tokenizer.ggml.eos_token_id", s->eos, known);
    check_named(v, "tokenizer.ggml.eot_token_id", named_eot, false);
    check_named(v, "tokenizer.ggml.bos_token_id", s->bos, false);
    if (!known && s->eos < 0 && s->eot < 0 &&
        !tlpi_gguf_find(v->g, "tokenizer.ggml.eos_token_ids"))
        tlpi_log(
            v->env, TLP_LOG_WARN,
            "%s: key tokenizer.ggml.eos_token_id: missing; no token ends a "
            "generation",
            v->g->path);
    return add_listed_ends(v);
}
