/*
 * hf_pretok.c - which tokenizer a tokenizer.json describes, by the structure of
 * its normalizer, its pre-tokenizer and its decoder.
 *
 * Byte-level BPE has a pre-tokenizer of the type ByteLevel, behind others that
 * cut texts.  The steps together have a name in tokenizer.ggml.pre.
 * SentencePiece's style has byte_fallback, and writes blanks as U+2581: by a
 * normalizer, or by a pre-tokenizer of the type Metaspace.
 */
#include <stdio.h>
#include <string.h>

#include "hf/hf_model.h"

#define BLANK "\xe2\x96\x81" /* U+2581 */

/* ==== patterns =========================================================== */

typedef enum cut_step {
    CUT_END,
    CUT_DIGITS, /* each digit */
    CUT_LLAMA3,
    CUT_QWEN2,
    CUT_TEKKEN,
    CUT_GPT4O,
    CUT_LINES,
    CUT_LETTERS,
    CUT_PUNCTUATION,
    CUT_EAST,  /* Han, kana and others */
    CUT_BYTES, /* ByteLevel, with the pattern of gpt-2 */
    CUT_SPELL  /* ByteLevel without a pattern: it cuts nothing */
} cut_step;

#define PATTERN(digits)                                                        \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits       \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define CAPITAL "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define SMALL "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(suffix, digits)                                                  \
    "[^\\r\\n\\p{L}\\p{N}]?" CAPITAL "*" SMALL "+" suffix                      \
    "|[^\\r\\n\\p{L}\\p{N}]?" CAPITAL "+" SMALL "*" suffix "|" digits          \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* All of a text matches a whole pattern, so that "Isolated" and an inverted
 * "Removed" cut alike. */
static const struct {
    const char *pattern;
    cut_step step;
    bool whole;
} patterns[] = {
    { PATTERN("\\p{N}{1,3}"), CUT_LLAMA3, true },
    { PATTERN("\\p{N}"), CUT_QWEN2, true },
    { CASED("", "\\p{N}"), CUT_TEKKEN, true },
    { CASED("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "\\p{N}{1,3}"), CUT_GPT4O, true },
    { "[\r\n]", CUT_LINES, false },
    { "\\s?\\p{L}+", CUT_LETTERS, false },
    { "\\s?\\p{P}+", CUT_PUNCTUATION, false },
    { "[一-龥ࠀ-一가-\xed\x9f\xbf]+", CUT_EAST, false },
};

#define MAX_STEP 6

/* Values of tokenizer.ggml.pre.  Where two names mean equal steps, a file gets
 * the first. */
static const struct {
    cut_step step[MAX_STEP];
    bool ignore_merges;
    const char *name;
} sets[] = {
    { { CUT_BYTES }, false, "gpt-2" },
    { { CUT_DIGITS, CUT_BYTES }, false, "smollm" },
    { { CUT_LLAMA3, CUT_SPELL }, true, "llama-bpe" },
    { { CUT_LLAMA3, CUT_SPELL }, false, "dbrx" },
    { { CUT_QWEN2, CUT_SPELL }, false, "qwen2" },
    { { CUT_TEKKEN, CUT_SPELL }, true, "tekken" },
    { { CUT_GPT4O, CUT_SPELL }, false, "gpt-4o" },
    { { CUT_LINES, CUT_LETTERS, CUT_PUNCTUATION, CUT_EAST, CUT_DIGITS,
        CUT_SPELL },
      false,
      "deepseek-coder" },
};

/* ==== parts ============================================================== */

/* The parts of a processor: those of a sequence, or itself. */
typedef struct part_list {
    tlpi_hf_at at;    /* of the whole; object NULL: none */
    json_t *list;     /* of a sequence, else NULL */
    const char *name; /* the list's key */
    size_t n;
} part_list;

static tlp_status find_parts(part_list *p, const tlpi_hf_vocab *v,
                             const char *key, const char *name)
{
    tlpi_hf_at root = tlpi_hf_root(&v->file);
    const char *type = NULL;
    tlp_status st;

    *p = (part_list){ .name = name };
    TLP_TRY(tlpi_hf_enter(&p->at, &root, key));
    if (!p->at.object)
        return TLP_OK;
    TLP_TRY(tlpi_hf_str(&p->at, "type", true, &type));
    if (strcmp(type, "Sequence") == 0) {
        TLP_TRY(tlpi_hf_list(&p->at, name, &p->list));
        if (!p->list)
            TLP_TRY(
                tlpi_hf_refuse(TLP_EFORMAT, &p->at, name, "an array expected"));
    }
    p->n = p->list ? json_array_size(p->list) : 1;
done:
    return st;
}

/* Part i and its type. */
static tlp_status part_at(const part_list *p, size_t i, tlpi_hf_at *at,
                          const char **type)
{
    *at = p->at;
    if (p->list) {
        at->object = json_array_get(p->list, i);
        snprintf(at->prefix, sizeof at->prefix, "%.16s%.16s[%zu].",
                 p->at.prefix, p->name, i);
    }
    *type = NULL;
    return tlpi_hf_str(at, "type", true, type);
}

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static tlp_status refuse_type(const tlpi_hf_at *at)
{
    return tlpi_hf_refuse(TLP_ENOTSUP, at, "type", "not supported");
}

/* A text that must be `want`. */
static tlp_status need_text(const tlpi_hf_at *at, const char *key,
                            const char *want)
{
    const char *s = NULL;
    tlp_status st = tlpi_hf_str(at, key, true, &s);

    return st == TLP_OK && !is(s, want)
               ? tlpi_hf_refuse(TLP_ENOTSUP, at, key, "\"%s\" expected", want)
               : st;
}

static tlp_status need_bool(const tlpi_hf_at *at, const char *key, bool usual,
                            bool want)
{
    bool x = usual;
    tlp_status st = tlpi_hf_bool(at, key, false, &x);

    return st == TLP_OK && x != want
               ? tlpi_hf_refuse(TLP_ENOTSUP, at, key, "%s expected",
                                want ? "true" : "false")
               : st;
}

/* The text of {"String": text} or {"Regex": text}. */
static tlp_status read_pattern(const tlpi_hf_at *at, const char *kind,
                               const char **out)
{
    tlpi_hf_at pattern;
    tlp_status st = tlpi_hf_enter(&pattern, at, "pattern");

    *out = NULL;
    if (st != TLP_OK)
        return st;
    *out = json_string_value(json_object_get(pattern.object, kind));
    return *out ? TLP_OK
                : tlpi_hf_refuse(TLP_ENOTSUP, at, "pattern", "a %s expected",
                                 kind);
}

/* ==== byte-level BPE ===================================================== */

static tlp_status read_split(const tlpi_hf_at *at, cut_step *step)
{
    const char *pattern, *behavior = NULL;
    bool invert = false;
    tlp_status st;

    TLP_TRY(read_pattern(at, "Regex", &pattern));
    TLP_TRY(tlpi_hf_bool(at, "invert", false, &invert));
    TLP_TRY(tlpi_hf_str(at, "behavior", true, &behavior));
    if (!(invert ? is(behavior, "Removed") : is(behavior, "Isolated")))
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, at, "behavior", "\"%s\" expected",
                               invert ? "Removed" : "Isolated"));
    for (size_t i = 0; i < TLPI_COUNT(patterns); i++)
        if (is(pattern, patterns[i].pattern) && (patterns[i].whole || !invert))
            *step = patterns[i].step;
    if (*step == CUT_END)
        st = tlpi_fail(TLP_ENOTSUP,
                       "%s: key %spattern.Regex: \"%.96s\", not a known "
                       "pattern",
                       at->file->path.data, at->prefix, pattern);
done:
    return st;
}

static tlp_status read_step(const tlpi_hf_at *at, const char *type,
                            cut_step *step)
{
    bool regex = true;
    tlp_status st = TLP_OK;

    *step = CUT_END;
    if (is(type, "Digits")) {
        *step = CUT_DIGITS;
        st = need_bool(at, "individual_digits", false, true);
    } else if (is(type, "Split")) {
        st = read_split(at, step);
    } else if (is(type, "ByteLevel")) {
        TLP_TRY(need_bool(at, "add_prefix_space", true, false));
        TLP_TRY(tlpi_hf_bool(at, "use_regex", false, &regex));
        *step = regex ? CUT_BYTES : CUT_SPELL;
    } else {
        st = refuse_type(at);
    }
done:
    return st;
}

static tlp_status read_steps(const tlpi_hf_vocab *v, const part_list *p)
{
    cut_step step[MAX_STEP] = { CUT_END };
    tlpi_gguf_build *keys = &v->m->keys;
    tlpi_hf_at at, root = tlpi_hf_root(&v->file);
    const char *type;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < p->n; i++) {
        TLP_TRY(part_at(p, i, &at, &type));
        if (i == MAX_STEP)
            TLP_TRY(refuse_type(&at));
        TLP_TRY(read_step(&at, type, &step[i]));
    }
    for (size_t i = 0; i < TLPI_COUNT(sets); i++) {
        if (memcmp(sets[i].step, step, sizeof step) != 0 ||
            sets[i].ignore_merges != v->ignore_merges)
            continue;
        tlpi_build_str(keys, "tokenizer.ggml.model", "gpt2", 4);
        tlpi_build_str(keys, "tokenizer.ggml.pre", sets[i].name,
                       strlen(sets[i].name));
        return TLP_OK;
    }
    st = tlpi_hf_refuse(TLP_ENOTSUP, &root, "pre_tokenizer",
                        "with ignore_merges %s these steps are not known",
                        v->ignore_merges ? "true" : "false");
done:
    return st;
}

/* Normalizers of byte-level BPE: none, or a form of Unicode that texts are
 * nearly always in. */
static tlp_status read_forms(const tlpi_hf_vocab *v, const part_list *p)
{
    tlpi_hf_at at;
    const char *type;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < p->n; i++) {
        TLP_TRY(part_at(p, i, &at, &type));
        if (!is(type, "NFC"))
            TLP_TRY(refuse_type(&at));
        tlpi_hf_warn(&at, "type",
                     "left out: texts that are not in this form give other "
                     "tokens");
    }
    (void)v;
done:
    return st;
}

/* ==== SentencePiece ====================================================== */

typedef struct blank_rules {
    bool replaced; /* blanks become U+2581 */
    bool prefix;   /* a blank is put before a text */
    bool first;    /* and before no other stretch between special tokens */
} blank_rules;

static tlp_status read_blanks(const part_list *p, blank_rules *b)
{
    tlpi_hf_at at;
    const char *type, *pattern;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < p->n; i++) {
        TLP_TRY(part_at(p, i, &at, &type));
        if (is(type, "Prepend")) {
            TLP_TRY(need_text(&at, "prepend", BLANK));
            b->prefix = true;
        } else if (is(type, "Replace")) {
            TLP_TRY(read_pattern(&at, "String", &pattern));
            if (!is(pattern, " "))
                TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, &at, "pattern",
                                       "a blank expected"));
            TLP_TRY(need_text(&at, "content", BLANK));
            b->replaced = true;
        } else {
            TLP_TRY(refuse_type(&at));
        }
    }
done:
    return st;
}

static tlp_status read_metaspace(const tlpi_hf_at *at, blank_rules *b)
{
    const char *scheme = "always";
    tlp_status st;

    TLP_TRY(need_text(at, "replacement", BLANK));
    TLP_TRY(need_bool(at, "split", true, false));
    TLP_TRY(tlpi_hf_str(at, "prepend_scheme", false, &scheme));
    b->replaced = true;
    b->first = is(scheme, "first");
    b->prefix = b->first || is(scheme, "always");
    if (!b->prefix && !is(scheme, "never"))
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, at, "prepend_scheme",
                               "first, always or never expected"));
    if (b->prefix)
        tlpi_hf_warn(at, "prepend_scheme",
                     "a text that begins with a blank gets one more");
done:
    return st;
}

/* Cutting at blanks comes too late to cut anything: the normalizer has replaced
 * them. */
static tlp_status read_late_split(const tlpi_hf_at *at, const blank_rules *b)
{
    const char *pattern;
    tlp_status st = read_pattern(at, "String", &pattern);

    if (st != TLP_OK)
        return st;
    return is(pattern, " ") && b->replaced
               ? TLP_OK
               : tlpi_hf_refuse(TLP_ENOTSUP, at, "pattern", "a blank expected");
}

static tlp_status read_spm(const tlpi_hf_vocab *v, const part_list *normalizer,
                           const part_list *cutter)
{
    blank_rules b = { .replaced = false };
    tlpi_gguf_build *keys = &v->m->keys;
    tlpi_hf_at at, root = tlpi_hf_root(&v->file);
    const char *type;
    tlp_status st;

    TLP_TRY(read_blanks(normalizer, &b));
    for (size_t i = 0; i < cutter->n; i++) {
        TLP_TRY(part_at(cutter, i, &at, &type));
        TLP_TRY(is(type, "Metaspace") && !b.replaced ? read_metaspace(&at, &b)
                : is(type, "Split")                  ? read_late_split(&at, &b)
                                                     : refuse_type(&at));
    }
    if (!b.replaced)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, &root, "normalizer",
                               "blanks that become U+2581 expected"));
    if (v->ignore_merges)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, &v->model, "ignore_merges",
                               "false expected with byte_fallback"));
    tlpi_build_str(keys, "tokenizer.ggml.model", "llama", 5);
    tlpi_build_str(keys, "tokenizer.ggml.pre", "default", 7);
    tlpi_build_bool(keys, "tokenizer.ggml.add_space_prefix", b.prefix);
    if (b.first)
        tlpi_build_bool(keys, "tokenizer.ggml.legacy", false);
done:
    return st;
}

/* ==== both =============================================================== */

/* Decoders that the library's texts agree with. */
static tlp_status check_decoder(const tlpi_hf_vocab *v)
{
    static const char *const bytes[] = { "ByteLevel", NULL };
    static const char *const spm[] = { "Replace", "ByteFallback", "Fuse",
                                       "Strip",   "Metaspace",    NULL };
    const char *const *known = v->is_bytes ? bytes : spm;
    part_list p;
    tlpi_hf_at at;
    const char *type;
    tlp_status st;

    TLP_TRY(find_parts(&p, v, "decoder", "decoders"));
    for (size_t i = 0; i < p.n; i++) {
        size_t k = 0;

        TLP_TRY(part_at(&p, i, &at, &type));
        while (known[k] && !is(type, known[k]))
            k++;
        if (!known[k])
            TLP_TRY(refuse_type(&at));
    }
done:
    return st;
}

static tlp_status find_bytes(const part_list *p, bool *found)
{
    tlpi_hf_at at;
    const char *type;
    tlp_status st = TLP_OK;

    for (size_t i = 0; i < p->n && st == TLP_OK; i++) {
        st = part_at(p, i, &at, &type);
        *found |= is(type, "ByteLevel");
    }
    return st;
}

tlp_status tlpi_hf_pretok_read(tlpi_hf_vocab *v)
{
    part_list normalizer, cutter;
    bool fallback = false;
    tlp_status st;

    TLP_TRY(tlpi_hf_bool(&v->model, "byte_fallback", false, &fallback));
    TLP_TRY(find_parts(&normalizer, v, "normalizer", "normalizers"));
    TLP_TRY(find_parts(&cutter, v, "pre_tokenizer", "pretokenizers"));
    TLP_TRY(find_bytes(&cutter, &v->is_bytes));
    if (v->is_bytes == fallback)
        TLP_TRY(tlpi_hf_refuse(TLP_ENOTSUP, &v->model, "byte_fallback", "%s",
                               fallback ? "but bytes are spelt (ByteLevel)"
                                        : "true, or a pre-tokenizer ByteLevel, "
                                          "expected"));
    if (v->is_bytes) {
        TLP_TRY(read_forms(v, &normalizer));
        TLP_TRY(read_steps(v, &cutter));
    } else {
        TLP_TRY(read_spm(v, &normalizer, &cutter));
    }
    st = check_decoder(v);
done:
    return st;
}
