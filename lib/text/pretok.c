/*
 * pretok.c - cut a text into pre-tokens, the words that BPE works on.
 *
 * The patterns stand in this file; tokenizer.ggml.pre chooses a set of them.  A
 * pattern is never read from a model.  Each pattern of a set cuts the pieces of
 * the pattern before it into matches and the text between matches.
 *
 * A byte that is not UTF-8 is a word of one byte, and ends the text on both
 * sides of it.
 *
 * All patterns take time proportional to the text: repeats are possessive, and
 * where the original goes back over blanks ("\s*[\r\n]+", "\s+(?!\S)") a
 * pattern here goes back once in a run of blanks.  The patterns stay below
 * PCRE2's limits.
 *
 * PCRE2 interprets the patterns.  Its JIT would need pages that are writable
 * and executable, which it keeps for the process's lifetime: also after the
 * library is unloaded.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#include "text/utf8.h"
#include "text/vocab_impl.h"

/* ==== patterns =========================================================== */

/*
 * Blanks are Unicode's White_Space.  PCRE2's \s would add U+180E, which is not
 * White_Space since Unicode 6.3.
 */
#define BLANK "\\x09-\\x0d\\x20\\x{85}\\p{Z}"
#define S "[" BLANK "]"
#define INLINE "[\\x09\\x0b\\x0c\\x20\\x{85}\\p{Z}]" /* S without \r and \n */

#define GPT2_SUFFIX "'(?:[sdmt]|ll|ve|re)"
#define LLAMA3_SUFFIX "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])"

/* A run of blanks without its last blank, which belongs to the word after it.
 * At the end of the text: the whole run. */
#define BLANKS S "+(?![^" BLANK "])|" S "++"

#define GPT2                                                                   \
    GPT2_SUFFIX "| ?\\p{L}++| ?\\p{N}++| ?[^" BLANK "\\p{L}\\p{N}]++|" BLANKS

/* The pattern of gpt-2 for text between digits.  A piece ends before a digit,
 * and takes all blanks there. */
#define SMOLLM                                                                 \
    GPT2_SUFFIX "| ?\\p{L}++|\\p{N}"                                           \
                "| ?[^" BLANK "\\p{L}\\p{N}]++"                                \
                "|" S "+(?![^" BLANK "\\p{N}])"                                \
                "|" S "++"

#define LLAMA3(digits)                                                         \
    LLAMA3_SUFFIX "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}++"                            \
                  "|" digits "| ?[^" BLANK "\\p{L}\\p{N}]++[\\r\\n]*+"         \
                  "|(?:" INLINE "*+[\\r\\n]++)++"                              \
                  "|" BLANKS

/* Letters of words that begin with capitals, and of words' small ends.  Letters
 * without case and marks are both.  The first alternative goes back once in a
 * run of letters, as far as the last letter that can be small. */
#define CAPITAL "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define SMALL "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(suffix, digits)                                                  \
    "[^\\r\\n\\p{L}\\p{N}]?" CAPITAL "*" SMALL "++" suffix                     \
    "|[^\\r\\n\\p{L}\\p{N}]?" CAPITAL "++" SMALL "*+" suffix "|" digits        \
    "| ?[^" BLANK "\\p{L}\\p{N}]++[\\r\\n/]*+"                                 \
    "|(?:" INLINE "*+[\\r\\n]++)++"                                            \
    "|" BLANKS

/* Han, kana and other letters as deepseek-coder gives them: from one code point
 * to another. */
#define EAST "[\\x{4e00}-\\x{9fa5}\\x{0800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]++"

#define MAX_PATTERN 5

static const struct pattern_set {
    const char *name;
    tlpi_pretok_rules rules;
    const char *pattern[MAX_PATTERN];
} sets[] = {
    { "smollm", { false, false }, { SMOLLM } },
    { "refact", { false, false }, { SMOLLM } }, /* granite's */
    { "exaone", { false, false }, { SMOLLM } },
    { "minerva-7b", { false, false }, { SMOLLM } },
    { "gpt-2", { false, false }, { GPT2 } },
    { "olmo", { false, false }, { GPT2 } },
    { "exaone4", { false, false }, { GPT2 } },
    { "trillion", { false, false }, { GPT2 } },
    { "mellum", { false, false }, { GPT2 } },
    { "a.x-4.0", { false, false }, { GPT2 } },
    { "dbrx", { false, false }, { LLAMA3("\\p{N}{1,3}+") } }, /* OLMo 2's */
    { "smaug-bpe", { false, false }, { LLAMA3("\\p{N}{1,3}+") } },
    { "glm4", { false, false }, { LLAMA3("\\p{N}{1,3}+") } },
    { "chatglm-bpe", { false, false }, { LLAMA3("\\p{N}{1,3}+") } },
    { "llama-bpe", { true, true }, { LLAMA3("\\p{N}{1,3}+") } },
    { "llama3", { true, true }, { LLAMA3("\\p{N}{1,3}+") } },
    { "llama-v3", { true, true }, { LLAMA3("\\p{N}{1,3}+") } },
    { "falcon3", { true, true }, { LLAMA3("\\p{N}{1,3}+") } },
    { "pixtral", { true, true }, { LLAMA3("\\p{N}{1,3}+") } },
    { "midm-2.0", { true, true }, { LLAMA3("\\p{N}{1,3}+") } },
    { "tekken", { true, true }, { CASED("", "\\p{N}") } },
    { "gpt-4o",
      { false, false },
      { CASED("(?:" LLAMA3_SUFFIX ")?+", "\\p{N}{1,3}+") } },
    { "qwen2", { false, false }, { LLAMA3("\\p{N}") } },
    { "deepseek-r1-qwen", { false, false }, { LLAMA3("\\p{N}") } },
    { "megrez", { false, false }, { LLAMA3("\\p{N}") } },
    { "deepseek-coder",
      { false, false },
      { "[\\r\\n]", S "?\\p{L}++", S "?\\p{P}++", EAST, "\\p{N}" } },
    { "default",
      { false, false },
      { "[\\p{P}$+<=>^~|]++", GPT2, "\\p{N}++", "[0-9][0-9][0-9]" } },
};

/* ==== compiling ========================================================== */

struct tlpi_pretok {
    const tlpi_env *env;
    pcre2_general_context *general;
    pcre2_code *code[MAX_PATTERN];
    int n_code;
};

static void *pcre_alloc(size_t size, void *env)
{
    return tlpi_alloc(env, size);
}

static void pcre_free(void *p, void *env)
{
    tlpi_free(env, p);
}

static tlp_status compile(tlpi_pretok *p, const char *pattern,
                          pcre2_compile_context *context)
{
    int error;
    size_t at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_UCP, &error, &at, context);

    if (!code)
        return error == PCRE2_ERROR_HEAP_FAILED
                   ? tlpi_fail_nomem_for("a tokenizer")
                   : tlpi_fail(TLP_ERROR,
                               "pattern \"%s\": PCRE2 error %d at %zu", pattern,
                               error, at);
    p->code[p->n_code++] = code;
    return TLP_OK;
}

static tlp_status compile_set(tlpi_pretok *p, const struct pattern_set *set)
{
    tlp_status st = TLP_OK;
    pcre2_compile_context *context = pcre2_compile_context_create(p->general);

    if (!context)
        return tlpi_fail_nomem_for("a tokenizer");
    for (int i = 0; i < MAX_PATTERN && set->pattern[i] && st == TLP_OK; i++)
        st = compile(p, set->pattern[i], context);
    pcre2_compile_context_free(context);
    return st;
}

tlp_status tlpi_pretok_create(tlpi_pretok **out, const tlpi_env *env,
                              const char *path, tlpi_str pre,
                              tlpi_pretok_rules *rules)
{
    tlp_status st = TLP_OK;
    const struct pattern_set *set = NULL;

    *out = NULL;
    for (size_t i = 0; i < TLPI_COUNT(sets); i++)
        if (strlen(sets[i].name) == pre.n &&
            memcmp(sets[i].name, pre.s, pre.n) == 0)
            set = &sets[i];
    if (!set)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key tokenizer.ggml.pre: pre-tokenizer \"%.*s\" "
                         "is not supported",
                         path, TLPI_STR(pre));
    tlpi_pretok *p = tlpi_calloc(env, 1, sizeof *p);
    if (!p)
        return tlpi_fail_nomem_for("a tokenizer");
    p->env = env;
    p->general = pcre2_general_context_create(pcre_alloc, pcre_free,
                                              (void *)(uintptr_t)env);
    TLP_TRY(p->general ? TLP_OK : tlpi_fail_nomem_for("a tokenizer"));
    TLP_TRY(compile_set(p, set));
    *rules = set->rules;
    *out = p;
    p = NULL;
done:
    tlpi_pretok_free(p);
    return st;
}

void tlpi_pretok_free(tlpi_pretok *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n_code; i++)
        pcre2_code_free(p->code[i]);
    pcre2_general_context_free(p->general);
    tlpi_free(p->env, p);
}

/* ==== cutting ============================================================ */

typedef struct splitter {
    const tlpi_pretok *p;
    pcre2_match_data *match;
    pcre2_match_context *context;
    tlpi_word_fn fn;
    void *arg;
} splitter;

/* The first match at or after `from`; [n, n) if there is none. */
static tlp_status find(const splitter *sp, int level, const char *s, size_t n,
                       size_t from, size_t *begin, size_t *end)
{
    int rc = pcre2_match(sp->p->code[level], (PCRE2_SPTR)s, n, from,
                         PCRE2_NO_UTF_CHECK, sp->match, sp->context);

    *begin = *end = n;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return tlpi_fail_nomem_for("a tokenizer");
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return tlpi_fail(TLP_ERROR, "text at byte %zu of %zu: PCRE2 error %d",
                         from, n, rc);
    if (rc > 0) {
        const size_t *span = pcre2_get_ovector_pointer(sp->match);
        *begin = span[0];
        *end = span[1];
    }
    return TLP_OK;
}

/* Cut whole UTF-8 by the patterns from `level` on; at most MAX_PATTERN deep. */
static tlp_status cut(const splitter *sp, int level, const char *s, size_t n)
{
    tlp_status st = TLP_OK;
    size_t begin, end;

    if (level == sp->p->n_code)
        return sp->fn(sp->arg, s, n);
    for (size_t from = 0; from < n; from = end) {
        TLP_TRY(find(sp, level, s, n, from, &begin, &end));
        if (begin > from)
            TLP_TRY(cut(sp, level + 1, s + from, begin - from));
        if (end > begin)
            TLP_TRY(cut(sp, level + 1, s + begin, end - begin));
    }
done:
    return st;
}

/* Bytes of whole UTF-8 at the start of s. */
static size_t valid_length(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n) {
        tlpi_utf8 what = TLPI_UTF8_CHAR;
        size_t len =
            (uint8_t)s[i] < 0x80 ? 1 : tlpi_utf8_next(s + i, n - i, &what);
        if (what != TLPI_UTF8_CHAR)
            break;
        i += len;
    }
    return i;
}

tlp_status tlpi_pretok_split(const tlpi_pretok *p, const char *text, size_t n,
                             tlpi_word_fn fn, void *arg)
{
    tlp_status st = TLP_OK;
    splitter sp = { .p = p, .fn = fn, .arg = arg };

    sp.match = pcre2_match_data_create(1, p->general);
    sp.context = pcre2_match_context_create(p->general);
    TLP_TRY(sp.match && sp.context ? TLP_OK
                                   : tlpi_fail_nomem_for("a tokenizer"));
    /* A step or two for each character; nothing is kept for later steps. */
    pcre2_set_match_limit(sp.context, (uint32_t)TLPI_MIN(n, 1u << 28) * 4 + 64);
    pcre2_set_heap_limit(sp.context, 256);
    for (size_t i = 0; i < n;) {
        size_t len = valid_length(text + i, n - i);
        TLP_TRY(cut(&sp, 0, text + i, len));
        i += len;
        if (i < n)
            TLP_TRY(fn(arg, text + i++, 1));
    }
done:
    pcre2_match_context_free(sp.context);
    pcre2_match_data_free(sp.match);
    return st;
}
