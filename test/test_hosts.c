/*
 * test_hosts.c - two hosts on one machine: the link between them delays, loses
 * nothing, can be cut, and leaves nothing behind; ranks on both give the bits
 * of ranks in one process, and notice a cut link.
 *
 * Needs root and network namespaces; says what is missing and skips.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/number.h"
#include "support/mpirun.h"
#include "support/spawn.h"
#include "support/tiny.h"
#include "support/tool.h"

/* Longer than the limits of what it runs, so that these clean up. */
TestSuite(hosts, .timeout = 400);

enum { IMPOSSIBLE = 77 };

#define HOSTS "test/hosts/hosts.sh"

/* Skips the test where there can be no two hosts. */
static spawned with_hosts(const spawn_options *o, const char *const argv[])
{
    spawned s = spawn(o, argv);

    if (s.status == IMPOSSIBLE)
        cr_skip_test("%s", s.err);
    return s;
}

#define WITH_HOSTS(...)                                                        \
    with_hosts(&(spawn_options){ 0 },                                          \
               (const char *const[]){ HOSTS, "with", __VA_ARGS__, NULL })

static const char *built(char path[4096], const char *name)
{
    snprintf(path, 4096, "%s/%s", spawn_build_dir(), name);
    return path;
}

static double number_behind(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    cr_assert_not_null(at, "no \"%s\" in: %s", key, text);
    return tlpi_strtod(at + strlen(key), NULL);
}

/* ==== the delayed link =================================================== */

/* Other programs may keep the cores busy meanwhile: late by twice the delay is
 * let through, early never. */
Test(hosts, link_delays)
{
    char probe[4096];
    spawned s = WITH_HOSTS("--delay", "2000", "--", "sh", "-c",
                           "exec \"$0\" rtt sleep 2320 100 "
                           "$HOSTS_A $HOSTS_B $HOSTS_TUN_B",
                           built(probe, "test/hosts/probe"));

    cr_assert_eq(s.status, 0, "%s", s.err);
    cr_expect_geq(number_behind(s.out, "min "), 2000);
    cr_expect_lt(number_behind(s.out, "median "), 6000, "%s", s.out);
    spawn_free(&s);
}

Test(hosts, bytes_arrive_as_sent_in_both_directions)
{
    char probe[4096];
    spawned s =
        WITH_HOSTS("--delay", "200", "-v", "--", "sh", "-c",
                   "exec \"$0\" bulk 30000000 $HOSTS_A $HOSTS_B $HOSTS_TUN_B",
                   built(probe, "test/hosts/probe"));

    cr_assert_eq(s.status, 0, "%s", s.err);
    cr_expect_gt(number_behind(s.out, "MB/s: "), 0);

    const char *line = s.err;

    for (int i = 0; i < 2; i++) {
        line = strstr(line, "delay: tlp-");
        cr_assert_not_null(line, "%s", s.err);
        line = strchr(line + 6, ':');
        cr_expect_gt(number_behind(line, "packets, "), 30000000);
        cr_expect_eq(number_behind(line, "bytes, "), 0, "%s", s.err);
    }
    spawn_free(&s);
}

Test(hosts, cut_link_carries_nothing_until_mended)
{
    char probe[4096], hosts[4096];
    spawned s = WITH_HOSTS(
        "--delay", "0", "--", "sh", "-c",
        "go() { timeout $1 \"$0\" rtt sleep 1 10 $HOSTS_A $HOSTS_B "
        "$HOSTS_TUN_B; }; go 10 && \"$1\" cut && ! go 0.5 && \"$1\" mend && "
        "go 10",
        built(probe, "test/hosts/probe"), built(hosts, HOSTS));

    cr_assert_eq(s.status, 0, "%s", s.err);
    spawn_free(&s);
}

/* ==== ranks on two hosts ================================================== */

static void expect_same_file(const char *a, const char *b)
{
    size_t n_a, n_b;
    char *x = tool_read_file(a, &n_a), *y = tool_read_file(b, &n_b);

    cr_expect_gt(n_a, 0);
    cr_assert_eq(n_a, n_b);
    cr_expect(memcmp(x, y, n_a) == 0, "%s and %s differ", a, b);
    free(x);
    free(y);
}

Test(hosts, logits_have_the_bits_of_one_process)
{
    MPIRUN_OR_SKIP();

    char hosts[4096], tlp[4096];
    const char *plans[] = { "serial", "lp:1-2", "par:1-2", "asym:1-3" };
    const char *m = tool_model(), *ids = tiny_path("ids.i32");

    tool_write_ids(ids, 40);
    for (int i = 0; i < 4; i++) {
        const char *near = tiny_path("near.f32"), *far = tiny_path("far.f32");
        spawned s = WITH_HOSTS("--", "timeout", "-k", "1", "60",
                               built(hosts, HOSTS), "mpirun", "-np", "2",
                               built(tlp, "tlp"), "logits", "-m", m, "--tokens",
                               ids, "-o", far, "--plan", plans[i], "-t", "1");

        tool_expect_status(&s, 0);
        spawn_free(&s);
        s = SPAWN("tlp", "logits", "-m", m, "--tokens", ids, "-o", near,
                  "--plan", plans[i], "--ranks", "2", "-t", "1");
        tool_expect_status(&s, 0);
        spawn_free(&s);
        expect_same_file(near, far);
    }
}

/* Run a model on both hosts, at 50 ms a token, and cut the link as soon as
 * there is text.  mpirun, and the news that a process has left, go by the other
 * link.
 */
static spawned cut_at_first_text(const char *seconds, const char *text)
{
    char hosts[4096], tlp[4096];

    return WITH_HOSTS(
        "--delay", "5000", "--", "sh", "-c",
        "timeout -k 1 100 \"$0\" mpirun -np 2 \"$1\" run -m \"$2\" --raw -p a "
        "-n 200 -t 1 --timeout \"$4\" >\"$3\" & "
        "until [ -s \"$3\" ] || ! kill -0 $! 2>/dev/null; do sleep 0.1; done; "
        "\"$0\" cut; wait $!",
        built(hosts, HOSTS), built(tlp, "tlp"), tool_model(), text, seconds);
}

/* The timeout also limits the start of MPI and of the session, which takes long
 * under a sanitizer or on a busy machine.  Without text before the end, the run
 * never got to the cut, so a longer timeout is tried. */
Test(hosts, ranks_notice_that_their_link_is_cut)
{
    MPIRUN_OR_SKIP();

    static const char *const seconds[] = { "1", "5", "25" };
    const char *text = tiny_path("text");
    spawned s = { 0 };
    size_t n_text = 0;

    for (int i = 0; i < 3 && n_text == 0; i++) {
        spawn_free(&s);
        s = cut_at_first_text(seconds[i], text);
        free(tool_read_file(text, &n_text));
    }
    cr_expect_gt(n_text, 0, "no text before the cut: %s", s.err);
    cr_expect_eq(s.status, 1, "status %d: %s", s.status, s.err);
    cr_expect_not_null(strstr(s.err, "tlp run: rank 1 did not answer"), "%s",
                       s.err);
    cr_expect_not_null(strstr(s.err, "tlp run (rank 1): "), "%s", s.err);
    spawn_free(&s);
}

/* ==== the rest =========================================================== */

/* Is there a process one of whose arguments is this? */
static bool in_use(const char *name)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    bool found = false;

    while (d && !found && (e = readdir(d)) != NULL) {
        char path[300], text[4096];

        snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);

        FILE *f = fopen(path, "r");
        size_t n = f ? fread(text, 1, sizeof text, f) : 0;

        found = n > 0 && memmem(text, n, name, strlen(name) + 1) != NULL;
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
    return found;
}

/* What the command printed are the names of the two namespaces. */
static void expect_gone(const spawned *s)
{
    char name[2][64];

    cr_assert_eq(sscanf(s->out, "%63s %63s", name[0], name[1]), 2, "%s",
                 s->out);
    for (int i = 0; i < 2; i++) {
        char path[200];

        snprintf(path, sizeof path, "/run/netns/%s", name[i]);
        cr_expect_neq(access(path, F_OK), 0, "%s is left", path);
        cr_expect_not(in_use(name[i]), "a process on %s is left", name[i]);
    }
}

Test(hosts, status_is_the_command_s)
{
    spawned s = WITH_HOSTS("--delay", "0", "--", "sh", "-c",
                           "echo $HOSTS_A $HOSTS_B; exit 5");

    cr_expect_eq(s.status, 5, "%s", s.err);
    expect_gone(&s);
    spawn_free(&s);
}

Test(hosts, a_signal_ends_everything)
{
    const int signals[] = { SIGTERM, SIGINT };

    for (int i = 0; i < 2; i++) {
        const char *argv[] = { HOSTS,
                               "with",
                               "--delay",
                               "0",
                               "--",
                               "sh",
                               "-c",
                               "echo $HOSTS_A $HOSTS_B; "
                               "ip netns exec $HOSTS_A sleep 1000 & wait",
                               NULL };
        spawned s = with_hosts(
            &(spawn_options){ .signal = signals[i], .after_ms = 1000 }, argv);

        cr_expect_eq(s.status, 128 + signals[i], "%d: %s", s.status, s.err);
        expect_gone(&s);
        spawn_free(&s);
    }
}
