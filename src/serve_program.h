/*
 * serve_program.h - a plan that the server runs, with an engine of its own.
 *
 * Clients choose a plan by the name of its model.  All programs run the one
 * model that is open, and share its weights.
 */
#ifndef SERVE_PROGRAM_H
#define SERVE_PROGRAM_H

#include <pthread.h>

#include "engine.h"
#include "serve_job.h"

struct server;

typedef struct program {
    struct server *s;
    char *name; /* for clients */
    tlp_plan *plan;
    char *plan_text; /* as text form */
    tlp_plan_cost cost;
    double kl; /* as the plan's file records it; NaN if it does not */
    tlp_engine *requests;
    job_list jobs;
    pthread_t events;
    bool has_thread;
} program;

/* Parse the plan and make its engine.  suffix: of the model's name. */
int program_open(program *p, struct server *s, const char *plan,
                 const char *suffix);

/* Take steps, and hand events out. */
int program_start(program *p);

/* End all requests; their events are still handed out. */
void program_stop(const program *p);

/* Wait until all events have been handed out. */
void program_join(program *p);
void program_free(program *p);

#endif
