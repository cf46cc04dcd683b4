/*
 * tiny_vocab.c - tokens, merges and a ChatML template, as GGUF metadata.
 */
#include "tiny_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE "\xc4\xa0" /* U+0120 stands for the blank */
#define MAX_VOCAB 300000
#define MAX_TOKEN 32 /* bytes, NUL included */

/* Pairs that build on earlier pairs, as trained merges do. */
static const char *const english[][2] = {
    { SPACE, "t" },        { "h", "e" },        { "i", "n" },
    { SPACE, "a" },        { "r", "e" },        { SPACE "t", "he" },
    { "o", "n" },          { "e", "r" },        { SPACE, "s" },
    { "a", "t" },          { SPACE, "w" },      { "o", "u" },
    { "in", "g" },         { "i", "s" },        { "l", "l" },
    { SPACE, "h" },        { "l", "o" },        { "he", "ll" },
    { "hell", "o" },       { "n", "d" },        { SPACE "a", "nd" },
    { "o", "r" },          { SPACE "w", "or" }, { "l", "d" },
    { SPACE "wor", "ld" }, { "a", "n" },        { "e", "n" },
    { "e", "d" },          { "i", "t" },        { SPACE "h", "e" },
};

/* Then all strings over these, in order of length. */
static const char *const letters[] = {
    SPACE, "e", "t", "a", "o", "i", "n", "s", "h", "r", "d", "l", "u", "c",
    "m",   "w", "f", "g", "y", "p", "b", "v", "k", "j", "x", "q", "z",
};

#define N_ENGLISH (sizeof english / sizeof english[0])
#define N_LETTER (sizeof letters / sizeof letters[0])

typedef char token_text[MAX_TOKEN];
typedef char merge_text[2 * MAX_TOKEN];

bool tiny_vocab_fits(int n_vocab)
{
    return n_vocab >= 258 && n_vocab <= MAX_VOCAB;
}

/* The letter for a byte: the byte itself if it is printable, else the next
 * unused letter from U+0100 on. */
static void byte_token(token_text out, int byte, int *n_hidden)
{
    bool seen = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
    int code = seen ? byte : 256 + (*n_hidden)++;

    if (code < 128)
        snprintf(out, MAX_TOKEN, "%c", code);
    else
        snprintf(out, MAX_TOKEN, "%c%c", 0xc0 | code >> 6, 0x80 | (code & 63));
}

/* The strings over the letters in order of length; number i >= 0 counts from
 * the first string of two letters. */
static void spell(token_text head, token_text tail, size_t i)
{
    size_t digits[8], n = 2, count = N_LETTER * N_LETTER;

    for (; i >= count; n++) {
        i -= count;
        count *= N_LETTER;
    }
    for (size_t k = n; k-- > 0; i /= N_LETTER)
        digits[k] = i % N_LETTER;
    head[0] = '\0';
    for (size_t k = 0; k + 1 < n; k++)
        strcat(head, letters[digits[k]]);
    strcpy(tail, letters[digits[n - 1]]);
}

static bool is_english(const char *token)
{
    for (size_t i = 0; i < N_ENGLISH; i++) {
        size_t n = strlen(english[i][0]);
        if (strncmp(token, english[i][0], n) == 0 &&
            strcmp(token + n, english[i][1]) == 0)
            return true;
    }
    return false;
}

static void fill_merges(token_text *token, merge_text *merge, size_t n)
{
    size_t i = 0;

    for (; i < n && i < N_ENGLISH; i++) {
        snprintf(token[i], MAX_TOKEN, "%s%s", english[i][0], english[i][1]);
        snprintf(merge[i], sizeof merge[i], "%s %s", english[i][0],
                 english[i][1]);
    }
    for (size_t number = 0; i < n; number++) {
        token_text head, tail;
        spell(head, tail, number);
        snprintf(token[i], MAX_TOKEN, "%s%s", head, tail);
        if (is_english(token[i]))
            continue;
        snprintf(merge[i], sizeof merge[i], "%s %s", head, tail);
        i++;
    }
}

static void write_lists(gw_file *w, token_text *token, merge_text *merge,
                        size_t n_vocab, size_t n_merge)
{
    const char **list = malloc(n_vocab * sizeof *list);
    int32_t *type = malloc(n_vocab * sizeof *type);

    if (!list || !type)
        abort();
    for (size_t i = 0; i < n_vocab; i++) {
        list[i] = token[i];
        type[i] = i < n_vocab - 2 ? 1 : 3; /* normal, control */
    }
    gw_kv_strs(w, "tokenizer.ggml.tokens", list, n_vocab);
    gw_kv_array(w, "tokenizer.ggml.token_type", TLPI_GGUF_I32, n_vocab, type,
                n_vocab * sizeof *type);
    for (size_t i = 0; i < n_merge; i++)
        list[i] = merge[i];
    gw_kv_strs(w, "tokenizer.ggml.merges", list, n_merge);
    free(type);
    free(list);
}

void tiny_vocab_write(gw_file *w, int n_vocab, bool add_bos)
{
    size_t n = (size_t)n_vocab, n_merge = n - 258;
    token_text *token = calloc(n, sizeof *token);
    merge_text *merge = calloc(n_merge + 1, sizeof *merge);
    int n_hidden = 0;

    if (!token || !merge)
        abort();
    for (int i = 0; i < 256; i++)
        byte_token(token[i], i, &n_hidden);
    fill_merges(token + 256, merge, n_merge);
    strcpy(token[n - 2], "<|im_start|>");
    strcpy(token[n - 1], "<|im_end|>");

    gw_kv_str(w, "tokenizer.ggml.model", "gpt2");
    gw_kv_str(w, "tokenizer.ggml.pre", "smollm");
    write_lists(w, token, merge, n, n_merge);
    gw_kv_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)n - 2);
    gw_kv_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)n - 1);
    gw_kv_bool(w, "tokenizer.ggml.add_bos_token", add_bos);
    gw_kv_str(w, "tokenizer.chat_template",
              "{% for message in messages %}"
              "{{ '<|im_start|>' + message['role'] + '\\n' + "
              "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
              "{% if add_generation_prompt %}"
              "{{ '<|im_start|>assistant\\n' }}{% endif %}");
    free(merge);
    free(token);
}
