/*
 * quota.c - the CPU time that control groups allow a thread.
 *
 * /proc/thread-self/cgroup names the group of the thread in each hierarchy,
 * /proc/self/mountinfo where hierarchies are mounted.  A mount may show a part
 * of its hierarchy only, as in a container.  Quotas of a group and of all
 * groups above it, up to the mount, hold together; the smallest one counts.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cores.h"

/* Bytes of a line and of a path; longer ones are passed over. */
enum { LINE = 8192, PATHS = 4096 };

typedef struct hierarchy {
    bool v2;
    char group[PATHS]; /* path of the thread's group in the hierarchy */
    char mount[PATHS]; /* where the hierarchy is mounted */
    char top[PATHS];   /* the group that the mount shows */
} hierarchy;

/* ==== files ============================================================== */

static bool join_path(char out[PATHS], const char *a, const char *b,
                      const char *c)
{
    int n = snprintf(out, PATHS, "%s%s%s", a, b, c);

    return n >= 0 && n < PATHS;
}

static FILE *open_file(const char *root, const char *path)
{
    char whole[PATHS];

    return join_path(whole, root, path, "") ? fopen(whole, "re") : NULL;
}

/* The first line of a file below the hierarchy's mount. */
static bool read_value(const char *root, const char *dir, const char *name,
                       char line[LINE])
{
    char path[PATHS];
    FILE *f = join_path(path, dir, "/", name) ? open_file(root, path) : NULL;
    bool ok = f && fgets(line, LINE, f);

    if (f)
        fclose(f);
    return ok;
}

/* ==== where the groups are =============================================== */

/* Whether a list with commas has the word "cpu". */
static bool lists_cpu(const char *list)
{
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",\n");
        if (n == 3 && memcmp(at, "cpu", 3) == 0)
            return true;
        at += n;
        at += *at == ',' || *at == '\n';
    }
    return false;
}

/* ID:CONTROLLERS:PATH, with 0 and no controllers in version 2 */
static bool is_group(const hierarchy *h, char *line, char **path)
{
    char *list = strchr(line, ':');
    char *end = list ? strchr(list + 1, ':') : NULL;

    if (!end)
        return false;
    *list++ = '\0';
    *end = '\0';
    *path = end + 1;
    (*path)[strcspn(*path, "\n")] = '\0';
    return h->v2 ? strcmp(line, "0") == 0 && !*list : lists_cpu(list);
}

static bool find_group(hierarchy *h, const char *root)
{
    char line[LINE], *path = NULL;
    FILE *f = open_file(root, "/proc/thread-self/cgroup");
    bool found = false;

    if (!f)
        f = open_file(root, "/proc/self/cgroup");
    while (f && !found && fgets(line, LINE, f))
        found = is_group(h, line, &path) && join_path(h->group, path, "", "");
    if (f)
        fclose(f);
    return found;
}

/* Decode \ooo in place, as blanks stand in mountinfo. */
static void decode(char *s)
{
    char *out = s;

    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
            s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
            *out++ =
                (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

/* ID PARENT DEVICE TOP MOUNT OPTIONS [TAG...] - TYPE SOURCE OPTIONS */
static bool is_mount(const hierarchy *h, char *line, char **top, char **mount)
{
    char *tail = strstr(line, " - "), *save = NULL;

    if (!tail)
        return false;
    *tail = '\0';
    char *type = strtok_r(tail + 3, " \n", &save);
    strtok_r(NULL, " \n", &save);
    char *options = strtok_r(NULL, " \n", &save);
    if (!type || strcmp(type, h->v2 ? "cgroup2" : "cgroup") != 0 ||
        (!h->v2 && (!options || !lists_cpu(options))))
        return false;
    strtok_r(line, " ", &save);
    strtok_r(NULL, " ", &save);
    strtok_r(NULL, " ", &save);
    *top = strtok_r(NULL, " ", &save);
    *mount = strtok_r(NULL, " ", &save);
    if (!*top || !*mount)
        return false;
    decode(*top);
    decode(*mount);
    return true;
}

/* The part of path below the group `top`, or NULL. */
static const char *below(const char *path, const char *top)
{
    size_t n = strcmp(top, "/") ? strlen(top) : 0;

    if (strncmp(path, top, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return NULL;
    return path + n;
}

/* Prefer a mount that shows the thread's group; else take the last one. */
static bool find_mount(hierarchy *h, const char *root)
{
    char line[LINE], *top = NULL, *mount = NULL;
    FILE *f = open_file(root, "/proc/self/mountinfo");
    bool found = false, shown = false;

    while (f && !shown && fgets(line, LINE, f)) {
        if (!is_mount(h, line, &top, &mount) ||
            !join_path(h->mount, mount, "", "") ||
            !join_path(h->top, top, "", ""))
            continue;
        found = true;
        shown = below(h->group, h->top) != NULL;
    }
    if (f)
        fclose(f);
    return found;
}

/* ==== quotas ============================================================= */

static double share(double quota, double period)
{
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

static double quota_v2(const char *root, const char *dir)
{
    char line[LINE], *end = NULL;

    if (!read_value(root, dir, "cpu.max", line))
        return INFINITY;
    double quota = (double)strtoll(line, &end, 10); /* "max": 0 */
    return share(quota, (double)strtoll(end, NULL, 10));
}

static double quota_v1(const char *root, const char *dir)
{
    char quota[LINE], period[LINE];

    if (!read_value(root, dir, "cpu.cfs_quota_us", quota) ||
        !read_value(root, dir, "cpu.cfs_period_us", period))
        return INFINITY;
    return share((double)strtoll(quota, NULL, 10),
                 (double)strtoll(period, NULL, 10));
}

/* The least quota from the thread's group up to the mount. */
static double quota_of(hierarchy *h, const char *root)
{
    char dir[PATHS];
    double least = INFINITY;

    if (!find_group(h, root) || !find_mount(h, root))
        return least;
    const char *rest = below(h->group, h->top);
    if (!rest || strstr(rest, "/..")) /* outside: the mount alone is seen */
        rest = "";
    if (!join_path(dir, h->mount, rest, ""))
        return least;
    for (;;) {
        size_t n = strlen(dir);
        double here = h->v2 ? quota_v2(root, dir) : quota_v1(root, dir);
        least = TLPI_MIN(least, here);
        while (n > strlen(h->mount) && dir[n - 1] != '/')
            n--;
        if (n <= strlen(h->mount))
            return least;
        dir[n - 1] = '\0';
    }
}

double tlpi_cpu_quota(const char *root)
{
    hierarchy v1 = { .v2 = false }, v2 = { .v2 = true };
    double a = quota_of(&v1, root), b = quota_of(&v2, root);

    return TLPI_MIN(a, b);
}
