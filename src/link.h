/*
 * link.h - what carries the sums between ranks, what one costs, and a warning
 * where a rank alone would be faster.
 */
#ifndef LINK_H
#define LINK_H

#include "json.h"
#include "tlp.h"

typedef struct link_time {
    char path[32];  /* tlp_session_stats.link */
    double seconds; /* of an all-reduce of a token's activations; 0 = unknown */
} link_time;

/* Time the link; for one rank and for devices only the path is known. */
int link_measure(link_time *out, tlp_session *session);

/* "link: threads, 3.1 us for a token's activations", without a line's end. */
void link_print(FILE *f, const link_time *l);
/* Keys link_path and link_seconds. */
void link_json(const link_time *l, json *j);

/*
 * Warn if n_rank ranks take at least a quarter longer for a token than one rank
 * would take for the work of all of them.  seconds: of a token; comm_seconds:
 * the part that rank 0 spends in communication and in waiting.
 */
void link_warn(const link_time *l, int n_rank, double seconds,
               double comm_seconds);

#endif
