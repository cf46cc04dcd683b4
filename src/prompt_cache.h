/*
 * prompt_cache.h - a file that keeps an evaluated prompt from one run to the
 * next.
 */
#ifndef PROMPT_CACHE_H
#define PROMPT_CACHE_H

#include "engine.h"

typedef struct prompt_cache {
    const char *path; /* NULL: none */
    bool read_only;
} prompt_cache;

/* Rows of an option table. */
/* clang-format off */
#define PROMPT_CACHE_OPTIONS(c)                                                \
    { CLI_TEXT, 0, "prompt-cache", &(c).path, "FILE",                          \
      "keep the evaluated prompt here for later runs", 0, 0 },                 \
    { CLI_FLAG, 0, "prompt-cache-ro", &(c).read_only, NULL,                    \
      "use the file of --prompt-cache and leave it as it is", 0, 0 }
/* clang-format on */

/* Put what the file holds into sequence 0.  A file that does not fit the
 * session gives a warning, and the sequence stays empty; so it does without a
 * file. */
int prompt_cache_load(const prompt_cache *c, tlp_session *session);

/* Write sequence 0 to the file. */
int prompt_cache_save(const prompt_cache *c, tlp_session *session);

#endif
