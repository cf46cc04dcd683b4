/*
 * chat_format.c - recognise the family of a chat template by marks in its text,
 * and format a conversation in the manner of the family.
 *
 * A template is a program, and a model file is not trusted.  The library reads
 * the template and never runs it.
 */
#include <string.h>

#include "text/chat_format.h"

/* ==== helpers ============================================================ */

const char *tlpi_chat_find(const tlpi_chat *c, const char *text)
{
    return memmem(c->tmpl.s, c->tmpl.n, text, strlen(text));
}

void tlpi_chat_add(tlpi_chat *c, const char *text)
{
    tlpi_text_add(&c->out, text, strlen(text));
}

void tlpi_chat_add_str(tlpi_chat *c, tlpi_str text)
{
    tlpi_text_add(&c->out, text.s, text.n);
}

static bool is_blank(char ch)
{
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

void tlpi_chat_add_trimmed(tlpi_chat *c, const char *text)
{
    size_t n = strlen(text);

    while (n > 0 && is_blank(text[n - 1]))
        n--;
    while (n > 0 && is_blank(text[0])) {
        text++;
        n--;
    }
    tlpi_text_add(&c->out, text, n);
}

bool tlpi_chat_role_is(const tlpi_chat *c, size_t i, const char *role)
{
    return i < c->n && strcmp(c->msg[i].role, role) == 0;
}

bool tlpi_chat_literal(tlpi_chat *c, const char *from, char quote,
                       const char *end)
{
    const char *stop = c->tmpl.s + c->tmpl.n;
    size_t n_end = strlen(end), before = c->out.len;

    for (const char *s = from; s < stop && *s != quote; s++) {
        if ((size_t)(stop - s) >= n_end && memcmp(s, end, n_end) == 0)
            return true;
        char ch = *s;
        if (ch == '\\' && s + 1 < stop) {
            ch = *++s;
            ch = (char)(ch == 'n' ? '\n' : ch == 't' ? '\t' : ch);
        }
        tlpi_text_add(&c->out, &ch, 1);
    }
    c->out.len = before;
    return false;
}

/* ==== families =========================================================== */

typedef tlp_status (*format_fn)(tlpi_chat *c);

/* The first row counts whose marks all stand in the template. */
static const struct family {
    const char *mark, *second; /* second may be NULL */
    format_fn format;          /* NULL: a known family without support */
    const char *name;
} families[] = {
    { "<|im_start|>", "<|im_sep|>", NULL, "Phi-4" },
    { "<|im_start|>", "<end_of_utterance>", NULL, "SmolVLM" },
    { "<|im_start|>", NULL, tlpi_chat_chatml, "ChatML" },
    { "[INST]", "[SYSTEM_PROMPT]", NULL, "Mistral v7" },
    { "[INST]", "<<SYS>>", tlpi_chat_llama2, "Llama 2" },
    { "[INST]", NULL, tlpi_chat_mistral, "Mistral" },
    { "<|start_header_id|>", NULL, tlpi_chat_llama3, "Llama 3" },
    { "<start_of_turn>", NULL, NULL, "Gemma" },
};

static tlp_status find_family(const tlpi_chat *c, const char *path,
                              format_fn *format)
{
    if (c->tmpl.n == 0)
        return tlpi_fail(TLP_ENOTSUP,
                         "%s: key tokenizer.chat_template: missing", path);
    for (size_t i = 0; i < TLPI_COUNT(families); i++) {
        const struct family *f = &families[i];
        if (!tlpi_chat_find(c, f->mark) ||
            (f->second && !tlpi_chat_find(c, f->second)))
            continue;
        if (!f->format)
            return tlpi_fail(TLP_ENOTSUP,
                             "%s: key tokenizer.chat_template: the %s family "
                             "is not supported",
                             path, f->name);
        *format = f->format;
        return TLP_OK;
    }
    return tlpi_fail(TLP_ENOTSUP,
                     "%s: key tokenizer.chat_template: of no known family "
                     "(ChatML, Llama 2, Llama 3, Mistral)",
                     path);
}

static tlp_status check_messages(const tlp_chat_message *msg, size_t n)
{
    if (n == 0)
        return tlpi_fail(TLP_EINVAL, "at least one message is required");
    for (size_t i = 0; i < n; i++)
        if (!msg[i].role || !msg[i].content)
            return tlpi_fail(TLP_EINVAL,
                             "message %zu: role and content are required", i);
    return TLP_OK;
}

tlp_status tlpi_chat_format(tlpi_chat *c, const tlpi_vocab *v, const char *path)
{
    const tlpi_special *special = tlpi_vocab_special(v);
    format_fn format = NULL;
    tlp_status st;

    c->tmpl = tlpi_vocab_chat_template(v);
    c->bos = tlpi_vocab_text(v, special->bos);
    c->eos = tlpi_vocab_text(v, special->eos);
    TLP_TRY(find_family(c, path, &format));
    TLP_TRY(check_messages(c->msg, c->n));
    TLP_TRY(format(c));
    if (c->out.failed)
        TLP_TRY(tlpi_fail_nomem());
done:
    return st;
}
