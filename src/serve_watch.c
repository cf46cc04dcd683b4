/*
 * serve_watch.c - the connections, and how long each has been silent.
 *
 * libmicrohttpd measures how long nothing came at all, so a client that sends a
 * byte now and then would keep its connection for ever.
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "serve.h"

#define IDLE_SECONDS 60

void watch_init(watch_list *w)
{
    *w = (watch_list){ 0 };
    pthread_mutex_init(&w->lock, NULL);
}

void watch_free(watch_list *w)
{
    pthread_mutex_destroy(&w->lock);
}

watched *watch_add(watch_list *w, int fd)
{
    watched *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->fd = fd;
    c->phase = WATCH_READS;
    c->since = cli_now();
    pthread_mutex_lock(&w->lock);
    c->next = w->first;
    c->at = &w->first;
    if (c->next)
        c->next->at = &c->next;
    w->first = c;
    w->n++;
    pthread_mutex_unlock(&w->lock);
    return c;
}

void watch_remove(watch_list *w, watched *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&w->lock);
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    w->n--;
    pthread_mutex_unlock(&w->lock);
    free(c);
}

void watch_set(watch_list *w, watched *c, watch_phase phase)
{
    if (!c)
        return;
    pthread_mutex_lock(&w->lock);
    c->phase = phase;
    c->since = cli_now();
    pthread_mutex_unlock(&w->lock);
}

int watch_count(watch_list *w)
{
    pthread_mutex_lock(&w->lock);
    int n = w->n;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* The lock keeps the socket from being closed. */
void watch_sweep(watch_list *w, double seconds)
{
    api_error late;
    double now = cli_now();

    api_fail(&late, MHD_HTTP_REQUEST_TIMEOUT, NULL, NULL,
             "the request took longer than %g s to arrive", seconds);
    pthread_mutex_lock(&w->lock);
    for (watched *c = w->first; c; c = c->next) {
        bool reads = c->phase == WATCH_READS && now - c->since > seconds;
        bool idle = c->phase == WATCH_IDLE && now - c->since > IDLE_SECONDS;

        if (reads)
            send_at_once(c->fd, &late);
        if (!reads && !idle)
            continue;
        (void)shutdown(c->fd, SHUT_RDWR);
        c->phase = WATCH_ANSWERS; /* once */
    }
    pthread_mutex_unlock(&w->lock);
}
