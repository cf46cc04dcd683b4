/*
 * serve_stream.c - an answer as a stream of server-sent events.
 */
#include <stdlib.h>
#include <string.h>

#include "memo.h"
#include "serve_answer.h"

/* ==== chunks ============================================================= */

static void open_chunk(json *j, const answering *a)
{
    fputs("data: ", j->file);
    json_open(j, NULL, '{');
    write_answer_head(j, a, a->style->chunk_object);
}

static void close_chunk(json *j)
{
    json_close(j, '}');
    fputs("\n\n", j->file);
    j->follows = false;
}

/* A chunk of one choice. */
static void put_piece(json *j, answering *a, int choice, const char *text,
                      size_t n, tlp_event *const *event, size_t n_event)
{
    const output *o = &a->choice[choice];

    open_chunk(j, a);
    json_open(j, "choices", '[');
    json_open(j, NULL, '{');
    json_int(j, "index", choice);
    a->style->piece(j, a, choice, text, n, event, n_event);
    if (o->stop_reason)
        json_text(j, "finish_reason", output_reason(o));
    else
        json_nothing(j, "finish_reason");
    json_close(j, '}');
    json_close(j, ']');
    if (a->g.usage)
        json_nothing(j, "usage");
    close_chunk(j);
}

/* The prompt's text in front of its choices. */
static void put_echo(json *j, answering *a, int part)
{
    const answer_part *p = &a->part[part];

    for (int k = 0; p->echo && k < a->n; k++)
        put_piece(j, a, part * a->n + k, p->echo, p->n_echo, p->prompt.event,
                  p->prompt.n);
}

static void put_end(json *j, answering *a)
{
    if (a->g.usage) {
        open_chunk(j, a);
        json_open(j, "choices", '[');
        json_close(j, ']');
        write_usage(j, a);
        close_chunk(j);
    }
    fputs("data: [DONE]\n\n", j->file);
    a->over = true;
}

static void put_error(json *j, answering *a)
{
    fputs("data: ", j->file);
    json_open(j, NULL, '{');
    hide_path(a->s, &a->error);
    write_error(j, &a->error);
    close_chunk(j);
    a->over = true;
}

/* ==== events ============================================================= */

/* Bytes of a choice's text that the client may see.  A text that has ended
 * shows all but its calls; one that goes on may still become a call. */
static size_t certain(const answering *a, const output *o)
{
    if (!o->stop_reason)
        return tools_certain(&a->g.tools, o->text.text, o->text.n, o->shown);
    return o->calls.n_content > o->shown ? o->calls.n_content : o->shown;
}

/* A chunk with the text that an event has made certain; none if there is
 * nothing to say. */
static void put_text(json *j, answering *a, int choice, tlp_event *const *event,
                     size_t n_event)
{
    output *o = &a->choice[choice];
    size_t end = certain(a, o);
    const char *text = o->text.text ? o->text.text + o->shown : "";
    size_t n = end - o->shown;

    o->shown = end;
    bool thinks = o->channels.analysis.n > o->thought;

    if (n || thinks || n_event || o->stop_reason)
        put_piece(j, a, choice, text, n, event, n_event);
}

/* What an event adds to the stream; then the answer takes it. */
static void put_event(json *j, answering *a, tlp_event *event, int part)
{
    int choice = part * a->n + event->choice;
    bool fine = answering_note(a, event, part);

    if (fine && event->kind == TLP_EVENT_PROMPT)
        put_echo(j, a, part);
    if (fine && event->kind == TLP_EVENT_TOKEN)
        put_text(j, a, choice, &event, a->g.request.logprobs ? 1 : 0);
    if (fine && event->kind == TLP_EVENT_STOP)
        put_text(j, a, choice, NULL, 0);
    fine &= answering_keep(a, event, part);
    if (!fine)
        put_error(j, a);
    else if (a->n_left == 0)
        put_end(j, a);
}

/* Fill a->pending with what the next event gives.  False: the client is gone,
 * or memory is. */
static bool next_text(answering *a)
{
    tlp_event *event;
    int part = 0;
    memo m;
    job_news news = job_wait(a->job, a->fd, &event, &part);

    if (news == JOB_GONE)
        return false;
    if (!memo_open(&m)) {
        tlp_event_free(event);
        return false;
    }
    json j = { .file = m.file };

    if (news == JOB_LOST) {
        api_fail_memory(&a->error);
        put_error(&j, a);
    } else {
        put_event(&j, a, event, part);
    }
    if (!memo_close(&m))
        return false;
    a->pending = m.text;
    a->n_pending = m.n;
    a->sent = 0;
    return true;
}

/* MHD_ContentReaderCallback. */
static ssize_t read_stream(void *cls, uint64_t pos, char *buf, size_t max)
{
    answering *a = cls;

    (void)pos;
    call_set_patience(a->call, true);
    while (!a->pending || a->sent == a->n_pending) {
        free(a->pending);
        a->pending = NULL;
        if (a->over)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (!next_text(a))
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    call_set_patience(a->call, false);

    size_t n = a->n_pending - a->sent;

    n = n < max ? n : max;
    memcpy(buf, a->pending + a->sent, n);
    a->sent += n;
    return (ssize_t)n;
}

static void release(void *cls)
{
    answering_free(cls);
}

enum MHD_Result answering_stream(answering *a)
{
    memo m;

    if (a->style->opens) {
        if (!memo_open(&m)) {
            answering_free(a);
            return MHD_NO;
        }
        json j = { .file = m.file };

        for (int i = 0; i < a->n_part * a->n; i++)
            put_piece(&j, a, i, "", 0, NULL, 0);
        if (memo_close(&m)) {
            a->pending = m.text;
            a->n_pending = m.n;
        }
    }
    return reply_stream(a->call, read_stream, a, release);
}
