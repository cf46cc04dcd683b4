/*
 * event.c - what happened to requests, and the queue of what nobody has taken.
 */
#include <math.h>
#include <string.h>
#include <time.h>

#include "engine/engine_state.h"

/* ==== one event ========================================================== */

tlpi_event *tlpi_event_make(tlp_model *model, int n_top, const char *text,
                            size_t n_text)
{
    size_t n = (size_t)n_top * sizeof(tlp_logprob);
    tlpi_event *e = tlpi_alloc(&model->env, sizeof(*e) + n + n_text + 1);

    if (!e)
        return NULL;
    tlp_logprob *top = (tlp_logprob *)(e + 1);
    char *copy = (char *)top + n;

    if (n_text)
        memcpy(copy, text, n_text);
    copy[n_text] = 0;
    *e = (tlpi_event){ .model = tlpi_model_retain(model),
                       .event = { .struct_size = sizeof(tlp_event),
                                  .choice = -1,
                                  .token = -1,
                                  .seq = -1,
                                  .logprob = NAN,
                                  .n_top = n_top,
                                  .top = n_top ? top : NULL,
                                  .n_text = n_text,
                                  .text = copy } };
    return e;
}

void tlpi_event_set_text(tlpi_event *e, const char *text, size_t n)
{
    char *copy = n ? tlpi_strndup(&e->model->env, text, n) : NULL;

    if (!copy)
        return;
    tlpi_free(&e->model->env, e->more);
    e->more = copy;
    e->event.text = copy;
    e->event.n_text = n;
}

void tlpi_event_free(tlpi_event *e)
{
    if (!e)
        return;
    tlp_model *model = e->model;

    tlpi_free(&model->env, e->more);
    tlpi_free(&model->env, e->vector);
    tlpi_free(&model->env, e);
    tlp_model_free(model);
}

void tlp_event_free(tlp_event *event)
{
    tlpi_event_free((tlpi_event *)event);
}

/* ==== the queue ========================================================== */

void tlpi_engine_post(tlp_engine *e, tlpi_event *event)
{
    pthread_mutex_lock(&e->lock);
    *e->event_end = event;
    e->event_end = &event->next;
    e->stats.n_event++;
    pthread_cond_signal(&e->news);
    pthread_mutex_unlock(&e->lock);
}

static tlpi_event *take(tlp_engine *e)
{
    tlpi_event *event = e->first_event;

    if (!event)
        return NULL;
    e->first_event = event->next;
    if (!e->first_event)
        e->event_end = &e->first_event;
    event->next = NULL;
    e->stats.n_event--;
    return event;
}

struct timespec tlpi_engine_in_ms(int32_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Wait under lock until there is an event, none will come, or the time is
 * over. */
static void wait_for_event(tlp_engine *e, int32_t timeout_ms)
{
    struct timespec end = tlpi_engine_in_ms(timeout_ms);
    int err = 0;

    while (!e->first_event && !e->stopped && !e->broken && err == 0) {
        if (timeout_ms < 0)
            err = pthread_cond_wait(&e->news, &e->lock);
        else
            err = pthread_cond_timedwait(&e->news, &e->lock, &end);
    }
}

tlp_status tlp_engine_next(tlp_event **event, tlp_engine *e, int32_t timeout_ms)
{
    tlp_status st = tlpi_engine_check(e);

    if (event)
        *event = NULL;
    if (st != TLP_OK)
        return st;
    if (!event)
        return tlpi_fail(TLP_EINVAL, "event is required");
    if (timeout_ms < -1)
        return tlpi_fail(TLP_EINVAL, "timeout_ms: %d, at least -1 expected",
                         timeout_ms);
    pthread_mutex_lock(&e->lock);
    if (timeout_ms != 0)
        wait_for_event(e, timeout_ms);
    tlpi_event *taken = take(e);
    if (!taken && e->broken)
        st = tlpi_fail(e->broken, "%s", e->broken_text);
    else if (!taken && e->stopped)
        st = tlpi_fail(TLP_ECLOSED, "the engine was stopped");
    pthread_mutex_unlock(&e->lock);
    *event = taken ? &taken->event : NULL;
    return st;
}
