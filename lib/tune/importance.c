/*
 * importance.c - tlp_model_imatrix: the serial model on a text, window by
 * window, and the squares of what its matrices read.
 */
#include "model/imatrix_write.h"
#include "rank/forward.h"
#include "rank/meter.h"
#include "tlp_tune.h"
#include "tune/plan_runner.h"
#include "tune/windows.h"

typedef struct importance {
    const tlpi_env *env;
    tlp_model *model;
    tlp_imatrix_options o;
    tlp_session_options session;
    tlpi_session_config cfg;
    tlpi_windows text;
    tlpi_runner serial;
    tlpi_meter *meter;
    tlpi_imatrix_sums *item; /* [meter->n] */
} importance;

static tlp_status read_options(importance *x, const tlp_imatrix_options *opts,
                               size_t n)
{
    tlp_status st;

    TLP_TRY(tlpi_options_read(&x->o, sizeof x->o, opts, "tlp_imatrix_options"));
    TLP_TRY(tlpi_windows_session(&x->session, x->o.session, n));
    st = tlpi_runner_config(&x->cfg, x->model, &x->session);
done:
    return st;
}

static tlp_status set_up(importance *x, const int32_t *tokens, size_t n)
{
    tlp_plan *plan = NULL;
    tlp_status st;

    TLP_TRY(tlpi_windows_check(x->model, tokens, n, x->session.n_ctx));
    TLP_TRY(tlpi_windows_cut(&x->text, x->env, tokens, n, x->session.n_ctx, 0));
    TLP_TRY(tlp_plan_parse(&plan, x->model, "serial"));
    TLP_TRY(tlpi_runner_create(&x->serial, plan, &x->cfg));
    st = tlpi_meter_create(&x->meter, x->serial.rank);
done:
    tlp_plan_free(plan);
    return st;
}

static tlp_status run(importance *x)
{
    tlpi_rank *r = x->serial.rank;
    tlp_status st = TLP_OK;

    for (int i = 0; i < x->text.n; i++) {
        tlpi_step step = tlpi_window_step(&x->text, &x->text.window[i]);

        tlpi_forward_begin(r, &step, NULL);
        TLP_TRY(
            tlpi_forward_stages(r, r->program, &step, 0, x->model->hp.n_layer));
        if (x->o.progress &&
            x->o.progress((double)(i + 1) / x->text.n, x->o.progress_data))
            TLP_TRY(
                tlpi_fail(TLP_ECANCELED, "the importance matrix was canceled"));
    }
done:
    return st;
}

/* Experts that no token chose: their columns will count alike. */
static int count_unused(const importance *x)
{
    const char *first = NULL;
    int n = 0;

    for (size_t i = 0; i < x->meter->n; i++)
        for (int64_t k = 0; k < x->item[i].n_mat; k++)
            if (x->item[i].count[k] == 0) {
                first = first ? first : x->item[i].name;
                n++;
            }
    if (n > 0)
        tlpi_log(x->env, TLP_LOG_WARN,
                 "%s: %d matrices of experts have read no token, in tensor %s "
                 "first: a longer text may reach them",
                 x->model->path, n, first);
    return n;
}

static tlp_status write_file(importance *x, const char *path,
                             tlp_imatrix_result *r)
{
    const tlpi_meter *m = x->meter;
    const tlpi_imatrix_file file = { .item = x->item,
                                     .n = m->n,
                                     .dataset = x->o.dataset,
                                     .n_chunk = (uint32_t)x->text.n,
                                     .chunk_size = (uint32_t)x->text.n_ctx };

    for (size_t i = 0; i < m->n; i++)
        x->item[i] = (tlpi_imatrix_sums){ m->entry[i].tensor->name,
                                          m->entry[i].cols, m->entry[i].n_mat,
                                          m->entry[i].sum, m->entry[i].count };
    r->n_entry = (int32_t)m->n;
    r->n_window = x->text.n;
    r->n_token = (int64_t)x->text.n_tok;
    r->n_unused = count_unused(x);
    return tlpi_imatrix_write(&file, x->env, path);
}

tlp_status tlp_model_imatrix(tlp_imatrix_result *result, tlp_model *model,
                             const char *path, const int32_t *tokens, size_t n,
                             const tlp_imatrix_options *opts)
{
    importance x = { .model = model };
    tlp_imatrix_result r = { .struct_size = sizeof r };
    tlp_status st;

    if (!model || !path || !tokens)
        return tlpi_fail(TLP_EINVAL, "model, path and tokens are required");
    x.env = &model->env;
    if (result) /* before the work begins */
        TLP_TRY(tlpi_struct_check(result, sizeof r, "tlp_imatrix_result"));
    TLP_TRY(tlpi_model_check_path(model, path));
    TLP_TRY(read_options(&x, opts, n));
    TLP_TRY(set_up(&x, tokens, n));
    TLP_TRY(run(&x));
    x.item = tlpi_alloc_array(x.env, x.meter->n, sizeof *x.item);
    if (!x.item)
        TLP_TRY(tlpi_fail_nomem_for("an importance matrix"));
    TLP_TRY(write_file(&x, path, &r));
    if (result)
        st = tlpi_struct_write(result, &r, sizeof r, "tlp_imatrix_result");
done:
    tlpi_free(x.env, x.item);
    tlpi_meter_free(x.meter);
    tlpi_runner_free(&x.serial);
    tlpi_windows_free(&x.text);
    return st;
}
