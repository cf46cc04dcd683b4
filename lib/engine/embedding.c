/*
 * embedding.c - the event of a prompt's embedding, at the end of the prompt.
 */
#include "engine/engine_state.h"

static tlp_status make_embedding(tlpi_event **out, const tlp_engine *e,
                                 const tlpi_request *r)
{
    tlp_model *model = e->plan->model;
    int n = model->hp.n_embd;
    tlpi_event *event = tlpi_event_make(model, 0, NULL, 0);
    tlp_status st = TLP_OK;

    if (event)
        event->vector = tlpi_alloc_array(e->env, (size_t)n, sizeof(float));
    if (!event || !event->vector)
        TLP_TRY(tlpi_fail_nomem_for("an embedding"));
    TLP_TRY(tlpi_pooling_finish(event->vector, r->pooling));
    tlpi_engine_fill_event(event, r, TLP_EVENT_EMBEDDING, -1, tlpi_now());
    event->event.embedding = event->vector;
    event->event.n_embedding = n;
    *out = event;
    return TLP_OK;
done:
    tlpi_event_free(event);
    return st;
}

void tlpi_engine_embedding(tlp_engine *e, tlpi_request *r)
{
    tlpi_event *event = NULL;

    if (!r->pooling || !r->n_left)
        return;
    tlp_status st = make_embedding(&event, e, r);
    if (st == TLP_OK)
        tlpi_engine_post(e, event);
    else
        (void)tlpi_engine_fail_request(e, r, st);
}
