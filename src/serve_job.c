/*
 * serve_job.c - requests of a connection, and the queue of their events.
 */
#include "serve_job.h"

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct job_event {
    tlp_event *event;
    int part;
    struct job_event *next;
} job_event;

typedef struct job_part {
    serve_job *job;
    int index;
    uint64_t id;
    bool runs;
    double last;
    job_facts facts;
} job_part;

struct serve_job {
    job_list *list;
    serve_job *next, **at; /* in the list, under its lock */
    tlp_engine *engine;
    int wake; /* an eventfd: readable while there may be events */
    pthread_mutex_t lock;
    /* under lock */
    job_event *first, **end;
    int n_ref; /* the connection, and every request that runs */
    bool closed, lost;
    int n_part;
    job_part part[];
};

/* ==== all jobs =========================================================== */

void job_list_init(job_list *l)
{
    l->first = NULL;
    pthread_mutex_init(&l->lock, NULL);
}

void job_list_free(job_list *l)
{
    pthread_mutex_destroy(&l->lock);
}

static void enter(job_list *l, serve_job *j)
{
    pthread_mutex_lock(&l->lock);
    j->list = l;
    j->next = l->first;
    j->at = &l->first;
    if (j->next)
        j->next->at = &j->next;
    l->first = j;
    pthread_mutex_unlock(&l->lock);
}

static void leave(serve_job *j)
{
    pthread_mutex_lock(&j->list->lock);
    *j->at = j->next;
    if (j->next)
        j->next->at = j->at;
    pthread_mutex_unlock(&j->list->lock);
}

static bool find_in(serve_job *j, uint64_t id, job_facts *out)
{
    bool found = false;

    pthread_mutex_lock(&j->lock);
    for (int i = 0; i < j->n_part && !found; i++) {
        found = j->part[i].runs && j->part[i].id == id;
        if (found)
            *out = j->part[i].facts;
    }
    pthread_mutex_unlock(&j->lock);
    return found;
}

bool job_find(job_list *l, uint64_t id, job_facts *out)
{
    bool found = false;

    pthread_mutex_lock(&l->lock);
    for (serve_job *j = l->first; j && !found; j = j->next)
        found = find_in(j, id, out);
    pthread_mutex_unlock(&l->lock);
    return found;
}

static job_facts facts_of(const tlp_request *r)
{
    job_facts f = { .n_predict = r->n_predict,
                    .n_choice = r->n_choice ? r->n_choice : 1,
                    .embed = r->embed != NULL };

    if (r->sampler)
        f.sampler = *r->sampler;
    f.grammar = f.sampler.grammar != NULL;
    f.sampler.grammar = NULL;
    f.sampler.bias = NULL;
    return f;
}

/* ==== a job ============================================================== */

static void drop_events(serve_job *j)
{
    while (j->first) {
        job_event *e = j->first;

        j->first = e->next;
        tlp_event_free(e->event);
        free(e);
    }
    j->end = &j->first;
}

/* Unlocks j, and releases it with the last reference. */
static void unref(serve_job *j)
{
    bool last = --j->n_ref == 0;

    pthread_mutex_unlock(&j->lock);
    if (!last)
        return;
    leave(j);
    drop_events(j);
    close(j->wake);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

serve_job *job_open(job_list *l, tlp_engine *engine, int n_part)
{
    serve_job *j = calloc(1, sizeof *j + (size_t)n_part * sizeof j->part[0]);

    if (!j)
        return NULL;
    j->engine = engine;
    j->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    j->end = &j->first;
    j->n_ref = 1;
    j->n_part = n_part;
    pthread_mutex_init(&j->lock, NULL);
    for (int i = 0; i < n_part; i++)
        j->part[i] = (job_part){ .job = j, .index = i };
    if (j->wake >= 0) {
        enter(l, j);
        return j;
    }
    pthread_mutex_destroy(&j->lock);
    free(j);
    return NULL;
}

tlp_status job_submit(serve_job *j, int part, tlp_request *request)
{
    job_part *p = &j->part[part];

    request->user = p;
    pthread_mutex_lock(&j->lock);
    j->n_ref++; /* before the first event can come */
    p->runs = true;
    p->facts = facts_of(request);
    pthread_mutex_unlock(&j->lock);

    uint64_t id = 0;
    tlp_status st = tlp_engine_submit(&id, j->engine, request);

    pthread_mutex_lock(&j->lock);
    p->id = id;
    if (st != TLP_OK) {
        j->n_ref--; /* the connection has one */
        p->runs = false;
    }
    pthread_mutex_unlock(&j->lock);
    return st;
}

void job_close(serve_job *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    j->closed = true;
    for (int i = 0; i < j->n_part; i++)
        if (j->part[i].runs)
            tlp_engine_cancel(j->engine, j->part[i].id);
    drop_events(j);
    unref(j);
}

double *job_last(const tlp_event *event)
{
    job_part *p = event->user;

    return &p->last;
}

void job_give(tlp_event *event)
{
    job_part *p = event->user;
    serve_job *j = p->job;
    bool ends = event->kind == TLP_EVENT_END;
    job_event *e = malloc(sizeof *e);

    pthread_mutex_lock(&j->lock);
    if (e && !j->closed) {
        *e = (job_event){ .event = event, .part = p->index };
        *j->end = e;
        j->end = &e->next;
    } else {
        tlp_event_free(event);
        free(e);
        j->lost |= !e;
    }
    if (!j->closed)
        (void)eventfd_write(j->wake, 1);
    if (ends) {
        p->runs = false;
        unref(j);
    } else {
        pthread_mutex_unlock(&j->lock);
    }
}

/* The first event, if there is one. */
static bool take(serve_job *j, tlp_event **event, int *part, bool *lost)
{
    pthread_mutex_lock(&j->lock);
    job_event *e = j->first;

    *lost = j->lost;
    if (e) {
        j->first = e->next;
        if (!j->first)
            j->end = &j->first;
        *event = e->event;
        *part = e->part;
    }
    pthread_mutex_unlock(&j->lock);
    free(e);
    return e != NULL;
}

job_news job_wait(serve_job *j, int fd, tlp_event **event, int *part)
{
    struct pollfd on[2] = { { .fd = j->wake, .events = POLLIN },
                            { .fd = fd, .events = POLLRDHUP } };
    bool lost = false;
    eventfd_t count;

    *event = NULL;
    for (;;) {
        /* A client that is gone is noticed also while events keep coming. */
        if (poll(&on[1], 1, 0) > 0 && on[1].revents)
            return JOB_GONE;
        if (take(j, event, part, &lost))
            return JOB_EVENT;
        if (lost)
            return JOB_LOST;
        (void)poll(on, 2, -1);
        (void)eventfd_read(j->wake, &count);
    }
}
