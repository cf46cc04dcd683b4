/*
 * test_tool_study_resume.c - tlp study cut short: it goes on to the same
 * result, from a file of the same study only.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/copies.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

/* Lines of a CSV before the rows: comments and names. */
enum { N_HEADER = 12 };

TestSuite(tool_study_resume, .timeout = 120);

static const char *ids_of(int n)
{
    const char *path = tiny_path("ids.i32");

    tool_write_ids(path, n);
    return path;
}

/* ==== cut short ========================================================== */

static pid_t start(const char *m, const char *ids, const char *csv)
{
    char tool[4096];
    pid_t pid;

    snprintf(tool, sizeof tool, "%s/tlp", spawn_build_dir());
    pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        if (!freopen("/dev/null", "w", stdout) ||
            !freopen("/dev/null", "w", stderr))
            _exit(127);
        execl(tool, "tlp", "study", "-m", m, "--tokens", ids, "--kind",
              "shuffle,prune,pairs", "--max-tokens", "0", "--csv", csv, NULL);
        _exit(127);
    }
    cr_assert_gt(pid, 0);
    return pid;
}

/* Send the signal once there is a file; the wait status. */
static int interrupt(pid_t pid, const char *csv, int sig)
{
    const struct timespec nap = { 0, 5000000 };
    int status;

    while (!tool_exists(csv)) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        nanosleep(&nap, NULL);
    }
    kill(pid, sig);
    waitpid(pid, &status, 0);
    return status;
}

/*
 * A study cut short by a signal, with more and more tokens until it takes long
 * enough, then resumed, against one in a single run.
 */
static void cut_and_resume(int sig)
{
    const char *m = tool_model(), *ids = NULL, *csv = NULL;
    const char *whole = tiny_path("whole.csv");
    size_t n_cut, n, n_whole;
    int status = 0;

    for (int n_ids = 400;
         n_ids < 1 << 20 && (WIFEXITED(status) && WEXITSTATUS(status) == 0);
         n_ids *= 4) {
        ids = ids_of(n_ids);
        csv = tiny_path("cut.csv");
        status = interrupt(start(m, ids, csv), csv, sig);
    }
    if (sig == SIGINT)
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 130);
    else
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == sig);
    free(tool_read_file(csv, &n_cut));

    spawned s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind",
                      "shuffle,prune,pairs", "--max-tokens", "0", "--resume",
                      csv, "-t", "1");

    tool_expect_status(&s, 0);
    spawn_free(&s);
    s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind",
              "shuffle,prune,pairs", "--max-tokens", "0", "--csv", whole);
    tool_expect_status(&s, 0);
    spawn_free(&s);

    char *got = tool_read_file(csv, &n),
         *want = tool_read_file(whole, &n_whole);

    cr_expect_lt(n_cut, n_whole, "nothing was left to do");
    cr_expect(n == n_whole && !memcmp(got, want, n), "%s\n%s", got, want);
    free(got);
    free(want);
}

Test(tool_study_resume, killed)
{
    cut_and_resume(SIGKILL);
}

Test(tool_study_resume, interrupted)
{
    cut_and_resume(SIGINT);
}

/* ==== what a file must be ================================================ */

/* A finished study, on 20 tokens; its file. */
static char *finished(const char *m, const char *ids, const char *csv)
{
    size_t n;
    spawned s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind",
                      "prune,merge", "--csv", csv, "--kl");

    tool_expect_status(&s, 0);
    spawn_free(&s);
    return tool_read_file(csv, &n);
}

/* Where line `number`, from 1, begins. */
static char *line_at(char *text, int number)
{
    for (int i = 1; i < number; i++) {
        text = strchr(text, '\n');
        cr_assert_not_null(text);
        text++;
    }
    return text;
}

static void spit(const char *path, const char *text)
{
    tool_write_file(path, text, strlen(text));
}

/* What a file says is taken as it is; the rest is computed, with the serial
 * model's logits made anew. */
Test(tool_study_resume, takes)
{
    const char *m = tool_model(), *ids = ids_of(20);
    const char *csv = tiny_path("a.csv"), *out = tiny_path("b.csv");
    char *whole = finished(m, ids, csv), *cut;
    size_t n;

    cut = strdup(whole);
    *line_at(cut, N_HEADER + 5) = '\0'; /* four rows */
    char *row = strstr(cut, "prune,,0,1,3,");
    cr_assert_not_null(row);
    row[13] = row[13] == '9' ? '8' : '9'; /* the first digit of nll */
    spit(csv, cut);

    spawned s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind",
                      "prune,merge", "--resume", csv, "--csv", out, "--kl");

    tool_expect_status(&s, 0);
    spawn_free(&s);
    char *got = tool_read_file(out, &n);
    char *kept = tool_read_file(csv, &n);

    cr_expect_str_eq(kept, cut, "another file was named for the result");
    cr_expect_eq(strncmp(strstr(got, "prune,,0,1,"), row, 16), 0);
    cr_expect_str_eq(line_at(got, N_HEADER + 5), line_at(whole, N_HEADER + 5));
    free(whole);
    free(cut);
    free(got);
    free(kept);
}

/* A study can grow, but a file with more than is asked for is refused. */
static void expect_refused(const char *m, const char *ids, const char *csv,
                           const char *ctx, const char *why)
{
    const char *svg = tiny_path("no.svg");
    size_t n;
    char *before = tool_read_file(csv, &n);
    spawned s =
        SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind", "prune,merge",
              "--resume", csv, "--ctx", ctx, "--kl", "--svg", svg);
    char *after = tool_read_file(csv, &n);

    tool_expect_status(&s, 1);
    tool_expect_message(&s, "tlp study: ");
    cr_expect_not_null(strstr(s.err, csv), "%s", s.err);
    cr_expect_not_null(strstr(s.err, why), "%s: %s", why, s.err);
    cr_expect_str_eq(before, after);
    cr_expect_not(tool_exists(svg));
    free(before);
    free(after);
    spawn_free(&s);
}

Test(tool_study_resume, foreign_state)
{
    tiny_spec spec = tiny_default();
    const char *m = tool_model(), *ids = ids_of(20);
    const char *csv = tiny_path("a.csv"), *bad = tiny_path("bad.csv");
    char *text = finished(m, ids, csv), *edited;

    spec.seed = 77;
    expect_refused(tiny_make(&spec), ids, csv, "512", "line 2 is \"# model");
    expect_refused(m, ids_of(19), csv, "512", "line 4 is \"# tokens 20");
    expect_refused(m, ids, csv, "9", "line 5 is \"# ctx 20\", \"# ctx 9\"");

    spit(bad, "");
    expect_refused(m, ids, bad, "512", "not the CSV of a study");
    spit(bad, "kind,mode,start,end\nprune,,0,1\n");
    expect_refused(m, ids, bad, "512", "not the CSV of a study");
    edited = strdup(text);
    *line_at(edited, 6) = '\0';
    spit(bad, edited);
    expect_refused(m, ids, bad, "512", "line 6 is \"\"");
    text[strlen(text) - 2] = '\0'; /* a digit, which nobody would miss */
    spit(bad, text);
    expect_refused(m, ids, bad, "512", "the last line is cut off");
    free(edited);
    free(text);
}

/* Cells of a damaged copy; an older CSV has no digest. */
Test(tool_study_resume, a_damaged_copy)
{
    const char *m = tool_model(), *ids = ids_of(20);
    const char *csv = tiny_path("a.csv"), *out = tiny_path("b.csv");
    char *text = finished(m, ids, csv);
    const char *bad =
        copy_flipped(m, place_of(m, "blk.3.ffn_down.weight", 300));

    expect_refused(bad, ids, csv, "512", "line 3 is \"# digest sha256:");
    char *at = line_at(text, 3), *next = line_at(text, 4);
    cr_assert_eq(strncmp(at, "# digest ", 9), 0, "%s", at);
    memmove(at, next, strlen(next) + 1);
    spit(csv, text);
    spawned s = SPAWN("tlp", "study", "-m", m, "--tokens", ids, "--kind",
                      "prune,merge", "--resume", csv, "--csv", out, "--kl");
    tool_expect_status(&s, 0);
    spawn_free(&s);
    /* Written without a digest, and read with one, by a model that trusts. */
    spawned trusts =
        SPAWN("tlp", "study", "-m", bad, "--tokens", ids, "--kind",
              "prune,merge", "--resume", out, "--kl", "--trust-sample");
    tool_expect_status(&trusts, 0);
    spawn_free(&trusts);
    free(text);
}

static void refuse_row(const char *row, const char *why)
{
    const char *m = tool_model(), *ids = ids_of(20);
    const char *csv = tiny_path("a.csv");
    char *text = finished(m, ids, csv), *edited = NULL;

    *line_at(text, N_HEADER + 2) = '\0';
    cr_assert_gt(asprintf(&edited, "%s%s\n", text, row), 0);
    spit(csv, edited);
    expect_refused(m, ids, csv, "512", why);
    free(text);
    free(edited);
}

Test(tool_study_resume, bad_rows)
{
    refuse_row("pairs,lp,0,1,4,1,1,1,0", "line 14: pairs,lp,0,1 is not asked");
    refuse_row("prune,,0,9,4,1,1,1,0", "line 14: prune,,0,9 is not asked");
    refuse_row("serial,,0,4,5,1,1,1,0", "line 14: serial,,0,4 is there twice");
    refuse_row("prune,,0,1,4,1", "line 14: 9 fields expected");
    refuse_row("prune,,0,1,4,1,1,1,0,0", "line 14 is not a row");
    refuse_row("prune,,0,x,4,1,1,1,0", "line 14 is not a row");
    refuse_row("prune,,0,1,4,1e,1,1,0", "line 14 is not a row");
    refuse_row("prune,,0,1,4,1,1,1,", "line 14 is not a row");
    refuse_row("prune,,-1,1,4,1,1,1,0", "line 14 is not a row");
    refuse_row("", "line 14: 9 fields expected");
}
