/*
 * fuzz_jinja.c - any bytes as a chat template, rendered for a short
 * conversation: a text with marks for every byte, or an error in one line.
 */
#include <string.h>

#include "jinja/jinja.h"
#include "fuzz.h"

static const char conversation[] =
    "[{\"role\": \"system\", \"content\": \" Be brief. \"}, {\"role\": "
    "\"user\", \"content\": \"H\\u00e9llo, 1.5\\n\"}, {\"role\": "
    "\"assistant\", \"content\": null, \"tool_calls\": [{\"function\": "
    "{\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5, true]}}}]}]";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *messages = json_loads(conversation, 0, NULL);
    const tlpi_jinja_var vars[] = {
        { "messages", messages, false },
        { "add_generation_prompt", json_true(), true },
    };
    tlpi_jinja_text out = { 0 };
    tlpi_jinja *t = NULL;
    tlpi_env env;

    promise(messages && tlpi_env_init(&env, NULL, NULL, NULL) == TLP_OK);
    tlp_status st = tlpi_jinja_compile(&t, &env, "t", (const char *)data, size);
    promise((st == TLP_OK) == (t != NULL));
    if (st == TLP_OK)
        st = tlpi_jinja_render(&out, t, vars, 2, 0, NULL);
    if (st == TLP_OK)
        for (size_t i = 0; i < out.n; i++)
            promise(out.data[i] <= 1);
    else
        promise(!out.s && *tlp_last_error() && !strchr(tlp_last_error(), '\n'));
    tlpi_jinja_text_free(&env, &out);
    tlpi_jinja_free(t);
    json_decref(messages);
    return 0;
}
