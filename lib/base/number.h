/*
 * number.h - numbers as text, whatever the locale of the process is.
 */
#ifndef TLPI_NUMBER_H
#define TLPI_NUMBER_H

/* strtod in the locale "C". */
double tlpi_strtod(const char *s, char **end);

#endif
