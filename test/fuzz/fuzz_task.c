/*
 * fuzz_task.c - any bytes as a line of a task file: what is accepted must hold
 * together.
 */
#include <string.h>

#include "eval/task.h"
#include "fuzz.h"

static void check_item(const tlpi_item *item)
{
    promise(item->query != NULL);
    promise(item->n_choice >= 2 && item->n_choice <= 256);
    promise(item->gold >= 0 && item->gold < item->n_choice);
    for (int i = 0; i < item->n_choice; i++)
        promise(item->choice[i] && item->choice[i][0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tlpi_env env;
    tlpi_item item = { 0 };

    promise(tlpi_env_init(&env, NULL, NULL, NULL) == TLP_OK);
    if (tlpi_item_read(&item, &env, "line 1", (const char *)data, size) ==
        TLP_OK)
        check_item(&item);
    else
        promise(*tlp_last_error() != '\0');
    tlpi_item_free(&item, &env);
    return 0;
}
