/*
 * prompt_cache.c - a file that keeps an evaluated prompt.
 *
 * A saved sequence that does not fit is replaced by the one of this run.  Any
 * other file stays: the name of a file with something else in it may be a
 * mistake.
 */
#include "prompt_cache.h"

#include <sys/stat.h>

/* An empty file counts as none: programs make such files to have a name. */
static bool has_content(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_size > 0;
}

int prompt_cache_load(const prompt_cache *c, tlp_session *session)
{
    if (!c->path || !has_content(c->path))
        return CLI_OK;
    tlp_status st = tlp_session_load_file(session, 0, c->path);

    if (st == TLP_EMISMATCH || st == TLP_EFULL) {
        cli_warn("%s: the whole prompt is evaluated", tlp_last_error());
        return CLI_OK;
    }
    return st == TLP_OK ? CLI_OK : engine_fail(st);
}

int prompt_cache_save(const prompt_cache *c, tlp_session *session)
{
    if (!c->path || c->read_only)
        return CLI_OK;
    tlp_status st = tlp_session_save_file(session, 0, c->path);

    return st == TLP_OK ? CLI_OK : engine_fail(st);
}
