/*
 * chat_header.c - families that put a header with the role before each message:
 * ChatML and Llama 3.
 */
#include <string.h>

#include "text/chat_format.h"

/* Does the template remove the blanks around a content? */
static bool trims(const tlpi_chat *c)
{
    return tlpi_chat_find(c, "['content'] | trim") ||
           tlpi_chat_find(c, "['content']|trim") ||
           tlpi_chat_find(c, "[\"content\"] | trim") ||
           tlpi_chat_find(c, "[\"content\"]|trim");
}

static void add_message(tlpi_chat *c, const char *open, const char *role,
                        const char *close, const char *content, const char *end)
{
    tlpi_chat_add(c, open);
    tlpi_chat_add(c, role);
    tlpi_chat_add(c, close);
    if (trims(c))
        tlpi_chat_add_trimmed(c, content);
    else
        tlpi_chat_add(c, content);
    tlpi_chat_add(c, end);
}

/* ==== ChatML ============================================================= */

/*
 * If a conversation has no system message, some templates add a default system
 * message, which is a literal in the template:
 *     '<|im_start|>system\nYou are ...<|im_end|>\n'
 * The blank line may be a newline or written as \n.
 */
static void add_default_system(tlpi_chat *c)
{
    static const char open[] = "<|im_start|>system";
    const char *s = c->tmpl.s, *stop = c->tmpl.s + c->tmpl.n;

    while ((s = memmem(s, (size_t)(stop - s), open, sizeof open - 1))) {
        char quote = s > c->tmpl.s ? s[-1] : '\0';
        size_t before = c->out.len;
        s += sizeof open - 1;
        if (quote != '\'' && quote != '"')
            continue;
        tlpi_chat_add(c, open);
        if (tlpi_chat_literal(c, s, quote, "<|im_end|>")) {
            tlpi_chat_add(c, "<|im_end|>\n");
            return;
        }
        c->out.len = before;
    }
}

/*
 * Templates of models that think aloud (Qwen3) leave the thoughts out of the
 * answers that a user has replied to.
 */
static const char *without_thoughts(const tlpi_chat *c, size_t i)
{
    static const char end[] = "</think>";
    const char *text = c->msg[i].content;
    size_t last_user = c->n;

    while (last_user > 0 && !tlpi_chat_role_is(c, last_user - 1, "user"))
        last_user--;
    if (!tlpi_chat_role_is(c, i, "assistant") || i + 1 >= last_user ||
        !tlpi_chat_find(c, "content.split('</think>')[-1].lstrip('\\n')") ||
        !strstr(text, end))
        return text;
    for (const char *s; (s = strstr(text, end));)
        text = s + sizeof end - 1;
    return text + strspn(text, "\n");
}

tlp_status tlpi_chat_chatml(tlpi_chat *c)
{
    if (tlpi_chat_find(c, "bos_token"))
        tlpi_chat_add_str(c, c->bos);
    if (!tlpi_chat_role_is(c, 0, "system"))
        add_default_system(c);
    for (size_t i = 0; i < c->n; i++)
        add_message(c, "<|im_start|>", c->msg[i].role, "\n",
                    without_thoughts(c, i), "<|im_end|>\n");
    if (c->add_assistant)
        tlpi_chat_add(c, "<|im_start|>assistant\n");
    return TLP_OK;
}

/* ==== Llama 3 ============================================================ */

/*
 * From 3.1 on every conversation has a system message, which begins with two
 * dates.  "Today" is the default of the template: the library does not read the
 * clock, so that a conversation always gives one text.
 */
static void add_dated_system(tlpi_chat *c, const char *content)
{
    static const char set[] = "date_string = \"";
    const char *date = tlpi_chat_find(c, set);

    tlpi_chat_add(c, "<|start_header_id|>system<|end_header_id|>\n\n"
                     "Cutting Knowledge Date: December 2023\nToday Date: ");
    if (!date || !tlpi_chat_literal(c, date + sizeof set - 1, '\n', "\""))
        tlpi_chat_add(c, "26 Jul 2024");
    tlpi_chat_add(c, "\n\n");
    tlpi_chat_add_trimmed(c, content);
    tlpi_chat_add(c, "<|eot_id|>");
}

tlp_status tlpi_chat_llama3(tlpi_chat *c)
{
    bool has_system = tlpi_chat_role_is(c, 0, "system");
    size_t i = 0;

    tlpi_chat_add_str(c, c->bos);
    if (tlpi_chat_find(c, "Cutting Knowledge Date: December 2023")) {
        add_dated_system(c, has_system ? c->msg[0].content : "");
        i = has_system;
    }
    for (; i < c->n; i++)
        add_message(c, "<|start_header_id|>", c->msg[i].role,
                    "<|end_header_id|>\n\n", c->msg[i].content, "<|eot_id|>");
    if (c->add_assistant)
        tlpi_chat_add(c, "<|start_header_id|>assistant<|end_header_id|>\n\n");
    return TLP_OK;
}
