/*
 * fcgi_app.c - answer questions behind a web server, by FastCGI: threads that
 * share an engine.
 *
 *     fcgi_app model.gguf SOCKET           nginx.conf passes requests to SOCKET
 *     curl -N --data-binary 'Why is the sky blue?' http://HOST/generate?n=64
 *
 * One thread takes all events of the engine and adds each text to what its
 * worker has to write.  A worker has one client at a time; when the client goes
 * away, writing fails, and the worker cancels the request.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <fcgiapp.h>
#include <tlp.h>

#define N_WORKER 8
#define MAX_BODY (1 << 20)

typedef struct worker {
    tlp_engine *engine;
    int listening;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t arrived;
    char *text; /* what the client has not got; malloc'ed */
    size_t n, cap;
    int ended;
    char failure[512]; /* empty: none */
} worker;

/* ==== events ============================================================= */

static int append(worker *w, const char *text, size_t n)
{
    if (w->n + n > w->cap) {
        size_t cap = 2 * w->cap + n + 256;
        char *more = realloc(w->text, cap);

        if (!more)
            return 0;
        w->text = more;
        w->cap = cap;
    }
    memcpy(w->text + w->n, text, n);
    w->n += n;
    return 1;
}

static void take(const tlp_event *event)
{
    worker *w = event->user;

    pthread_mutex_lock(&w->lock);
    if (event->status != TLP_OK)
        snprintf(w->failure, sizeof w->failure, "%s", event->text);
    else if (event->n_text > 0 && !append(w, event->text, event->n_text))
        snprintf(w->failure, sizeof w->failure, "out of memory");
    if (event->kind == TLP_EVENT_END)
        w->ended = 1;
    pthread_cond_signal(&w->arrived);
    pthread_mutex_unlock(&w->lock);
}

static void *take_events(void *arg)
{
    tlp_engine *engine = arg;
    tlp_event *event;

    /* Every request gets the event of its end, also when the engine stops. */
    while (tlp_engine_next(&event, engine, -1) == TLP_OK) {
        take(event);
        tlp_event_free(event);
    }
    return NULL;
}

/* ==== requests =========================================================== */

static void refuse(FCGX_Request *r, const char *status, const char *text)
{
    FCGX_FPrintF(r->out, "Status: %s\r\nContent-Type: text/plain\r\n\r\n%s\n",
                 status, text);
}

/* The body with a NUL, or NULL after the client was told why not. */
static char *read_body(FCGX_Request *r)
{
    const char *given = FCGX_GetParam("CONTENT_LENGTH", r->envp);
    char *end = NULL;
    long n = given ? strtol(given, &end, 10) : -1;

    if (!end || end == given || *end || n < 1 || n > MAX_BODY) {
        refuse(r, "400 Bad Request", "a body of 1 byte to 1 MiB expected");
        return NULL;
    }
    char *body = malloc((size_t)n + 1);

    if (!body) {
        refuse(r, "503 Service Unavailable", "out of memory");
        return NULL;
    }
    if (FCGX_GetStr(body, (int)n, r->in) != n || memchr(body, 0, (size_t)n)) {
        refuse(r, "400 Bad Request", "a whole text without NUL expected");
        free(body);
        return NULL;
    }
    body[n] = '\0';
    return body;
}

/* The number of tokens, from the query n=NUMBER; 0 after the client was told
 * what is wrong. */
static int32_t read_length(FCGX_Request *r)
{
    const char *query = FCGX_GetParam("QUERY_STRING", r->envp);
    char *end = NULL;

    if (!query || !*query)
        return 128;

    long n = strncmp(query, "n=", 2) ? 0 : strtol(query + 2, &end, 10);

    if (n < 1 || n > 1000000 || *end) {
        refuse(r, "400 Bad Request", "n: a number from 1 to 1000000 expected");
        return 0;
    }
    return (int32_t)n;
}

static tlp_status submit(uint64_t *id, worker *w, const char *question,
                         int32_t n_predict)
{
    tlp_chat_message message = { "user", question };
    tlp_request request = TLP_REQUEST_INIT;

    request.messages = &message; /* the engine copies the request */
    request.n_message = 1;
    request.n_predict = n_predict;
    request.user = w;
    w->n = 0;
    w->ended = 0;
    w->failure[0] = '\0';
    return tlp_engine_submit(id, w->engine, &request);
}

static const char *http_status(tlp_status st)
{
    switch (st) {
    case TLP_EINVAL:
    case TLP_EFULL:
        return "400 Bad Request";
    case TLP_EBUSY:
    case TLP_ECLOSED:
        return "503 Service Unavailable";
    default:
        return "500 Internal Server Error";
    }
}

/* Write text as it comes.  The lock is not held while a slow client reads. */
static void stream(worker *w, FCGX_Request *r, uint64_t id)
{
    int gone = 0, ended = 0;
    char *text = NULL;

    FCGX_PutS("Content-Type: text/plain; charset=utf-8\r\n\r\n", r->out);
    while (!ended) {
        pthread_mutex_lock(&w->lock);
        while (w->n == 0 && !w->ended)
            pthread_cond_wait(&w->arrived, &w->lock);
        size_t n = w->n;

        ended = w->ended;
        text = w->text;
        w->text = NULL;
        w->n = w->cap = 0;
        pthread_mutex_unlock(&w->lock);
        if (!gone && n > 0 &&
            (FCGX_PutStr(text, (int)n, r->out) < 0 ||
             FCGX_FFlush(r->out) < 0)) {
            gone = 1; /* wait for the end of the request all the same */
            tlp_engine_cancel(w->engine, id);
        }
        free(text);
    }
    if (w->failure[0])
        FCGX_FPrintF(r->err, "fcgi_app: %s\n", w->failure);
}

static void show_stats(worker *w, FCGX_Request *r)
{
    tlp_engine_stats s = { .struct_size = sizeof s };

    if (tlp_engine_get_stats(&s, w->engine) != TLP_OK) {
        refuse(r, "500 Internal Server Error", tlp_last_error());
        return;
    }
    FCGX_FPrintF(r->out,
                 "Content-Type: text/plain\r\n\r\n"
                 "running %d\nended %d\ncanceled %d\n",
                 (int)s.n_running, (int)s.n_ended, (int)s.n_canceled);
}

static void answer(worker *w, FCGX_Request *r)
{
    const char *uri = FCGX_GetParam("DOCUMENT_URI", r->envp);
    uint64_t id;
    tlp_status st;

    if (uri && !strcmp(uri, "/stats")) {
        show_stats(w, r);
        return;
    }
    int32_t n_predict = read_length(r);
    char *body = n_predict > 0 ? read_body(r) : NULL;

    if (!body)
        return;
    st = submit(&id, w, body, n_predict);
    free(body);
    if (st != TLP_OK)
        refuse(r, http_status(st), tlp_last_error());
    else
        stream(w, r, id);
}

static void *work(void *arg)
{
    worker *w = arg;
    FCGX_Request request;

    if (FCGX_InitRequest(&request, w->listening, FCGI_FAIL_ACCEPT_ON_INTR))
        return NULL;
    while (FCGX_Accept_r(&request) == 0) {
        answer(w, &request);
        FCGX_Finish_r(&request);
    }
    return NULL;
}

/* ==== start and end ====================================================== */

/* Work until a signal of `stop` comes. */
static int run(tlp_engine *engine, int listening, const sigset_t *stop)
{
    static worker workers[N_WORKER];
    pthread_t threads[N_WORKER], taker;
    int number, n = 0;

    if (pthread_create(&taker, NULL, take_events, engine))
        return 1;
    for (; n < N_WORKER; n++) {
        worker *w = &workers[n];

        w->engine = engine;
        w->listening = listening;
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->arrived, NULL);
        if (pthread_create(&threads[n], NULL, work, w))
            break;
    }
    if (n > 0)
        sigwait(stop, &number);
    FCGX_ShutdownPending();
    shutdown(listening, SHUT_RDWR); /* wakes the workers that accept */
    tlp_engine_stop(engine);        /* ends the requests that run */
    pthread_join(taker, NULL);
    for (int i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        free(workers[i].text);
    }
    return n < N_WORKER;
}

static void print_warning(int level, const char *text, void *user_data)
{
    (void)user_data;
    if (level == TLP_LOG_WARN)
        fprintf(stderr, "warning: %s\n", text);
}

int main(int argc, char **argv)
{
    tlp_model_options open = TLP_MODEL_OPTIONS_INIT;
    tlp_model *model = NULL;
    tlp_plan *plan = NULL;
    tlp_engine *engine = NULL;
    sigset_t stop;
    int listening, status = 1;

    if (argc != 3) {
        fprintf(stderr, "usage: %s model.gguf SOCKET\n", argv[0]);
        return 2;
    }
    /* The signals that end the program are for sigwait alone. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);

    open.log = print_warning;
    if (tlp_model_open(&model, argv[1], &open) ||
        tlp_plan_parse(&plan, model, "serial") ||
        tlp_engine_create(&engine, plan, NULL) || tlp_engine_start(engine))
        fprintf(stderr, "fcgi_app: %s\n", tlp_last_error());
    else if (FCGX_Init() || (listening = FCGX_OpenSocket(argv[2], 64)) < 0)
        fprintf(stderr, "fcgi_app: %s: %s\n", argv[2], strerror(errno));
    else
        status = run(engine, listening, &stop);
    tlp_engine_free(engine);
    tlp_plan_free(plan);
    tlp_model_free(model);
    return status;
}
