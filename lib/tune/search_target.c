/*
 * search_target.c - check a target, tell when it is reached, record it.
 */
#include "tune/search_target.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/sha256.h"
#include "plan/plan_sketch.h"

static int least_depth(const tlp_plan_make_options *o, const tlp_model *m)
{
    return (m->hp.n_layer + o->max_group - 1) / o->max_group;
}

/* All-reduces of the serial plan on several ranks. */
static int serial_exchanges(const tlp_model *m)
{
    bool rows = tlpi_arch_get(&m->hp)->qk_norm == TLPI_QK_NORM_ROWS;

    return (rows ? 3 : 2) * m->hp.n_layer;
}

static tlp_status check_target(const tlp_plan_make_options *o,
                               const tlp_model *m)
{
    if ((o->depth != 0) + (o->max_kl != 0) + (o->speedup != 0) +
            (o->exchanges != 0) !=
        1)
        return tlpi_fail(TLP_EINVAL,
                         "one of depth, max_kl, speedup and exchanges is "
                         "required");
    if (o->depth < 0 || o->depth > m->hp.n_layer)
        return tlpi_fail(TLP_EINVAL, "depth %d: the model has %d layers",
                         o->depth, m->hp.n_layer);
    if (o->depth && o->depth < least_depth(o, m))
        return tlpi_fail(TLP_EUNREACHED,
                         "depth %d: %d layers in groups of at most %d give %d "
                         "at least",
                         o->depth, m->hp.n_layer, o->max_group,
                         least_depth(o, m));
    if (!isfinite(o->max_kl) || o->max_kl < 0)
        return tlpi_fail(TLP_EINVAL, "max_kl %g: above 0 expected", o->max_kl);
    if (!isfinite(o->speedup) || (o->speedup != 0 && o->speedup < 1))
        return tlpi_fail(TLP_EINVAL, "speedup %g: 1 or more expected",
                         o->speedup);
    if (o->exchanges < 0 || o->exchanges > serial_exchanges(m))
        return tlpi_fail(TLP_EINVAL,
                         "exchanges %d: 1 to %d expected, the model has %d "
                         "layers",
                         o->exchanges, serial_exchanges(m), m->hp.n_layer);
    return TLP_OK;
}

/* Do the modes lead to the target? */
static tlp_status check_nosync(const tlp_plan_make_options *o,
                               const tlp_model *m)
{
    int most = tlpi_plan_max_track(m);

    if (!(o->modes & TLP_MAKE_NOSYNC))
        return o->exchanges == 0
                   ? TLP_OK
                   : tlpi_fail(TLP_EINVAL,
                               "modes 0x%x: nosync expected for a number of "
                               "exchanges",
                               o->modes);
    if (o->n_track < 2 || o->n_track > most)
        return tlpi_fail(TLP_EINVAL, "n_track %d: 2 to %d expected", o->n_track,
                         most);
    if (o->depth != 0 || (o->speedup != 0 && !o->link))
        return tlpi_fail(TLP_EINVAL,
                         "modes: nosync changes the number of exchanges, not "
                         "of stages: exchanges, max_kl, or speedup with a link "
                         "expected as the target");
    return TLP_OK;
}

/* Does the start use only what the search may use? */
static tlp_status check_start(const tlp_plan_make_options *o,
                              const tlp_model *m)
{
    const tlp_plan *p = o->start;

    if (p->model != m)
        return tlpi_fail(TLP_EMISMATCH,
                         "start: the plan was made for another model");
    for (int i = 0; i < p->n_stage; i++)
        if (p->stage[i].n_member > 1 && !(o->modes >> p->stage[i].mode & 1))
            return tlpi_fail(TLP_ENOTSUP,
                             "start: stage %d: mode %s is none of the modes of "
                             "the search",
                             i, tlpi_mode_name(p->stage[i].mode));
    if (p->n_track == 0 ||
        (o->modes & TLP_MAKE_NOSYNC && p->n_track == o->n_track))
        return TLP_OK;
    return tlpi_fail(TLP_ENOTSUP,
                     "start: the plan leaves out exchanges between %d tracks, "
                     "the search between %d",
                     p->n_track, o->modes & TLP_MAKE_NOSYNC ? o->n_track : 0);
}

tlp_status tlpi_target_check(const tlp_plan_make_options *o, const tlp_model *m)
{
    const uint32_t known =
        1u << TLP_MODE_LP | 1u << TLP_MODE_PAR | 1u << TLP_MODE_ASYM;

    if (m->vocab_only)
        return tlpi_fail(TLP_EINVAL,
                         "%s was opened with vocab_only, a plan needs its "
                         "layers",
                         m->path);
    if (o->modes & ~(known | TLP_MAKE_NOSYNC))
        return tlpi_fail(TLP_EINVAL,
                         "modes 0x%x: bits of lp, par, asym and nosync "
                         "expected",
                         o->modes);
    if (o->objective < 0 || o->objective > TLP_OBJECTIVE_NLL)
        return tlpi_fail(TLP_EINVAL,
                         "objective %d is not one of TLP_OBJECTIVE_*",
                         o->objective);
    if (o->max_group < 2)
        return tlpi_fail(TLP_EINVAL, "max_group %d: 2 or more expected",
                         o->max_group);
    tlp_status st = check_target(o, m);
    if (st == TLP_OK)
        st = check_nosync(o, m);
    return st == TLP_OK && o->start ? check_start(o, m) : st;
}

/* Predicted seconds of a token in the middle of a window. */
static tlp_status predict(const tlp_plan_make_options *o, tlp_model *model,
                          const char *variant, double *seconds)
{
    tlp_prediction p = { .struct_size = sizeof p };
    int n_rank = o->session->n_rank ? o->session->n_rank : o->link->n_rank;
    tlp_plan *plan = NULL;
    tlp_status st;

    if (variant)
        TLP_TRY(tlpi_variant_build(&plan, model, variant, o->n_track, NULL));
    else
        TLP_TRY(tlp_plan_parse(&plan, model, "serial"));
    TLP_TRY(
        tlp_plan_predict(&p, plan, o->link, n_rank, 1, o->session->n_ctx / 2));
    *seconds = p.seconds;
done:
    tlp_plan_free(plan);
    return st;
}

/* The ranks must be able to run the serial plan, and the tracks of a plan that
 * leaves out an exchange. */
tlp_status tlpi_target_check_link(const tlp_plan_make_options *o,
                                  tlp_model *model)
{
    size_t n_place = tlpi_variant_length(model->hp.n_layer);
    char *variant = NULL;
    double seconds;
    tlp_status st = TLP_OK;

    if (!o->link || o->speedup == 0)
        return TLP_OK;
    if (o->modes & TLP_MAKE_NOSYNC) {
        variant = tlpi_calloc(&model->env, n_place + 1, 1);
        if (!variant)
            return tlpi_fail_nomem_for("a search");
        memset(variant, TLPI_VARIANT_SERIAL, n_place);
        variant[0] = TLPI_VARIANT_NOSYNC;
    }
    TLP_TRY(predict(o, model, NULL, &seconds));
    if (variant)
        TLP_TRY(predict(o, model, variant, &seconds));
done:
    tlpi_free(&model->env, variant);
    return st;
}

/* Exchanges that a token waits for. */
static tlp_status count_exchanges(const tlp_plan_make_options *o,
                                  tlp_model *model, const char *variant, int *n)
{
    tlp_plan_cost cost = { .struct_size = sizeof cost };
    tlp_plan *plan = NULL;
    tlp_status st;

    TLP_TRY(tlpi_variant_build(&plan, model, variant, o->n_track, NULL));
    TLP_TRY(tlp_plan_get_cost(&cost, plan, o->n_track));
    *n = cost.exchanges;
done:
    tlp_plan_free(plan);
    return st;
}

tlp_status tlpi_target_reached(const tlp_plan_make_options *o, tlp_model *model,
                               const char *variant, bool *reached)
{
    int depth = tlpi_variant_depth(variant);
    int exchanges = 0;
    double serial, now;
    tlp_status st = TLP_OK;

    *reached = false;
    if (o->depth) {
        *reached = depth <= o->depth;
    } else if (o->exchanges) {
        TLP_TRY(count_exchanges(o, model, variant, &exchanges));
        *reached = exchanges <= o->exchanges;
    } else if (o->speedup != 0 && !o->link) {
        *reached = model->hp.n_layer >= o->speedup * depth;
    } else if (o->speedup != 0) {
        TLP_TRY(predict(o, model, NULL, &serial));
        TLP_TRY(predict(o, model, variant, &now));
        *reached = serial >= o->speedup * now;
    }
done:
    return st;
}

int tlpi_target_steps(const tlp_plan_make_options *o, const tlp_model *m)
{
    int n_layer = m->hp.n_layer, depth = least_depth(o, m);

    if (o->modes & TLP_MAKE_NOSYNC)
        return TLPI_MAX(1, serial_exchanges(m) - TLPI_MAX(1, o->exchanges));
    if (o->depth)
        depth = o->depth;
    else if (o->speedup != 0 && !o->link)
        depth = (int)(n_layer / o->speedup);
    return TLPI_MAX(1, n_layer - depth);
}

/* ==== the record ========================================================= */

static const char *const objective_names[] = {
    [TLP_OBJECTIVE_BOTH] = "kl+nll",
    [TLP_OBJECTIVE_KL] = "kl",
    [TLP_OBJECTIVE_NLL] = "nll",
};

static void add_target(const tlp_plan_make_options *o, tlpi_text *out)
{
    if (o->depth)
        tlpi_text_printf(out, "{\"depth\": %d}", o->depth);
    else if (o->exchanges)
        tlpi_text_printf(out, "{\"exchanges\": %d}", o->exchanges);
    else if (o->max_kl != 0)
        tlpi_text_printf(out, "{\"max_kl\": %.15g}", o->max_kl);
    else
        tlpi_text_printf(out, "{\"speedup\": %.15g, \"of\": \"%s\"}",
                         o->speedup, o->link ? "seconds" : "depth");
}

static void add_modes(uint32_t modes, tlpi_text *out)
{
    const char *comma = "";

    tlpi_text_printf(out, "[");
    for (int mode = 0; mode <= TLP_MODE_ASYM; mode++) {
        if (!(modes >> mode & 1))
            continue;
        tlpi_text_printf(out, "%s\"%s\"", comma, tlpi_mode_name(mode));
        comma = ", ";
    }
    if (modes & TLP_MAKE_NOSYNC)
        tlpi_text_printf(out, "%s\"nosync\"", comma);
    tlpi_text_printf(out, "]");
}

/* The text form holds no character that JSON escapes. */
static void add_start(const tlp_plan_make_options *o, tlpi_text *out)
{
    tlpi_text plan = { .env = out->env };

    if (!o->start)
        return;
    tlpi_plan_write_text(o->start, &plan);
    tlpi_text_printf(out, ", \"start\": \"%s\"", plan.data ? plan.data : "");
    out->failed |= plan.failed;
    tlpi_text_free(&plan);
}

void tlpi_target_record(const tlp_plan_make_options *o, const tlpi_scorer *s,
                        const tlpi_score *x, tlpi_text *out)
{
    char hash[TLPI_HASH_TEXT];
    int n = s->n_window;

    tlpi_sha256_ids(s->text->ids, s->text->n_id, hash);
    tlpi_text_printf(out, "{\"tool\": \"tlp_plan_make\", \"version\": \"%s\", ",
                     tlp_version_string());
    tlpi_text_printf(out, "\"objective\": \"%s\", \"target\": ",
                     objective_names[o->objective]);
    add_target(o, out);
    tlpi_text_printf(out, ", \"modes\": ");
    add_modes(o->modes, out);
    add_start(o, out);
    tlpi_text_printf(out,
                     ", \"max_group\": %d, \"tokens\": %zu, \"text\": \"%s\", "
                     "\"n_ctx\": %d, \"seed\": \"%" PRIu64 "\"",
                     o->max_group, s->text->n_id, hash, s->text->n_ctx,
                     s->text->seed);
    tlpi_text_printf(out,
                     ", \"kl\": %.12g, \"top1_agreement\": %.12g, "
                     "\"ppl\": %.12g}",
                     tlpi_score_kl(s, x, n), tlpi_score_top1(s, x, n),
                     exp(tlpi_score_nll(s, x, n)));
}
