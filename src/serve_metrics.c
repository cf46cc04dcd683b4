/*
 * serve_metrics.c - /metrics, in the text format of Prometheus.
 *
 * Names that llama-server and vLLM have are theirs, so that their dashboards
 * work; names that begin with tlp: are this server's own.
 */
#include "serve_metrics.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "serve.h"

static const double bounds[METRICS_BUCKETS] = {
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2,
    0.5,   1,     2,     5,    10,   20,   50,  100,
};

/* ==== counting =========================================================== */

void metrics_init(metrics *m)
{
    *m = (metrics){ 0 };
    pthread_mutex_init(&m->lock, NULL);
}

void metrics_free(metrics *m)
{
    pthread_mutex_destroy(&m->lock);
}

static void add(histogram *h, double seconds)
{
    for (int i = 0; i < METRICS_BUCKETS; i++)
        h->bucket[i] += seconds <= bounds[i];
    h->n++;
    h->sum += seconds;
}

void metrics_event(metrics *m, const tlp_event *e, double *last)
{
    pthread_mutex_lock(&m->lock);
    if (e->kind == TLP_EVENT_TOKEN && e->choice == 0) {
        add(e->n_generated == 1 ? &m->first : &m->gap, e->seconds - *last);
        *last = e->seconds;
    }
    if (e->kind == TLP_EVENT_STOP && e->stop_reason >= 0 &&
        e->stop_reason <= TLP_STOP_ERROR)
        m->stop[e->stop_reason]++;
    if (e->kind == TLP_EVENT_END)
        add(&m->whole, e->seconds);
    pthread_mutex_unlock(&m->lock);
}

void metrics_reply(metrics *m, int status)
{
    int kind = status / 100;

    pthread_mutex_lock(&m->lock);
    m->reply[kind < 6 ? kind : 0]++;
    pthread_mutex_unlock(&m->lock);
}

/* ==== writing ============================================================ */

static void put(FILE *f, const char *name, const char *type, const char *help,
                double value)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type,
            name, value);
}

static void put_histogram(FILE *f, const char *name, const char *help,
                          const histogram *h)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (int i = 0; i < METRICS_BUCKETS; i++)
        fprintf(f, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds[i],
                h->bucket[i]);
    fprintf(f,
            "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64
            "\n",
            name, h->n, name, h->sum, name, h->n);
}

static void put_requests(FILE *f, const tlp_engine_stats *s)
{
    double n = (double)s->n_seq * s->n_ctx;

    put(f, "vllm:num_requests_running", "gauge", "Requests that run.",
        s->n_running);
    put(f, "vllm:num_requests_waiting", "gauge", "Requests that wait.",
        s->n_waiting);
    put(f, "llamacpp:requests_processing", "gauge", "Requests that run.",
        s->n_running);
    put(f, "llamacpp:requests_deferred", "gauge", "Requests that wait.",
        s->n_waiting);
    put(f, "vllm:kv_cache_usage_perc", "gauge",
        "Share of the positions that sequences hold, 0 to 1.",
        (double)s->n_position / n);
    put(f, "llamacpp:kv_cache_tokens", "gauge",
        "Positions that sequences hold.", (double)s->n_position);
    put(f, "vllm:prefix_cache_queries_total", "counter", "Tokens of prompts.",
        (double)s->n_prompt);
    put(f, "vllm:prefix_cache_hits_total", "counter",
        "Tokens of prompts that were not evaluated again.",
        (double)s->n_cached);
    put(f, "tlp:choices_running", "gauge", "Choices that run.", s->n_choice);
    put(f, "tlp:requests_canceled_total", "counter",
        "Requests that were canceled or passed their deadline.",
        (double)s->n_canceled);
    put(f, "tlp:requests_failed_total", "counter", "Requests that failed.",
        (double)s->n_failed);
    put(f, "tlp:worst_gap_seconds", "gauge",
        "Longest time between two tokens of a choice.", s->worst_gap);
}

static void put_tokens(FILE *f, const tlp_engine_stats *s)
{
    double fresh = (double)(s->n_prompt - s->n_cached);
    double written = (double)s->n_generated;

    put(f, "vllm:prompt_tokens_total", "counter", "Tokens of prompts.",
        (double)s->n_prompt);
    put(f, "vllm:generation_tokens_total", "counter", "Tokens of texts.",
        written);
    put(f, "llamacpp:prompt_tokens_total", "counter",
        "Tokens of prompts that were evaluated.", fresh);
    put(f, "llamacpp:tokens_predicted_total", "counter", "Tokens of texts.",
        written);
    put(f, "llamacpp:n_decode_total", "counter", "Steps of the engine.",
        (double)s->n_step);
}

/* The value of a label. */
static void put_label(FILE *f, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', f);
        putc(*text, f);
    }
}

/* What plans and ranks cost.  Counters are of all programs, and the plan's own
 * figures those of the first. */
static void put_ranks(FILE *f, const server *s, const tlp_engine_stats *e,
                      const tlp_session_stats *t)
{
    const program *p = &s->program[0];

    put(f, "tlp:ranks", "gauge", "Ranks.", t->n_rank);
    put(f, "tlp:exchanges_per_token", "gauge",
        "All-reduces and messages that a token waits for under the plan.",
        p->cost.exchanges);
    put(f, "tlp:effective_depth", "gauge", "Stages of the plan.",
        p->cost.effective_depth);
    put(f, "tlp:allreduces_total", "counter", "All-reduces of rank 0.",
        (double)t->allreduces);
    put(f, "tlp:comm_bytes_total", "counter", "Payload of rank 0, bytes.",
        (double)t->comm_bytes);
    put(f, "tlp:rank_wait_seconds_total", "counter",
        "Time that rank 0 spent in communication and in waiting.",
        t->comm_seconds);
    put(f, "tlp:step_seconds_total", "counter", "Time in steps.",
        e->step_seconds);
    fprintf(f, "# HELP tlp:plan_info The plan.\n# TYPE tlp:plan_info gauge\n");
    for (size_t i = 0; i < s->n_program; i++) {
        fprintf(f, "tlp:plan_info{plan=\"");
        put_label(f, p[i].plan_text);
        fprintf(f, "\",link=\"%s\"} 1\n", t->link);
    }
}

static void put_replies(FILE *f, const metrics *m)
{
    static const struct {
        int reason;
        const char *name;
    } ends[] = {
        { TLP_STOP_END, "stop" },          { TLP_STOP_STRING, "stop_string" },
        { TLP_STOP_TOKEN, "stop_token" },  { TLP_STOP_LENGTH, "length" },
        { TLP_STOP_CONTEXT, "context" },   { TLP_STOP_CANCEL, "abort" },
        { TLP_STOP_DEADLINE, "deadline" }, { TLP_STOP_ERROR, "error" },
    };
    const char *name = "vllm:request_success_total";

    fprintf(f,
            "# HELP %s Choices by the reason of their end.\n"
            "# TYPE %s counter\n",
            name, name);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        fprintf(f, "%s{finished_reason=\"%s\"} %" PRIu64 "\n", name,
                ends[i].name, m->stop[ends[i].reason]);
    fprintf(f, "# HELP tlp:http_requests_total Answers by status.\n"
               "# TYPE tlp:http_requests_total counter\n");
    for (int i = 0; i < 6; i++)
        fprintf(f, "tlp:http_requests_total{status=\"%dxx\"} %" PRIu64 "\n", i,
                m->reply[i]);
    put_histogram(f, "vllm:time_to_first_token_seconds",
                  "From a request to its first token.", &m->first);
    put_histogram(f, "vllm:inter_token_latency_seconds",
                  "Between two tokens of a request's first choice.", &m->gap);
    put_histogram(f, "vllm:e2e_request_latency_seconds",
                  "From a request to its end.", &m->whole);
}

static void add_stats(tlp_engine_stats *sum, const tlp_engine_stats *e)
{
    sum->n_seq += e->n_seq;
    sum->n_running += e->n_running;
    sum->n_waiting += e->n_waiting;
    sum->n_choice += e->n_choice;
    sum->n_position += e->n_position;
    sum->n_prompt += e->n_prompt;
    sum->n_cached += e->n_cached;
    sum->n_generated += e->n_generated;
    sum->n_canceled += e->n_canceled;
    sum->n_failed += e->n_failed;
    sum->n_step += e->n_step;
    sum->step_seconds += e->step_seconds;
    sum->worst_gap = fmax(sum->worst_gap, e->worst_gap);
}

static void add_session_stats(tlp_session_stats *sum,
                              const tlp_session_stats *t)
{
    sum->allreduces += t->allreduces;
    sum->comm_bytes += t->comm_bytes;
    sum->comm_seconds += t->comm_seconds;
}

/* The sums over programs of what is counted. */
static bool read_stats(const server *s, tlp_engine_stats *engines,
                       tlp_session_stats *sessions)
{
    for (size_t i = 0; i < s->n_program; i++) {
        tlp_engine_stats e = { .struct_size = sizeof e };
        tlp_session_stats t = { .struct_size = sizeof t };
        tlp_engine *requests = s->program[i].requests;

        if (tlp_engine_get_stats(&e, requests) != TLP_OK ||
            tlp_engine_get_session_stats(&t, requests) != TLP_OK)
            return false;
        if (i == 0) {
            *engines = e;
            *sessions = t;
        } else {
            add_stats(engines, &e);
            add_session_stats(sessions, &t);
        }
    }
    return true;
}

enum MHD_Result serve_metrics(call *c)
{
    server *s = c->s;
    tlp_engine_stats e = { 0 };
    tlp_session_stats t = { 0 };
    metrics now;
    memo m;

    if (!read_stats(s, &e, &t) || !memo_open(&m))
        return MHD_NO;
    pthread_mutex_lock(&s->m.lock);
    now = s->m;
    pthread_mutex_unlock(&s->m.lock);
    put_requests(m.file, &e);
    put_tokens(m.file, &e);
    put_ranks(m.file, s, &e, &t);
    put_replies(m.file, &now);
    if (!memo_close(&m))
        return MHD_NO;
    return reply_text(c, MHD_HTTP_OK,
                      "text/plain; version=0.0.4; charset=utf-8", m.text, m.n);
}
