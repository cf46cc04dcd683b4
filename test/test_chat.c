/*
 * test_chat.c - conversations formatted by the chat templates of models.
 *
 * Templates are short ones in the manners of published ones.  Expected texts
 * follow from the language; test/check-jinja.py compares more of them with
 * Python's jinja2.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/vocab_file.h"

#define CHATML_MESSAGE                                                         \
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "       \
    "'<|im_end|>' + '\\n'}}"
#define CHATML_LOOP                                                            \
    "{% for message in messages %}" CHATML_MESSAGE "{% endfor %}"

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
    expect_chat(CHATML_LOOP "{% if add_generation_prompt %}{{ "
                            "'<|im_start|>assistant\\n' }}{% endif %}",
                talk, 4, 1,
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
    static const char with_default[] =
        "{% for message in messages %}{% if loop.first and "
        "messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are A"
        "<|im_end|>\n' }}{% endif %}" CHATML_MESSAGE "{% endfor %}";

    expect_chat(with_default, talk + 1, 1, 0,
                "<|im_start|>system\nYou are A<|im_end|>\n"
                "<|im_start|>user\nHi <|im_end|>\n");
    expect_chat(with_default, talk, 2, 0,
                "<|im_start|>system\n Be brief.<|im_end|>\n"
                "<|im_start|>user\nHi <|im_end|>\n");
    /* a default in a variable, and one in the template's own text */
    expect_chat("{% set s = 'You are B' %}{% if messages[0].role == 'system' "
                "%}{% set s = messages[0].content %}{% endif %}[{{ s }}]",
                talk + 1, 1, 0, "[You are B]");
    expect_chat("{% if messages[0].role != 'system' %}<|im_start|>system\nC"
                "<|im_end|>\n{% endif %}x",
                talk + 1, 1, 0, "<|im_start|>system\nC<|im_end|>\nx");
}

Test(chatml, an_answer_may_open_with_a_thought)
{
    expect_chat(CHATML_LOOP
                "{% if add_generation_prompt %}{{ "
                "'<|im_start|>assistant\\n<think>\\n' }}{% endif %}",
                talk + 1, 1, 1,
                "<|im_start|>user\nHi <|im_end|>\n"
                "<|im_start|>assistant\n<think>\n");
}

Test(chatml, tools_are_not_there)
{
    expect_chat("{% if tools %}tools{% else %}none{% endif %}", talk, 1, 0,
                "none");
}

Test(chatml, thoughts_leave_answered_messages)
{
    static const char qwen3[] =
        "{%- for message in messages %}{%- set content = "
        "message.content.split('</think>')[-1].lstrip('\\n') %}{{- "
        "'<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}"
        "{%- endfor %}";
    const tlp_chat_message msg[] = { { "user", "a" },
                                     { "assistant",
                                       "<think>\nhm\n</think>\n\nb" },
                                     { "user", "c" } };

    expect_chat(qwen3, msg, 3, 0,
                "<|im_start|>user\na<|im_end|>\n"
                "<|im_start|>assistant\nb<|im_end|>\n"
                "<|im_start|>user\nc<|im_end|>\n");
}

/* ==== other manners ====================================================== */

Test(llama3, trims_contents)
{
    expect_chat("{% for m in messages %}{% set content = '<|start_header_id|>' "
                "+ m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim "
                "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = "
                "bos_token + content %}{% endif %}{{ content }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant"
                "<|end_header_id|>\\n\\n' }}{% endif %}",
                talk, 2, 1,
                "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief."
                "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi"
                "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
}

#define ALTERNATE                                                              \
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ "        \
    "raise_exception('Roles must alternate user/assistant/user/...') }}"       \
    "{% endif %}"

Test(llama2, system_inside_the_first_user_message)
{
    static const char llama2[] =
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = "
        "messages[1:] %}{% set system = messages[0]['content'] %}{% else %}"
        "{% set loop_messages = messages %}{% set system = false %}{% endif %}"
        "{% for message in loop_messages %}" ALTERNATE
        "{% if loop.index0 == 0 and system %}{% set content = '<<SYS>>\\n' + "
        "system + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
        "{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + "
        "content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' "
        "%}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}"
        "{% endfor %}";
    const tlp_chat_message twice[] = { { "user", "a" }, { "user", "b" } };

    expect_chat(llama2, talk, 4, 1,
                "<s>[INST] <<SYS>>\n Be brief.\n<</SYS>>\n\nHi [/INST] Yes? "
                "</s><s>[INST] Bye [/INST]");
    expect_chat(llama2, talk + 1, 1, 1, "<s>[INST] Hi [/INST]");
    expect_refused(TLP_EINVAL, llama2, twice, 2,
                   "Roles must alternate user/assistant/user/...");
}

Test(gemma, turns_with_other_names)
{
    expect_chat("{{ bos_token }}{% for message in messages %}" ALTERNATE
                "{% if (message['role'] == 'assistant') %}{% set role = "
                "'model' %}{% else %}{% set role = message['role'] %}{% endif "
                "%}{{ '<start_of_turn>' + role + '\\n' + message['content'] | "
                "trim + '<end_of_turn>\\n' }}{% endfor %}",
                talk + 1, 2, 0,
                "<s><start_of_turn>user\nHi<end_of_turn>\n"
                "<start_of_turn>model\nYes?<end_of_turn>\n");
}

/* ==== refusals and misuse ================================================ */

Test(chat, what_cannot_be_rendered_is_refused)
{
    const tlp_chat_message bytes = { "user", "\xff" };

    expect_refused(TLP_ENOTSUP, NULL, talk, 2, "tokenizer.chat_template");
    expect_refused(TLP_EFORMAT, "ab\n{% for %}", talk, 2, "line 2, column 8");
    expect_refused(TLP_EFORMAT, "{{ 'open", talk, 2, "a string does not end");
    expect_refused(TLP_ENOTSUP, "{{ messages|groupby('role') }}", talk, 2,
                   "the filter groupby");
    expect_refused(TLP_ENOTSUP, "{% include 'x' %}", talk, 2, "include");
    expect_refused(TLP_EINVAL, "{{ nothing.there }}", talk, 2,
                   "nothing is undefined");
    expect_refused(TLP_ENOTSUP,
                   "{% for a in range(99999) %}{% for b in range(99999) %}"
                   "{% endfor %}{% endfor %}",
                   talk, 2, "memory");
    expect_refused(TLP_EINVAL, "{{ messages[0].content }}", &bytes, 1, "UTF-8");
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
