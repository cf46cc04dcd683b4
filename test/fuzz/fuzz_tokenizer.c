/*
 * fuzz_tokenizer.c - a vocabulary made from the input, then text through it.
 *
 * Input: a byte of choices, then lines up to an empty one: a token each, or
 * "left<TAB>right" for a merge, or "=" and a chat template.  What follows is
 * the text.  Whatever the vocabulary, ids are in range, and text comes back if
 * every byte has a token.
 */
#include <string.h>

#include "model/model.h"
#include "text/vocab.h"
#include "../support/gguf_writer.h"
#include "fuzz.h"

#define MAX_LINE 64

typedef struct recipe {
    uint8_t choices;
    char *token[256 + MAX_LINE];
    int32_t type[256 + MAX_LINE];
    float score[256 + MAX_LINE];
    size_t n_token;
    char *merge[MAX_LINE];
    size_t n_merge;
    char *chat;
    const char *text;
    size_t n_text;
    bool spelt; /* a user-defined token's text has characters past ASCII */
} recipe;

static void add_token(recipe *r, char *text, int32_t type)
{
    r->token[r->n_token] = text;
    r->type[r->n_token] = type;
    r->score[r->n_token] = (float)(r->n_token % 7);
    r->n_token++;
}

static char *copy(const char *s, size_t n)
{
    char *line = calloc(n + 1, 1);

    promise(line != NULL);
    if (n > 0)
        memcpy(line, s, n);
    return line;
}

static void add_bytes(recipe *r, bool bpe)
{
    int next = 256;

    for (int b = 0; b < 256; b++) {
        char text[8];
        bool seen = (b >= '!' && b <= '~') || (b >= 0xa1 && b != 0xad);
        int code = seen ? b : next++;
        if (!bpe)
            snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        else if (code < 128)
            snprintf(text, sizeof text, "%c", code);
        else
            snprintf(text, sizeof text, "%c%c", 0xc0 | code >> 6,
                     0x80 | (code & 63));
        add_token(r, copy(text, strlen(text)), bpe ? 1 : 6);
    }
}

static void read_line(recipe *r, const char *s, size_t n)
{
    static const int32_t types[] = { 1, 1, 3, 4, 5, 2 };
    char *line = copy(s, n), *tab = strchr(line, '\t');

    if (line[0] == '=') {
        free(r->chat);
        r->chat = line;
    } else if (tab) {
        *tab = ' ';
        r->merge[r->n_merge++] = line;
    } else {
        /* '@' in front chooses a type by the letter behind it */
        bool typed = line[0] == '@' && line[1];
        int32_t type = types[typed ? (uint8_t)line[1] % 6 : 0];
        char *text = typed ? copy(line + 2, strlen(line + 2)) : line;
        if (typed)
            free(line);
        for (const char *c = text; type == TLPI_TOKEN_USER_DEFINED && *c; c++)
            r->spelt |= (uint8_t)*c >= 0x80;
        add_token(r, text, type);
    }
}

static void read_recipe(recipe *r, const char *s, size_t n)
{
    const char *end = s + n;

    r->choices = (uint8_t)*s++;
    add_bytes(r, r->choices & 1);
    for (int i = 0; i < MAX_LINE && s < end; i++) {
        const char *stop = memchr(s, '\n', (size_t)(end - s));
        size_t len = stop ? (size_t)(stop - s) : (size_t)(end - s);
        if (len > 0)
            read_line(r, s, len);
        s += len + (stop != NULL);
        if (len == 0)
            break;
    }
    r->text = s;
    r->n_text = (size_t)(end - s);
}

static void free_recipe(recipe *r)
{
    for (size_t i = 0; i < r->n_token; i++)
        free(r->token[i]);
    for (size_t i = 0; i < r->n_merge; i++)
        free(r->merge[i]);
    free(r->chat);
}

static gw_bytes write_file(const recipe *r)
{
    static const char *const pre[] = { "smollm", "llama3", "qwen2", "default" };
    gw_file w;

    gw_init(&w);
    gw_kv_str(&w, "tokenizer.ggml.model", r->choices & 1 ? "gpt2" : "llama");
    gw_kv_str(&w, "tokenizer.ggml.pre", pre[r->choices >> 1 & 3]);
    gw_kv_strs(&w, "tokenizer.ggml.tokens", (const char *const *)r->token,
               r->n_token);
    gw_kv_array(&w, "tokenizer.ggml.token_type", TLPI_GGUF_I32, r->n_token,
                r->type, r->n_token * sizeof r->type[0]);
    gw_kv_array(&w, "tokenizer.ggml.scores", TLPI_GGUF_F32, r->n_token,
                r->score, r->n_token * sizeof r->score[0]);
    gw_kv_strs(&w, "tokenizer.ggml.merges", (const char *const *)r->merge,
               r->n_merge);
    gw_kv_bool(&w, "tokenizer.ggml.add_space_prefix", r->choices >> 3 & 1);
    gw_kv_u32(&w, "tokenizer.ggml.eos_token_id", r->choices);
    if (r->chat)
        gw_kv_str(&w, "tokenizer.chat_template", r->chat);
    gw_bytes bytes = gw_finish(&w);
    gw_free(&w);
    return bytes;
}

/*
 * Only byte-level BPE gives back every text: to SentencePiece blanks and U+2581
 * are one, and it adds a blank behind special tokens.  A user-defined token
 * stands for its text as it is, also where merges lead to it.
 */
static void check_text(const tlp_model *m, const recipe *r, uint32_t flags)
{
    size_t n = 0, len = 0, cap = 3 * r->n_text + 8;
    int32_t *ids = malloc(cap * sizeof *ids);

    promise(tlp_tokenize(ids, cap, &n, m, r->text, r->n_text, flags) == TLP_OK);
    for (size_t i = 0; i < n; i++)
        promise(ids[i] >= 0 && ids[i] < tlpi_vocab_size(m->vocab));
    tlp_status st =
        tlp_detokenize(NULL, 0, &len, m, ids, n, TLP_DETOKENIZE_SPECIAL);
    promise(st == TLP_EBUFS);
    char *text = malloc(len + 1);
    promise(tlp_detokenize(text, len + 1, &len, m, ids, n,
                           TLP_DETOKENIZE_SPECIAL) == TLP_OK);
    if ((r->choices & 1) && !r->spelt)
        promise(len == r->n_text &&
                (len == 0 || memcmp(text, r->text, len) == 0));
    free(text);
    free(ids);
}

static void check_chat(const tlp_model *m, const recipe *r)
{
    char *text = copy(r->text, r->n_text);
    const tlp_chat_message msg[] = { { "user", text }, { "assistant", text } };
    char buf[256];
    size_t len;

    tlp_status st = tlp_chat_format(buf, sizeof buf, &len, m, msg, 2, 1);
    promise(st == TLP_OK ? len == strlen(buf) || memchr(buf, 0, len) != NULL
                         : tlp_last_error()[0] != '\0');
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    recipe r = { 0 };
    tlp_model m = { .path = (char[]){ "fuzz" }, .refs = 2 };
    tlpi_gguf *g = NULL;

    if (size == 0)
        return 0;
    read_recipe(&r, (const char *)data, size);
    gw_bytes bytes = write_file(&r);
    promise(tlpi_env_init(&m.env, NULL, NULL, NULL) == TLP_OK);
    promise(tlpi_gguf_open_memory(&g, &m.env, bytes.data, bytes.n) == TLP_OK);
    if (tlpi_vocab_create(&m.vocab, &m.env, g, 0) == TLP_OK) {
        check_text(&m, &r, 0);
        check_text(&m, &r, TLP_TOKENIZE_SPECIAL);
        check_chat(&m, &r);
    } else {
        promise(tlp_last_error()[0] != '\0');
    }
    tlpi_vocab_free(m.vocab);
    tlpi_gguf_close(g);
    free(bytes.data);
    free_recipe(&r);
    return 0;
}
