/*
 * chat_inst.c - families that put user messages between [INST] and [/INST]:
 * Llama 2 and Mistral.
 *
 * A conversation is an optional system message, then user and assistant in
 * turn.  The text of the system message goes into a user message.
 */
#include "text/chat_format.h"

/* *first is the first message after the system message. */
static tlp_status check_turns(const tlpi_chat *c, size_t *first)
{
    *first = tlpi_chat_role_is(c, 0, "system");
    if (*first == c->n)
        return tlpi_fail(TLP_EINVAL, "a user message is required");
    for (size_t i = *first; i < c->n; i++) {
        const char *role = (i - *first) % 2 == 0 ? "user" : "assistant";
        if (!tlpi_chat_role_is(c, i, role))
            return tlpi_fail(TLP_EINVAL,
                             "message %zu: role %.32s, %s expected (user and "
                             "assistant in turn)",
                             i, c->msg[i].role, role);
    }
    return TLP_OK;
}

/* ==== Llama 2 ============================================================ */

/* Add the system message, if this is the first user message, and the content.
 * Blanks around the two together are removed. */
static tlp_status add_llama2_user(tlpi_chat *c, size_t i, bool with_system)
{
    if (!with_system) {
        tlpi_chat_add_trimmed(c, c->msg[i].content);
        return TLP_OK;
    }
    tlpi_text both = { .env = c->out.env };
    tlpi_text_printf(&both, "<<SYS>>\n%s\n<</SYS>>\n\n%s", c->msg[0].content,
                     c->msg[i].content);
    if (both.failed) {
        tlpi_text_free(&both);
        return tlpi_fail_nomem();
    }
    tlpi_chat_add_trimmed(c, both.data);
    tlpi_text_free(&both);
    return TLP_OK;
}

tlp_status tlpi_chat_llama2(tlpi_chat *c)
{
    size_t first;
    tlp_status st = check_turns(c, &first);

    for (size_t i = first; i < c->n && st == TLP_OK; i++) {
        if ((i - first) % 2 == 0) {
            tlpi_chat_add_str(c, c->bos); /* before every user message */
            tlpi_chat_add(c, "[INST] ");
            st = add_llama2_user(c, i, i == first && first > 0);
            tlpi_chat_add(c, " [/INST]");
        } else {
            tlpi_chat_add(c, " ");
            tlpi_chat_add_trimmed(c, c->msg[i].content);
            tlpi_chat_add(c, " ");
            tlpi_chat_add_str(c, c->eos);
        }
    }
    return st;
}

/* ==== Mistral ============================================================ */

/*
 * The versions differ in blanks, and in the user message that takes the system
 * message:
 *            user                assistant     system
 *   legacy   [INST] ... [/INST]  ...</s>       refused
 *   v1        [INST] ... [/INST]  ...</s>      first (with a leading blank)
 *   v3       [INST] ...[/INST]    ...</s>      last
 *   tekken   [INST]...[/INST]    ...</s>       last
 */
typedef struct spacing {
    const char *open, *close, *answer, *end;
    bool trim_answer, system_last, system_known;
} spacing;

static bool has(const tlpi_chat *c, const char *single, const char *quoted)
{
    return tlpi_chat_find(c, single) || tlpi_chat_find(c, quoted);
}

static spacing find_spacing(const tlpi_chat *c)
{
    spacing s = {
        .open = "[INST]", .close = "[/INST]", .answer = "", .end = ""
    };

    if (has(c, "' [INST] ", "\" [INST] "))
        s.open = " [INST] ";
    else if (has(c, "[INST] '", "[INST] \""))
        s.open = "[INST] ";
    if (has(c, "' [/INST]", "\" [/INST]"))
        s.close = " [/INST]";
    if (has(c, "' ' + message['content']", "\" \" + message[\"content\"]"))
        s.answer = " ";
    if (has(c, "eos_token + ' '", "eos_token + \" \""))
        s.end = " ";
    s.trim_answer =
        has(c, "message['content']|trim", "message[\"content\"]|trim") ||
        has(c, "message['content'] | trim", "message[\"content\"] | trim");
    s.system_known = tlpi_chat_find(c, "system") != NULL;
    s.system_last = tlpi_chat_find(c, "loop.last and system_message") != NULL;
    return s;
}

tlp_status tlpi_chat_mistral(tlpi_chat *c)
{
    spacing s = find_spacing(c);
    size_t first;
    tlp_status st = check_turns(c, &first);

    if (st != TLP_OK)
        return st;
    if (first > 0 && !s.system_known)
        return tlpi_fail(TLP_EINVAL, "message 0: role system, which this "
                                     "model's template does not have");
    size_t with_system = s.system_last ? c->n - 1 : first;
    tlpi_chat_add_str(c, c->bos);
    for (size_t i = first; i < c->n; i++) {
        if ((i - first) % 2 == 0) {
            tlpi_chat_add(c, s.open);
            if (first > 0 && i == with_system) {
                tlpi_chat_add(c, c->msg[0].content);
                tlpi_chat_add(c, "\n\n");
            }
            tlpi_chat_add(c, c->msg[i].content);
            tlpi_chat_add(c, s.close);
        } else {
            tlpi_chat_add(c, s.answer);
            if (s.trim_answer)
                tlpi_chat_add_trimmed(c, c->msg[i].content);
            else
                tlpi_chat_add(c, c->msg[i].content);
            tlpi_chat_add_str(c, c->eos);
            tlpi_chat_add(c, s.end);
        }
    }
    return TLP_OK;
}
