/*
 * test_grammar.c - grammars in GBNF: which texts match, and which grammars are
 * refused, with the line and the rule at fault.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/grammar_rig.h"

TestSuite(grammar, .timeout = 120);

static tlp_model *model;

static void set_up(void)
{
    model = rig_bpe();
}

static void tear_down(void)
{
    tlp_model_free(model);
}

/* ==== what matches ======================================================= */

typedef struct text_case {
    const char *grammar, *text;
    rig_verdict want;
} text_case;

static void check_texts(const text_case *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        tlp_grammar *g = rig_grammar(model, c[i].grammar);
        rig_verdict got = rig_match(g, c[i].text, strlen(c[i].text));
        cr_expect_eq(got, c[i].want, "%s\non \"%s\": %d, %d expected",
                     c[i].grammar, c[i].text, got, c[i].want);
        tlp_grammar_free(g);
    }
}

#define CHECK_TEXTS(...)                                                       \
    do {                                                                       \
        static const text_case cases[] = { __VA_ARGS__ };                      \
        check_texts(cases, sizeof cases / sizeof *cases);                      \
    } while (0)

Test(grammar, symbols, .init = set_up, .fini = tear_down)
{
    CHECK_TEXTS(
        { "root ::= \"ab\" | \"ac\"", "a", RIG_PART },
        { "root ::= \"ab\" | \"ac\"", "ac", RIG_ALL },
        { "root ::= \"ab\" | \"ac\"", "ad", RIG_NO },
        { "root ::= \"a\" |", "", RIG_MAY }, { "root ::=", "", RIG_ALL },
        { "root ::= \"\"", "", RIG_ALL },
        { "root ::= [a-cx_]+", "abcx_", RIG_MAY },
        { "root ::= [a-c]", "d", RIG_NO }, { "root ::= [-a]", "-", RIG_ALL },
        { "root ::= [a-]", "-", RIG_ALL }, { "root ::= [a\\-c]", "b", RIG_NO },
        { "root ::= [\\]\\[\\\\]+", "][\\", RIG_MAY },
        { "root ::= [^a-c\\n]", "d", RIG_ALL },
        { "root ::= [^a-c\\n]", "\n", RIG_NO }, { "root ::= .", "x", RIG_ALL },
        { "root ::= .", "\n", RIG_ALL },
        { "root ::= \"\\x41\\u0042\\U00000043\\t\\r\\n\\\\\\\"\"",
          "ABC\t\r\n\\\"", RIG_ALL },
        { "root ::= (\"a\" | \"b\" (\"c\" | \"d\")) \"e\"", "bde", RIG_ALL },
        { "root ::= a-1 B_2\na-1 ::= \"x\"\nB_2 ::= \"y\"", "xy", RIG_ALL });
}

Test(grammar, repetitions, .init = set_up, .fini = tear_down)
{
    CHECK_TEXTS({ "root ::= \"ab\"*", "ababab", RIG_MAY },
                { "root ::= \"ab\"*", "aba", RIG_PART },
                { "root ::= \"ab\"+", "", RIG_PART },
                { "root ::= \"ab\"?", "ab", RIG_ALL },
                { "root ::= \"a\"{3}", "aa", RIG_PART },
                { "root ::= \"a\"{3}", "aaa", RIG_ALL },
                { "root ::= \"a\"{ 2 , 3 }", "aa", RIG_MAY },
                { "root ::= \"a\"{2,}", "aaaaa", RIG_MAY },
                { "root ::= \"a\"{2,}", "a", RIG_PART },
                { "root ::= \"a\"{0}", "a", RIG_NO },
                { "root ::= \"a\"{0,0} \"b\"", "b", RIG_ALL },
                { "root ::= (\"a\" \"b\"?){2} \"c\"", "abac", RIG_ALL },
                { "root ::= (\"a\"{2} \",\"){2}", "aa,aa,", RIG_ALL },
                { "root ::= (\"a\"* \"b\"*)* \"c\"", "aabbac", RIG_ALL },
                { "root ::= (\"\" | \"a\")+ \"c\"", "aac", RIG_ALL },
                { "root ::= \"a\"{200,300}", "a", RIG_PART },
                { "root ::= \"a\"?{3}", "aa", RIG_MAY },
                { "root ::= \"a\"?{3}", "aaaa", RIG_NO });
}

Test(grammar, lines, .init = set_up, .fini = tear_down)
{
    CHECK_TEXTS({ "\n# a comment\n  root ::= # more\n  \"a\" |\n \"b\" # end\n",
                  "b", RIG_ALL },
                { "root ::= (\n \"a\"\n | \"b\" # x\n *)*", "aba", RIG_MAY },
                { "root ::= x\r\nx ::= \"a\"\r\n", "a", RIG_ALL });
}

Test(grammar, characters, .init = set_up, .fini = tear_down)
{
    CHECK_TEXTS(
        { "root ::= \"\u00e9\"", "\xc3", RIG_PART },
        { "root ::= \"\u00e9\"", "\xc3\xa9", RIG_ALL },
        { "root ::= [\u3041-\u309f]+", "\u3042\u3093", RIG_MAY },
        { "root ::= [\u3041-\u309f]+", "\u30a0", RIG_NO },
        { "root ::= [^\u3041-\u309f]", "\u3042", RIG_NO },
        { "root ::= [^\u3041-\u309f]", "\u30a0", RIG_ALL },
        { "root ::= .", "\U0001f600", RIG_ALL },
        { "root ::= .", "\xf0\x9f\x98", RIG_PART },
        { "root ::= .", "\xed\xa0", RIG_NO }, /* a surrogate */
        { "root ::= .", "\xc0", RIG_NO },     /* an overlong form */
        { "root ::= .", "\xf4\x90", RIG_NO }, /* past U+10FFFF */
        { "root ::= .", "\x80", RIG_NO },
        { "root ::= [\\x7f-\\u0080]", "\xc2\x80", RIG_ALL },
        { "root ::= [\\x7f-\\u0080]", "\xc2\x81", RIG_NO },
        { "root ::= [\\u07ff-\\u0800]", "\xe0\xa0\x80", RIG_ALL },
        { "root ::= [\\uffff-\\U00010000]", "\xf0\x90\x80\x80", RIG_ALL },
        { "root ::= [\\u0100-\\U0010ffff]", "\xc4\x7f", RIG_NO });
}

/* Every class [lo-hi] reads the characters from lo to hi and no others. */
Test(grammar, ranges_of_characters, .init = set_up, .fini = tear_down)
{
    static const uint32_t ends[] = {
        0x00,   0x41,   0x7f,   0x80,    0x7ff,   0x800,   0xfff,   0x1000,
        0xd7ff, 0xe000, 0xffff, 0x10000, 0x3ffff, 0x40000, 0x10ffff
    };
    const size_t n = sizeof ends / sizeof *ends;

    for (size_t a = 0; a < n; a++)
        for (size_t b = a; b < n; b++) {
            char text[64];
            snprintf(text, sizeof text, "root ::= [\\U%08X-\\U%08X]", ends[a],
                     ends[b]);
            tlp_grammar *g = rig_grammar(model, text);
            for (size_t c = 0; c < n; c++) {
                uint32_t x = ends[c];
                char s[5] = { 0 };
                size_t len = x < 0x80 ? 1 : x < 0x800 ? 2 : x < 0x10000 ? 3 : 4;
                static const int lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
                for (size_t i = len - 1; i > 0; i--, x >>= 6)
                    s[i] = (char)(0x80 | (x & 63));
                s[0] = (char)(lead[len] | (int)x);
                rig_verdict want =
                    ends[c] >= ends[a] && ends[c] <= ends[b] ? RIG_ALL : RIG_NO;
                rig_verdict got = rig_match(g, s, len);
                cr_expect_eq(got, want, "%s on U+%04X: %d", text, ends[c], got);
            }
            tlp_grammar_free(g);
        }
}

/* ==== grammars of a kind ================================================= */

static const char arithmetic[] = "root ::= (expr \"=\" [0-9]+ \"\\n\")+\n"
                                 "expr ::= term ([-+*/] term)*\n"
                                 "term ::= name | number | \"(\" expr \")\"\n"
                                 "name ::= [a-z] [a-z0-9_]*\n"
                                 "number ::= [0-9]+\n";

static const char list[] = "root ::= (\"- \" item)+\nitem ::= [^\\n]+ \"\\n\"";

static const char chess[] =
    "root ::= \"1. \" move \" \" move \"\\n\" ([1-9] [0-9]? \". \" move \" \" "
    "move \"\\n\")*\n"
    "move ::= (pawn | piece | castle) [+#]?\n"
    "piece ::= [NBKQR] [a-h]? [1-8]? \"x\"? square\n"
    "pawn ::= ([a-h] \"x\")? square (\"=\" [NBQR])?\n"
    "castle ::= \"O-O\" \"-O\"?\n"
    "square ::= [a-h] [1-8]\n";

static const char json[] =
    "root ::= value\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | "
    "\"null\"\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws "
    "value)*)? \"}\"\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | "
    "\"u\" [0-9a-fA-F]{4}))* \"\\\"\"\n"
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]*) (\".\" [0-9]+)? ([eE] [-+]? "
    "[0-9]+)?\n"
    "ws ::= [ \\t\\n]*\n";

Test(grammar, examples, .init = set_up, .fini = tear_down)
{
    CHECK_TEXTS(
        { arithmetic, "a+(b2*3)-7=10\n", RIG_MAY },
        { arithmetic, "a+(b2*3-7=10\n", RIG_NO },
        { arithmetic, "((((((1))))))=1", RIG_PART },
        { list, "- one\n- two\n", RIG_MAY }, { list, "-one", RIG_NO },
        { chess, "1. e4 e5\n2. Nf3 Nc6\n3. Bb5 a6\n", RIG_MAY },
        { chess, "1. e4 O-O-O+\n17. exd8=Q# Raxb1\n", RIG_MAY },
        { chess, "1. e9", RIG_NO },
        { json, "{\"a\": [1, -2.5e+7, null], \"\\u00e9\": {}}", RIG_ALL },
        { json, "[[[[[]]]]", RIG_PART }, { json, "[1,]", RIG_NO },
        { json, "{\"a\" 1", RIG_NO }, { json, "01", RIG_NO },
        { json, "1.5", RIG_MAY });
}

/* Calls of a rule at one place are one run, however many callers there are. */
Test(grammar, ambiguous, .init = set_up, .fini = tear_down)
{
    static const char *const grammars[] = {
        "root ::= \"(\" root x | \"(\" root y | \"!\"\nx ::= \")\"\n"
        "y ::= \")\"\n",
        "root ::= s \"!\" t\ns ::= \"(\" s s | \"(\" s | \"(\"\nt ::= \")\"*\n",
        "root ::= (\"(\"* \"(\"*)* \"!\" \")\"*\n",
    };
    enum { DEEP = 300 };
    char text[2 * DEEP + 1];

    memset(text, '(', DEEP);
    text[DEEP] = '!';
    memset(text + DEEP + 1, ')', DEEP);
    for (size_t i = 0; i < 3; i++) {
        tlp_grammar *g = rig_grammar(model, grammars[i]);
        cr_assert_geq(rig_match(g, text, sizeof text), RIG_MAY, "%zu", i);
        cr_assert_eq(rig_match(g, text, DEEP), RIG_PART, "%zu", i);
        tlp_grammar_free(g);
    }
}

/* Right recursion is a loop: a long text needs no more memory than a short. */
Test(grammar, long_texts, .init = set_up, .fini = tear_down)
{
    static const char *const grammars[] = {
        "root ::= \"a\" root | \"b\"",
        "root ::= x*\nx ::= \"a\" | \"b\" x",
        "root ::= \"a\" y | \"b\"\ny ::= \"a\" root | \"b\"",
    };
    enum { LONG = 200000 };
    char *text = malloc(LONG);

    memset(text, 'a', LONG);
    for (size_t i = 0; i < 3; i++) {
        tlp_grammar *g = rig_grammar(model, grammars[i]);
        cr_assert_neq(rig_match(g, text, LONG), RIG_NO, "%zu", i);
        tlp_grammar_free(g);
    }
    free(text);
}

/* ==== refused ============================================================ */

typedef struct bad_case {
    const char *grammar;
    tlp_status want;
    const char *text; /* part of the error */
} bad_case;

Test(grammar, malformed, .init = set_up, .fini = tear_down)
{
    static const bad_case cases[] = {
        { "", TLP_EFORMAT, "no rule root" },
        { "a ::= \"x\"", TLP_EFORMAT, "no rule root" },
        { "root ::= \"a", TLP_EFORMAT, "line 1: rule root: the text ends" },
        { "root ::= \"a\"\n\nroot ::= \"b\"", TLP_EFORMAT,
          "line 3: rule root: defined twice, first in line 1" },
        { "root ::= \"a\"\nx y", TLP_EFORMAT,
          "line 2: rule x: \"y\", ::= expected" },
        { "root ::= x\nz ::= y", TLP_EFORMAT, "line 1: rule x is not defined" },
        { "root ::= [a", TLP_EFORMAT, "] at the end of a class expected" },
        { "root ::= []", TLP_EFORMAT, "a class without a character" },
        { "root ::= [^\\x00-\\uD7FF\\uE000-\\U0010FFFF]", TLP_EFORMAT,
          "a class without a character" },
        { "root ::= [b-a]", TLP_EFORMAT, "from U+0062 down to U+0061" },
        { "root ::= \"\\q\"", TLP_EFORMAT, "\"q\", one of \\x \\u" },
        { "root ::= \"\\x4\"", TLP_EFORMAT, "2 hexadecimal digits" },
        { "root ::= \"\\uD800\"", TLP_EFORMAT, "U+D800" },
        { "root ::= \"\\U00110000\"", TLP_EFORMAT, "U+110000" },
        { "root ::= \"\xff\"", TLP_EFORMAT, "byte 0xff is no UTF-8" },
        { "root ::= *", TLP_EFORMAT, "\"*\", a symbol or the end" },
        { "root ::= \"a\"\n| \"b\"", TLP_EFORMAT, "line 2: \"|\", the name" },
        { "root ::= (\"a\"", TLP_EFORMAT, ") at the end of a group" },
        { "root ::= \"a\"{2,1}", TLP_EFORMAT, "{2,1}" },
        { "root ::= \"a\"{,2}", TLP_EFORMAT, "a number expected" },
        { "root ::= \"a\"{99999999999}", TLP_EFORMAT, "a number above" },
        { "root ::= <[9999]>", TLP_EFORMAT, "a number above" },
        { "root ::= <nothing>", TLP_EINVAL, "<nothing> is no token" },
        { "root ::= <|im_end|>", TLP_ENOTSUP, "token 257 ends a text" },
        { "root ::= root", TLP_EFORMAT, "rule root matches no finite text" },
        { "root ::= \"a\" x\nx ::= \"b\" x", TLP_EFORMAT,
          "matches no finite text" },
        { "root ::= \"a\" | root \"b\"", TLP_ENOTSUP,
          "line 1: rule root: left recursion, the rule begins with itself" },
        { "root ::= x \"b\" | \"c\"\nx ::= y\ny ::= root | \"d\"", TLP_ENOTSUP,
          "left recursion" },
        { "root ::= x? (\"\" | \"y\")* root \"b\" | \"c\"\nx ::= \"a\"*",
          TLP_ENOTSUP, "left recursion" },
        { "root ::= \"a\"********* ", TLP_ENOTSUP, "more than 8 operators" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tlp_grammar *g = (tlp_grammar *)&g;
        tlp_status st = tlp_grammar_parse(&g, model, cases[i].grammar,
                                          strlen(cases[i].grammar));
        cr_expect_eq(st, cases[i].want, "%s: %s, %s", cases[i].grammar,
                     tlp_status_name(st), tlp_last_error());
        cr_expect(strstr(tlp_last_error(), cases[i].text), "%s: %s",
                  cases[i].grammar, tlp_last_error());
        cr_expect_null(g);
    }
    CHECK_FAILS(TLP_EINVAL, tlp_grammar_parse(NULL, model, "", 0));
    tlp_grammar *g;
    CHECK_FAILS(TLP_EINVAL, tlp_grammar_parse(&g, NULL, "", 0));
    CHECK_FAILS(TLP_EINVAL, tlp_grammar_parse(&g, model, NULL, 1));
    CHECK_FAILS(TLP_EFORMAT,
                tlp_grammar_parse(&g, model, "root ::= \"\0\"", 11));
}

/* A grammar of n pieces; the caller frees it. */
static char *many(size_t n, const char *first, const char *piece,
                  const char *last)
{
    size_t cap = strlen(first) + n * (strlen(piece) + 24) + strlen(last) + 1;
    char *text = malloc(cap), *end = text + sprintf(text, "%s", first);

    for (size_t i = 0; i < n; i++) {
        const char *hash = strchr(piece, '#');
        if (hash)
            end += sprintf(end, "%.*s%zu%s", (int)(hash - piece), piece, i,
                           hash + 1);
        else
            end += sprintf(end, "%s", piece);
    }
    strcpy(end, last);
    return text;
}

static void expect_refused(char *text, const char *part)
{
    tlp_grammar *g = NULL;

    CHECK_FAILS(TLP_ENOTSUP, tlp_grammar_parse(&g, model, text, strlen(text)));
    cr_expect(strstr(tlp_last_error(), part), "%s: %s", part, tlp_last_error());
    free(text);
}

/* Each of these ends at once, with a text. */
Test(grammar, bounds, .init = set_up, .fini = tear_down)
{
    expect_refused(strdup("root ::= \"a\"{1,1000000}"),
                   "line 1: rule root: with repetitions written out");
    expect_refused(strdup("root ::= ((\"a\"{1,1000}){1,1000}){1,1000}"),
                   "positions");
    expect_refused(many(1000000, "root ::= \"a\"\n", "r# ::= \"b\"\n", ""),
                   "more than 16384 rules");
    expect_refused(many(100000, "root ::= ", "(", "\"a\""),
                   "groups nested deeper than 200");
    expect_refused(many(9000000, "root ::= ", "\"\"", ""), "bytes, at most");
    expect_refused(many(3000000, "root ::= ", "a ", "\na ::= \"b\""),
                   "more than 2097152 symbols");
}

/* root ::= r0, r0 ::= r1 "z"?, and so on. */
static char *chain(int n)
{
    char *text = malloc((size_t)n * 32);
    char *end = text + sprintf(text, "root ::= r0\n");

    for (int i = 0; i < n; i++)
        end += sprintf(end, "r%d ::= r%d \"z\"?\n", i, i + 1);
    sprintf(end, "r%d ::= \"a\"\n", n);
    return text;
}

/* At the bounds: long chains of rules, nothing repeated often, wide choices. */
Test(grammar, at_the_bounds, .init = set_up, .fini = tear_down)
{
    char *groups = many(199, "root ::= ", "(", "\"a\"");
    char *close = many(199, "", ")", "");
    char *texts[] = {
        chain(16000),
        many(20000, "root ::= ", "\"a\" | ", "\"b\""),
        strdup("root ::= (\"\"{1,1000000}){1,1000000} \"a\""),
        strdup("root ::= ((\"\"?{1,1000}){1,1000}){1,1000} \"a\""),
        strdup("root ::= \"a\"{0,100000}"),
        many(1, groups, close, ""),
    };

    free(groups);
    free(close);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tlp_grammar *g = NULL;
        CHECK_OK(tlp_grammar_parse(&g, model, texts[i], strlen(texts[i])));
        tlp_matcher *m = NULL;
        tlp_status st = tlp_matcher_create(&m, g);
        if (i == 0) { /* 16000 rules are open at the first place */
            cr_assert_eq(st, TLP_ENOTSUP, "%s", tlp_last_error());
            cr_assert(strstr(tlp_last_error(), "more than 4096 rules are open"),
                      "%s", tlp_last_error());
        } else {
            cr_assert_geq(rig_match(g, "a", 1), RIG_PART, "%zu", i);
        }
        tlp_matcher_free(m);
        tlp_grammar_free(g);
        free(texts[i]);
    }
}

/* A million ways to be anywhere: the bound on work ends the call. */
Test(grammar, work_is_bounded, .init = set_up, .fini = tear_down)
{
    tlp_grammar *g = rig_grammar(model, "root ::= .* \"a\" .{2000}");
    tlp_matcher *m = NULL;
    uint32_t bits[64];
    size_t n;
    tlp_status st = TLP_OK;

    CHECK_OK(tlp_matcher_create(&m, g));
    for (int i = 0; i < 3000 && st == TLP_OK; i++) {
        st = tlp_matcher_accept(m, i % 7 % 2 ? 'a' : 'b');
        if (st == TLP_OK && i % 500 == 0)
            st = tlp_matcher_get_mask(bits, 64, &n, m);
    }
    cr_assert(st == TLP_OK || st == TLP_ENOTSUP, "%s", tlp_last_error());
    tlp_matcher_free(m);
    tlp_grammar_free(g);
}

Test(grammar, text_of_a_grammar, .init = set_up, .fini = tear_down)
{
    tlp_grammar *g = rig_grammar(model, list);
    char buf[200];
    size_t len = 0;

    CHECK_FAILS(TLP_EBUFS, tlp_grammar_get_text(buf, 10, &len, g));
    cr_assert_eq(len, strlen(list));
    CHECK_OK(tlp_grammar_get_text(buf, sizeof buf, &len, g));
    cr_assert_str_eq(buf, list);
    CHECK_FAILS(TLP_EINVAL, tlp_grammar_get_text(buf, 10, NULL, g));
    tlp_grammar_free(g);
    tlp_grammar_free(NULL);
}
