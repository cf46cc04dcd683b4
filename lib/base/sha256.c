/*
 * sha256.c - SHA-256, with the names of FIPS 180-4.
 */
#include "base/sha256.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/sha256_block.h"

/* Fractional parts of the cube roots of the first 64 primes. */
const uint32_t tlpi_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* Fractional parts of the square roots of the first 8 primes. */
static const uint32_t H0[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static uint32_t rotr(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           (uint32_t)p[3];
}

static void store_be32(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> (24 - 8 * i));
}

/* One round; the caller turns the names of the registers. */
#define ROUND(a, b, c, d, e, f, g, h, t)                                       \
    do {                                                                       \
        uint32_t t1 = (h) + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) +         \
                      (((e) & (f)) ^ (~(e) & (g))) + tlpi_sha256_k[t] + w[t];  \
        (d) += t1;                                                             \
        (h) = t1 + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) +                  \
              (((a) & (b)) ^ ((a) & (c)) ^ ((b) & (c)));                       \
    } while (0)

static void hash_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    uint32_t w[64];

    for (int t = 0; t < 16; t++)
        w[t] = load_be32(block + 4 * t);
    for (int t = 16; t < 64; t++) {
        uint32_t x = w[t - 15], y = w[t - 2];
        uint32_t s0 = rotr(x, 7) ^ rotr(x, 18) ^ x >> 3;
        uint32_t s1 = rotr(y, 17) ^ rotr(y, 19) ^ y >> 10;
        w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
    for (int t = 0; t < 64; t += 8) {
        ROUND(a, b, c, d, e, f, g, h, t);
        ROUND(h, a, b, c, d, e, f, g, t + 1);
        ROUND(g, h, a, b, c, d, e, f, t + 2);
        ROUND(f, g, h, a, b, c, d, e, t + 3);
        ROUND(e, f, g, h, a, b, c, d, t + 4);
        ROUND(d, e, f, g, h, a, b, c, t + 5);
        ROUND(c, d, e, f, g, h, a, b, t + 6);
        ROUND(b, c, d, e, f, g, h, a, t + 7);
    }
    const uint32_t v[8] = { a, b, c, d, e, f, g, h };
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

void tlpi_sha256_blocks_any(uint32_t h[8], const uint8_t *data, size_t n)
{
    for (; n > 0; n--, data += 64)
        hash_block(h, data);
}

/* Asked once: cpuid is slow on virtual machines. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool has_shani;

static void ask_cpu(void)
{
    has_shani = tlpi_sha256_has_shani();
}

static void hash_blocks(uint32_t h[8], const uint8_t *data, size_t n)
{
    pthread_once(&once, ask_cpu);
    if (has_shani)
        tlpi_sha256_blocks_shani(h, data, n);
    else
        tlpi_sha256_blocks_any(h, data, n);
}

void tlpi_sha256_init(tlpi_sha256 *s)
{
    memset(s, 0, sizeof *s);
    memcpy(s->h, H0, sizeof s->h);
}

void tlpi_sha256_add(tlpi_sha256 *s, const void *data, size_t n)
{
    const uint8_t *p = data;

    while (n > 0) {
        size_t held = s->n_bytes % 64, take = n - n % 64;
        if (held == 0 && take > 0) {
            hash_blocks(s->h, p, take / 64);
        } else {
            take = 64 - held < n ? 64 - held : n;
            memcpy(s->block + held, p, take);
            if (held + take == 64)
                hash_blocks(s->h, s->block, 1);
        }
        s->n_bytes += take;
        p += take;
        n -= take;
    }
}

void tlpi_sha256_finish(tlpi_sha256 *s, uint8_t digest[32])
{
    static const uint8_t padding[64] = { 0x80 };
    uint64_t n_bits = s->n_bytes * 8;
    uint8_t length[8];

    store_be32(length, (uint32_t)(n_bits >> 32));
    store_be32(length + 4, (uint32_t)n_bits);
    /* One bit, then zeroes up to 8 bytes before the end of a block. */
    tlpi_sha256_add(s, padding, 64 - (s->n_bytes + 8) % 64);
    tlpi_sha256_add(s, length, sizeof length);
    for (int i = 0; i < 8; i++)
        store_be32(digest + 4 * i, s->h[i]);
}

void tlpi_sha256_text(tlpi_sha256 *s, char out[TLPI_HASH_TEXT])
{
    uint8_t digest[32];

    tlpi_sha256_finish(s, digest);
    memcpy(out, "sha256:", 8);
    for (int i = 0; i < 32; i++)
        snprintf(out + 7 + 2 * i, 3, "%02x", digest[i]);
}

void tlpi_sha256_ids(const int32_t *ids, size_t n, char out[TLPI_HASH_TEXT])
{
    tlpi_sha256 s;

    tlpi_sha256_init(&s);
    for (size_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)ids[i];
        uint8_t b[4] = { (uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16),
                         (uint8_t)(id >> 24) };

        tlpi_sha256_add(&s, b, sizeof b);
    }
    tlpi_sha256_text(&s, out);
}
