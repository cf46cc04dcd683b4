/*
 * search_plan.c - tlp_plan_make: options, the steps from the serial plan to the
 * target, and the plans for the caller.
 */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "tune/search_target.h"

#define DEFAULT_GROUP 4
#define DEFAULT_TRACK 2
#define DEFAULT_BYTES ((uint64_t)768 << 20)

/* Seconds between two writes of the state file. */
#define SAVE_EVERY 10

/* Progress inside a step: half after this number of windows. */
#define HALF_STEP 40.0

typedef struct maker {
    tlp_model *model;
    const tlpi_env *env;
    tlp_plan_make_options o;     /* o.session points at the next field */
    tlp_session_options session; /* of the windows */
    tlpi_session_config cfg;
    tlpi_windows text;
    tlpi_teacher teacher;
    tlpi_scorer *scorer;
    tlpi_search search;
    char *start;   /* variant of o.start; or NULL */
    char *variant; /* of the current step */
    char *chosen;  /* the last variant within the target */
    char **front;  /* [n_front] the best variant after each step */
    int n_front;
    int step, n_step, tick;
    double saved; /* time of the last write */
} maker;

/* ==== progress =========================================================== */

static tlp_status report(const maker *m, double done)
{
    if (m->o.progress && m->o.progress(done, m->o.progress_data))
        return tlpi_fail(TLP_ECANCELED, "planning was canceled");
    return TLP_OK;
}

static tlp_status save(maker *m)
{
    m->saved = tlpi_now();
    return m->o.resume ? tlpi_state_save(m->scorer, m->o.resume) : TLP_OK;
}

static tlp_status tick(void *arg)
{
    maker *m = arg;
    m->tick++;
    double part = m->tick / (m->tick + HALF_STEP);
    tlp_status st = TLP_OK;

    if (m->scorer && tlpi_now() - m->saved > SAVE_EVERY)
        st = save(m);
    if (st == TLP_OK)
        st = report(m, fmin(1, (m->step + part) / m->n_step));
    return st;
}

/* ==== setting up ========================================================= */

static tlp_status read_options(maker *m, const tlp_plan_make_options *opts,
                               size_t n)
{
    tlp_plan_make_options *o = &m->o;
    tlp_status st;

    TLP_TRY(tlpi_options_read(o, sizeof(*o), opts, "tlp_plan_make_options"));
    TLP_TRY(tlpi_windows_session(&m->session, o->session, n));
    o->session = &m->session;
    if (o->max_group == 0)
        o->max_group = DEFAULT_GROUP;
    if (o->n_track == 0)
        o->n_track = DEFAULT_TRACK;
    if (o->modes == 0 && o->exchanges != 0)
        o->modes = TLP_MAKE_NOSYNC;
    else if (o->modes == 0)
        o->modes = 1u << TLP_MODE_LP | 1u << TLP_MODE_PAR | 1u << TLP_MODE_ASYM;
    if (o->max_bytes == 0)
        o->max_bytes = DEFAULT_BYTES;
    TLP_TRY(tlpi_target_check(o, m->model));
    o->max_group = TLPI_MIN(o->max_group, m->model->hp.n_layer);
    m->n_step = tlpi_target_steps(o, m->model);
done:
    return st;
}

static tlp_status read_start(maker *m, size_t n_place)
{
    if (!m->o.start)
        return TLP_OK;
    m->start = tlpi_calloc(m->env, n_place + 1, 1);
    return m->start ? tlpi_variant_read(m->start, m->o.start)
                    : tlpi_fail_nomem_for("a search");
}

static tlp_status set_up(maker *m, const int32_t *tokens, size_t n)
{
    const tlpi_tick after_work = { tick, m };
    size_t n_place = tlpi_variant_length(m->model->hp.n_layer);
    bool nosync = m->o.modes & TLP_MAKE_NOSYNC;
    const tlpi_scorer_setup scorer = {
        .teacher = &m->teacher,
        .objective = m->o.objective,
        .n_track = m->o.n_track,
        .nosync = nosync,
        .n_stream = nosync ? TLPI_RACE_WINDOWS : INT_MAX,
        .budget = (size_t)TLPI_MIN(m->o.max_bytes, SIZE_MAX),
    };
    tlp_status st;

    m->saved = tlpi_now();
    TLP_TRY(read_start(m, n_place));
    TLP_TRY(tlpi_windows_cut(&m->text, m->env, tokens, n, m->session.n_ctx,
                             m->o.seed));
    TLP_TRY(tlpi_teacher_create(&m->teacher, m->model, &m->cfg, &m->text,
                                after_work));
    TLP_TRY(tlpi_scorer_create(&m->scorer, &scorer));
    TLP_TRY(
        tlpi_search_init(&m->search, m->scorer, m->o.modes, m->o.max_group));
    m->search.target = m->o.exchanges;
    m->variant = tlpi_strndup(m->env, m->scorer->base, n_place);
    m->chosen = tlpi_strndup(m->env, m->scorer->base, n_place);
    if (!m->variant || !m->chosen)
        TLP_TRY(tlpi_fail_nomem_for("a search"));
    /* The serial plan, the start before and after swaps, and a plan for each
     * step, which makes the size less. */
    size_t n_front = (size_t)tlpi_search_size(&m->search, m->variant) + 3;

    m->front = tlpi_calloc(m->env, n_front, sizeof(*m->front));
    if (!m->front)
        TLP_TRY(tlpi_fail_nomem_for("a search"));
    if (m->o.resume)
        TLP_TRY(tlpi_state_load(m->scorer, m->o.resume));
done:
    return st;
}

static void clear(maker *m)
{
    for (int i = 0; i < m->n_front; i++)
        tlpi_free(m->env, m->front[i]);
    tlpi_free(m->env, m->front);
    tlpi_free(m->env, m->chosen);
    tlpi_free(m->env, m->variant);
    tlpi_free(m->env, m->start);
    tlpi_search_clear(&m->search);
    tlpi_scorer_free(m->scorer);
    tlpi_teacher_free(&m->teacher);
    tlpi_windows_free(&m->text);
}

/* ==== steps ============================================================== */

/* Choose the variant if its KL is within the budget. */
static tlp_status judge(maker *m)
{
    const tlpi_score *x;
    tlp_status st;

    TLP_TRY(tlpi_scorer_run(m->scorer, m->variant, m->scorer->n_window, &x));
    if (m->o.max_kl == 0 ||
        tlpi_score_kl(m->scorer, x, m->scorer->n_window) <= m->o.max_kl)
        memcpy(m->chosen, m->variant, strlen(m->variant));
done:
    return st;
}

static tlp_status visit(maker *m)
{
    char *copy = tlpi_strndup(m->env, m->variant, strlen(m->variant));

    if (!copy)
        return tlpi_fail_nomem_for("a search");
    m->front[m->n_front++] = copy;
    return judge(m);
}

/* Swap with more effort in the last variant. */
static tlp_status polish(maker *m)
{
    tlp_status st = TLP_OK;

    if (m->n_front == 1 || !(m->o.modes & TLP_MAKE_NOSYNC))
        return TLP_OK; /* the serial plan has no changes to swap */
    TLP_TRY(tlpi_search_polish(&m->search, m->variant));
    memcpy(m->front[m->n_front - 1], m->variant, strlen(m->variant));
    TLP_TRY(judge(m));
done:
    return st;
}

static bool over_budget(const maker *m)
{
    return m->o.max_kl != 0 && strcmp(m->chosen, m->variant) != 0;
}

/* Set out from the plan of the options.  A step from the serial plan tells what
 * changes cost alone.  Swaps in the plan tell what its own changes cost. */
static tlp_status begin(maker *m)
{
    tlp_status st;

    TLP_TRY(visit(m));
    if (!m->start || strcmp(m->start, m->variant) == 0)
        goto done;
    m->step = tlpi_search_size(&m->search, m->variant) -
              tlpi_search_size(&m->search, m->start);
    TLP_TRY(tlpi_search_deepen(&m->search, m->variant));
    memcpy(m->variant, m->start, strlen(m->start));
    TLP_TRY(visit(m));
    if (m->o.modes & TLP_MAKE_NOSYNC)
        TLP_TRY(tlpi_search_polish(&m->search, m->variant));
    else
        TLP_TRY(tlpi_search_swap(&m->search, m->variant));
    if (strcmp(m->variant, m->start) != 0)
        TLP_TRY(visit(m));
done:
    return st;
}

static tlp_status descend(maker *m)
{
    bool reached = false;
    tlp_status st = TLP_OK;

    TLP_TRY(begin(m));
    for (;; m->step++, m->tick = 0) {
        TLP_TRY(tlpi_target_reached(&m->o, m->model, m->variant, &reached));
        if (reached || over_budget(m)) {
            TLP_TRY(polish(m));
            if (reached || over_budget(m))
                break;
        }
        st = tlpi_search_deepen(&m->search, m->variant);
        if (st == TLP_EUNREACHED && m->o.max_kl != 0)
            return TLP_OK; /* nothing is left to change within the budget */
        TLP_TRY(st);
        TLP_TRY(tlpi_search_swap(&m->search, m->variant));
        TLP_TRY(visit(m));
    }
done:
    return st;
}

/* ==== results ============================================================ */

static tlp_status build(maker *m, const char *variant, tlp_plan **plan,
                        const tlpi_score **x)
{
    tlpi_text made = { .env = m->env };
    tlp_status st;

    *plan = NULL;
    TLP_TRY(tlpi_scorer_run(m->scorer, variant, m->scorer->n_window, x));
    tlpi_target_record(&m->o, m->scorer, *x, &made);
    if (made.failed)
        TLP_TRY(tlpi_fail_nomem_for("a search"));
    TLP_TRY(
        tlpi_variant_build(plan, m->model, variant, m->o.n_track, made.data));
done:
    tlpi_text_free(&made);
    return st;
}

static tlp_status show_point(maker *m, const char *variant)
{
    const tlpi_scorer *s = m->scorer;
    const tlpi_score *x;
    int n_rank = m->o.modes & TLP_MAKE_NOSYNC ? m->o.n_track : 2;
    tlp_plan_cost cost = { .struct_size = sizeof(cost) };
    tlp_plan *plan = NULL;
    tlp_status st;

    TLP_TRY(build(m, variant, &plan, &x));
    TLP_TRY(tlp_plan_get_cost(&cost, plan, n_rank));
    tlp_plan_point point = {
        .struct_size = sizeof(point),
        .depth = plan->n_stage,
        .chosen = strcmp(variant, m->chosen) == 0,
        .plan = plan,
        .kl = tlpi_score_kl(s, x, s->n_window),
        .top1_agreement = tlpi_score_top1(s, x, s->n_window),
        .ppl = exp(tlpi_score_nll(s, x, s->n_window)),
        .exchanges = cost.exchanges,
        .n_rank = n_rank,
    };
    m->o.point(&point, m->o.point_data);
done:
    tlp_plan_free(plan);
    return st;
}

static tlp_status hand_out(maker *m, tlp_plan **out)
{
    const tlpi_score *x;
    tlp_status st = TLP_OK;

    for (int i = 0; m->o.point && i < m->n_front; i++)
        TLP_TRY(show_point(m, m->front[i]));
    TLP_TRY(report(m, 1));
    TLP_TRY(build(m, m->chosen, out, &x));
done:
    return st;
}

/* Save the scores after a complete and after a canceled search.  A search that
 * fails reports its failure, and saves nothing. */
static tlp_status search(maker *m)
{
    tlp_status st = descend(m);

    if (st == TLP_OK)
        return save(m);
    if (st != TLP_ECANCELED)
        return st;
    st = save(m);
    return st != TLP_OK ? st
                        : tlpi_fail(TLP_ECANCELED, "planning was canceled");
}

tlp_status tlp_plan_make(tlp_plan **out, tlp_model *model,
                         const int32_t *tokens, size_t n,
                         const tlp_plan_make_options *opts)
{
    maker m = { .model = model };
    tlp_status st;

    if (out)
        *out = NULL;
    if (!out || !model || !tokens)
        return tlpi_fail(TLP_EINVAL, "out, model and tokens are required");
    m.env = &model->env;
    TLP_TRY(read_options(&m, opts, n));
    TLP_TRY(tlpi_windows_check(model, tokens, n, m.session.n_ctx));
    TLP_TRY(tlpi_runner_config(&m.cfg, m.model, &m.session));
    TLP_TRY(tlpi_target_check_link(&m.o, model));
    TLP_TRY(set_up(&m, tokens, n));
    TLP_TRY(search(&m));
    TLP_TRY(hand_out(&m, out));
done:
    clear(&m);
    return st;
}
