/*
 * test_cores.c - the cores that a thread may use: affinity masks and quotas of
 * control groups.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cores.h"

/* ==== masks ============================================================== */

typedef struct narrow {
    cpu_set_t set;
    bool bound;
    int n, n_default;
} narrow;

static void *count_here(void *arg)
{
    narrow *w = arg;

    w->bound = sched_setaffinity(0, sizeof w->set, &w->set) == 0;
    w->n = tlpi_n_cores();
    w->n_default = tlp_default_threads();
    return NULL;
}

/* The mask of the thread that asks counts, not the main thread's. */
Test(cores, mask_of_the_calling_thread)
{
    cpu_set_t all;
    int n = 0, before = tlpi_n_cores();

    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET(i, &all))
            continue;
        narrow w = { .n = -1 };
        pthread_t t;
        CPU_SET(i, &w.set);
        cr_assert_eq(pthread_create(&t, NULL, count_here, &w), 0);
        pthread_join(t, NULL);
        cr_assert(w.bound);
        cr_assert_eq(w.n, 1);
        cr_assert_eq(w.n_default, 1);
        if (++n == 8)
            break;
    }
    cr_assert_gt(n, 0);
    cr_assert_eq(tlpi_n_cores(), before);
    cr_assert(before <= CPU_COUNT(&all));
    if (tlpi_cpu_quota("") == INFINITY)
        cr_assert_eq(before, CPU_COUNT(&all));
}

static void *bind_here(void *arg)
{
    narrow *w = arg;
    tlpi_cores *cores = NULL;
    tlpi_env env;

    w->bound = sched_setaffinity(0, sizeof w->set, &w->set) == 0 &&
               tlpi_env_init(&env, NULL, NULL, NULL) == TLP_OK &&
               tlpi_cores_create(&cores, &env) == TLP_OK;
    for (int core = 0; cores && core < 5; core++) {
        cpu_set_t now;
        tlpi_cores_bind(cores, &env, pthread_self(), core * 1000003);
        if (sched_getaffinity(0, sizeof now, &now) == 0)
            w->n += CPU_EQUAL(&now, &w->set);
    }
    w->n_default = cores != NULL;
    tlpi_cores_free(cores);
    return NULL;
}

/* A thread with one CPU stays on it, whatever core is asked for. */
Test(cores, binding_stays_inside_the_mask)
{
    cpu_set_t all;

    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    for (size_t i = 0, n = 0; i < CPU_SETSIZE && n < 8; i++) {
        if (!CPU_ISSET(i, &all))
            continue;
        narrow w = { .n = 0 };
        pthread_t t;
        CPU_SET(i, &w.set);
        cr_assert_eq(pthread_create(&t, NULL, bind_here, &w), 0);
        pthread_join(t, NULL);
        cr_assert(w.bound);
        if (w.n_default)
            cr_assert_eq(w.n, 5, "CPU %zu", i);
        n++;
    }
}

/* ==== quotas ============================================================= */

static char root[256];

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/tlp_cores_XXXXXX");
    cr_assert(mkdtemp(root));
}

static void remove_root(void)
{
    char command[300];

    snprintf(command, sizeof command, "rm -rf '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(quota, .init = make_root, .fini = remove_root);

/* Write a file below the root, and the folders above it. */
static void put(const char *path, const char *text)
{
    char whole[1024];

    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        (void)mkdir(whole, 0777);
        *at = '/';
    }
    FILE *f = fopen(whole, "w");
    cr_assert(f, "%s", whole);
    fputs(text, f);
    fclose(f);
}

static void put_groups(const char *groups, const char *mounts)
{
    put("/proc/thread-self/cgroup", groups);
    put("/proc/self/mountinfo", mounts);
}

#define MOUNT_V2                                                               \
    "22 1 0:20 / /proc rw,relatime - proc proc rw\n"                           \
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"

Test(quota, none)
{
    cr_assert_eq(tlpi_cpu_quota(root), INFINITY, "no files");
    put_groups("0::/a/b\n", MOUNT_V2);
    cr_assert_eq(tlpi_cpu_quota(root), INFINITY, "no groups");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), INFINITY);
    put("/sys/fs/cgroup/a/cpu.max", "");
    cr_assert_eq(tlpi_cpu_quota(root), INFINITY);
    put("/sys/fs/cgroup/a/cpu.max", "100000 0\n");
    cr_assert_eq(tlpi_cpu_quota(root), INFINITY, "no period");
}

Test(quota, version_2_and_groups_above)
{
    put_groups("0::/a/b/c\n", MOUNT_V2);
    put("/sys/fs/cgroup/a/b/c/cpu.max", "350000 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 3.5);
    put("/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 2);
    put("/sys/fs/cgroup/a/cpu.max", "50000 200000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 0.25);
    put("/sys/fs/cgroup/a/cpu.max", "max 200000\n");
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 1.5, "the mount itself");
    put("/sys/fs/cpu.max", "1 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 1.5, "nothing above the mount");
}

Test(quota, version_1)
{
    put_groups("5:memory:/m\n4:cpuset:/s\n3:cpuacct,cpu:/j/k\n1:name=cpu:/x\n",
               "31 25 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup "
               "rw,cpuset\n"
               "32 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup "
               "cgroup rw,cpu,cpuacct\n");
    put("/sys/fs/cgroup/cpu,cpuacct/j/k/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/j/k/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), INFINITY);
    put("/sys/fs/cgroup/cpu,cpuacct/j/cpu.cfs_quota_us", "75000\n");
    cr_assert_eq(tlpi_cpu_quota(root), INFINITY, "no period");
    put("/sys/fs/cgroup/cpu,cpuacct/j/cpu.cfs_period_us", "50000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 1.5);
    put("/sys/fs/cgroup/cpu,cpuacct/j/k/cpu.cfs_quota_us", "60000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 0.6);
}

/* Both versions at once: the smaller quota counts. */
Test(quota, hybrid)
{
    put_groups("2:cpu:/v1\n0::/v2\n",
               "32 25 0:28 / /sys/fs/cgroup/cpu rw - cgroup none rw,cpu\n"
               "33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n");
    put("/sys/fs/cgroup/cpu/v1/cpu.cfs_quota_us", "300000\n");
    put("/sys/fs/cgroup/cpu/v1/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 3);
    put("/sys/fs/cgroup/unified/v2/cpu.max", "200000 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 2);
    put("/sys/fs/cgroup/unified/v2/cpu.max", "400000 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 3);
}

/* A container sees a part of the hierarchy, under the name of the whole. */
Test(quota, mount_of_a_part)
{
    put_groups("3:cpu:/docker/1f/job\n",
               "40 25 0:28 /docker/1f /sys/fs/cgroup/cpu rw - cgroup cgroup "
               "rw,cpu\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "250000\n");
    put("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 2.5);
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 1);
}

/* The group is outside what the mount shows: only the mount is seen.  A name
 * that only begins alike is outside too. */
Test(quota, group_outside_of_the_mount)
{
    const char *const groups[] = { "0::/docker/1f2/job\n", "0::/../other\n",
                                   "0::/\n" };

    put("/sys/fs/cgroup/cpu.max", "250000 100000\n");
    put("/sys/fs/cgroup/job/cpu.max", "100000 100000\n");
    put("/sys/fs/cgroup/2/job/cpu.max", "100000 100000\n");
    for (size_t i = 0; i < TLPI_COUNT(groups); i++) {
        put_groups(groups[i], "40 25 0:28 /docker/1f /sys/fs/cgroup rw - "
                              "cgroup2 cgroup2 rw\n");
        cr_assert_eq(tlpi_cpu_quota(root), 2.5, "%s", groups[i]);
    }
    put_groups("0::/../other\n", MOUNT_V2);
    put("/sys/fs/other/cpu.max", "100000 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 2.5);
}

/* Of several mounts, the one that shows the group counts. */
Test(quota, several_mounts_and_blanks)
{
    put_groups("0::/a/b\n",
               "40 25 0:28 /z /mnt/z rw - cgroup2 cgroup2 rw\n"
               "41 25 0:28 /a /mnt/my\\040groups rw a:1 b:2 - cgroup2 c rw\n"
               "42 25 0:28 / /mnt/all rw - cgroup2 cgroup2 rw\n");
    put("/mnt/z/cpu.max", "100000 100000\n");
    put("/mnt/my groups/b/cpu.max", "500000 100000\n");
    put("/mnt/all/cpu.max", "200000 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 5);
}

Test(quota, damaged_files)
{
    const char *const groups[] = { "",      "\n",     ":::\n", "0:\n",
                                   "0::\n", "0::a\n", "x",     "3:cpu\n" };
    const char *const mounts[] = { "",
                                   "\n",
                                   " - ",
                                   " - cgroup2",
                                   "- cgroup2 a",
                                   "1 2 3 - cgroup2 cgroup2 rw\n",
                                   "1 2 3 / - cgroup2 cgroup2 rw\n",
                                   "1 2 3 / /m - cgroup\n",
                                   "1 2 3 / /m - cgroup c cpu\n" };

    for (size_t i = 0; i < TLPI_COUNT(groups); i++)
        for (size_t j = 0; j < TLPI_COUNT(mounts); j++) {
            put_groups(groups[i], mounts[j]);
            cr_assert_eq(tlpi_cpu_quota(root), INFINITY);
        }
}

/* Kernels without thread-self. */
Test(quota, group_of_the_process)
{
    put("/proc/self/cgroup", "0::/p\n");
    put("/proc/self/mountinfo", MOUNT_V2);
    put("/sys/fs/cgroup/p/cpu.max", "120000 100000\n");
    cr_assert_eq(tlpi_cpu_quota(root), 1.2);
}

/* ==== a real group ======================================================= */

static bool write_to(const char *dir, const char *name, const char *text)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    bool ok = f && fputs(text, f) >= 0;
    if (f && fclose(f) != 0)
        ok = false;
    return ok;
}

/* This process joins a new group with a quota of one CPU and a half. */
Test(quota, real_group)
{
    const char *const parents[] = { "/sys/fs/cgroup/cpu", "/sys/fs/cgroup" };
    char dir[256], pid[32];
    bool joined = false;
    cpu_set_t all;

    if (tlpi_cpu_quota("") != INFINITY)
        cr_skip_test("a quota holds here already");
    snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    for (size_t i = 0; i < TLPI_COUNT(parents) && !joined; i++) {
        snprintf(dir, sizeof dir, "%s/tlp_test_%d", parents[i], (int)getpid());
        if (mkdir(dir, 0777) != 0)
            continue;
        joined = (write_to(dir, "cpu.max", "150000 100000\n") ||
                  (write_to(dir, "cpu.cfs_period_us", "100000\n") &&
                   write_to(dir, "cpu.cfs_quota_us", "150000\n"))) &&
                 write_to(dir, "cgroup.procs", pid);
        if (!joined)
            rmdir(dir);
    }
    if (!joined)
        cr_skip_test("no group can be made here");
    double quota = tlpi_cpu_quota("");
    int n = tlpi_n_cores();
    if (write_to("/sys/fs/cgroup/cpu", "cgroup.procs", pid) ||
        write_to("/sys/fs/cgroup", "cgroup.procs", pid))
        rmdir(dir);
    cr_assert_eq(quota, 1.5);
    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    cr_assert_eq(n, TLPI_MIN(2, CPU_COUNT(&all)));
}
