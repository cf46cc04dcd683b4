/*
 * plan_convert.c - write a plan's model to another file, and the plan for it;
 * tlp_plan_quantize.
 *
 * A plan names its file by the file's content.  So the new file is opened under
 * its temporary name, the plan for it is saved, and then the file gets its
 * name.
 */
#include "plan/plan_convert.h"

#include <string.h>
#include <sys/stat.h>

static tlp_status save_plan(void *arg, const char *path)
{
    const tlpi_plan_convert *c = arg;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_status st;

    TLP_TRY(tlpi_model_open_like(&model, c->file.model, path, true));
    TLP_TRY(tlpi_plan_move(&plan, c->plan, model, c->made));
    st = tlp_plan_save(plan, c->plan_path);
done:
    tlp_plan_free(plan);
    tlp_model_free(model);
    return st;
}

tlp_status tlpi_plan_convert_write(tlp_plan **out, tlp_quantize_result *result,
                                   const tlpi_plan_convert *c)
{
    tlpi_plan_convert copy = *c;
    tlp_model *model = NULL;
    tlp_status st;

    if (c->plan_path) {
        copy.file.ready = save_plan;
        copy.file.ready_arg = &copy;
    }
    TLP_TRY(tlpi_model_convert(&copy.file, result));
    TLP_TRY(tlpi_model_open_like(&model, c->file.model, c->file.path, false));
    st = tlpi_plan_move(out, c->plan, model, c->made);
done:
    tlp_model_free(model);
    return st;
}

static bool is_one_file(const char *a, const char *b)
{
    struct stat x, y;

    return strcmp(a, b) == 0 || (stat(a, &x) == 0 && stat(b, &y) == 0 &&
                                 x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

tlp_status tlpi_plan_convert_check(const tlp_model *m, const char *path,
                                   const char *plan_path)
{
    tlp_status st = tlpi_model_check_path(m, path);

    if (st != TLP_OK || !plan_path)
        return st;
    if (is_one_file(path, plan_path))
        return tlpi_fail(TLP_EINVAL, "%s: model and plan in one file",
                         plan_path);
    return tlpi_model_check_path(m, plan_path);
}

/* ==== calls ============================================================== */

tlp_status tlpi_plan_convert_call(tlp_plan **out, tlp_quantize_result *result,
                                  const tlpi_plan_convert *c,
                                  tlpi_plan_writer *write)
{
    tlp_quantize_result r = { 0 };
    tlp_status st;

    TLP_TRY(tlpi_quantize_give(result, &r));
    TLP_TRY(
        tlpi_plan_convert_check(c->plan->model, c->file.path, c->plan_path));
    TLP_TRY(write(out, &r, c));
    st = tlpi_quantize_give(result, &r);
done:
    return st;
}

tlp_status tlp_plan_quantize(tlp_plan **out, tlp_quantize_result *result,
                             const tlp_plan *plan, const char *path,
                             const char *plan_path, const char *type,
                             const tlp_quantize_options *opts)
{
    tlpi_plan_convert c = { .plan = plan, .plan_path = plan_path };
    char *made = NULL;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !plan || !path || !type)
        return tlpi_fail(TLP_EINVAL, "out, plan, path and type are required");
    c.file.model = plan->model;
    c.file.path = path;
    c.file.type = type;
    TLP_TRY(tlpi_quantize_options(&c.file.opts, opts));
    TLP_TRY(tlpi_plan_record_carried(plan, &made));
    c.made = made;
    st = tlpi_plan_convert_call(out, result, &c, tlpi_plan_convert_write);
done:
    tlpi_free(&plan->model->env, made);
    return st;
}
