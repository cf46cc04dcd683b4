/*
 * serve_job.h - what a connection waits for: its requests to the engine and
 * their events.
 *
 * One thread takes all events of the engine and hangs each into the job that it
 * belongs to.  The connection's thread takes them there, and notices meanwhile
 * when its client goes away.  A job lives until the connection has closed it
 * and every request of it has had its last event.
 */
#ifndef SERVE_JOB_H
#define SERVE_JOB_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "tlp.h"

typedef struct serve_job serve_job;

/* All jobs that live. */
typedef struct job_list {
    pthread_mutex_t lock; /* before the lock of a job */
    serve_job *first;
} job_list;

void job_list_init(job_list *l);
void job_list_free(job_list *l);

/* What a client may know of a request that runs. */
typedef struct job_facts {
    tlp_sampler_options sampler; /* without what it points to */
    int32_t n_predict, n_choice;
    bool embed, grammar;
} job_facts;

/* The facts of a request by its number; false: it has ended. */
bool job_find(job_list *l, uint64_t id, job_facts *out);

/* A job of n_part requests to come; NULL when out of memory or of files. */
serve_job *job_open(job_list *l, tlp_engine *engine, int n_part);

/* Submit a request as part `part` of the job. */
tlp_status job_submit(serve_job *j, int part, tlp_request *request);

/* Cancel what still runs, and let go of the job; NULL is allowed. */
void job_close(serve_job *j);

typedef enum job_news {
    JOB_EVENT, /* *event, which the caller frees, of the request *part */
    JOB_GONE,  /* the client has closed its side of the connection */
    JOB_LOST   /* an event was lost for want of memory */
} job_news;

/* Wait for the next event; fd is the client's socket. */
job_news job_wait(serve_job *j, int fd, tlp_event **event, int *part);

/* Room for the time of the last token of a request's first choice; of the
 * thread that takes events. */
double *job_last(const tlp_event *event);

/* Hand an event to its job, on the thread that takes events. */
void job_give(tlp_event *event);

#endif
