/*
 * teacher_rig.c - see teacher_rig.h.
 */
#include "teacher_rig.h"

#include "rig.h"
#include "tiny.h"

static tlp_status go_on(void *arg)
{
    (void)arg;
    return TLP_OK;
}

void teacher_rig_open(teacher_rig *r, int32_t *ids, const teacher_shape *shape,
                      tlpi_tick tick)
{
    tlp_session_options o = TLP_SESSION_OPTIONS_INIT;
    tiny_spec spec = tiny_default();

    if (shape->n_layer)
        spec.n_layer = shape->n_layer;
    if (shape->arch)
        spec.arch = shape->arch;
    if (!tick.fn)
        tick.fn = go_on;
    *r = (teacher_rig){ .model = NULL };
    o.n_ctx = shape->n_ctx;
    o.n_thread = shape->n_thread;
    CHECK_OK(tlp_model_open(&r->model, tiny_make(&spec), NULL));
    rig_tokens(ids, shape->n_token, (size_t)spec.n_vocab, 3);
    CHECK_OK(tlpi_runner_config(&r->cfg, r->model, &o));
    CHECK_OK(tlpi_windows_cut(&r->text, &r->model->env, ids,
                              (size_t)shape->n_token, shape->n_ctx, 7));
    CHECK_OK(
        tlpi_teacher_create(&r->teacher, r->model, &r->cfg, &r->text, tick));
}

void teacher_rig_close(teacher_rig *r)
{
    tlpi_teacher_free(&r->teacher);
    tlpi_windows_free(&r->text);
    tlp_model_free(r->model);
}
