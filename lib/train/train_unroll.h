/*
 * train_unroll.h - loops over registers, which compilers must unroll.
 */
#ifndef TLPI_TRAIN_UNROLL_H
#define TLPI_TRAIN_UNROLL_H

#define INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)

#endif
