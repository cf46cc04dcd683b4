/*
 * number.c - numbers as text, whatever the locale of the process is.
 */
#include "base/number.h"

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static locale_t c_locale; /* set once; lives as long as the process */

static void open_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

double tlpi_strtod(const char *s, char **end)
{
    pthread_once(&once, open_locale);
    return c_locale ? strtod_l(s, end, c_locale) : strtod(s, end);
}
