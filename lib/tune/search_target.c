/*
 * search_target.c - check a target, tell when it is reached, record it.
 */
#include "tune/search_target.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/sha256.h"

static int least_depth(const tlp_plan_make_options *o, const tlp_model *m)
{
    return (m->hp.n_layer + o->max_group - 1) / o->max_group;
}

static tlp_status check_target(const tlp_plan_make_options *o,
                               const tlp_model *m)
{
    if ((o->depth != 0) + (o->max_kl != 0) + (o->speedup != 0) != 1)
        return tlpi_fail(TLP_EINVAL,
                         "one of depth, max_kl and speedup is required");
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
    return TLP_OK;
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
    if (o->modes & ~known)
        return tlpi_fail(TLP_EINVAL,
                         "modes 0x%x: bits of lp, par and asym "
                         "expected",
                         o->modes);
    if (o->objective < 0 || o->objective > TLP_OBJECTIVE_NLL)
        return tlpi_fail(TLP_EINVAL,
                         "objective %d is not one of TLP_OBJECTIVE_*",
                         o->objective);
    if (o->max_group < 2)
        return tlpi_fail(TLP_EINVAL, "max_group %d: 2 or more expected",
                         o->max_group);
    return check_target(o, m);
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
        TLP_TRY(tlpi_variant_build(&plan, model, variant, NULL));
    else
        TLP_TRY(tlp_plan_parse(&plan, model, "serial"));
    TLP_TRY(
        tlp_plan_predict(&p, plan, o->link, n_rank, 1, o->session->n_ctx / 2));
    *seconds = p.seconds;
done:
    tlp_plan_free(plan);
    return st;
}

tlp_status tlpi_target_check_link(const tlp_plan_make_options *o,
                                  tlp_model *model)
{
    double seconds;

    return o->link && o->speedup != 0 ? predict(o, model, NULL, &seconds)
                                      : TLP_OK;
}

tlp_status tlpi_target_reached(const tlp_plan_make_options *o, tlp_model *model,
                               const char *variant, bool *reached)
{
    int depth = tlpi_variant_depth(variant);
    double serial, now;
    tlp_status st = TLP_OK;

    *reached = false;
    if (o->depth) {
        *reached = depth <= o->depth;
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
    for (int mode = 0; mode < 32; mode++) {
        if (!(modes >> mode & 1))
            continue;
        tlpi_text_printf(out, "%s\"%s\"", comma, tlpi_mode_name(mode));
        comma = ", ";
    }
    tlpi_text_printf(out, "]");
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
