/*
 * replace.c - write a file whole or not at all.
 *
 * The data goes to a new file in the same folder, onto the disk, and then
 * under its name: whoever opens the name finds the old file or the new one.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file/fail_io.h"
#include "file/mapfile.h"

#define MAX_TRIES 100

/* A file that was not there before; its name is left in `temp`. */
static tlp_status create_beside(const char *path, tlpi_text *temp, int *fd)
{
    struct timespec t;

    for (unsigned i = 0; i < MAX_TRIES; i++) {
        clock_gettime(CLOCK_REALTIME, &t);
        temp->len = 0;
        tlpi_text_printf(temp, "%s.%lx%lx", path, (unsigned long)getpid(),
                         (unsigned long)t.tv_nsec);
        if (temp->failed)
            return tlpi_fail_nomem();
        *fd = open(temp->data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0 || errno != EEXIST)
            break;
    }
    return *fd >= 0 ? TLP_OK : tlpi_fail_io(temp->data);
}

static tlp_status write_whole(const char *path, int fd, const void *data,
                              size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(fd, (const char *)data + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return tlpi_fail_io(path);
        done += (size_t)put;
    }
    return fsync(fd) == 0 ? TLP_OK : tlpi_fail_io(path);
}

/* Best effort: the new name on the disk too. */
static void sync_folder(tlpi_text *temp)
{
    while (temp->len > 0 && temp->data[temp->len - 1] != '/')
        temp->len--;
    temp->data[temp->len] = '\0';
    int fd =
        open(temp->len ? temp->data : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

tlp_status tlpi_file_replace(const tlpi_env *env, const char *path,
                             const void *data, size_t n)
{
    tlp_status st = TLP_OK;
    tlpi_text temp = { .env = env };
    struct stat old;
    int fd = -1;
    bool created = false;

    TLP_TRY(create_beside(path, &temp, &fd));
    created = true;
    if (stat(path, &old) == 0 && fchmod(fd, old.st_mode & 0777) != 0)
        TLP_TRY(tlpi_fail_io(temp.data));
    TLP_TRY(write_whole(temp.data, fd, data, n));
    int closed = close(fd);
    fd = -1;
    if (closed != 0)
        TLP_TRY(tlpi_fail_io(temp.data));
    if (rename(temp.data, path) != 0)
        TLP_TRY(tlpi_fail_io(path));
    created = false;
    sync_folder(&temp);
done:
    if (fd >= 0)
        close(fd);
    if (created)
        unlink(temp.data);
    tlpi_text_free(&temp);
    return st;
}
