/*
 * no_entry.c - a shared object that is no plug-in.
 */
#include "tlp.h"

TLP_API int unrelated(void);

int unrelated(void)
{
    return 1;
}
