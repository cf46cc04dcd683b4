/*
 * cli.c - option tables, messages, interruption, progress bar.
 */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const cli_command *current;
static int current_rank;
static bool bar_drawn; /* a progress bar is on the line of the cursor */

#define MAX_SHOWN 64 /* warnings that are kept, to show each once */

void cli_set_command(const cli_command *command)
{
    current = command;
}

void cli_set_rank(int rank)
{
    current_rank = rank;
}

/* ==== messages =========================================================== */

void cli_print_clean(FILE *f, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        /* U+0080 to U+009F are control characters for some terminals */
        bool c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;

        putc(c1 || *c < ' ' || *c == 0x7f ? '?' : *c, f);
        c += c1;
    }
}

static void print_message(const char *fmt, va_list ap)
{
    char text[1024];

    vsnprintf(text, sizeof text, fmt, ap);
    fprintf(stderr, "tlp%s%s", current ? " " : "",
            current ? current->name : "");
    if (current_rank)
        fprintf(stderr, " (rank %d)", current_rank);
    fputs(": ", stderr);
    cli_print_clean(stderr, text);
}

int cli_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    print_message(fmt, ap);
    va_end(ap);
    putc('\n', stderr);
    return CLI_FAILURE;
}

int cli_usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    print_message(fmt, ap);
    va_end(ap);
    fprintf(stderr, " (see tlp%s%s --help)\n", current ? " " : "",
            current ? current->name : "");
    return CLI_USAGE;
}

void cli_warn(const char *fmt, ...)
{
    static char *shown[MAX_SHOWN];
    static size_t n_shown;
    char text[1024];
    size_t i = 0;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    flockfile(stderr); /* also the lock of `shown` */
    while (i < n_shown && strcmp(shown[i], text) != 0)
        i++;
    if (i == n_shown) {
        if (n_shown < MAX_SHOWN && (shown[n_shown] = strdup(text)) != NULL)
            n_shown++;
        if (bar_drawn)
            fputs("\r\033[K", stderr);
        fputs("tlp", stderr);
        if (current_rank)
            fprintf(stderr, " (rank %d)", current_rank);
        fputs(": warning: ", stderr);
        cli_print_clean(stderr, text);
        putc('\n', stderr);
    }
    funlockfile(stderr);
}

int cli_close_stdout(void)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return cli_fail("standard output: %s", strerror(errno));
    return CLI_OK;
}

double cli_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ==== options ============================================================ */

#define HELP_COLUMN 26

/* Print two columns; an option wider than its column gets its own line. */
static void print_option(const char *left, const char *help)
{
    if (strlen(left) > HELP_COLUMN)
        printf("  %s\n  %*s  %s\n", left, HELP_COLUMN, "", help);
    else
        printf("  %-*s  %s\n", HELP_COLUMN, left, help);
}

static void print_help(const cli_option *table)
{
    printf("usage: tlp %s %s\n%s.\n\n", current->name, current->args,
           current->summary);
    for (const cli_option *o = table; o->kind != CLI_END; o++) {
        char left[80];

        if (o->kind == CLI_HEADING) {
            printf("\n%s\n", o->help);
            continue;
        }
        if (o->kind == CLI_NAME) {
            print_option(o->arg, o->help);
            continue;
        }
        snprintf(left, sizeof left, "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                 o->arg ? " " : "", o->arg ? o->arg : "");
        print_option(left, o->help);
    }
    print_option("-h, --help", "this text");
}

static const cli_option *find_long(const cli_option *table, const char *name,
                                   size_t n)
{
    for (; table->kind != CLI_END; table++)
        if (table->name && strlen(table->name) == n &&
            memcmp(table->name, name, n) == 0)
            return table;
    return NULL;
}

static const cli_option *find_short(const cli_option *table, char letter)
{
    for (; table->kind != CLI_END; table++)
        if (table->letter && table->letter == letter)
            return table;
    return NULL;
}

/* The index of text, n characters long, in "a|b|c", or -1. */
static int find_choice(const char *choices, const char *text, size_t n)
{
    for (int i = 0; *choices; i++) {
        size_t len = strcspn(choices, "|");

        if (len == n && memcmp(choices, text, n) == 0)
            return i;
        choices += len + (choices[len] == '|');
    }
    return -1;
}

static int read_set(const cli_option *o, const char *text)
{
    unsigned set = 0;

    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        int i = find_choice(o->arg, at, n);

        if (i < 0)
            return cli_usage("--%s %s: %s expected, with commas between",
                             o->name, text, o->arg);
        set |= 1u << i;
        at += n;
        if (!*at)
            break;
    }
    *(unsigned *)o->value = set;
    return CLI_OK;
}

static int read_number(const cli_option *o, const char *text)
{
    char *end = NULL;

    errno = 0;
    if (o->kind == CLI_SEED) {
        unsigned long long v = strtoull(text, &end, 0);

        if (end == text || *end || errno || *text == '-')
            return cli_usage("--%s %s: a whole number expected", o->name, text);
        *(uint64_t *)o->value = v;
        return CLI_OK;
    }
    double v = strtod(text, &end);

    if (end == text || *end || errno || !isfinite(v))
        return cli_usage("--%s %s: a number expected", o->name, text);
    if (o->kind == CLI_INT && v != floor(v))
        return cli_usage("--%s %s: a whole number expected", o->name, text);
    if (v < o->min || v > o->max)
        return cli_usage("--%s %s: at least %g and at most %.10g expected",
                         o->name, text, o->min, o->max);
    if (o->kind == CLI_INT)
        *(int *)o->value = (int)v;
    else
        *(float *)o->value = (float)v;
    return CLI_OK;
}

static int read_value(const cli_option *o, const char *text)
{
    cli_list *list = o->value;

    switch (o->kind) {
    case CLI_TEXT:
    case CLI_OPTIONAL:
        *(const char **)o->value = text;
        return CLI_OK;
    case CLI_LIST:
        if (list->n == CLI_LIST_MAX)
            return cli_usage("--%s: at most %d times", o->name, CLI_LIST_MAX);
        list->item[list->n++] = text;
        return CLI_OK;
    case CLI_CHOICE:
        *(int *)o->value = find_choice(o->arg, text, strlen(text));
        if (*(int *)o->value < 0)
            return cli_usage("--%s %s: one of %s expected", o->name, text,
                             o->arg);
        return CLI_OK;
    case CLI_SET:
        return read_set(o, text);
    default:
        return read_number(o, text);
    }
}

/* Read the option at argv[*i] with its value: "--name value", "--name=value",
 * "-n value" or "-nvalue". */
static int read_option(int argc, char **argv, int *i, const cli_option *table)
{
    const char *arg = argv[*i];
    const char *value = NULL;
    const cli_option *o;

    if (arg[1] == '-') {
        size_t n = strcspn(arg + 2, "=");

        o = find_long(table, arg + 2, n);
        value = arg[2 + n] ? arg + 2 + n + 1 : NULL;
    } else {
        o = find_short(table, arg[1]);
        value = arg[2] ? arg + 2 : NULL;
    }
    if (!o)
        return cli_usage("unknown option %s", arg);
    if (o->kind == CLI_FLAG) {
        if (value)
            return cli_usage("option %s takes no value", arg);
        *(bool *)o->value = true;
        return CLI_OK;
    }
    if (!value && o->kind == CLI_OPTIONAL &&
        (*i + 1 == argc || (argv[*i + 1][0] == '-' && argv[*i + 1][1])))
        value = "-";
    if (!value && *i + 1 < argc)
        value = argv[++*i];
    if (!value)
        return cli_usage("option %s needs a value", arg);
    return read_value(o, value);
}

/* Store the argument in the index-th CLI_NAME. */
static int read_name(const cli_option *table, int index, const char *arg)
{
    for (; table->kind != CLI_END; table++) {
        if (table->kind == CLI_NAME && index-- == 0) {
            *(const char **)table->value = arg;
            return CLI_OK;
        }
    }
    return cli_usage("unexpected argument %s", arg);
}

int cli_parse(int argc, char **argv, const cli_option *table)
{
    int n_name = 0;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            print_help(table);
            return cli_close_stdout();
        }
        bool is_name = argv[i][0] != '-' || !argv[i][1];
        int rc = is_name ? read_name(table, n_name++, argv[i])
                         : read_option(argc, argv, &i, table);

        if (rc != CLI_OK)
            return rc;
    }
    return CLI_GO;
}

/* ==== interruption ======================================================= */

static volatile sig_atomic_t interrupted;
static void (*volatile stop_fn)(void *);
static void *volatile stop_arg;

static void on_sigint(int sig)
{
    void (*stop)(void *) = stop_fn;

    (void)sig;
    interrupted = 1;
    if (stop)
        stop(stop_arg);
}

void cli_catch_interrupt(void)
{
    /* Without SA_RESTART SIGINT also ends a read from a terminal. */
    struct sigaction action = { .sa_handler = on_sigint,
                                .sa_flags = (int)SA_RESETHAND };

    sigaction(SIGINT, &action, NULL);
}

void cli_release_interrupt(void)
{
    signal(SIGINT, SIG_DFL);
}

void cli_on_interrupt(void (*stop)(void *), void *arg)
{
    stop_fn = NULL;
    stop_arg = arg;
    stop_fn = stop;
    if (interrupted && stop)
        stop(arg);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

/* ==== progress =========================================================== */

#define BAR_WIDTH 40

void cli_progress_start(cli_progress *p, const char *what)
{
    *p = (cli_progress){ .what = what, .start = cli_now() };
}

/* "8 s left", "12:05 left", "3:00:20 left" */
static void print_left(double seconds)
{
    long s = lround(fmin(seconds, 1e8));

    if (s < 60)
        fprintf(stderr, "  %ld s left", s);
    else if (s < 3600)
        fprintf(stderr, "  %ld:%02ld left", s / 60, s % 60);
    else
        fprintf(stderr, "  %ld:%02ld:%02ld left", s / 3600, s / 60 % 60,
                s % 60);
}

int cli_progress_step(double done, void *progress)
{
    cli_progress *p = progress;
    double now = cli_now();

    if (now - p->start > 1 && now - p->drawn > 0.1 && isatty(STDERR_FILENO)) {
        int filled = (int)(fmin(fmax(done, 0), 1) * BAR_WIDTH);

        p->drawn = now;
        bar_drawn = true;
        fprintf(stderr, "\r%s [%.*s%*s] %3.0f%%", p->what, filled,
                "########################################", BAR_WIDTH - filled,
                "", 100 * done);
        if (done > p->begin && done <= 1)
            print_left((now - p->start) * (1 - done) / (done - p->begin));
        fputs("\033[K", stderr);
        fflush(stderr);
    }
    return cli_interrupted();
}

void cli_progress_end(cli_progress *p)
{
    if (p->drawn > 0) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
    p->drawn = 0;
    bar_drawn = false;
}
