/*
 * netns.h - what the programs of this folder share: messages, namespaces, time.
 */
#ifndef NETNS_H
#define NETNS_H

#include <stdint.h>
#include <stdnoreturn.h>

/* Print one line that begins with the program's name and, where errno is set,
 * ends with its text; exit 1. */
noreturn void die(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* Put this thread into the network namespace that `ip netns` calls `name`. */
void netns_enter(const char *name);

/* A decimal number in [min, max], or death. */
int64_t parse_number(const char *what, const char *text, int64_t min,
                     int64_t max);

int64_t now_ns(void); /* CLOCK_MONOTONIC */

#endif
