/*
 * log.c - lines for the host program's log.
 */
#include "base/base.h"

void tlpi_log(const tlpi_env *env, int level, const char *fmt, ...)
{
    char line[1024];
    va_list args;

    if (!env->log)
        return;
    va_start(args, fmt);
    tlpi_format_line(line, sizeof line, fmt, args);
    va_end(args);
    env->log(level, line, env->log_data);
}
