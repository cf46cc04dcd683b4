/*
 * vocab_seen.c - see vocab_seen.h.
 */
#include "support/vocab_seen.h"

#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/tiny.h"

vocab_seen seen;

void seen_set_up(void)
{
    gw_init(&seen.file);
}

void seen_tear_down(void)
{
    gw_free(&seen.file);
}

tlp_status seen_try(tlp_model **m)
{
    const char *path = tiny_path("seen.gguf");
    tlp_model_options o = TLP_MODEL_OPTIONS_INIT;

    seen.log = (log_lines){ 0 };
    o.vocab_only = 1;
    o.log = log_lines_add;
    o.log_data = &seen.log;
    cr_assert(gw_save(&seen.file, path));
    gw_free(&seen.file);
    gw_init(&seen.file);
    return tlp_model_open(m, path, &o);
}

tlp_model *seen_open(void)
{
    tlp_model *m = NULL;

    CHECK_OK(seen_try(&m));
    return m;
}

void seen_expect_warning(const char *part)
{
    cr_expect(strstr(seen.log.text, part), "\"%s\" expected: %s", part,
              seen.log.text);
}

void seen_expect_ids(const tlp_model *m, const char *text, uint32_t flags,
                     const char *want)
{
    int32_t ids[64];
    size_t n = 0, len = 0;
    char got[512] = "";

    CHECK_OK(tlp_tokenize(ids, 64, &n, m, text, strlen(text), flags));
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(got + len, sizeof got - len, i ? " %d" : "%d",
                                ids[i]);
    cr_expect_str_eq(got, want, "\"%s\": %s, not %s", text, got, want);
}

void seen_expect_text(const tlp_model *m, int32_t id, const char *want)
{
    char buf[64];
    size_t n = 0;

    CHECK_OK(tlp_detokenize(buf, sizeof buf, &n, m, &id, 1, 0));
    cr_expect_str_eq(buf, want, "%d: \"%s\", not \"%s\"", id, buf, want);
}

void seen_write(const char *pre, const vf_token *token, size_t n)
{
    static const char *const merge[] = { "x y" };

    vf_write(&seen.file, &(vf_spec){ .pre = pre,
                                     .token = token,
                                     .n_token = n,
                                     .merge = merge,
                                     .n_merge = 0 });
    if (pre)
        return;
    gw_kv_u32(&seen.file, "tokenizer.ggml.bos_token_id", 1);
    gw_kv_u32(&seen.file, "tokenizer.ggml.eos_token_id", 2);
}
