/*
 * spawn.h - running a program of the build folder and keeping its output.
 */
#ifndef SPAWN_H
#define SPAWN_H

#include <stddef.h>
#include <stdio.h>

typedef struct spawned {
    int status;      /* exit status; 128 + n when signal n ended it; -1 when
                        it could not be run */
    char *out, *err; /* NUL-terminated; free with spawn_free */
    size_t n_out, n_err;
} spawned;

typedef struct spawn_options {
    const char *input;    /* for standard input; NULL = empty */
    size_t n_input;       /* 0 = up to the NUL */
    const char *out_path; /* file for standard output, in place of .out */
    int signal, after_ms; /* sent once, after_ms after the start */
} spawn_options;

/* argv[0] is a path below the build folder: "tlp", "examples/01_generate". */
spawned spawn(const spawn_options *opts, const char *const argv[]);

#define SPAWN(...)                                                             \
    spawn(&(spawn_options){ 0 }, (const char *const[]){ __VA_ARGS__, NULL })
#define SPAWN_INPUT(text, ...)                                                 \
    spawn(&(spawn_options){ .input = (text) },                                 \
          (const char *const[]){ __VA_ARGS__, NULL })

void spawn_free(spawned *s);

/* The whole file, NUL-terminated; closes the file. */
char *spawn_read_back(FILE *f, size_t *n);

/* The build folder, which is above this test's folder. */
const char *spawn_build_dir(void);

#endif
