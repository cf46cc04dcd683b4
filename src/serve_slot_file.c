/*
 * serve_slot_file.c - POST /slots/ID: save what a sequence holds to a file of
 * --slot-save-path, load it from there, or forget it.
 *
 * A client names a file of this folder alone, and sees no other path.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve.h"
#include "serve_fields.h"

#define BAD MHD_HTTP_BAD_REQUEST

typedef tlp_status (*file_fn)(int32_t *n_held, tlp_engine *engine, int32_t seq,
                              const char *path);

/* What ?action= names, and the words of its answer. */
typedef struct slot_action {
    const char *name;
    file_fn run; /* NULL: erase */
    const char *n_token, *n_byte, *ms;
} slot_action;

static const slot_action actions[] = {
    { "save", tlp_engine_save_file, "n_saved", "n_written", "save_ms" },
    { "restore", tlp_engine_load_file, "n_restored", "n_read", "restore_ms" },
    { "erase", NULL, "n_erased", NULL, NULL },
};

/* ==== the request ======================================================== */

static const slot_action *find_action(call *c)
{
    const char *value = MHD_lookup_connection_value(
        c->connection, MHD_GET_ARGUMENT_KIND, "action");

    for (size_t i = 0; value && i < sizeof actions / sizeof actions[0]; i++)
        if (!strcmp(actions[i].name, value))
            return &actions[i];
    api_fail(&c->error, BAD, "action", NULL,
             "action: %.40s: save, restore or erase expected",
             value ? value : "none");
    return NULL;
}

/* The program and its sequence that /slots lists with this number. */
static program *find_slot(call *c, int32_t *seq)
{
    const server *s = c->s;
    const char *text = c->url + strlen(c->endpoint->path);
    long n = (long)s->n_program * s->n_seq, id;
    char *end;

    errno = 0;
    id = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || id >= n) {
        api_fail(&c->error, MHD_HTTP_NOT_FOUND, "id_slot", NULL,
                 "slot %.40s: 0 to %ld expected", text, n - 1);
        return NULL;
    }
    *seq = (int32_t)(id % s->n_seq);
    return &c->s->program[id / s->n_seq];
}

/* A name without a path, which a listing shows as it is. */
static bool is_name(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++)
        if (name[i] == '/' || (unsigned char)name[i] < ' ' || name[i] == 127)
            return false;
    return n > 0 && n <= NAME_MAX - 16 && name[0] != '.';
}

/* The file's name into `name` (NAME_MAX + 1 bytes). */
static bool read_name(call *c, char *name)
{
    const char *text = NULL;
    fields f;
    bool fine = fields_open(&f, c->body, c->n_body, &c->error);

    if (fine && (!field_text(&f, "filename", &text) || !fields_done(&f)))
        fine = false;
    else if (fine && !text)
        fine = api_fail(&c->error, BAD, "filename", "missing",
                        "filename: the name of a file expected");
    else if (fine && !is_name(text))
        fine = api_fail(&c->error, BAD, "filename", NULL,
                        "filename: a name without / and control characters, "
                        "which begins with no dot and has at most %d bytes, "
                        "expected",
                        NAME_MAX - 16);
    if (fine)
        strcpy(name, text);
    fields_close(&f);
    return fine;
}

/* ==== the work =========================================================== */

static int64_t size_of(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

/* The failure of a file, without the folder's path. */
static bool fail_file(call *c, tlp_status st, const char *path,
                      const char *name)
{
    const char *text = tlp_last_error();
    size_t n = strlen(path);
    bool absent = st == TLP_EIO && access(path, F_OK) != 0 && errno == ENOENT;
    int status = absent ? MHD_HTTP_NOT_FOUND : st == TLP_EMISMATCH ? BAD : 0;

    if (st == TLP_EBUSY)
        return api_fail(&c->error, MHD_HTTP_CONFLICT, "id_slot", "slot_busy",
                        "%s", text);
    api_fail_library(&c->error, st);
    if (status)
        c->error.status = status;
    if (!strncmp(text, path, n))
        snprintf(c->error.text, sizeof c->error.text, "%.200s%.300s", name,
                 text + n);
    return false;
}

static enum MHD_Result answer(call *c, const slot_action *a, const char *name,
                              int32_t id, int32_t n, int64_t n_byte)
{
    memo m;
    json j;

    if (!reply_open(&m, &j))
        return MHD_NO;
    json_int(&j, "id_slot", id);
    if (a->run)
        json_text(&j, "filename", name);
    json_int(&j, a->n_token, n);
    if (a->run) {
        json_int(&j, a->n_byte, n_byte);
        json_open(&j, "timings", '{');
        json_number(&j, a->ms, 1e3 * (cli_now() - c->begin));
        json_close(&j, '}');
    }
    return reply_close(c, &m, &j);
}

static enum MHD_Result erase(call *c, program *p, int32_t seq)
{
    const slot_action *a = &actions[2];
    int32_t n = 0;
    tlp_status st = tlp_engine_clear(&n, p->requests, seq);

    if (st == TLP_OK)
        return answer(c, a, NULL, slot_number(p, seq), n, 0);
    fail_file(c, st, "", "");
    return reply_error(c);
}

static enum MHD_Result run(call *c, const slot_action *a, program *p,
                           int32_t seq, const char *name)
{
    const char *folder = c->s->o.slot_folder;
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = malloc(n);
    int32_t n_held = 0;
    tlp_status st;

    if (!path) {
        api_fail_memory(&c->error);
        return reply_error(c);
    }
    snprintf(path, n, "%s/%s", folder, name);
    st = a->run(&n_held, p->requests, seq, path);
    if (st != TLP_OK)
        fail_file(c, st, path, name);

    int64_t n_byte = st == TLP_OK ? size_of(path) : 0;

    free(path);
    return st == TLP_OK
               ? answer(c, a, name, slot_number(p, seq), n_held, n_byte)
               : reply_error(c);
}

enum MHD_Result serve_slot(call *c)
{
    const slot_action *a = find_action(c);
    int32_t seq = 0;
    program *p = a ? find_slot(c, &seq) : NULL;
    char name[NAME_MAX + 1];

    if (!p || !server_is_ready(c->s, &c->error))
        return reply_error(c);
    answer_begins(c);
    if (!a->run)
        return erase(c, p, seq);
    if (!c->s->o.slot_folder) {
        api_fail(&c->error, MHD_HTTP_NOT_IMPLEMENTED, NULL, NULL,
                 "the server was started without --slot-save-path");
        return reply_error(c);
    }
    if (!read_name(c, name))
        return reply_error(c);
    return run(c, a, p, seq, name);
}
