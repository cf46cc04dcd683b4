/*
 * serve.h - tlp serve: the server, and the calls of its clients.
 *
 * A connection has a thread, which reads a request, waits for the engine, and
 * writes the answer.  So a client that reads slowly holds up nobody else.  The
 * thread of the engine takes steps, one thread hands events out (serve_job.c),
 * and the main thread waits for signals and looks after connections that send
 * nothing (serve_watch.c).
 */
#ifndef SERVE_H
#define SERVE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "engine.h"
#include "json.h"
#include "memo.h"
#include "serve_error.h"
#include "serve_metrics.h"
#include "serve_program.h"
#include "serve_shelf.h"
#include "serve_tools.h"
#include "serve_watch.h"

/* The plan of --plan, and that of --compare. */
#define SERVE_MAX_PROGRAM 2

/* How long a client may take no byte of its answer. */
#define WRITE_SECONDS 60

typedef struct serve_options {
    const char *host, *alias, *key_file, *compare;
    const char *slot_folder; /* of files that hold sequences, or NULL */
    int port, n_ctx, n_parallel, n_queue, n_chunk;
    int max_body_mb, n_connection;
    float receive_seconds, request_seconds, drain_seconds;
    int pooling; /* TLP_POOLING_* */
    cli_list keys, origins, names;
    bool log;
} serve_options;

typedef struct server server;

struct server {
    engine e;
    serve_options o;
    char *key_text;   /* what the keys of the file point into, or NULL */
    char **file_keys; /* [n_file_key], pointing into key_text */
    size_t n_file_key;
    program program[SERVE_MAX_PROGRAM];
    size_t n_program;
    bool local;           /* it listens on a loopback address */
    int64_t created;      /* seconds since 1970 */
    int32_t n_ctx, n_seq; /* of each program */
    tool_form tool_form;  /* of the model's chat template */
    struct MHD_Daemon *daemon;
    metrics m;
    watch_list w;
    shelf grammars;
    atomic_int n_answer; /* answers that are being made or written */
    atomic_bool draining;
    pthread_mutex_t lock; /* of dead */
    char dead[512];       /* why the engine can do nothing more; empty: it
                             can */
};

typedef struct call call;

/* One request over HTTP. */
struct call {
    server *s;
    struct MHD_Connection *connection;
    int fd;
    watched *watched;
    const struct endpoint *endpoint;
    const char *url; /* borrowed while the call runs */
    char *body;
    size_t n_body, body_cap;
    bool begun;   /* its headers have been looked at */
    bool counted; /* in n_answer */
    int status;   /* of the answer; 0: none yet */
    double begin; /* cli_now() */
    api_error error;
};

/* Answer a call whose body is complete.  MHD_NO closes the connection. */
typedef enum MHD_Result (*endpoint_fn)(call *c);

typedef struct endpoint {
    const char *path;   /* ends in '/': with anything behind it */
    const char *method; /* "GET" or "POST" */
    endpoint_fn run;
    bool open; /* needs no key */
} endpoint;

/* NULL past the last one. */
const endpoint *endpoint_list(size_t index);

/* ==== replies (serve_reply.c) ============================================ */

/* All of these return the value for MHD. */
enum MHD_Result reply_text(call *c, int status, const char *type, char *text,
                           size_t n); /* takes the malloc'd text */
enum MHD_Result reply_static(call *c, int status, const char *type,
                             const char *text);
/* HTML that lives for ever, under a Content-Security-Policy. */
enum MHD_Result reply_page(call *c, const char *html, size_t n,
                           const char *policy);
/* c->error as an error object.  The path of the model is not shown. */
enum MHD_Result reply_error(call *c);
/* The callback is asked for text until it returns the end. */
enum MHD_Result reply_stream(call *c, MHD_ContentReaderCallback read,
                             void *stream,
                             MHD_ContentReaderFreeCallback release);
/* The members of {"error": ...}. */
void write_error(json *j, const api_error *e);
/* Put the model's name in the place of its path. */
void hide_path(const server *s, api_error *e);
/* c->error now, without waiting for the rest of the body; closes. */
enum MHD_Result reply_at_once(call *c);
void send_at_once(int fd, const api_error *e);
/* Allow pages of other origins to read a response. */
void add_origin(struct MHD_Response *r, const call *c);

/* While the engine works, a connection may be silent. */
void call_set_patience(const call *c, bool endless);

/* ==== the daemon (serve_http.c, serve_listen.c) ========================== */

/* *local: on a loopback address; `where` is its URL. */
int http_listen(const serve_options *o, int *fd, bool *local, char *where,
                size_t cap);
int http_start(server *s, int fd);

/* ==== endpoints ========================================================== */

enum MHD_Result serve_page(call *c);
enum MHD_Result serve_chat(call *c);
enum MHD_Result serve_completion(call *c);
enum MHD_Result serve_embedding(call *c);
enum MHD_Result serve_tokenize(call *c);
enum MHD_Result serve_detokenize(call *c);
enum MHD_Result serve_template(call *c);
enum MHD_Result serve_health(call *c);
enum MHD_Result serve_models(call *c);
enum MHD_Result serve_model(call *c);
enum MHD_Result serve_props(call *c);
enum MHD_Result serve_slots(call *c);
enum MHD_Result serve_slot(call *c);
enum MHD_Result serve_metrics(call *c);

/* The call counts as one that a drain waits for, to its end. */
void answer_begins(call *c);

/* The program whose name a request gives as its model; without a name, that of
 * --plan.  NULL for an unknown name: *error lists the names. */
program *server_program(server *s, const char *name, api_error *error);

/* The number in /slots of a program's sequence. */
int32_t slot_number(const program *p, int32_t seq);

/* A reply that is one JSON object: write its members between the two. */
bool reply_open(memo *m, json *j);
enum MHD_Result reply_close(call *c, memo *m, json *j);

/* Is the engine at work, and for new requests?  False: *error says why not. */
bool server_is_ready(server *s, api_error *error);

#endif
