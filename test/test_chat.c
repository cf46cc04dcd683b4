/*
 * test_chat.c - conversations laid out by the families of chat templates.
 *
 * The templates are cut down to what tells the families and their variants
 * apart; expected texts are what the published ones give.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/vocab_file.h"

#define CHATML_LOOP                                                            \
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' " \
    "+ message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"

/* A vocabulary with this template; BOS is <s>, EOS </s>. */
static tlp_model *with_template(const char *chat)
{
    const vf_spec spec = { .chat = chat };

    return vf_make(&spec);
}

static void expect_chat(const char *chat, const tlp_chat_message *msg, size_t n,
                        int add_assistant, const char *want)
{
    tlp_model *m = with_template(chat);
    char buf[1024];
    size_t len = 0;

    CHECK_OK(tlp_chat_format(buf, sizeof buf, &len, m, msg, n, add_assistant));
    cr_assert_str_eq(buf, want, "\"%s\", not \"%s\"", buf, want);
    cr_assert_eq(len, strlen(want));
    tlp_model_free(m);
}

static void expect_refused(tlp_status status, const char *chat,
                           const tlp_chat_message *msg, size_t n,
                           const char *what)
{
    tlp_model *m = with_template(chat);
    char buf[1024];
    size_t len = 0;

    CHECK_FAILS(status, tlp_chat_format(buf, sizeof buf, &len, m, msg, n, 1));
    cr_assert(strstr(tlp_last_error(), what), "%s: not in \"%s\"", what,
              tlp_last_error());
    tlp_model_free(m);
}

static const tlp_chat_message talk[] = { { "system", " Be brief." },
                                         { "user", "Hi " },
                                         { "assistant", " Yes?" },
                                         { "user", "Bye" } };

/* ==== ChatML ============================================================= */

Test(chatml, messages_as_they_are)
{
    expect_chat(CHATML_LOOP, talk, 4, 1,
                "<|im_start|>system\n Be brief.<|im_end|>\n"
                "<|im_start|>user\nHi <|im_end|>\n"
                "<|im_start|>assistant\n Yes?<|im_end|>\n"
                "<|im_start|>user\nBye<|im_end|>\n"
                "<|im_start|>assistant\n");
    expect_chat(CHATML_LOOP, talk + 1, 1, 0,
                "<|im_start|>user\nHi <|im_end|>\n");
    expect_chat("{{bos_token}}" CHATML_LOOP, talk + 1, 1, 0,
                "<s><|im_start|>user\nHi <|im_end|>\n");
}

Test(chatml, default_system_message)
{
    /* with a newline in the literal, and with \n spelt out */
    expect_chat("{{ '<|im_start|>system\nYou are A<|im_end|>\n' }}" CHATML_LOOP,
                talk + 1, 1, 0,
                "<|im_start|>system\nYou are A<|im_end|>\n"
                "<|im_start|>user\nHi <|im_end|>\n");
    expect_chat("{{ \"<|im_start|>system\\nIt's \\\"A\\\"<|im_end|>\\n\" }}",
                talk + 1, 1, 0,
                "<|im_start|>system\nIt's \"A\"<|im_end|>\n"
                "<|im_start|>user\nHi <|im_end|>\n");
    expect_chat("{{ '<|im_start|>system\nYou are A<|im_end|>\n' }}", talk, 2, 0,
                "<|im_start|>system\n Be brief.<|im_end|>\n"
                "<|im_start|>user\nHi <|im_end|>\n");
}

Test(chatml, literals_that_are_no_default)
{
    expect_chat("{{ '<|im_start|>system\\n' + messages[0]['content'] + "
                "'<|im_end|>' }}",
                talk + 1, 1, 0, "<|im_start|>user\nHi <|im_end|>\n");
    expect_chat("{{ '<|im_start|>system\\n' }}{{ '<|im_start|>system\\nB"
                "<|im_end|>' }}",
                talk + 1, 1, 0,
                "<|im_start|>system\nB<|im_end|>\n"
                "<|im_start|>user\nHi <|im_end|>\n");
    expect_chat("{{ '<|im_start|>system\\nYou are", talk + 1, 1, 0,
                "<|im_start|>user\nHi <|im_end|>\n");
}

Test(chatml, thoughts_leave_answered_messages)
{
    static const char qwen3[] =
        "{%- set content = message.content.split('</think>')[-1].lstrip('\\n')"
        " %}{{- '<|im_start|>' }}";
    const tlp_chat_message msg[] = { { "user", "a" },
                                     { "assistant",
                                       "<think>\nhm\n</think>\n\nb" },
                                     { "user", "c" } };

    expect_chat(qwen3, msg, 3, 0,
                "<|im_start|>user\na<|im_end|>\n"
                "<|im_start|>assistant\nb<|im_end|>\n"
                "<|im_start|>user\nc<|im_end|>\n");
    expect_chat(
        CHATML_LOOP, msg, 2, 0,
        "<|im_start|>user\na<|im_end|>\n"
        "<|im_start|>assistant\n<think>\nhm\n</think>\n\nb<|im_end|>\n");
}

/* ==== Llama 3 ============================================================ */

Test(llama3, trims_contents)
{
    expect_chat("{{ '<|start_header_id|>' + message['role'] + "
                "'<|end_header_id|>\n\n' + message['content'] | trim + "
                "'<|eot_id|>' }}",
                talk, 3, 1,
                "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief."
                "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi"
                "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
                "Yes?<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
                "\n\n");
}

Test(llama3, dates_in_the_system_message)
{
    static const char dated[] =
        "{%- set date_string = \"4 May 2025\" %}<|start_header_id|>"
        "{{- \"Cutting Knowledge Date: December 2023\\n\" }}"
        "message['content'] | trim";

    expect_chat(dated, talk + 1, 1, 0,
                "<s><|start_header_id|>system<|end_header_id|>\n\n"
                "Cutting Knowledge Date: December 2023\n"
                "Today Date: 4 May 2025\n\n<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>");
    expect_chat(dated, talk, 1, 0,
                "<s><|start_header_id|>system<|end_header_id|>\n\n"
                "Cutting Knowledge Date: December 2023\n"
                "Today Date: 4 May 2025\n\nBe brief.<|eot_id|>");
}

/* ==== [INST] ============================================================= */

Test(llama2, system_inside_the_first_user_message)
{
    static const char llama2[] = "<<SYS>> {{ bos_token + '[INST] ' + "
                                 "content.strip() + ' [/INST]' }}";

    expect_chat(llama2, talk, 4, 1,
                "<s>[INST] <<SYS>>\n Be brief.\n<</SYS>>\n\nHi [/INST] Yes? "
                "</s><s>[INST] Bye [/INST]");
    expect_chat(llama2, talk + 1, 1, 1, "<s>[INST] Hi [/INST]");
}

#define SYSTEM_FIRST "{%- set system_message = messages[0] %}"
#define SYSTEM_LAST                                                            \
    SYSTEM_FIRST "{%- if loop.last and system_message is defined %}"

Test(mistral, versions_differ_in_blanks)
{
    /* 7B-Instruct-v0.1, v0.2 */
    expect_chat("'[INST] ' + message['content'] + ' [/INST]' "
                "message['content'] + eos_token + ' '",
                talk + 1, 3, 1,
                "<s>[INST] Hi  [/INST] Yes?</s> [INST] Bye "
                "[/INST]");
    expect_chat("'[INST] ' + message['content'] + ' [/INST]' "
                "message['content'] + eos_token",
                talk + 1, 3, 1,
                "<s>[INST] Hi  [/INST] Yes?</s>[INST] Bye "
                "[/INST]");
    /* v1 */
    expect_chat(SYSTEM_FIRST "' [INST] ' + message['content'] + ' [/INST]' "
                             "' ' + message['content'] + eos_token",
                talk, 4, 1,
                "<s> [INST]  Be brief.\n\nHi  [/INST]  Yes?</s> "
                "[INST] Bye [/INST]");
    /* v3 */
    expect_chat(SYSTEM_LAST "\"[INST] \" + message[\"content\"] + \"[/INST]\" "
                            "\" \" + message[\"content\"]|trim + eos_token",
                talk, 4, 1,
                "<s>[INST] Hi [/INST] Yes?</s>[INST]  Be brief."
                "\n\nBye[/INST]");
    /* v3, tekken */
    expect_chat(SYSTEM_LAST "\"[INST]\" + message[\"content\"] + \"[/INST]\" "
                            "message[\"content\"] + eos_token",
                talk, 4, 1,
                "<s>[INST]Hi [/INST] Yes?</s>[INST] Be brief."
                "\n\nBye[/INST]");
}

Test(mistral, roles_take_turns)
{
    static const char v1[] = SYSTEM_FIRST "' [INST] '";
    const tlp_chat_message twice[] = { { "user", "a" }, { "user", "b" } };
    const tlp_chat_message tool[] = { { "user", "a" }, { "tool", "b" } };
    const tlp_chat_message late[] = { { "user", "a" }, { "system", "b" } };

    expect_refused(TLP_EINVAL, v1, twice, 2, "message 1: role user");
    expect_refused(TLP_EINVAL, v1, tool, 2, "role tool");
    expect_refused(TLP_EINVAL, v1, late, 2, "role system");
    expect_refused(TLP_EINVAL, v1, talk, 1, "a user message");
    expect_refused(TLP_EINVAL, v1, talk + 2, 2, "message 0: role assistant");
    expect_refused(TLP_EINVAL, "'[INST] '", talk, 2, "role system");
    expect_refused(TLP_EINVAL, "[INST] <<SYS>>", twice, 2, "message 1");
}

/* ==== refusals and misuse ================================================ */

Test(chat, families_that_are_not_supported)
{
    expect_refused(TLP_ENOTSUP, "<start_of_turn>", talk, 2, "Gemma");
    expect_refused(TLP_ENOTSUP, "<|im_start|><|im_sep|>", talk, 2, "Phi-4");
    expect_refused(TLP_ENOTSUP, "[INST][SYSTEM_PROMPT]", talk, 2, "Mistral v7");
    expect_refused(TLP_ENOTSUP, "### User:", talk, 2, "no known family");
    expect_refused(TLP_ENOTSUP, NULL, talk, 2, "tokenizer.chat_template");
}

Test(chat, buffers_and_misuse)
{
    tlp_model *m = with_template(CHATML_LOOP);
    const tlp_chat_message half = { "user", NULL };
    char buf[64];
    size_t len = 0;

    CHECK_FAILS(TLP_EBUFS, tlp_chat_format(buf, 8, &len, m, talk + 1, 1, 0));
    cr_assert_eq(len, strlen("<|im_start|>user\nHi <|im_end|>\n"));
    CHECK_FAILS(TLP_EBUFS, tlp_chat_format(NULL, 0, &len, m, talk, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_chat_format(buf, 64, NULL, m, talk, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_chat_format(buf, 64, &len, NULL, talk, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_chat_format(buf, 64, &len, m, NULL, 1, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_chat_format(buf, 64, &len, m, talk, 0, 0));
    CHECK_FAILS(TLP_EINVAL, tlp_chat_format(buf, 64, &len, m, &half, 1, 0));
    tlp_model_free(m);
}

Test(chat, smollm2)
{
    const char *path = getenv("TLP_TEST_MODEL");
    tlp_model *m = NULL;
    tlp_model_options opts = TLP_MODEL_OPTIONS_INIT;
    char buf[512];
    size_t len = 0;

    if (!path)
        cr_skip_test("TLP_TEST_MODEL does not name SmolLM2-135M-Instruct\n");
    opts.vocab_only = 1;
    CHECK_OK(tlp_model_open(&m, path, &opts));
    CHECK_OK(tlp_chat_format(buf, sizeof buf, &len, m, talk + 1, 1, 1));
    cr_assert_str_eq(buf,
                     "<|im_start|>system\nYou are a helpful AI assistant named "
                     "SmolLM, trained by Hugging Face<|im_end|>\n"
                     "<|im_start|>user\nHi <|im_end|>\n"
                     "<|im_start|>assistant\n");
    tlp_model_free(m);
}
