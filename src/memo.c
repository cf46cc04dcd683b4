/*
 * memo.c - text that is written into memory.
 */
#include "memo.h"

#include <stdlib.h>

bool memo_open(memo *m)
{
    *m = (memo){ 0 };
    m->file = open_memstream(&m->text, &m->n);
    return m->file != NULL;
}

bool memo_close(memo *m)
{
    bool lost = ferror(m->file) != 0;

    lost |= fclose(m->file) != 0;
    m->file = NULL;
    if (!lost)
        return true;
    free(m->text);
    m->text = NULL;
    m->n = 0;
    return false;
}
