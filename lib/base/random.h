/*
 * random.h - the library's random numbers: a seed gives equal numbers on every
 * machine.
 */
#ifndef TLPI_RANDOM_H
#define TLPI_RANDOM_H

#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t tlpi_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 53 random bits as a number in [0, 1). */
static inline double tlpi_uniform(uint64_t *state)
{
    return (double)(tlpi_random(state) >> 11) * 0x1p-53;
}

#endif
