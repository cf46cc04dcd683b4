/*
 * unroll.h - loops over registers, which compilers must unroll.
 */
#ifndef TLPI_UNROLL_H
#define TLPI_UNROLL_H

#define INLINE static inline __attribute__((always_inline))

/* Put before a loop with constant bounds of at most 16: its arrays of vectors
 * become registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)

#endif
