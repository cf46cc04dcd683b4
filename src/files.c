/*
 * files.c - reading whole files, and replacing files atomically.
 */
#include "files.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

/* ==== in ================================================================= */

/* More than max bytes are an error. */
static int read_all(FILE *f, const char *name, size_t max, char **data,
                    size_t *n)
{
    size_t cap = 1 << 16, len = 0;
    char *buf = malloc(cap);

    while (buf) {
        len += fread(buf + len, 1, cap - 1 - len, f);
        if (ferror(f)) {
            free(buf);
            if (cli_interrupted())
                return CLI_INTERRUPTED;
            return cli_fail("%s: %s", name, strerror(errno));
        }
        if (len > max) {
            free(buf);
            return cli_fail("%s: more than %zu bytes", name, max);
        }
        if (len < cap - 1)
            break;

        char *grown = cap > SIZE_MAX / 2 ? NULL : realloc(buf, cap * 2);

        if (!grown)
            free(buf);
        buf = grown;
        cap *= 2;
    }
    if (!buf)
        return cli_fail("%s: out of memory", name);
    buf[len] = '\0';
    *data = buf;
    *n = len;
    return CLI_OK;
}

static int read_file(const char *path, size_t max, char **data, size_t *n)
{
    FILE *f = path ? fopen(path, "rb") : stdin;

    *data = NULL;
    if (!f)
        return cli_fail("%s: %s", path, strerror(errno));

    int rc = read_all(f, path ? path : "standard input", max, data, n);

    if (path)
        fclose(f);
    return rc;
}

int file_read(const char *path, char **data, size_t *n)
{
    return read_file(path, SIZE_MAX, data, n);
}

int file_read_text(const char *path, size_t max, char **text)
{
    size_t n = 0;
    int rc = read_file(path, max, text, &n);

    if (rc == CLI_OK && n == 0)
        rc = cli_fail("%s: empty", path);
    else if (rc == CLI_OK && strlen(*text) < n)
        rc = cli_fail("%s: a zero byte at %zu", path, strlen(*text));
    if (rc != CLI_OK) {
        free(*text);
        *text = NULL;
    }
    return rc;
}

int file_read_ids(const char *path, int32_t **ids, size_t *n)
{
    unsigned char *bytes;
    size_t size;
    int rc = file_read(path, (char **)&bytes, &size);

    *ids = NULL;
    if (rc != CLI_OK)
        return rc;
    if (size % 4 != 0) {
        free(bytes);
        return cli_fail("%s: %zu byte%s, not a multiple of 4", path, size,
                        size == 1 ? "" : "s");
    }
    *n = size / 4;
    *ids = malloc(size + 1);
    for (size_t i = 0; *ids && i < *n; i++) {
        const unsigned char *b = bytes + 4 * i;

        (*ids)[i] = (int32_t)((uint32_t)b[0] | (uint32_t)b[1] << 8 |
                              (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24);
    }
    free(bytes);
    return *ids ? CLI_OK : cli_fail("%s: out of memory", path);
}

int file_parse_ids(const char *text, int32_t **ids, size_t *n)
{
    static const char blanks[] = " \t\r\n,";

    *n = 0;
    /* an id and its separator take at least two characters */
    *ids = malloc((strlen(text) / 2 + 1) * sizeof **ids);
    if (!*ids)
        return cli_fail("out of memory");
    for (text += strspn(text, blanks); *text; text += strspn(text, blanks)) {
        char *end;
        long id = strtol(text, &end, 10);

        if (end == text || !strchr(blanks, *end) || id < 0 || id > INT32_MAX) {
            int shown = (int)strcspn(text, blanks);

            free(*ids);
            *ids = NULL;
            return cli_fail("%.*s: not a token id", shown > 40 ? 40 : shown,
                            text);
        }
        (*ids)[(*n)++] = (int32_t)id;
        text = end;
    }
    return CLI_OK;
}

/* ==== out ================================================================ */

bool out_is_stdout(const char *path)
{
    return path && !strcmp(path, "-");
}

static int open_direct(out_file *out)
{
    out->file = out_is_stdout(out->path) ? stdout : fopen(out->path, "wb");
    if (!out->file)
        return cli_fail("%s: %s", out->path, strerror(errno));
    return CLI_OK;
}

bool out_is_replaced(const char *path)
{
    struct stat st;

    return !out_is_stdout(path) &&
           (stat(path, &st) != 0 || S_ISREG(st.st_mode));
}

static bool is_model(const char *path)
{
    FILE *f = fopen(path, "rb");
    char magic[4];
    bool is = f && fread(magic, 1, sizeof magic, f) == sizeof magic &&
              memcmp(magic, "GGUF", sizeof magic) == 0;

    if (f)
        fclose(f);
    return is;
}

static int open_replacement(out_file *out, const char *path)
{
    static const char suffix[] = ".XXXXXX";
    size_t n = strlen(path);

    out->tmp = malloc(n + sizeof suffix);
    if (!out->tmp)
        return cli_fail("out of memory");
    memcpy(out->tmp, path, n);
    memcpy(out->tmp + n, suffix, sizeof suffix);

    int fd = mkstemp(out->tmp);

    if (fd < 0) {
        free(out->tmp);
        out->tmp = NULL;
        return cli_fail("%s: %s", path, strerror(errno));
    }
    /* mkstemp creates private files; set the usual mode of new files. */
    mode_t mask = umask(0);

    umask(mask);
    fchmod(fd, 0666 & ~mask);
    out->file = fdopen(fd, "wb");
    return out->file ? CLI_OK : cli_fail("%s: %s", path, strerror(errno));
}

int out_open(out_file *out, const char *path)
{
    *out = (out_file){ .path = path };
    if (!out_is_replaced(path))
        return open_direct(out);
    if (is_model(path))
        return cli_fail("%s: is a GGUF file: another name expected", path);
    return open_replacement(out, path);
}

int out_commit(out_file *out)
{
    bool bad = fflush(out->file) != 0 || ferror(out->file);

    if (out->file != stdout)
        bad |= fclose(out->file) != 0;
    out->file = NULL;
    if (!bad && out->tmp) {
        bad = rename(out->tmp, out->path) != 0;
        if (!bad) {
            free(out->tmp);
            out->tmp = NULL;
        }
    }
    return bad ? cli_fail("%s: %s", out->path, strerror(errno)) : CLI_OK;
}

void out_discard(out_file *out)
{
    if (out->file && out->file != stdout)
        fclose(out->file);
    if (out->tmp) {
        unlink(out->tmp);
        free(out->tmp);
    }
    *out = (out_file){ 0 };
}

int out_check_distinct(const char *const *path, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; path[i] && k < i; k++)
            if (path[k] && !out_is_stdout(path[i]) &&
                strcmp(path[i], path[k]) == 0)
                return cli_usage("%s: two results in one file", path[i]);
    return CLI_OK;
}

int out_check(const char *path)
{
    out_file out = { 0 };
    int rc = out_is_replaced(path) ? out_open(&out, path) : CLI_OK;

    out_discard(&out);
    return rc;
}

int out_check_model(const char *path)
{
    out_file out = { .path = path };
    int rc = out_is_replaced(path) ? open_replacement(&out, path) : CLI_OK;

    out_discard(&out);
    return rc;
}
