/*
 * log_lines.h - the warnings that a library call logs.
 */
#ifndef LOG_LINES_H
#define LOG_LINES_H

#include <stdio.h>
#include <string.h>

#include "tlp.h"

typedef struct log_lines {
    int n;
    char text[8192]; /* one warning a line */
} log_lines;

/* A tlp_log_fn with a log_lines as user data. */
static inline void log_lines_add(int level, const char *text, void *user_data)
{
    log_lines *l = user_data;
    size_t n = strlen(l->text);

    if (level > TLP_LOG_WARN)
        return;
    l->n++;
    snprintf(l->text + n, sizeof l->text - n, "%s\n", text);
}

#endif
