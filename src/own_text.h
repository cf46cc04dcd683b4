/*
 * own_text.h - text that the model writes, serial or under a plan, as token
 * ids: calibration text from the model's own distribution.
 */
#ifndef OWN_TEXT_H
#define OWN_TEXT_H

#include "engine.h"

typedef struct own_text {
    /* options */
    int n;                   /* ids; 0 = none */
    uint64_t seed;           /* of the first window */
    const char *prompt_path; /* NULL: every window begins freely */
    const char *plan_text;   /* under which it is written; NULL = serial */
} own_text;

/* Rows of an option table. */
/* clang-format off */
#define OWN_TEXT_OPTIONS(o)                                                    \
    { CLI_INT, 0, "self", &(o).n, "N",                                         \
      "also N tokens that the model writes itself", 0, INT32_MAX },            \
    { CLI_TEXT, 0, "self-plan", &(o).plan_text, "PLAN",                        \
      "plan under which it writes them (serial)", 0, 0 },                      \
    { CLI_SEED, 0, "self-seed", &(o).seed, "N",                                \
      "seed of the text of --self (0)", 0, 0 },                                \
    { CLI_TEXT, 0, "self-prompts", &(o).prompt_path, "FILE",                   \
      "lines with which the windows of --self begin, in turn", 0, 0 }
/* clang-format on */

/* Whether options say how the text is written. */
static inline bool own_text_is_shaped(const own_text *o)
{
    return o->plan_text || o->prompt_path || o->seed;
}

/*
 * Fill o->n ids in windows of `length`, the last of which may be shorter.
 * Every window is a text of its own, drawn at temperature 1 with a seed of its
 * own.  It begins with a prompt, or after the model's BOS (EOS, if it has
 * none), which is not among the ids.
 */
int own_text_write(const own_text *o, const engine *e, size_t length,
                   int32_t *ids);

#endif
