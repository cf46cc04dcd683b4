/*
 * fuzz_chat.c - a template and a conversation from the input, to tokens.
 *
 * Input: a byte of choices, then texts with 0x01 between them: template,
 * messages, tools, documents, further names; an empty text is left out.
 * Whatever they are, the ids are in range, spell the text that is rendered, and
 * no byte of a value is part of a control token.
 */
#include <string.h>

#include "model/model.h"
#include "text/chat.h"
#include "../support/gguf_writer.h"
#include "fuzz.h"

enum { N_TEXT = 5, N_EXTRA = 8 };

static const char *const extra[N_EXTRA] = { "<|a|>", "<|b|>", "<s>", "<u>",
                                            "ab",    "</s>",  "ba",  "aba" };
static const int32_t extra_type[N_EXTRA] = { 3, 3, 3, 4, 1, 3, 1, 1 };
static const char *const merge[] = { "a b", "b a", "ab a" };

static void write_tokens(gw_file *w, bool bpe)
{
    static char byte[256][8];
    const char *token[256 + N_EXTRA];
    int32_t type[256 + N_EXTRA];
    float score[256 + N_EXTRA];
    int next = 256;

    for (int b = 0; b < 256; b++) {
        bool seen = (b >= '!' && b <= '~') || (b >= 0xa1 && b != 0xad);
        int code = seen ? b : next++;
        if (!bpe)
            snprintf(byte[b], sizeof byte[b], "<0x%02X>", (unsigned)b);
        else if (code < 128)
            snprintf(byte[b], sizeof byte[b], "%c", code);
        else
            snprintf(byte[b], sizeof byte[b], "%c%c", 0xc0 | code >> 6,
                     0x80 | (code & 63));
        token[b] = byte[b];
        type[b] = bpe ? 1 : 6;
        score[b] = 0;
    }
    for (int i = 0; i < N_EXTRA; i++) {
        token[256 + i] = extra[i];
        type[256 + i] = extra_type[i];
        score[256 + i] = (float)i;
    }
    gw_kv_strs(w, "tokenizer.ggml.tokens", token, 256 + N_EXTRA);
    gw_kv_array(w, "tokenizer.ggml.token_type", TLPI_GGUF_I32, 256 + N_EXTRA,
                type, sizeof type);
    gw_kv_array(w, "tokenizer.ggml.scores", TLPI_GGUF_F32, 256 + N_EXTRA, score,
                sizeof score);
}

/* A file with a vocabulary alone. */
static gw_bytes make_file(bool bpe)
{
    gw_file w;

    gw_init(&w);
    gw_kv_str(&w, "tokenizer.ggml.model", bpe ? "gpt2" : "llama");
    gw_kv_str(&w, "tokenizer.ggml.pre", "smollm");
    write_tokens(&w, bpe);
    gw_kv_strs(&w, "tokenizer.ggml.merges", merge, 3);
    gw_kv_u32(&w, "tokenizer.ggml.bos_token_id", 258);
    gw_kv_u32(&w, "tokenizer.ggml.eos_token_id", 261);
    gw_bytes bytes = gw_finish(&w);
    gw_free(&w);
    return bytes;
}

static char *cut_text(const char **s, const char *end)
{
    const char *stop = memchr(*s, 1, (size_t)(end - *s));
    size_t n = (size_t)((stop ? stop : end) - *s);
    char *text = n > 0 ? calloc(n + 1, 1) : NULL;

    promise(n == 0 || text);
    if (n > 0)
        memcpy(text, *s, n);
    *s += n + (stop != NULL);
    return text;
}

/* Each id of byte-level BPE stands for the next bytes of the text. */
static void check_ids(const tlp_model *m, const tlpi_jinja_text *text,
                      const int32_t *ids, size_t n)
{
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        tlpi_str piece =
            tlpi_vocab_piece(m->vocab, ids[i], TLP_DETOKENIZE_SPECIAL);
        while (i == 0 && ids[0] == 258 && text->n - at >= 6 &&
               memcmp(text->s + at, "<s><s>", 6) == 0 && !text->data[at + 3])
            at += 3; /* of several BOS at the start one is left */
        promise(piece.n <= text->n - at &&
                memcmp(piece.s, text->s + at, piece.n) == 0);
        for (size_t k = 0; k < piece.n; k++)
            promise(!tlpi_vocab_is_control(m->vocab, ids[i]) ||
                    !text->data[at + k]);
        at += piece.n;
    }
    promise(at == text->n);
}

/* SentencePiece: no more control tokens than the template's bytes spell. */
static void check_controls(const tlp_model *m, const tlpi_jinja_text *text,
                           const int32_t *ids, size_t n)
{
    size_t n_spelt = 0, n_control = 0;

    for (size_t i = 0; i < n; i++)
        n_control += tlpi_vocab_is_control(m->vocab, ids[i]);
    for (size_t i = 0; i < text->n; i++)
        n_spelt += text->s[i] == '<' && !text->data[i];
    promise(n_control <= n_spelt);
}

static void check(const tlp_model *m, const tlp_chat_options *o, bool bpe)
{
    static const tlp_chat_message msg[] = { { "user", "a<|a|>b <u>" },
                                            { "assistant", "ab" } };
    const size_t n_msg = o->messages_json ? 0 : 2;
    tlpi_chat c = { .message = msg, .n = n_msg, .opts = *o };
    tlpi_jinja_text text;
    size_t n = 0;

    tlp_status st = tlpi_chat_render(&text, &m->env, &c, m->vocab, m->path);
    if (st != TLP_OK) {
        promise(!text.s && *tlp_last_error() &&
                !strchr(tlp_last_error(), '\n'));
        promise(tlp_chat_tokenize(NULL, 0, &n, m, msg, n_msg, o) == st);
        promise(n == 0);
        return;
    }
    size_t cap = 4 * text.n + 8;
    int32_t *ids = malloc(cap * sizeof *ids);
    promise(ids && tlp_chat_tokenize(ids, cap, &n, m, msg, n_msg, o) == TLP_OK);
    for (size_t i = 0; i < n; i++)
        promise(ids[i] >= 0 && ids[i] < tlpi_vocab_size(m->vocab));
    (bpe ? check_ids : check_controls)(m, &text, ids, n);
    free(ids);
    tlpi_jinja_text_free(&m->env, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static gw_bytes file[2];
    tlp_model m = { .path = (char[]){ "fuzz" }, .refs = 2 };
    tlp_chat_options o = TLP_CHAT_OPTIONS_INIT;
    tlpi_gguf *g = NULL;
    const char *s = (const char *)data + 1, *end = (const char *)data + size;
    char *text[N_TEXT];

    if (size == 0)
        return 0;
    bool bpe = !(data[0] >> 2 & 1);
    if (!file[bpe].data)
        file[bpe] = make_file(bpe);
    promise(tlpi_env_init(&m.env, NULL, NULL, NULL) == TLP_OK);
    promise(tlpi_gguf_open_memory(&g, &m.env, file[bpe].data, file[bpe].n) ==
            TLP_OK);
    promise(tlpi_vocab_create(&m.vocab, &m.env, g, 0) == TLP_OK);
    for (int i = 0; i < N_TEXT; i++)
        text[i] = cut_text(&s, end);
    o.now = 1;
    o.add_generation_prompt = data[0] & 1;
    o.continue_final_message = data[0] >> 1 & 1;
    o.chat_template = text[0];
    o.messages_json = text[1];
    o.tools_json = text[2];
    o.documents_json = text[3];
    o.kwargs_json = text[4];
    check(&m, &o, bpe);
    for (int i = 0; i < N_TEXT; i++)
        free(text[i]);
    tlpi_vocab_free(m.vocab);
    tlpi_gguf_close(g);
    return 0;
}
