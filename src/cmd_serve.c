/*
 * cmd_serve.c - tlp serve: options, the life of the server, signals.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "files.h"
#include "serve.h"

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

static int read_facts(server *s)
{
    tlp_engine_stats stats = { .struct_size = sizeof stats };
    tlp_status st = tlp_engine_get_stats(&stats, s->program[0].requests);

    if (st != TLP_OK)
        return engine_fail(st);
    s->n_ctx = stats.n_ctx;
    s->n_seq = stats.n_seq;
    s->created = (int64_t)time(NULL);
    s->tool_form = tool_form_of(&s->e);
    return CLI_OK;
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
    const program *p = s->program;

    printf("%s\n", where);
    fprintf(stderr,
            "tlp serve: %s, plan %.60s, %d sequences of %d positions%s\n",
            p->name, p->plan_text, s->n_seq, s->n_ctx,
            s->o.keys.n + s->n_file_key ? ", with API keys" : "");
    if (s->n_program > 1)
        fprintf(stderr, "tlp serve: %s, plan %.60s\n", p[1].name,
                p[1].plan_text);
    return fflush(stdout) == 0 ? CLI_OK : cli_close_stdout();
}

static int serve_on(server *s, int fd, const char *where)
{
    sigset_t set;
    int rc = CLI_OK;

    signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; rc == CLI_OK && i < s->n_program; i++)
        rc = program_start(&s->program[i]);
    if (rc == CLI_OK)
        rc = http_start(s, fd);
    if (rc == CLI_OK)
        rc = announce(s, where);
    if (rc == CLI_OK)
        serve_until_signal(s);
    release_signals();
    for (size_t i = 0; i < s->n_program; i++)
        program_stop(&s->program[i]);
    wait_for_answers(s);
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    else
        close(fd);
    for (size_t i = 0; i < s->n_program; i++)
        program_join(&s->program[i]);
    return rc;
}

static int open_programs(server *s)
{
    const char *const plans[] = { s->e.plan_text, s->o.compare };
    const char *const suffixes[] = { "", ":compare" };
    size_t n = s->o.compare ? 2 : 1;
    int rc = CLI_OK;

    while (rc == CLI_OK && s->n_program < n) {
        size_t i = s->n_program++;

        rc = program_open(&s->program[i], s, plans[i], suffixes[i]);
    }
    return rc == CLI_OK ? read_facts(s) : rc;
}

/* A folder that is not there is known at once. */
static int check_slot_folder(const serve_options *o)
{
    struct stat st;

    if (!o->slot_folder)
        return CLI_OK;
    if (stat(o->slot_folder, &st) != 0)
        return cli_fail("--slot-save-path %s: %s", o->slot_folder,
                        strerror(errno));
    return S_ISDIR(st.st_mode)
               ? CLI_OK
               : cli_fail("--slot-save-path %s: no folder", o->slot_folder);
}

static int run_all(server *s)
{
    char where[128];
    int fd = -1;
    int rc = check_slot_folder(&s->o);

    if (rc == CLI_OK)
        rc = engine_start(&s->e, s->o.n_ctx);
    /* a second session would wait for processes that serve the first */
    if (rc == CLI_OK && s->o.compare && s->e.comm == TLP_COMM_MPI)
        rc = cli_usage("--compare needs all ranks in one process");
    if (rc == CLI_OK)
        rc = read_keys(s);
    /* before the model is loaded: a port in use is known at once */
    if (rc == CLI_OK)
        rc = http_listen(&s->o, &fd, &s->local, where, sizeof where);
    if (rc == CLI_OK) {
        rc = open_programs(s);
        if (rc == CLI_OK)
            rc = serve_on(s, fd, where);
        else
            close(fd);
    }
    for (size_t i = 0; i < s->n_program; i++)
        program_free(&s->program[i]);
    engine_close(&s->e);
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
        { CLI_CHOICE, 0, "pooling", &s.o.pooling, "default|last|mean",
          "states that make an embedding (default: the file's, else last)", 0,
          0 },
        { CLI_TEXT, 0, "slot-save-path", &s.o.slot_folder, "FOLDER",
          "let clients save and load sequences as files there", 0, 0 },
        CLIENT_OPTIONS(s.o),
        { CLI_HEADING, .help = "Engine:" },
        ENGINE_PLAN_OPTION(s.e),
        { CLI_TEXT, 0, "compare", &s.o.compare, "PLAN",
          "run a second plan beside it, as the model NAME:compare", 0, 0 },
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
