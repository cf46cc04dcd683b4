/*
 * serve_answer.c - an answer as one object.
 */
#include "serve_answer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "memo.h"

/* ==== lifetime =========================================================== */

enum MHD_Result answer_fields(call *c,
                              enum MHD_Result (*run)(call *c, fields *f))
{
    fields f;
    enum MHD_Result result;

    if (!server_is_ready(c->s, &c->error))
        return reply_error(c);
    answer_begins(c);
    result = fields_open(&f, c->body, c->n_body, &c->error) ? run(c, &f)
                                                            : reply_error(c);
    fields_close(&f);
    return result;
}

answering *answering_make(call *c, const answer_style *style,
                          generation_fields *g, int n_part)
{
    answering *a = calloc(1, sizeof *a);
    uint64_t id = 0;

    if (!a) {
        generation_free(g);
        return NULL;
    }
    a->call = c;
    a->s = c->s;
    a->fd = c->fd;
    a->style = style;
    a->g = *g;
    a->g.request.sampler = &a->g.sampler;
    a->g.request.stop = a->g.stop;
    a->n = g->request.n_choice;
    a->n_part = a->n_left = n_part;
    a->seq = -1;
    a->created = (int64_t)time(NULL);
    (void)getrandom(&id, sizeof id, 0);
    snprintf(a->id, sizeof a->id, "%s-%016" PRIx64, style->prefix, id);

    size_t n = (size_t)n_part * (size_t)a->n;

    a->part = calloc((size_t)n_part, sizeof *a->part);
    a->choice = calloc(n, sizeof *a->choice);
    a->job = job_open(&g->program->jobs, g->program->requests, n_part);
    for (size_t i = 0; a->choice && i < n; i++)
        a->choice[i].channels.on = a->g.channels;
    if (a->part && a->choice && a->job)
        return a;
    answering_free(a);
    return NULL;
}

void answering_free(answering *a)
{
    if (!a)
        return;
    job_close(a->job);
    for (int i = 0; a->choice && i < a->n_part * a->n; i++)
        output_free(&a->choice[i]);
    for (int i = 0; a->part && i < a->n_part; i++) {
        event_list_free(&a->part[i].prompt);
        free(a->part[i].echo);
    }
    free(a->choice);
    free(a->part);
    free(a->pending);
    generation_free(&a->g);
    free(a);
}

/* ==== events ============================================================= */

bool answer_fails(api_error *e, const server *s, const tlp_event *event)
{
    switch (event->stop_reason) {
    case TLP_STOP_ERROR:
        return !api_fail_status(e, event->status, event->text);
    case TLP_STOP_CANCEL:
        return !api_fail(e, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "canceled",
                         "the server ends");
    case TLP_STOP_DEADLINE:
        return !api_fail(e, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "deadline",
                         "the request took longer than %g s, the most that "
                         "the server gives it",
                         (double)s->o.request_seconds);
    default:
        return false;
    }
}

static bool take_stop(answering *a, const tlp_event *event, output *o)
{
    if (answer_fails(&a->error, a->s, event))
        return false;
    o->stop_reason = event->stop_reason;
    a->n_generated += event->n_generated;
    a->seq = event->seq;
    return output_end(o, &a->g.tools, event->text, event->n_text) ||
           api_fail_memory(&a->error);
}

bool answering_note(answering *a, const tlp_event *event, int part)
{
    output *o =
        event->choice < 0 ? NULL : &a->choice[part * a->n + event->choice];

    switch (event->kind) {
    case TLP_EVENT_PROMPT:
        a->n_prompt += event->n_prompt;
        a->n_cached += event->n_cached;
        return true;
    case TLP_EVENT_PROMPT_TOKEN:
        return true;
    case TLP_EVENT_TOKEN:
        return output_add(o, event->text, event->n_text) ||
               api_fail_memory(&a->error);
    case TLP_EVENT_STOP:
        return take_stop(a, event, o);
    default:
        a->n_left--;
        return true;
    }
}

bool answering_keep(answering *a, tlp_event *event, int part)
{
    event_list *keep = NULL;

    if (event->kind == TLP_EVENT_PROMPT_TOKEN)
        keep = &a->part[part].prompt;
    if (event->kind == TLP_EVENT_TOKEN && a->g.request.logprobs)
        keep = &a->choice[part * a->n + event->choice].tokens;
    if (keep)
        return event_list_add(keep, event) || api_fail_memory(&a->error);
    tlp_event_free(event);
    return true;
}

/* ==== writing ============================================================ */

void write_answer_head(json *j, const answering *a, const char *object)
{
    json_text(j, "id", a->id);
    json_text(j, "object", object);
    json_int(j, "created", a->created);
    json_text(j, "model", a->g.program->name);
}

/* And, as llama-server does, the slot that holds prompt and text. */
void write_usage(json *j, const answering *a)
{
    if (a->n_part * a->n == 1 && a->seq >= 0)
        json_int(j, "id_slot", slot_number(a->g.program, a->seq));
    json_open(j, "usage", '{');
    json_int(j, "prompt_tokens", a->n_prompt);
    json_int(j, "completion_tokens", a->n_generated);
    json_int(j, "total_tokens", a->n_prompt + a->n_generated);
    json_open(j, "prompt_tokens_details", '{');
    json_int(j, "cached_tokens", a->n_cached);
    json_close(j, '}');
    json_close(j, '}');
}

static void write_choices(json *j, const answering *a)
{
    json_open(j, "choices", '[');
    for (int i = 0; i < a->n_part * a->n; i++) {
        const output *o = &a->choice[i];

        json_open(j, NULL, '{');
        json_int(j, "index", i);
        a->style->whole(j, a, o, i / a->n);
        json_text(j, "finish_reason", output_reason(o));
        json_close(j, '}');
    }
    json_close(j, ']');
}

static enum MHD_Result reply_whole(answering *a)
{
    memo m;
    json j;

    if (!reply_open(&m, &j))
        return MHD_NO;
    write_answer_head(&j, a, a->style->object);
    write_choices(&j, a);
    write_usage(&j, a);
    return reply_close(a->call, &m, &j);
}

/* Wait for the end of all parts. */
static enum MHD_Result reply_at_end(answering *a)
{
    tlp_event *event;
    int part = 0;

    while (a->n_left > 0) {
        job_news news = job_wait(a->job, a->fd, &event, &part);

        if (news == JOB_GONE)
            return MHD_NO;
        if (news == JOB_LOST)
            api_fail_memory(&a->error);
        bool fine = news != JOB_LOST && answering_note(a, event, part);

        if (news != JOB_LOST)
            fine &= answering_keep(a, event, part);
        if (!fine) {
            a->call->error = a->error;
            return reply_error(a->call);
        }
    }
    return reply_whole(a);
}

enum MHD_Result answering_reply(answering *a, tlp_status st)
{
    call *c = a->call;
    enum MHD_Result result;

    if (st != TLP_OK) {
        api_fail_library(&c->error, st);
        result = reply_error(c);
    } else if (a->g.stream) {
        return answering_stream(a);
    } else {
        result = reply_at_end(a);
    }
    answering_free(a);
    return result;
}
