/*
 * serve_watch.h - the connections, and how long each has been silent.
 */
#ifndef SERVE_WATCH_H
#define SERVE_WATCH_H

#include <pthread.h>

/* What a connection does. */
typedef enum watch_phase {
    WATCH_IDLE,   /* between two requests */
    WATCH_READS,  /* a request arrives */
    WATCH_ANSWERS /* the server works, or the answer is written */
} watch_phase;

typedef struct watched {
    int fd;
    watch_phase phase;
    double since; /* cli_now() of the phase */
    struct watched *next, **at;
} watched;

typedef struct watch_list {
    pthread_mutex_t lock;
    watched *first;
    int n;
} watch_list;

void watch_init(watch_list *w);
void watch_free(watch_list *w);
watched *watch_add(watch_list *w, int fd); /* NULL when out of memory */
void watch_remove(watch_list *w, watched *c);
void watch_set(watch_list *w, watched *c, watch_phase phase);
int watch_count(watch_list *w);

/* End connections whose request has taken longer than `seconds` to arrive, with
 * an answer, and those without a request for a minute. */
void watch_sweep(watch_list *w, double seconds);

#endif
