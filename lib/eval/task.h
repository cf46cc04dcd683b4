/*
 * task.h - multiple-choice items, read and turned into tokens.
 *
 * task_read.c reads the texts of an item from a line of the file, task_encode.c
 * makes their tokens, and task.c keeps items and scores them.
 */
#ifndef TLPI_TASK_H
#define TLPI_TASK_H

#include "model/model.h"
#include "text/vocab.h"
#include "tlp_eval.h"

typedef struct tlpi_item {
    char *query;
    int32_t gold, n_choice;
    char **choice;     /* [n_choice] */
    tlpi_ids context;  /* of the query; at most its last n_ctx - 1 tokens */
    tlpi_ids *answer;  /* [n_choice] tokens that each choice adds */
    int32_t *n_char;   /* [n_choice] characters of the choices alone */
    bool cut;          /* some choice does not see all of the query */
    int32_t max_token; /* of the longest choice with its context */
} tlpi_item;

struct tlp_task {
    tlp_model *model; /* retained */
    char *delimiter;
    int32_t n_ctx;
    bool bos;
    tlpi_item *item; /* [n_item] */
    size_t n_item, cap;
};

/* Fill in the texts; `where` is "file: line 7".  After a failure
 * the item may be half-built. */
tlp_status tlpi_item_read(tlpi_item *item, const tlpi_env *env,
                          const char *where, const char *line, size_t n);

/* Fill in the tokens. */
tlp_status tlpi_item_encode(tlpi_item *item, const tlp_task *task,
                            const char *where);

void tlpi_item_free(tlpi_item *item, const tlpi_env *env);

#endif
