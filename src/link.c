/*
 * link.c - see link.h.
 */
#include "link.h"

#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "tlp_tune.h"

/* A smaller difference may come from other work on the machine. */
#define MARGIN 1.25

int link_measure(link_time *out, tlp_session *session)
{
    tlp_session_stats stats = { .struct_size = sizeof stats };
    tlp_status st = tlp_session_get_stats(&stats, session);

    memcpy(out->path, stats.link, sizeof out->path);
    out->seconds = 0;
    if (st == TLP_OK)
        st = tlp_session_measure_link(&out->seconds, session);
    return st == TLP_OK || st == TLP_ENOTSUP ? CLI_OK : engine_fail(st);
}

void link_print(FILE *f, const link_time *l)
{
    fprintf(f, "link: %s", l->path);
    if (l->seconds > 0)
        fprintf(f, ", %.1f us for a token's activations", l->seconds * 1e6);
}

void link_json(const link_time *l, json *j)
{
    json_text(j, "link_path", l->path);
    json_number(j, "link_seconds", l->seconds);
}

void link_warn(const link_time *l, int n_rank, double seconds,
               double comm_seconds)
{
    double alone = (seconds - comm_seconds) * n_rank;

    if (n_rank > 1 && seconds > MARGIN * alone)
        cli_warn("%d ranks take %.2f ms a token, %.2f ms of it in "
                 "communication (%s, %.0f us for a token's activations): one "
                 "rank alone would take about %.2f ms",
                 n_rank, seconds * 1e3, comm_seconds * 1e3, l->path,
                 l->seconds * 1e6, alone * 1e3);
}
