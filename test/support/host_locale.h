/*
 * host_locale.h - a test in the locale of a host program.
 */
#ifndef HOST_LOCALE_H
#define HOST_LOCALE_H

#include <stdbool.h>

/*
 * Generate a locale ("de_DE", "UTF-8") with localedef and set it for this
 * process.  False where localedef or the source is missing.
 */
bool host_locale_make(const char *source, const char *charset);

#endif
