/*
 * web.h - a server process of the tool, and a client with real sockets.
 */
#ifndef WEB_H
#define WEB_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct web_server {
    pid_t pid;
    int out; /* the server's standard output */
    int port;
    char err[64]; /* file of its standard error */
} web_server;

/* An answer; free with web_free. */
typedef struct web_answer {
    int status; /* 0: none came */
    char *head, *body;
    size_t n_body;
} web_answer;

/* Start "tlp serve -m model --port 0" and these arguments, NULL at the end, and
 * wait until it listens.  Under mpirun: `first` begins the command line. */
web_server web_start(const char *model, const char *const args[]);
web_server web_start_under(const char *const first[], const char *model,
                           const char *const args[]);
#define WEB_START(model, ...)                                                  \
    web_start(model, (const char *const[]){ __VA_ARGS__, NULL })

/* Send a signal, 0 for none, and wait for the end: the exit status, 128 + n
 * after a signal, -1 if it did not end in so many seconds (it is then killed).
 */
int web_end(web_server *s, int signal, double seconds);

/* ==== requests =========================================================== */

int web_connect(const web_server *s); /* a socket */
void web_send(int fd, const char *text, size_t n);
/* POST with a JSON body, which keeps the connection. */
void web_send_json(int fd, const char *path, const char *json);
web_answer web_read(int fd); /* one answer */

web_answer web_get(const web_server *s, const char *path);
web_answer web_post(const web_server *s, const char *path, const char *json);
/* With further lines of headers, each ended by \r\n. */
web_answer web_request(const web_server *s, const char *method,
                       const char *path, const char *headers, const char *body,
                       size_t n);
void web_free(web_answer *a);

/* POST that must succeed: the object of its answer, which the caller frees. */
json_t *web_object(const web_server *s, const char *path, const char *json);
/* GET that must succeed. */
json_t *web_get_object(const web_server *s, const char *path);

/* The value of a line of /metrics. */
double web_metric(const web_server *s, const char *name);
/* Wait until it has this value; false after `seconds`. */
bool web_wait_metric(const web_server *s, const char *name, double value,
                     double seconds);

/* The next server-sent event of a stream in an answer's body; NULL at the end.
 * *at is NULL at the begin.  "[DONE]" is returned as a string. */
json_t *web_event(const web_answer *a, const char **at);

/* The value at a path of keys and indices: "choices.0.message.content". */
json_t *web_at(json_t *root, const char *path);
const char *web_text(json_t *root, const char *path);
double web_number(json_t *root, const char *path);

/* The answer is an OpenAI error object with this status. */
void web_expect_error(const web_answer *a, int status, const char *part);

#endif
