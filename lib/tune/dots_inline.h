/*
 * dots_inline.h - dot products of rows with rows for the type DOTS_REAL.
 * DOTS(name) makes a name for this type.
 *
 * Vectors are an extension of the compiler.  Their size exists on every
 * machine, so sums have one order on all machines.
 */

typedef DOTS_REAL DOTS(vector) __attribute__((vector_size(16)));

enum { DOTS(lanes) = 16 / sizeof(DOTS_REAL) };

static inline DOTS(vector) DOTS(load)(const DOTS_REAL *x)
{
    DOTS(vector) v;

    memcpy(&v, x, sizeof v);
    return v;
}

/* The sum of the lanes, and of the products from p on. */
static double DOTS(finish)(DOTS(vector) s, const DOTS_REAL *a,
                           const DOTS_REAL *b, int p, int k)
{
    double sum = 0;

    for (int l = 0; l < DOTS(lanes); l++)
        sum += (double)s[l];
    for (; p < k; p++)
        sum += (double)a[p] * (double)b[p];
    return sum;
}

/* out[i][j] = a[i] . b[j].  Loops are unrolled, so that sums stay in
 * registers. */
static void DOTS(tile)(const DOTS_REAL *const a[TILE_M],
                       const DOTS_REAL *const b[TILE_N], int k,
                       double out[TILE_M][TILE_N])
{
    DOTS(vector) s00 = { 0 }, s01 = { 0 }, s10 = { 0 }, s11 = { 0 };
    DOTS(vector) s20 = { 0 }, s21 = { 0 }, s30 = { 0 }, s31 = { 0 };
    int p = 0;

    for (; p + DOTS(lanes) <= k; p += DOTS(lanes)) {
        DOTS(vector) b0 = DOTS(load)(b[0] + p), b1 = DOTS(load)(b[1] + p);
        DOTS(vector) a0 = DOTS(load)(a[0] + p), a1 = DOTS(load)(a[1] + p);
        DOTS(vector) a2 = DOTS(load)(a[2] + p), a3 = DOTS(load)(a[3] + p);

        s00 += a0 * b0;
        s01 += a0 * b1;
        s10 += a1 * b0;
        s11 += a1 * b1;
        s20 += a2 * b0;
        s21 += a2 * b1;
        s30 += a3 * b0;
        s31 += a3 * b1;
    }
    const DOTS(vector) s[TILE_M][TILE_N] = {
        { s00, s01 }, { s10, s11 }, { s20, s21 }, { s30, s31 }
    };
    for (int i = 0; i < TILE_M; i++)
        for (int j = 0; j < TILE_N; j++)
            out[i][j] = DOTS(finish)(s[i][j], a[i], b[j], p, k);
}

/* Beyond the end, the last row stands in for a row; its sums are not used. */
static void DOTS(add_tile)(int m, int n, int k, const DOTS_REAL *a, size_t lda,
                           const DOTS_REAL *b, size_t ldb, double scale,
                           double *c, size_t ldc)
{
    const DOTS_REAL *ar[TILE_M], *br[TILE_N];
    double sum[TILE_M][TILE_N];

    for (int i = 0; i < TILE_M; i++)
        ar[i] = a + (size_t)TLPI_MIN(i, m - 1) * lda;
    for (int j = 0; j < TILE_N; j++)
        br[j] = b + (size_t)TLPI_MIN(j, n - 1) * ldb;
    DOTS(tile)(ar, br, k, sum);
    for (int i = 0; i < TLPI_MIN(m, TILE_M); i++)
        for (int j = 0; j < TLPI_MIN(n, TILE_N); j++)
            c[(size_t)i * ldc + (size_t)j] += scale * sum[i][j];
}

static void DOTS(all)(int m, int n, int k, const DOTS_REAL *a, size_t lda,
                      const DOTS_REAL *b, size_t ldb, double scale, double *c,
                      size_t ldc)
{
    for (int p = 0; p < k; p += PIECE_K)
        for (int i0 = 0; i0 < m; i0 += PIECE_M)
            for (int j = 0; j < n; j += TILE_N)
                for (int i = i0; i < TLPI_MIN(m, i0 + PIECE_M); i += TILE_M)
                    DOTS(add_tile)
    (m - i, n - j, TLPI_MIN(PIECE_K, k - p), a + (size_t)i * lda + (size_t)p,
     lda, b + (size_t)j * ldb + (size_t)p, ldb, scale,
     c + (size_t)i * ldc + (size_t)j, ldc);
}
