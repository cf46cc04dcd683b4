/*
 * test_tool_quantize.c - tlp quantize: files that run, messages, interruption.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/hf_folder.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

TestSuite(tool_quantize, .timeout = 60);

static void expect_out(const spawned *s, const char *text)
{
    cr_expect(strstr(s->out, text), "%s expected: %s", text, s->out);
}

Test(tool_quantize, writes_what_runs)
{
    const char *m = tool_model(), *out = tiny_path("out.gguf");
    const char *ids = tiny_path("ids.i32");

    tool_write_ids(ids, 40);
    spawned s = SPAWN("tlp", "quantize", m, out, "Q4_K_M", "--threads", "2");
    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    expect_out(&s, "out.gguf: Q4_K_M, ");
    expect_out(&s, "37 converted in ");
    expect_out(&s, "\ntensors whose rows do not fit the type's blocks: 37");
    spawn_free(&s);

    s = SPAWN("tlp", "info", "-m", out, "--meta", "--tensors");
    tool_expect_status(&s, 0);
    expect_out(&s, "general.file_type = 15\n");
    expect_out(&s, "token_embd.weight  Q5_0 96 x 288\n");
    expect_out(&s, "output.weight  Q8_0 96 x 288\n");
    spawn_free(&s);

    s = SPAWN("tlp", "eval", "-m", out, "--tokens", ids, "-t", "1");
    tool_expect_status(&s, 0);
    expect_out(&s, "perplexity ");
    spawn_free(&s);

    /* options may stand anywhere, and an old file is replaced */
    s = SPAWN("tlp", "quantize", "--pure", "-t", "1", m, "--no-mmap", out,
              "BF16");
    tool_expect_status(&s, 0);
    cr_expect(!strstr(s.out, "do not fit"), "%s", s.out);
    spawn_free(&s);
    s = SPAWN("tlp", "info", "-m", out, "--tensors");
    expect_out(&s, "output.weight  BF16 96 x 288\n");
    spawn_free(&s);
}

Test(tool_quantize, says_what_is_wrong)
{
    const char *m = tool_model(), *out = tiny_path("out.gguf");
    spawned s = SPAWN("tlp", "quantize", m, out);

    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp quantize: IN.gguf, OUT.gguf and TYPE are");
    spawn_free(&s);
    s = SPAWN("tlp", "quantize", m, out, "Q8_0", "more");
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp quantize: unexpected argument more");
    spawn_free(&s);
    s = SPAWN("tlp", "quantize", m, out, "Q9_0");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp quantize: type Q9_0: one of F32, F16, ");
    spawn_free(&s);
    s = SPAWN("tlp", "quantize", m, m, "Q8_0");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp quantize: ");
    cr_expect(strstr(s.err, "is the model's own file"), "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "quantize", "absent.gguf", out, "Q8_0");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp quantize: absent.gguf: No such file");
    spawn_free(&s);
    s = SPAWN("tlp", "quantize", m, "/dev/null", "Q8_0");
    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp quantize: /dev/null: not a regular file");
    spawn_free(&s);
    cr_expect_neq(access(out, F_OK), 0);
    s = SPAWN("tlp", "quantize", "--help");
    tool_expect_status(&s, 0);
    expect_out(&s, "usage: tlp quantize IN.gguf OUT.gguf TYPE");
    expect_out(&s,
               "Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4 Q3_K_S Q3_K_M");
    spawn_free(&s);
}

/* ==== interruption ======================================================= */

/* Files whose names begin as this path does. */
static int n_beside(const char *path)
{
    char folder[512];
    int n = 0;

    snprintf(folder, sizeof folder, "%s", path);
    char *name = strrchr(folder, '/');
    *name++ = '\0';
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        n += strncmp(d->d_name, name, strlen(name)) == 0;
    closedir(dir);
    return n;
}

/* A model that takes a second or so. */
static const char *large_model(void)
{
    tiny_spec s = tiny_default();

    s.n_layer = 4;
    s.n_embd = 512;
    s.n_ff = 4096;
    s.n_head = 8;
    s.n_head_kv = 8;
    s.head_dim = 64;
    s.type = TLPI_F16;
    return tiny_make(&s);
}

static pid_t start(const char *m, const char *out)
{
    char tool[4096];
    const char *argv[] = { tool, "quantize", m, out, "Q4_K", "-t", "1", NULL };
    pid_t pid;

    snprintf(tool, sizeof tool, "%s/tlp", spawn_build_dir());
    pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        execv(tool, (char *const *)argv);
        _exit(127);
    }
    return pid;
}

/* Has the process a file open in the folder of `beside` that has no name? */
static bool has_nameless(pid_t pid, const char *beside)
{
    char path[300], target[512];
    char *folder = realpath(beside, NULL);
    bool found = false;

    cr_assert_not_null(folder);
    folder[strrchr(folder, '/') - folder + 1] = '\0';
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, d->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n < 0 ? 0 : n] = '\0';
        found |= strstr(target, " (deleted)") &&
                 strncmp(target, folder, strlen(folder)) == 0;
    }
    free(folder);
    if (dir)
        closedir(dir);
    return found;
}

/* End it while the new file is written: the old one stays, and alone, unless
 * the new one had to have a name and nobody could remove it. */
static int end_by(int sig)
{
    const struct timespec nap = { 0, 1000000 };
    const char *m = large_model(), *out = tiny_path("out.gguf");
    bool nameless = false;
    int status = 0;
    size_t n;

    tool_write_file(out, "old", 3);
    pid_t pid = start(m, out);
    while (!(nameless = has_nameless(pid, out)) && n_beside(out) < 2 &&
           waitpid(pid, &status, WNOHANG) == 0)
        nanosleep(&nap, NULL);
    cr_assert(nameless || n_beside(out) == 2,
              "it was over before it could be stopped");
    kill(pid, sig);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (nameless || sig == SIGINT)
        cr_expect_eq(n_beside(out), 1);

    char *text = tool_read_file(out, &n);
    cr_expect(n == 3 && memcmp(text, "old", 3) == 0);
    free(text);
    return status;
}

Test(tool_quantize, is_interrupted)
{
    int status = end_by(SIGINT);

    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 130, "%x",
              (unsigned)status);
}

Test(tool_quantize, is_killed)
{
    int status = end_by(SIGKILL);

    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%x",
              (unsigned)status);
}

/* ==== convert ============================================================ */

Test(tool_quantize, convert_writes_a_folder)
{
    const hf_spec f = { .gguf = tool_model() };
    const char *folder = hf_make(&f), *out = tiny_path("out.gguf");
    const char *ids = tiny_path("ids.i32"), *a = tiny_path("a.f32");
    const char *b = tiny_path("b.f32");
    size_t na, nb;
    spawned s = SPAWN("tlp", "convert", folder, out, "-t", "1");

    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    expect_out(&s, "out.gguf: llama, F32, ");
    spawn_free(&s);
    tool_write_ids(ids, 9);
    s = SPAWN("tlp", "logits", "-m", folder, "--tokens", ids, "-o", a);
    tool_expect_status(&s, 0);
    spawn_free(&s);
    s = SPAWN("tlp", "logits", "-m", out, "--tokens", ids, "-o", b);
    tool_expect_status(&s, 0);
    spawn_free(&s);
    char *x = tool_read_file(a, &na), *y = tool_read_file(b, &nb);
    cr_assert(na == nb && na == 9 * 288 * sizeof(float));
    cr_expect_arr_eq(x, y, na);
    free(y);
    free(x);

    s = SPAWN("tlp", "convert", folder, out, "Q4_K", "--pure", "--no-mmap");
    tool_expect_status(&s, 0);
    expect_out(&s, "out.gguf: llama, Q4_K, ");
    expect_out(&s, "\ntensors whose rows do not fit the type's blocks: 37");
    spawn_free(&s);
}

/* tlp imatrix, and a file in a type that its matrix shapes. */
Test(tool_quantize, imatrix_serves_quantize)
{
    const char *m = tool_model(), *out = tiny_path("out.gguf");
    const char *ids = tiny_path("ids.i32"), *im = tiny_path("im.gguf");
    spawned s;

    tool_write_ids(ids, 40);
    s = SPAWN("tlp", "imatrix", "-m", m, "--tokens", ids, "-o", im, "-c", "16",
              "-t", "1");
    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    expect_out(&s, "im.gguf: importances of 35 matrices from 40 tokens in 3 "
                   "windows in ");
    spawn_free(&s);
    s = SPAWN("tlp", "quantize", m, out, "Q4_0", "--imatrix", im);
    tool_expect_status(&s, 0);
    cr_expect_eq(s.n_err, 0, "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "imatrix", "-m", m, "--tokens", ids);
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp imatrix: no output file: -o FILE is required");
    spawn_free(&s);
    s = SPAWN("tlp", "imatrix", "-m", m, "-o", im);
    tool_expect_status(&s, 2);
    spawn_free(&s);
    s = SPAWN("tlp", "imatrix", "-m", m, "--tokens", ids, "-o", m);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "is the model's own file"), "%s", s.err);
    spawn_free(&s);
}

Test(tool_quantize, convert_says_what_is_wrong)
{
    const char *m = tool_model(), *out = tiny_path("out.gguf");
    const char *none = tiny_temp_dir();
    spawned s = SPAWN("tlp", "convert", m);

    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp convert: FOLDER and OUT.gguf are required");
    spawn_free(&s);
    s = SPAWN("tlp", "convert", m, out, "--pure");
    tool_expect_status(&s, 2);
    tool_expect_message(&s, "tlp convert: --pure is of a type: TYPE is");
    spawn_free(&s);
    s = SPAWN("tlp", "convert", none, out);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "/config.json: No such file"), "%s", s.err);
    spawn_free(&s);
    s = SPAWN("tlp", "convert", m, m);
    tool_expect_status(&s, 1);
    cr_expect(strstr(s.err, "is the model's own file"), "%s", s.err);
    spawn_free(&s);
    cr_expect_not(tool_exists(out));
}
