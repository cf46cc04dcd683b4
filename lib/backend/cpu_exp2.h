/*
 * cpu_exp2.h - the polynomial of vectorised exponentials.  A file of vector
 * kernels includes this after it has defined vf, SET1 and FMA.
 */
#include "base/unroll.h"

/*
 * 2^f for f in [-1/2, 1/2], relative error below 2e-7: the best approximation
 * among polynomials that give 1 at 0.
 */
INLINE vf exp2_fraction(vf f)
{
    vf p = SET1(0x1.5bba14p-10f);
    p = FMA(p, f, SET1(0x1.3cea88p-7f));
    p = FMA(p, f, SET1(0x1.c6b752p-5f));
    p = FMA(p, f, SET1(0x1.ebf9bcp-3f));
    p = FMA(p, f, SET1(0x1.62e42ap-1f));
    return FMA(p, f, SET1(1.0f));
}
