/*
 * written.c - see written.h.
 */
#include "support/written.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

int written_n_beside(const char *path)
{
    char folder[512];
    int n = 0;

    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

int written_count(double done, void *user_data)
{
    written_meter *p = user_data;

    p->backwards |= done < p->last || done > 1;
    p->last = done;
    return ++p->calls == p->cancel_at;
}
