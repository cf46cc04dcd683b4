/*
 * test_mpi_cut.c - Ctrl-C on mpirun, and hosts that lose each other.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fault.h"

TestSuite(cut, .timeout = 400);

/* ==== mpirun is interrupted ============================================== */

/* Two seconds are not much on a busy machine: one time of five will do. */
static void interrupted(int n, const char *phase)
{
    const char *argv[] = { "test/mpi/faults",
                           fault_model(),
                           fault_dir,
                           "-1",
                           "not",
                           phase,
                           "5000",
                           NULL };
    mpirun_options o = { .n = n };
    int status = 124;
    char go[64];

    for (int i = 0; i < 5 && status == 124; i++) {
        fault_folder();
        snprintf(go, sizeof go, "%s", fault_path("go"));
        o.interrupt = go;
        spawned s = mpirun(&o, argv);
        status = s.status;
        cr_expect(access(go, F_OK) == 0 && status != 0, "%s: %s", phase, s.err);
        fault_clean();
        spawn_free(&s);
    }
    cr_expect_neq(status, 124, "%s: not ended in time", phase);
}

Test(cut, an_interrupt_ends_all)
{
    MPIRUN_OR_SKIP();
    interrupted(2, "prefill");
    interrupted(3, "decode");
}

/* ==== the link is cut ==================================================== */

/* A process that has nothing left to do may take a while to end: a sanitizer
 * looks for leaks first.  After ten seconds it counts as stuck. */
static const char cut_script[] =
    "dir=$0 hosts=$1 faults=$2 model=$3\n"
    "both() { grep -q ^$1 $dir/rank.0 && grep -q ^$1 $dir/rank.1; }\n"
    "$hosts mpirun -np 2 --enable-recovery"
    " $faults $model $dir -1 cut $4 2000 &\n"
    "mpirun=$!\n"
    "i=0; until [ -e $dir/go ] || [ $((i += 1)) -gt 1200 ]; do\n"
    "    sleep 0.05; done\n"
    "sleep 0.05; $faults mark $dir cut; $hosts cut\n"
    "i=0; until both ended || [ $((i += 1)) -gt 1200 ]; do sleep 0.05; done\n"
    "left() { for pid in $(sed -n '/^pid/s/.* //p' $dir/rank.*); do\n"
    "    kill -0 $pid 2>/dev/null && echo $pid; done; }\n"
    "i=0; until [ -z \"$(left)\" ] || [ $((i += 1)) -gt 200 ]; do\n"
    "    sleep 0.05; done\n"
    "[ -z \"$(left)\" ] || left >$dir/left\n"
    "kill -9 $mpirun\n";

/* Seconds until a silent host counts as lost, by TCP's probes: who waits for
 * nothing in particular learns it so. */
#define LOST 6.0

#define CUT_TIMEOUT 2.0 /* the script's */

static void cut_once(const fault *f)
{
    char hosts[4096], program[4096];
    const char *build = spawn_build_dir();

    snprintf(hosts, sizeof hosts, "%s/test/hosts/hosts.sh", build);
    snprintf(program, sizeof program, "%s/test/mpi/faults", build);
    setenv("TLP_PLUGIN_PATH", build, 1);
    snprintf(fault_label, sizeof fault_label, "cut in %s", f->phase);
    fault_folder();

    const char *argv[] = { "test/hosts/hosts.sh",
                           "with",
                           "--",
                           "sh",
                           "-c",
                           cut_script,
                           fault_dir,
                           hosts,
                           program,
                           fault_model(),
                           f->phase,
                           NULL };
    spawned s = spawn(&(spawn_options){ 0 }, argv);
    if (s.status == 77) {
        fault_clean();
        cr_skip_test("%s", s.err);
    }
    double at = log_find(fault_dir, "cut", "cut", INFINITY).when;
    cr_assert(at > 0, "%s: %s", fault_label, s.err);
    for (int r = 0; r < 2; r++) {
        log_event e = fault_find(r, "failed");
        bool waited = strcmp(e.status, "TLP_ETIMEDOUT") == 0;

        fault_expect_failed(r, waited ? "TLP_ETIMEDOUT" : "TLP_ECOMM", at,
                            waited ? CUT_TIMEOUT + 1 : LOST);
        fault_in_time(r, "ended", fault_find(r, "ended").when - at, LOST + 4);
        cr_expect(fault_find(r, "clean").when > 0, "%s: %s%s", fault_label,
                  s.err, s.out);
    }
    cr_expect_neq(access(fault_path("left"), F_OK), 0, "%s: a process is stuck",
                  fault_label);
    fault_clean();
    spawn_free(&s);
}

static void cut(const char *phase)
{
    fault_try(cut_once, &(fault){ 2, -1, "cut", phase, 2000 });
}

Test(cut, the_link_is_cut_in_prefill)
{
    MPIRUN_OR_SKIP();
    cut("prefill");
}

Test(cut, the_link_is_cut_in_decode)
{
    MPIRUN_OR_SKIP();
    cut("decode");
}

Test(cut, the_link_is_cut_when_nothing_is_done)
{
    MPIRUN_OR_SKIP();
    cut("idle");
}
