/*
 * quantize_model.c - tlp_model_quantize, and the options and results of all
 * calls that write a model.
 */
#include "model/convert.h"
#include "model/model.h"
#include "model/recipe.h"

tlp_status tlpi_quantize_options(tlp_quantize_options *out,
                                 const tlp_quantize_options *opts)
{
    tlp_status st;

    TLP_TRY(tlpi_options_read(out, sizeof *out, opts, "tlp_quantize_options"));
    if (out->n_thread < 0 || out->n_thread > TLPI_CONVERT_THREADS)
        TLP_TRY(tlpi_fail(TLP_EINVAL, "n_thread %d: 0 to %d expected",
                          out->n_thread, TLPI_CONVERT_THREADS));
    st = tlpi_flag_check("quantize option pure", out->pure);
done:
    return st;
}

tlp_status tlpi_convert_check_type(const tlp_model *m, const char *type)
{
    tlpi_text names = { .env = &m->env };

    if (tlpi_recipe_find(type))
        return TLP_OK;
    tlpi_recipe_list(&names);
    tlp_status st = names.failed
                        ? tlpi_fail_nomem_for("a quantized model")
                        : tlpi_fail(TLP_EINVAL, "type %s: one of %s expected",
                                    type, names.data);
    tlpi_text_free(&names);
    return st;
}

tlp_status tlpi_quantize_give(tlp_quantize_result *out,
                              const tlp_quantize_result *r)
{
    return out ? tlpi_struct_write(out, r, sizeof *r, "tlp_quantize_result")
               : TLP_OK;
}

tlp_status tlp_model_quantize(tlp_quantize_result *result,
                              const tlp_model *model, const char *path,
                              const char *type,
                              const tlp_quantize_options *opts)
{
    tlpi_convert job = { .model = model, .path = path, .type = type };
    tlp_quantize_result r = { 0 };
    tlp_status st;

    if (!model || !path)
        return tlpi_fail(TLP_EINVAL, "model and path are required");
    TLP_TRY(tlpi_quantize_options(&job.opts, opts));
    TLP_TRY(tlpi_quantize_give(result, &r));
    TLP_TRY(tlpi_model_convert(&job, &r));
    st = tlpi_quantize_give(result, &r);
done:
    return st;
}
