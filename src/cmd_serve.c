/*
 * cmd_serve.c - tlp serve: options, the life of the server, signals.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "files.h"
#include "serve.h"
#include "serve_job.h"

#define MAX_KEYS_BYTES ((size_t)1 << 20)
#define TICK_NS 200000000

/* ==== keys =============================================================== */

/* The keys of the file, one a line; lines of '#' are notes. */
static int read_keys(server *s)
{
    size_t n_line = 1;

    if (!s->o.key_file)
        return CLI_OK;
    int rc = file_read_text(s->o.key_file, MAX_KEYS_BYTES, &s->key_text);

    if (rc != CLI_OK)
        return rc;
    for (const char *at = s->key_text; *at; at++)
        n_line += *at == '\n';
    s->file_keys = calloc(n_line, sizeof *s->file_keys);
    if (!s->file_keys)
        return cli_fail("out of memory");
    char *rest = s->key_text, *line;

    while ((line = strsep(&rest, "\r\n")) != NULL)
        if (*line && *line != '#')
            s->file_keys[s->n_file_key++] = line;
    return s->n_file_key ? CLI_OK : cli_fail("%s: no key in it", s->o.key_file);
}

/* ==== facts ============================================================== */

static int read_plan(server *s)
{
    size_t n = 0;
    tlp_status st = tlp_plan_format(NULL, 0, &n, s->e.plan, TLP_PLAN_TEXT);

    s->plan_text = malloc(n + 1);
    if (!s->plan_text)
        return cli_fail("out of memory");
    st = tlp_plan_format(s->plan_text, n + 1, &n, s->e.plan, TLP_PLAN_TEXT);
    return st == TLP_OK ? engine_plan_cost(&s->e, s->e.plan, &s->cost)
                        : engine_fail(st);
}

/* The name that clients know: the option, else the file's. */
static const char *name_of(const server *s)
{
    const char *slash = strrchr(s->e.model_path, '/');

    return s->o.alias ? s->o.alias : slash ? slash + 1 : s->e.model_path;
}

static int read_facts(server *s)
{
    tlp_engine_stats stats = { .struct_size = sizeof stats };
    tlp_status st = tlp_engine_get_stats(&stats, s->requests);

    if (st != TLP_OK)
        return engine_fail(st);
    s->n_ctx = stats.n_ctx;
    s->n_seq = stats.n_seq;
    s->name = name_of(s);
    s->created = (int64_t)time(NULL);
    s->tool_form = tool_form_of(&s->e);
    return read_plan(s);
}

/* ==== events ============================================================= */

/* The thread that hands events out, until there will be no more. */
static void *take_events(void *arg)
{
    server *s = arg;
    tlp_event *event;
    tlp_status st;

    while ((st = tlp_engine_next(&event, s->requests, -1)) == TLP_OK) {
        metrics_event(&s->m, event, job_last(event));
        job_give(event);
    }
    if (st == TLP_ECLOSED)
        return NULL;
    cli_fail("%s", tlp_last_error());
    pthread_mutex_lock(&s->lock);
    snprintf(s->dead, sizeof s->dead, "%s", tlp_last_error());
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ==== signals ============================================================ */

static void signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
}

static void end_now(int sig)
{
    (void)sig;
    _exit(CLI_INTERRUPTED);
}

/* From now on a signal ends the process. */
static void release_signals(void)
{
    sigset_t set;

    signals(&set);
    signal(SIGINT, end_now);
    signal(SIGTERM, end_now);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* Serve until a signal comes and the answers have ended, or had their time. */
static void serve_until_signal(server *s)
{
    const struct timespec tick = { .tv_nsec = TICK_NS };
    double end = 0;
    sigset_t set;

    signals(&set);
    while (end == 0 || (atomic_load(&s->n_answer) > 0 && cli_now() < end)) {
        if (sigtimedwait(&set, NULL, &tick) > 0) {
            if (end != 0)
                _exit(CLI_INTERRUPTED);
            end = cli_now() + (double)s->o.drain_seconds;
            atomic_store(&s->draining, true);
        }
        watch_sweep(&s->w, (double)s->o.receive_seconds);
    }
}

/* The answers that had no time left get their ends, and are sent. */
static void wait_for_answers(server *s)
{
    const struct timespec nap = { .tv_nsec = 10000000 };
    double end = cli_now() + 2;

    while (atomic_load(&s->n_answer) > 0 && cli_now() < end)
        nanosleep(&nap, NULL);
}

/* ==== the life of the server ============================================= */

static int announce(const server *s, const char *where)
{
    printf("%s\n", where);
    fprintf(stderr,
            "tlp serve: %s, plan %.60s, %d sequences of %d positions%s\n",
            s->name, s->plan_text, s->n_seq, s->n_ctx,
            s->o.keys.n + s->n_file_key ? ", with API keys" : "");
    return fflush(stdout) == 0 ? CLI_OK : cli_close_stdout();
}

static int serve_on(server *s, int fd, const char *where)
{
    sigset_t set;
    int rc;

    signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_create(&s->events, NULL, take_events, s) != 0)
        return cli_fail("the system has no thread for the server");
    rc = http_start(s, fd);
    if (rc == CLI_OK)
        rc = announce(s, where);
    if (rc == CLI_OK)
        serve_until_signal(s);
    release_signals();
    tlp_engine_stop(s->requests);
    wait_for_answers(s);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    else
        close(fd);
    pthread_join(s->events, NULL);
    return rc;
}

static int open_requests(server *s)
{
    tlp_engine_options o = TLP_ENGINE_OPTIONS_INIT;
    int rc = engine_parse_plan(&s->e, s->e.plan_text, &s->e.plan);

    o.n_request = s->o.n_queue;
    o.n_chunk = s->o.n_chunk;
    if (rc == CLI_OK)
        rc = engine_create_requests(&s->e, s->e.plan, s->o.n_ctx,
                                    s->o.n_parallel, &o, &s->requests);
    if (rc == CLI_OK)
        rc = read_facts(s);
    return rc;
}

static int run_all(server *s)
{
    char where[128];
    int fd = -1;
    int rc = engine_start(&s->e, s->o.n_ctx);

    if (rc == CLI_OK)
        rc = read_keys(s);
    /* before the model is loaded: a port in use is known at once */
    if (rc == CLI_OK)
        rc = http_listen(&s->o, &fd, &s->local, where, sizeof where);
    if (rc == CLI_OK) {
        rc = open_requests(s);
        if (rc == CLI_OK && tlp_engine_start(s->requests) != TLP_OK)
            rc = engine_fail(TLP_ERROR);
        if (rc == CLI_OK)
            rc = serve_on(s, fd, where);
        else
            close(fd);
    }
    tlp_engine_free(s->requests);
    engine_close(&s->e);
    free(s->plan_text);
    free(s->file_keys);
    free(s->key_text);
    return rc;
}

/* Rows of the option table about clients. */
/* clang-format off */
#define CLIENT_OPTIONS(o)                                                      \
    { CLI_HEADING, .help = "Clients:" },                                       \
    { CLI_LIST, 0, "api-key", &(o).keys, "KEY",                                \
      "take requests with this key alone; may be repeated", 0, 0 },            \
    { CLI_TEXT, 0, "api-key-file", &(o).key_file, "FILE",                      \
      "keys, one a line", 0, 0 },                                              \
    { CLI_LIST, 0, "cors", &(o).origins, "ORIGIN",                             \
      "pages that may read answers, * for all; may be repeated", 0, 0 },       \
    { CLI_LIST, 0, "allow-host", &(o).names, "NAME",                           \
      "name of the server besides localhost; may be repeated", 0, 0 },         \
    { CLI_INT, 0, "connections", &(o).n_connection, "N",                       \
      "connections at a time (256)", 1, 65536 },                               \
    { CLI_INT, 0, "max-body", &(o).max_body_mb, "MIB",                         \
      "largest body of a request (16)", 1, 1024 },                             \
    { CLI_FLOAT, 0, "receive-seconds", &(o).receive_seconds, "X",              \
      "time for a request to arrive (30)", 0.1, 86400 },                       \
    { CLI_FLOAT, 0, "request-seconds", &(o).request_seconds, "X",              \
      "time for an answer (0: no limit)", 0, 1e8 },                            \
    { CLI_FLOAT, 0, "drain-seconds", &(o).drain_seconds, "X",                  \
      "time for answers to end after SIGTERM (30)", 0, 1e8 },                  \
    { CLI_FLAG, 0, "log", &(o).log, NULL,                                      \
      "a line for each request, to standard error", 0, 0 }
/* clang-format on */

static const serve_options defaults = { .host = "127.0.0.1",
                                        .port = 8080,
                                        .n_parallel = 8,
                                        .n_queue = 256,
                                        .max_body_mb = 16,
                                        .n_connection = 256,
                                        .receive_seconds = 30,
                                        .drain_seconds = 30 };

int cmd_serve(int argc, char **argv)
{
    static server s; /* connections' threads use it to the end */

    s.e = (engine)ENGINE_INIT;
    s.o = defaults;
    const cli_option table[] = {
        ENGINE_MODEL_OPTION(s.e),
        { CLI_TEXT, 0, "host", &s.o.host, "NAME",
          "address to listen on (127.0.0.1)", 0, 0 },
        { CLI_INT, 0, "port", &s.o.port, "N",
          "port (8080; 0: any, printed on standard output)", 0, 65535 },
        { CLI_TEXT, 0, "alias", &s.o.alias, "NAME",
          "name of the model for clients (the file's)", 0, 0 },
        { CLI_INT, 'c', "ctx", &s.o.n_ctx, "N",
          "positions (0: the model's own, at most 4096)", 0, INT32_MAX },
        { CLI_INT, 0, "parallel", &s.o.n_parallel, "N",
          "texts that are written at a time (8)", 1, 4096 },
        { CLI_INT, 0, "queue", &s.o.n_queue, "N",
          "requests that wait and run at a time (256)", 1, 65536 },
        { CLI_INT, 0, "chunk", &s.o.n_chunk, "N",
          "tokens of prompts in a step beside texts (0: 64)", 0, 16384 },
        CLIENT_OPTIONS(s.o),
        { CLI_HEADING, .help = "Engine:" },
        ENGINE_PLAN_OPTION(s.e),
        ENGINE_SESSION_OPTIONS(s.e),
        { .kind = CLI_END },
    };
    int rc = cli_parse(argc, argv, table);

    if (rc != CLI_GO)
        return rc;
    metrics_init(&s.m);
    watch_init(&s.w);
    shelf_init(&s.grammars);
    pthread_mutex_init(&s.lock, NULL);
    rc = run_all(&s);
    pthread_mutex_destroy(&s.lock);
    shelf_free(&s.grammars);
    watch_free(&s.w);
    metrics_free(&s.m);
    return rc;
}
