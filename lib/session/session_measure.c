/*
 * session_measure.c - measuring: the command by which all ranks
 * measure themselves (cost/measure.h).
 */
#include <stdio.h>

#include "cost/measure.h"
#include "session/session.h"

static tlp_status measure(tlp_session *s, tlp_link *out, double *stage)
{
    tlp_link link = { .struct_size = sizeof link,
                      .n_rank = s->cfg.n_rank,
                      .n_thread = s->rank0->n_thread,
                      .n_batch = s->cfg.n_batch };
    tlpi_results res = { .link = &link, .stage = stage };
    tlpi_command cmd = { .op = TLPI_OP_MEASURE };
    tlp_status st = TLP_OK;

    tlpi_session_drop_rows(s); /* the ranks overwrite them */
    tlpi_cache_plan(s);
    tlpi_cache_write(s, 0, 0, tlpi_measure_tokens(s->rank0));
    TLP_TRY(tlpi_cache_check(s));
    TLP_TRY(tlpi_cache_fit(s));
    snprintf(link.fingerprint, sizeof link.fingerprint, "%s",
             tlpi_model_fingerprint(s->plan->model));
    st = tlpi_session_command(s, &cmd, &res);
    if (!s->broken) { /* sequence 0 is empty again */
        tlp_status settled = tlpi_cache_settle(s);
        st = st != TLP_OK ? st : settled;
    }
    TLP_TRY(st);
    TLP_TRY(tlpi_struct_write(out, &link, sizeof link, "tlp_link"));
done:
    return st;
}

tlp_status tlpi_session_measure(tlp_link *out, double *stage, tlp_session *s)
{
    tlp_status st = tlpi_session_check(s);

    if (st != TLP_OK)
        return st;
    if (!out)
        return tlpi_fail(TLP_EINVAL, "out is required");
    TLP_TRY(tlpi_struct_check(out, sizeof(tlp_link), "tlp_link"));
    if (s->cfg.device)
        return tlpi_fail(TLP_ENOTSUP, "sessions on devices are not measured");
    if (s->pos[0] > 0)
        return tlpi_fail(TLP_ESTATE,
                         "sequence 0 holds %d positions, none expected",
                         s->pos[0]);
    st = measure(s, out, stage);
done:
    return st;
}

tlp_status tlpi_session_measure_link(double *seconds, tlp_session *s)
{
    tlp_link link = { 0 };
    tlpi_results res = { .link = &link };
    tlpi_command cmd = { .op = TLPI_OP_MEASURE_LINK };
    tlp_status st = tlpi_session_check(s);

    if (st != TLP_OK)
        return st;
    if (!seconds)
        return tlpi_fail(TLP_EINVAL, "seconds is required");
    if (s->cfg.device)
        return tlpi_fail(TLP_ENOTSUP, "sessions on devices are not measured");
    TLP_TRY(tlpi_session_command(s, &cmd, &res));
    *seconds = link.allreduce[0];
done:
    return st;
}
