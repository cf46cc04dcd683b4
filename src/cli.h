/*
 * cli.h - options, messages, progress and interruption for all commands.
 * Nothing here knows about models.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit status of the tool. */
enum { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

/* Passed up like a failure, but the exit status is 0: this process was a
 * worker rank for another process, and has finished. */
#define CLI_SERVED (-2)

/* ==== options ============================================================ */

typedef enum cli_kind {
    CLI_END,
    CLI_HEADING,  /* a title in the help */
    CLI_FLAG,     /* bool */
    CLI_INT,      /* int, in [min, max] */
    CLI_SEED,     /* uint64_t */
    CLI_FLOAT,    /* float, in [min, max] */
    CLI_TEXT,     /* const char * */
    CLI_LIST,     /* cli_list, may be repeated */
    CLI_CHOICE,   /* int: index into `arg`, "auto|scalar|avx2" */
    CLI_SET,      /* unsigned: a bit for each choice; "scalar,avx2" in argv */
    CLI_OPTIONAL, /* const char *, "-" if an option or nothing follows */
    CLI_NAME /* const char *, `arg`: the next argument that is not an option */
} cli_kind;

typedef struct cli_option {
    cli_kind kind;
    char letter;      /* 0 = none */
    const char *name; /* without the dashes */
    void *value;      /* holds the default */
    const char *arg;  /* name of the argument in the help */
    const char *help; /* ends with the default */
    double min, max;
} cli_option;

#define CLI_LIST_MAX 64

typedef struct cli_list {
    const char *item[CLI_LIST_MAX];
    size_t n;
} cli_list;

typedef struct cli_command {
    const char *name;
    const char *args;                  /* after "tlp NAME" in the usage line */
    const char *summary;               /* one line */
    int (*run)(int argc, char **argv); /* returns the exit status */
} cli_command;

/* Set the name for messages, and the text of --help. */
void cli_set_command(const cli_command *command);

/* Set the rank that messages show after the command, unless it is 0. */
void cli_set_rank(int rank);

#define CLI_GO (-1)

/* Read argv[1..] by a table that ends with CLI_END.  Returns CLI_GO to
 * continue, or an exit status after --help or a usage error. */
int cli_parse(int argc, char **argv, const cli_option *table);

/* ==== messages =========================================================== */

/* Print "tlp run: text" as one line on stderr; returns CLI_FAILURE. */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Like cli_fail, with a hint at --help; returns CLI_USAGE. */
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Print "tlp: warning: text" on stderr, once for each text; on any thread. */
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Print text from a file: '?' replaces control characters. */
void cli_print_clean(FILE *f, const char *text);

/* Flush stdout; CLI_FAILURE with a message if output was lost. */
int cli_close_stdout(void);

/* Monotonic seconds. */
double cli_now(void);

/* ==== interruption ======================================================= */

/* On SIGINT call `stop(arg)` from the handler (NULL: nothing to stop).  The
 * first SIGINT asks to stop; the second ends the process. */
void cli_catch_interrupt(void);
/* from now on the first SIGINT ends the process */
void cli_release_interrupt(void);
void cli_on_interrupt(void (*stop)(void *), void *arg);
bool cli_interrupted(void);

/* ==== progress =========================================================== */

/* A progress bar on stderr, with the estimated time left.  It is drawn if
 * stderr is a terminal and the work takes more than a second. */
typedef struct cli_progress {
    const char *what;
    double start, drawn; /* seconds; drawn 0 = nothing drawn yet */
    double begin;        /* share of the work that was done before the start */
} cli_progress;

void cli_progress_start(cli_progress *p, const char *what);
/* A tlp_progress_fn with a cli_progress as user data; non-zero once
 * interrupted. */
int cli_progress_step(double done, void *progress);
void cli_progress_end(cli_progress *p);

#endif
