/*
 * cli.h - what the commands of the tool share: options, messages, progress,
 * interruption.  Nothing here knows about models.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit status of the tool. */
enum { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130 };

/* Goes up like a failure, to an exit status of 0: this process was a rank that
 * another one drove, and is done. */
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
    CLI_LIST,     /* cli_list, may be given again */
    CLI_CHOICE,   /* int: index into `arg`, "auto|scalar|avx2" */
    CLI_SET,      /* unsigned: a bit for each choice; "scalar,avx2" in argv */
    CLI_OPTIONAL, /* const char *, "-" if an option or nothing follows */
    CLI_NAME      /* const char *, `arg`: the next argument that is no option */
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
    int (*run)(int argc, char **argv); /* gives the exit status */
} cli_command;

/* Printed before every message, and what --help describes. */
void cli_set_command(const cli_command *command);

/* Printed after the command, unless it is 0. */
void cli_set_rank(int rank);

#define CLI_GO (-1)

/* Read argv[1..] by a table that ends with CLI_END.  CLI_GO to go on, or an
 * exit status after --help or a usage error. */
int cli_parse(int argc, char **argv, const cli_option *table);

/* ==== messages =========================================================== */

/* "tlp run: text" as one line on stderr; CLI_FAILURE. */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same with a hint at --help; CLI_USAGE. */
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Text that came from a file: control characters become '?'. */
void cli_print_clean(FILE *f, const char *text);

/* Flush stdout; CLI_FAILURE with a message if anything was lost. */
int cli_close_stdout(void);

/* Monotonic seconds. */
double cli_now(void);

/* ==== interruption ======================================================= */

/* On SIGINT call `stop(arg)` from the handler (NULL: nothing to stop).  The
 * first SIGINT asks to stop, the second ends the process. */
void cli_catch_interrupt(void);
void cli_release_interrupt(void); /* the first SIGINT ends the process */
void cli_on_interrupt(void (*stop)(void *), void *arg);
bool cli_interrupted(void);

/* ==== progress =========================================================== */

/* A bar on stderr, with the time that is left at the pace so far, if that is a
 * terminal and the work takes over a second. */
typedef struct cli_progress {
    const char *what;
    double start, drawn; /* seconds; drawn 0 = nothing on the screen */
} cli_progress;

void cli_progress_start(cli_progress *p, const char *what);
/* Fits tlp_progress_fn with a cli_progress as user data: non-zero once
 * interrupted. */
int cli_progress_step(double done, void *progress);
void cli_progress_end(cli_progress *p);

#endif
