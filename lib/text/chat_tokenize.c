/*
 * chat_tokenize.c - a conversation as tokens.
 *
 * The whole text is tokenized at once, so that words at the border of template
 * and message are cut as in the whole text.  The marks of the text keep
 * messages from spelling control tokens.  The tokenizer adds no BOS: the
 * template writes it where the model was trained with one.
 */
#include <string.h>

#include "text/chat.h"

/* A template that writes BOS twice at the start: once is what models know. */
static void drop_second_bos(tlpi_ids *ids, const tlpi_env *env, int32_t bos,
                            const char *path)
{
    size_t n = 0;

    while (n < ids->n && bos >= 0 && ids->data[n] == bos)
        n++;
    if (n < 2)
        return;
    tlpi_log(env, TLP_LOG_WARN,
             "%s: the chat template writes BOS %zu times at the start; it "
             "stands there once",
             path, n);
    ids->n -= n - 1;
    memmove(ids->data, ids->data + n - 1, ids->n * sizeof *ids->data);
}

tlp_status tlpi_chat_tokenize(tlpi_ids *out, const tlpi_env *env,
                              const tlpi_chat *c, const tlpi_vocab *v,
                              const char *path)
{
    tlpi_jinja_text text = { 0 };
    tlp_status st = TLP_OK;

    TLP_TRY(tlpi_chat_render(&text, env, c, v, path));
    TLP_TRY(tlpi_vocab_tokenize_marked(v, text.s, text.data, text.n,
                                       TLP_TOKENIZE_SPECIAL, out));
    drop_second_bos(out, env, tlpi_vocab_special(v)->bos, path);
done:
    tlpi_jinja_text_free(env, &text);
    return st;
}
