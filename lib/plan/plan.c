/*
 * plan.c - plan objects: build them from stages, read them, write them, count
 * references.
 */
#include "plan/plan.h"

#include <string.h>

#include "file/mapfile.h"
#include "plan/adjust.h"
#include "plan/plan_sketch.h"

/* A JSON plan of ten thousand layers is shorter. */
#define MAX_FILE_BYTES (1u << 20)

static const char *const mode_names[] = {
    [TLP_MODE_SERIAL] = "serial",   [TLP_MODE_LP] = "lp",
    [TLP_MODE_PAR] = "par",         [TLP_MODE_ASYM] = "asym",
    [TLP_MODE_LP_CODE] = "lp-code", [TLP_MODE_MERGE] = "merge",
};

const char *tlpi_mode_name(int mode)
{
    return mode_names[mode];
}

int tlpi_mode_parse(const char *text, size_t n)
{
    for (int i = 0; i < (int)TLPI_COUNT(mode_names); i++) {
        if (strlen(mode_names[i]) == n && memcmp(mode_names[i], text, n) == 0)
            return i;
    }
    return -1;
}

const char *tlpi_nosync_name(int nosync)
{
    static const char *const names[] = {
        [TLP_NOSYNC_ATTN] = "a",
        [TLP_NOSYNC_FFN] = "f",
        [TLP_NOSYNC_ATTN | TLP_NOSYNC_FFN] = "",
    };

    return names[nosync];
}

static void destroy(tlp_plan *p)
{
    tlp_model *model = p->model;
    const tlpi_env *env = &model->env;

    if (p->stage)
        tlpi_free(env, p->stage[0].layers);
    tlpi_free(env, p->stage);
    tlpi_free(env, p->made);
    tlpi_adjust_free(env, p->adjust);
    tlpi_free(env, p);
    tlp_model_free(model);
}

/* Check the stages; *n_member gets the number of their members. */
static tlp_status check_stages(const tlp_model *m, const tlpi_stage *stage,
                               int n_stage, const char *where, bool *seen,
                               int *n_member)
{
    *n_member = 0;
    if (n_stage < 1)
        return tlpi_fail(TLP_EINVAL, "%s: no layer is left", where);
    for (int i = 0; i < n_stage; i++) {
        const tlpi_stage *s = &stage[i];
        if (s->n_member < 1 || s->mode < 0 ||
            s->mode >= (int)TLPI_COUNT(mode_names) ||
            (s->n_member == 1) != (s->mode == TLP_MODE_SERIAL))
            return tlpi_fail(TLP_EINVAL,
                             "%s: stage %d: mode %d does not fit %d layers",
                             where, i, s->mode, s->n_member);
        if (s->mode == TLP_MODE_MERGE &&
            tlpi_model_check_experts(m, where,
                                     "mode merge is not supported "
                                     "for") != TLP_OK)
            return TLP_ENOTSUP;
        for (int j = 0; j < s->n_member; j++) {
            int l = s->layers[j];
            if (l < 0 || l >= m->hp.n_layer)
                return tlpi_fail(TLP_EINVAL,
                                 "%s: layer %d does not exist, the model has "
                                 "%d (0-%d)",
                                 where, l, m->hp.n_layer, m->hp.n_layer - 1);
            if (seen[l])
                return tlpi_fail(TLP_EINVAL, "%s: layer %d is twice in a plan",
                                 where, l);
            seen[l] = true;
        }
        *n_member += s->n_member;
    }
    return TLP_OK;
}

/* An exchange can be left out only between two half-layers of serial stages. */
static tlp_status check_nosync(const tlp_model *m, const tlpi_stage *stage,
                               int n_stage, int n_track, const char *where)
{
    const int known = TLP_NOSYNC_ATTN | TLP_NOSYNC_FFN;
    int most = tlpi_plan_max_track(m);

    if (n_track < 2 || n_track > most)
        return tlpi_fail(TLP_EINVAL, "%s: nosync: %d tracks, 2 to %d expected",
                         where, n_track, most);
    for (int i = 0; i < n_stage; i++) {
        const tlpi_stage *s = &stage[i];
        int half = s->nosync & -s->nosync; /* the first of both */

        if (!s->nosync)
            continue;
        if (s->nosync & ~known)
            return tlpi_fail(TLP_EINVAL,
                             "%s: stage %d: nosync is %d, 0 to %d "
                             "expected",
                             where, i, s->nosync, known);
        if (s->mode != TLP_MODE_SERIAL)
            return tlpi_fail(TLP_EINVAL,
                             "%s: nosync: %d%s: layer %d is in a group of mode "
                             "%s, a layer that runs alone expected",
                             where, s->layers[0], tlpi_nosync_name(half),
                             s->layers[0], mode_names[s->mode]);
        if (!(s->nosync & TLP_NOSYNC_FFN))
            continue;
        if (i + 1 == n_stage)
            return tlpi_fail(TLP_EINVAL,
                             "%s: nosync: %df: the exchange after the last "
                             "half-layer cannot be left out",
                             where, s->layers[0]);
        if (s[1].mode != TLP_MODE_SERIAL)
            return tlpi_fail(TLP_EINVAL,
                             "%s: nosync: %df: the next stage is a group of "
                             "mode %s, a layer that runs alone expected",
                             where, s->layers[0], mode_names[s[1].mode]);
    }
    return TLP_OK;
}

static bool leaves_out(const tlpi_stage *stage, int n_stage)
{
    for (int i = 0; i < n_stage; i++)
        if (stage[i].nosync)
            return true;
    return false;
}

static tlp_status copy_stages(tlp_plan *p, const tlpi_stage *stage, int n_stage,
                              int n_member)
{
    const tlpi_env *env = &p->model->env;
    int *layers = tlpi_alloc_array(env, (size_t)n_member, sizeof *layers);

    p->stage = tlpi_alloc_array(env, (size_t)n_stage, sizeof *p->stage);
    if (!layers || !p->stage) {
        tlpi_free(env, layers);
        tlpi_free(env, p->stage);
        p->stage = NULL;
        return tlpi_fail_nomem_for("a plan");
    }
    p->n_stage = n_stage;
    for (int i = 0; i < n_stage; i++) {
        size_t n = (size_t)stage[i].n_member;
        memcpy(layers, stage[i].layers, n * sizeof *layers);
        p->stage[i] = stage[i];
        p->stage[i].layers = layers;
        layers += n;
    }
    return TLP_OK;
}

tlp_status tlpi_plan_build(tlp_plan **out, tlp_model *model,
                           const tlpi_stage *stage, int n_stage, int n_track,
                           const char *made, const char *where)
{
    const tlpi_env *env = &model->env;
    tlp_plan *p = NULL;
    bool *seen = NULL;
    int n_member;
    tlp_status st;

    *out = NULL;
    if (model->vocab_only)
        return tlpi_fail(TLP_EINVAL,
                         "%s: %s was opened with vocab_only, a plan needs its "
                         "layers",
                         where, model->path);
    seen = tlpi_calloc(env, (size_t)model->hp.n_layer, sizeof *seen);
    p = tlpi_calloc(env, 1, sizeof *p);
    if (!seen || !p) {
        tlpi_free(env, p);
        p = NULL;
        TLP_TRY(tlpi_fail_nomem_for("a plan"));
    }
    p->refs = 1;
    p->model = tlpi_model_retain(model);
    TLP_TRY(check_stages(model, stage, n_stage, where, seen, &n_member));
    if (leaves_out(stage, n_stage)) {
        TLP_TRY(check_nosync(model, stage, n_stage, n_track, where));
        p->n_track = n_track;
    }
    TLP_TRY(copy_stages(p, stage, n_stage, n_member));
    if (made && !(p->made = tlpi_strndup(env, made, strlen(made))))
        TLP_TRY(tlpi_fail_nomem_for("a plan"));
    *out = p;
    p = NULL;
done:
    tlp_plan_free(p);
    tlpi_free(env, seen);
    return st;
}

tlp_status tlpi_plan_rebuild(tlp_plan **out, tlp_model *model,
                             const tlp_plan *p, const char *made)
{
    return tlpi_plan_build(out, model, p->stage, p->n_stage, p->n_track, made,
                           "plan");
}

tlp_plan *tlpi_plan_retain(tlp_plan *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void tlp_plan_free(tlp_plan *plan)
{
    if (plan &&
        atomic_fetch_sub_explicit(&plan->refs, 1, memory_order_acq_rel) == 1)
        destroy(plan);
}

int tlpi_plan_max_members(const tlp_plan *p)
{
    int most = 1;

    for (int i = 0; i < p->n_stage; i++)
        most = TLPI_MAX(most, tlpi_plan_n_member(p, i));
    return most;
}

static tlp_status read_plan(tlp_plan **out, tlp_model *model, const char *text,
                            size_t n, bool json, const char *where)
{
    tlpi_adjust *adjust = NULL;
    tlpi_sketch sketch;
    char *made = NULL;
    tlp_status st;

    TLP_TRY(tlpi_sketch_init(&sketch, model, where));
    if (json)
        TLP_TRY(tlpi_plan_read_json(&sketch, text, n, &made, &adjust));
    else
        TLP_TRY(tlpi_plan_read_text(&sketch, text));
    TLP_TRY(tlpi_sketch_build(&sketch, made, out));
    (*out)->adjust = adjust;
    adjust = NULL;
done:
    tlpi_adjust_free(&model->env, adjust);
    tlpi_free(&model->env, made);
    tlpi_sketch_free(&sketch);
    return st;
}

tlp_status tlpi_plan_parse_bare(tlp_plan **out, tlp_model *model,
                                const char *text)
{
    size_t n = strlen(text);

    *out = NULL;
    if (n > MAX_FILE_BYTES)
        return tlpi_fail(TLP_EFORMAT, "plan: %zu bytes, at most %u expected", n,
                         MAX_FILE_BYTES);
    return read_plan(out, model, text, n, text[strspn(text, " \t\r\n")] == '{',
                     "plan");
}

tlp_status tlp_plan_parse(tlp_plan **out, tlp_model *model, const char *text)
{
    if (out)
        *out = NULL;
    if (!out || !model || !text)
        return tlpi_fail(TLP_EINVAL, "out, model and text are required");
    tlp_status st = tlpi_plan_parse_bare(out, model, text);
    if (st != TLP_OK || !(*out)->adjust)
        return st;
    tlp_plan_free(*out);
    *out = NULL;
    return tlpi_fail(TLP_ENOTSUP,
                     "plan: key \"adjust\": the adjustments are in a file "
                     "beside the plan's, which only tlp_plan_load reads");
}

tlp_status tlp_plan_load(tlp_plan **out, tlp_model *model, const char *path)
{
    tlp_plan *p = NULL;
    char *text = NULL;
    size_t n = 0;
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !model || !path)
        return tlpi_fail(TLP_EINVAL, "out, model and path are required");
    TLP_TRY(tlpi_file_read(&model->env, path, MAX_FILE_BYTES, &text, &n));
    TLP_TRY(read_plan(&p, model, text, n, true, path));
    if (p->adjust)
        TLP_TRY(tlpi_adjust_load(p, path));
    *out = p;
    p = NULL;
done:
    tlp_plan_free(p);
    tlpi_free(&model->env, text);
    return st;
}

/* Replace the plan file and the file of its adjustments.  Both new files are
 * complete on the disk before either gets its name, so a reader can meet a
 * mixture only between the two renamings. */
static tlp_status save_adjusted(const tlp_plan *plan, const char *path)
{
    tlpi_text text = { .env = &plan->model->env };
    tlpi_replace json = { .fd = -1 };
    tlpi_adjust_file adjust;
    tlp_status st;

    TLP_TRY(tlpi_adjust_write(&adjust, plan, path));
    tlpi_plan_write_json_as(plan, adjust.name, &text);
    if (text.failed)
        TLP_TRY(tlpi_fail_nomem_for("a plan"));
    TLP_TRY(tlpi_replace_begin(&json, text.env, path, text.len));
    TLP_TRY(tlpi_replace_write(&json, text.data, text.len));
    TLP_TRY(tlpi_replace_sync(&json));
    TLP_TRY(tlpi_replace_commit(&adjust.file));
    TLP_TRY(tlpi_replace_commit(&json));
done:
    tlpi_replace_end(&json);
    tlpi_adjust_file_end(&adjust);
    tlpi_text_free(&text);
    return st;
}

tlp_status tlp_plan_save(const tlp_plan *plan, const char *path)
{
    if (!plan || !path)
        return tlpi_fail(TLP_EINVAL, "plan and path are required");
    tlp_status st = tlpi_model_check_path(plan->model, path);

    if (st != TLP_OK)
        return st;
    if (plan->adjust)
        return save_adjusted(plan, path);
    tlpi_text text = { .env = &plan->model->env };
    tlpi_plan_write_json(plan, &text);
    st = text.failed ? tlpi_fail_nomem_for("a plan")
                     : tlpi_file_replace(text.env, path, text.data, text.len);
    tlpi_text_free(&text);
    return st;
}

tlp_status tlp_plan_format(char *buf, size_t cap, size_t *len,
                           const tlp_plan *plan, int form)
{
    if (len)
        *len = 0;
    if (!plan || !len || (!buf && cap > 0))
        return tlpi_fail(TLP_EINVAL, "plan, len and buf are required");
    if (form != TLP_PLAN_TEXT && form != TLP_PLAN_JSON)
        return tlpi_fail(TLP_EINVAL,
                         "form %d: TLP_PLAN_TEXT or TLP_PLAN_JSON "
                         "expected",
                         form);
    tlpi_text text = { .env = &plan->model->env };
    if (form == TLP_PLAN_TEXT)
        tlpi_plan_write_text(plan, &text);
    else
        tlpi_plan_write_json(plan, &text);
    tlp_status st = text.failed
                        ? tlpi_fail_nomem_for("a plan")
                        : tlpi_copy_out(text.data, text.len, buf, cap, len);
    tlpi_text_free(&text);
    return st;
}

tlp_status tlp_plan_get_stage(tlp_stage_info *out, const tlp_plan *plan,
                              size_t index)
{
    if (!plan || !out)
        return tlpi_fail(TLP_EINVAL, "plan and out are required");
    if (index >= (size_t)plan->n_stage)
        return tlpi_fail(TLP_EINVAL,
                         "stage %zu does not exist, the plan has %d", index,
                         plan->n_stage);
    const tlpi_stage *s = &plan->stage[index];
    tlp_stage_info info = {
        .mode = s->mode,
        .n_member = s->n_member,
        .layers = s->layers,
        .nosync = s->nosync,
        .n_track = tlpi_plan_has_tracks(plan, (int)index) ? plan->n_track : 0,
    };
    return tlpi_struct_write(out, &info, sizeof info, "tlp_stage_info");
}
