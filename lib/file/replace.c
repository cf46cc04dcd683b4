/*
 * replace.c - replacing a file atomically.
 *
 * The data is written to a new file in the same folder and synced, then the
 * new file is renamed.  A reader of the name finds the old file or the
 * complete new one.  Where the system has files without a name (O_TMPFILE),
 * the new file has no name until it is complete, and disappears if the process
 * ends before.
 */
#include "file/replace.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file/fail_io.h"
#include "file/mapfile.h"
#include "file/quiet_write.h"

#define MAX_TRIES 100
#define FD_FOLDER "/proc/self/fd"

/* The folder of the path, for open(). */
static const char *folder_of(tlpi_text *path)
{
    while (path->len > 0 && path->data[path->len - 1] != '/')
        path->len--;
    path->data[path->len] = '\0';
    return path->len ? path->data : ".";
}

/* Choose an unused temporary name in the folder, for the open file or for a
 * file that is created under it. */
static tlp_status take_name(tlpi_replace *r)
{
    struct timespec t;
    char link[32];

    snprintf(link, sizeof link, FD_FOLDER "/%d", r->fd);
    for (unsigned i = 0; i < MAX_TRIES && !r->created; i++) {
        clock_gettime(CLOCK_REALTIME, &t);
        r->temp.len = 0;
        tlpi_text_printf(&r->temp, "%s.%lx%lx", r->path,
                         (unsigned long)getpid(), (unsigned long)t.tv_nsec);
        if (r->temp.failed)
            return tlpi_fail_nomem_for("the name of a file");
        if (r->fd >= 0) {
            r->created = linkat(AT_FDCWD, link, AT_FDCWD, r->temp.data,
                                AT_SYMLINK_FOLLOW) == 0;
        } else {
            r->fd = open(r->temp.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                         0666);
            r->created = r->fd >= 0;
        }
        if (!r->created && errno != EEXIST)
            break;
    }
    return r->created ? TLP_OK : tlpi_fail_io(r->path);
}

static tlp_status create(tlpi_replace *r)
{
#ifdef O_TMPFILE
    tlpi_text_printf(&r->temp, "%s", r->path);
    if (r->temp.failed)
        return tlpi_fail_nomem_for("the name of a file");
    /* /proc is needed to name the file later */
    if (access(FD_FOLDER, X_OK) == 0)
        r->fd =
            open(folder_of(&r->temp), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
#endif
    return r->fd >= 0 ? TLP_OK : take_name(r);
}

/* Fail only on errors that certainly mean a full disk. */
static tlp_status take_room(const tlpi_replace *r, uint64_t n_bytes)
{
    if (n_bytes == 0 || n_bytes > INT64_MAX ||
        fallocate(r->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)n_bytes) == 0 ||
        (errno != ENOSPC && errno != EDQUOT && errno != EFBIG))
        return TLP_OK;
    return tlpi_fail_io(r->path);
}

tlp_status tlpi_replace_begin(tlpi_replace *r, const tlpi_env *env,
                              const char *path, uint64_t n_bytes)
{
    tlp_status st = TLP_OK;
    struct stat old;

    *r = (tlpi_replace){ .path = path, .temp = { .env = env }, .fd = -1 };
    bool found = stat(path, &old) == 0;
    if (found && !S_ISREG(old.st_mode))
        return tlpi_fail(TLP_EIO, "%s: not a regular file", path);
    TLP_TRY(create(r));
    if (found && fchmod(r->fd, old.st_mode & 0777) != 0)
        TLP_TRY(tlpi_fail_io(r->path));
    TLP_TRY(take_room(r, n_bytes));
done:
    return st;
}

tlp_status tlpi_replace_write(tlpi_replace *r, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put =
            tlpi_quiet_write(r->fd, (const char *)data + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return tlpi_fail_io(r->path);
        done += (size_t)put;
    }
    return TLP_OK;
}

/* Sync the folder, which holds the new name; failures are ignored. */
static void sync_folder(tlpi_text *temp)
{
    int fd = open(folder_of(temp), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

tlp_status tlpi_replace_sync(tlpi_replace *r)
{
    if (fsync(r->fd) != 0)
        return tlpi_fail_io(r->path);
    tlp_status st = r->created ? TLP_OK : take_name(r);
    if (st != TLP_OK)
        return st;
    int closed = close(r->fd);
    r->fd = -1;
    return closed == 0 ? TLP_OK : tlpi_fail_io(r->path);
}

tlp_status tlpi_replace_commit(tlpi_replace *r)
{
    if (r->fd >= 0 && tlpi_replace_sync(r) != TLP_OK)
        return TLP_EIO;
    if (rename(r->temp.data, r->path) != 0)
        return tlpi_fail_io(r->path);
    r->created = false;
    sync_folder(&r->temp);
    return TLP_OK;
}

void tlpi_replace_end(tlpi_replace *r)
{
    if (r->fd >= 0)
        close(r->fd);
    if (r->created)
        unlink(r->temp.data);
    tlpi_text_free(&r->temp);
    *r = (tlpi_replace){ .fd = -1 };
}

tlp_status tlpi_file_replace(const tlpi_env *env, const char *path,
                             const void *data, size_t n)
{
    tlp_status st;
    tlpi_replace r;

    TLP_TRY(tlpi_replace_begin(&r, env, path, n));
    TLP_TRY(tlpi_replace_write(&r, data, n));
    TLP_TRY(tlpi_replace_commit(&r));
done:
    tlpi_replace_end(&r);
    return st;
}
