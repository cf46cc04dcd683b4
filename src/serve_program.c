/*
 * serve_program.c - a plan that the server runs, with an engine of its own.
 */
#include "serve_program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan_record.h"
#include "serve.h"

/* ==== facts ============================================================== */

/* The name that clients know: the option, else the file's. */
static char *name_of(const server *s, const char *suffix)
{
    const char *slash = strrchr(s->e.model_path, '/');
    const char *name = s->o.alias ? s->o.alias
                       : slash    ? slash + 1
                                  : s->e.model_path;
    size_t n = strlen(name) + strlen(suffix) + 1;
    char *text = malloc(n);

    if (text)
        snprintf(text, n, "%s%s", name, suffix);
    return text;
}

static int read_facts(program *p, const char *suffix)
{
    p->name = name_of(p->s, suffix);
    if (!p->name)
        return cli_fail("out of memory");
    int rc = engine_format_plan(p->plan, TLP_PLAN_TEXT, &p->plan_text);

    if (rc == CLI_OK)
        rc = plan_recorded_kl(p->plan, &p->kl);
    return rc == CLI_OK ? engine_plan_cost(&p->s->e, p->plan, &p->cost) : rc;
}

int program_open(program *p, server *s, const char *plan, const char *suffix)
{
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;
    int rc;

    *p = (program){ .s = s };
    job_list_init(&p->jobs);
    o.n_request = s->o.n_queue;
    o.n_chunk = s->o.n_chunk;
    rc = engine_parse_plan(&s->e, plan, &p->plan);
    if (rc == CLI_OK)
        rc = engine_create_requests(&s->e, p->plan, s->o.n_ctx, s->o.n_parallel,
                                    &o, &p->requests);
    return rc == CLI_OK ? read_facts(p, suffix) : rc;
}

/* ==== events ============================================================= */

/* The thread that hands events out, until there will be no more. */
static void *take_events(void *arg)
{
    program *p = arg;
    server *s = p->s;
    tlp_event *event;
    tlp_status st;

    while ((st = tlp_engine_next(&event, p->requests, -1)) == TLP_OK) {
        metrics_event(&s->m, event, job_last(event));
        job_give(event);
    }
    if (st == TLP_ECLOSED)
        return NULL;
    cli_fail("%s", tlp_last_error());
    pthread_mutex_lock(&s->lock);
    snprintf(s->dead, sizeof s->dead, "%s", tlp_last_error());
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int program_start(program *p)
{
    tlp_status st = tlp_engine_start(p->requests);

    if (st != TLP_OK)
        return engine_fail(st);
    p->has_thread = pthread_create(&p->events, NULL, take_events, p) == 0;
    return p->has_thread ? CLI_OK
                         : cli_fail("the system has no thread for the server");
}

void program_stop(const program *p)
{
    tlp_engine_stop(p->requests);
}

void program_join(program *p)
{
    if (p->has_thread)
        pthread_join(p->events, NULL);
    p->has_thread = false;
}

void program_free(program *p)
{
    tlp_engine_free(p->requests);
    job_list_free(&p->jobs);
    tlp_plan_free(p->plan);
    free(p->plan_text);
    free(p->name);
}
