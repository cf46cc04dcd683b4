/*
 * spawn.c - running a program of the build folder.
 *
 * Output goes to unnamed files, so that it need not be read while the program
 * runs.
 */
#include "spawn.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *spawn_build_dir(void)
{
    static char dir[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);

    dir[n > 0 ? n : 0] = '\0';
    for (int i = 0; i < 2; i++) { /* BUILD/test/test_x */
        char *slash = strrchr(dir, '/');

        if (slash)
            *slash = '\0';
    }
    return dir;
}

static void child(const spawn_options *o, const char *const argv[], FILE *in,
                  FILE *out, FILE *err)
{
    char path[PATH_MAX];
    int fd = o->out_path ? open(o->out_path, O_WRONLY) : fileno(out);

    snprintf(path, sizeof path, "%s/%s", spawn_build_dir(), argv[0]);
    signal(SIGINT, SIG_DFL);
    dup2(fileno(in), STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fileno(err), STDERR_FILENO);
    execv(path, (char *const *)argv);
    _exit(127);
}

char *spawn_read_back(FILE *f, size_t *n)
{
    char *text;

    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    text = calloc(*n + 1, 1);
    if (!text || fread(text, 1, *n, f) != *n)
        abort();
    fclose(f);
    return text;
}

spawned spawn(const spawn_options *o, const char *const argv[])
{
    spawned s = { .status = -1 };
    FILE *in = tmpfile(), *out = tmpfile(), *err = tmpfile();
    int status;

    if (!in || !out || !err)
        abort();
    if (o->input)
        fwrite(o->input, 1, o->n_input ? o->n_input : strlen(o->input), in);
    rewind(in);

    pid_t pid = fork();

    if (pid < 0)
        abort();
    if (pid == 0)
        child(o, argv, in, out, err);
    if (o->signal) {
        struct timespec t = { o->after_ms / 1000,
                              o->after_ms % 1000 * 1000000L };

        nanosleep(&t, NULL);
        kill(pid, o->signal);
    }
    waitpid(pid, &status, 0);
    s.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    fclose(in);
    s.out = spawn_read_back(out, &s.n_out);
    s.err = spawn_read_back(err, &s.n_err);
    return s;
}

void spawn_free(spawned *s)
{
    free(s->out);
    free(s->err);
    s->out = s->err = NULL;
}
