/*
 * chat_api.c - the functions of tlp.h that lay a conversation out: they check
 * arguments, and pass the model's vocabulary to text/.
 */
#include "model/model.h"
#include "text/chat.h"

static tlp_status read_chat(tlpi_chat *c, const tlp_model *model,
                            const tlp_chat_message *messages, size_t n,
                            const tlp_chat_options *opts)
{
    tlp_chat_options *o = &c->opts;
    tlp_status st = TLP_OK;

    *c = (tlpi_chat){ .message = messages, .n = n };
    if (!model || (!messages && n > 0))
        return tlpi_fail(TLP_EINVAL, "model and messages are required");
    TLP_TRY(tlpi_options_read(o, sizeof *o, opts, "tlp_chat_options"));
    TLP_TRY(tlpi_flag_check("chat option add_generation_prompt",
                            o->add_generation_prompt));
    TLP_TRY(tlpi_flag_check("chat option continue_final_message",
                            o->continue_final_message));
done:
    return st;
}

tlp_status tlp_chat_render(char *buf, size_t cap, size_t *len,
                           const tlp_model *model,
                           const tlp_chat_message *messages, size_t n,
                           const tlp_chat_options *opts)
{
    tlpi_jinja_text out = { 0 };
    tlp_status st = TLP_OK;
    tlpi_chat c;

    if (len)
        *len = 0;
    if (!len || (!buf && cap > 0))
        return tlpi_fail(TLP_EINVAL, "buf and len are required");
    TLP_TRY(read_chat(&c, model, messages, n, opts));
    TLP_TRY(tlpi_chat_render(&out, &model->env, &c, model->vocab, model->path));
    TLP_TRY(tlpi_copy_out(out.s, out.n, buf, cap, len));
done:
    if (model)
        tlpi_jinja_text_free(&model->env, &out);
    return st;
}

tlp_status tlp_chat_format(char *buf, size_t cap, size_t *len,
                           const tlp_model *model,
                           const tlp_chat_message *messages, size_t n,
                           int add_assistant)
{
    tlp_chat_options opts = TLP_CHAT_OPTIONS_INIT;

    opts.add_generation_prompt = add_assistant;
    return tlp_chat_render(buf, cap, len, model, messages, n, &opts);
}

tlp_status tlp_chat_tokenize(int32_t *ids, size_t cap, size_t *count,
                             const tlp_model *model,
                             const tlp_chat_message *messages, size_t n,
                             const tlp_chat_options *opts)
{
    tlpi_ids out = { 0 };
    tlp_status st = TLP_OK;
    tlpi_chat c;

    if (count)
        *count = 0;
    if (!count || (!ids && cap > 0))
        return tlpi_fail(TLP_EINVAL, "ids and count are required");
    TLP_TRY(read_chat(&c, model, messages, n, opts));
    out.env = &model->env;
    TLP_TRY(tlpi_chat_tokenize(&out, out.env, &c, model->vocab, model->path));
    TLP_TRY(tlpi_ids_copy_out(&out, ids, cap, count));
done:
    if (out.env)
        tlpi_free(out.env, out.data);
    return st;
}
